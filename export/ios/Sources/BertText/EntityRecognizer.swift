/// Finds names, places and the like in texts.
///
///     let recognizer = try EntityRecognizer(modelPath: path)
///     for entity in try await recognizer.recognize("Anna lives in Kraków") { ... }
public struct EntityRecognizer: Sendable {
    public let model: TextModel

    /// - Throws: `TextModelError` if there is no TFLite file at the path.
    public init(modelPath: String) throws {
        self.init(try TextModel(modelPath: modelPath))
    }

    public init(_ model: TextModel) {
        self.model = model
    }

    /// Returns the entities of a text, in the order of the text.
    ///
    /// - Throws: `TextModelError` if the file is no token classifier.
    public func recognize(_ text: String) async throws -> [Entity] {
        let ints = ["entity_starts", "entity_ends", "entity_labels", "entity_count"]
        return Entity.all(of: text, try await model.run(text, floats: ["entity_scores"], ints: ints))
    }
}
