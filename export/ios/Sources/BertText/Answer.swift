/// The answer to a question, a part of the context.
public struct Answer: Sendable {
    /// As it stands in the context: `context[range]`; empty if the context has no answer.
    public let text: String
    /// Where it stands in the context.
    public let range: Range<String.Index>
    /// Its probability; that of there being no answer where there is none.
    public let score: Float
    /// The probability that there is none, to set a bound of one's own.
    public let noAnswerScore: Float

    init(in context: String, _ outputs: TextOutputs) {
        let start = index(in: context, atByte: Int(outputs.ints["answer_start"]![0]))
        range = start..<index(in: context, atByte: Int(outputs.ints["answer_end"]![0]))
        text = String(context[range])
        score = outputs.floats["score"]![0]
        noAnswerScore = outputs.floats["no_answer_score"]![0]
    }
}
