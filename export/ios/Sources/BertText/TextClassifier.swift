/// Gives texts labels.
///
///     let classifier = try TextClassifier(modelPath: path)
///     let answer = try await classifier.classify("a fine film")  // answer.label, answer.score
public struct TextClassifier: Sendable {
    public let model: TextModel

    /// - Throws: `TextModelError` if there is no TFLite file at the path.
    public init(modelPath: String) throws {
        self.init(try TextModel(modelPath: modelPath))
    }

    public init(_ model: TextModel) {
        self.model = model
    }

    /// Returns the label of a text, or of two where the model takes pairs.
    ///
    /// - Throws: `TextModelError` if the file is no classifier, or takes pairs and got none.
    public func classify(_ text: String, textPair: String? = nil) async throws -> Classification {
        Classification(
            try await model.run(text, textPair: textPair, floats: ["probabilities"], ints: ["truncated"])
        )
    }
}
