/// The label of a text.
public struct Classification: Sendable {
    /// A label and its probability.
    public struct Scored: Sendable {
        public let label: String
        public let score: Float
    }

    /// All labels, best first; where a text may have several, those above 0.5 are its.
    public let scores: [Scored]
    /// Whether the end of the text was cut off: it was longer than the file takes.
    public let truncated: Bool

    /// The best label.
    public var label: String { scores[0].label }
    /// The probability of the best label.
    public var score: Float { scores[0].score }

    init(_ outputs: TextOutputs) {
        let scores = outputs.floats["probabilities"]!.enumerated().map { i, score in
            (i, Scored(label: outputs.label(i), score: score))
        }
        // Of equal scores the first label's comes first; Swift promises no order of its own.
        self.scores = scores.sorted { ($1.1.score, $0.0) < ($0.1.score, $1.0) }.map { $0.1 }
        truncated = outputs.truncated
    }
}
