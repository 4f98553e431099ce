/// Makes vectors of texts, near each other where the texts mean the same.
///
///     let embedder = try TextEmbedder(modelPath: path)
///     let vector = try await embedder.embed("a fine film")
public struct TextEmbedder: Sendable {
    public let model: TextModel

    /// - Throws: `TextModelError` if there is no TFLite file at the path.
    public init(modelPath: String) throws {
        self.init(try TextModel(modelPath: modelPath))
    }

    public init(_ model: TextModel) {
        self.model = model
    }

    /// Returns the vector of a text.
    ///
    /// - Throws: `TextModelError` if the file is no embedder.
    public func embed(_ text: String) async throws -> [Float] {
        try await model.run(text, floats: ["embedding"], ints: []).floats["embedding"]!
    }
}
