/// The answer to a question, a part of the context.
public struct Answer: Sendable {
    /// As it stands in the context: `context[range]`; empty if the context has no answer.
    public let text: String
    /// Where it stands in the context.
    public let range: Range<String.Index>
    /// Its probability; that of there being no answer where there is none.
    public let score: Float

    init(in context: String, _ outputs: TextOutputs) {
        let end = Int(outputs.ints["answer_end"]![0])
        range = index(in: context, atByte: Int(outputs.ints["answer_start"]![0]))..<index(in: context, atByte: end)
        text = String(context[range])
        score = outputs.floats[end > 0 ? "score" : "no_answer_score"]![0]
    }
}
