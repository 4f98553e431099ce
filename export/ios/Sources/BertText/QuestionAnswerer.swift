/// Answers questions by a part of a context.
///
///     let answerer = try QuestionAnswerer(modelPath: path)
///     try await answerer.answer("Where does Anna live?", in: "Anna lives in Kraków.").text
public struct QuestionAnswerer: Sendable {
    public let model: TextModel

    /// - Throws: `TextModelError` if there is no TFLite file at the path.
    public init(modelPath: String) throws {
        self.init(try TextModel(modelPath: modelPath))
    }

    public init(_ model: TextModel) {
        self.model = model
    }

    /// Returns the answer to a question.
    ///
    /// - Throws: `TextModelError` if the file is no question answerer.
    public func answer(_ question: String, in context: String) async throws -> Answer {
        let floats = ["score", "no_answer_score"]
        let ints = ["answer_start", "answer_end"]
        return Answer(in: context, try await model.run(question, textPair: context, floats: floats, ints: ints))
    }
}
