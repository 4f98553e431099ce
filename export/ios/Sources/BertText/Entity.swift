/// A name, place or the like in a text.
public struct Entity: Sendable {
    /// As it stands in the text: `text[range]`.
    public let text: String
    /// Its type.
    public let label: String
    /// Its probability.
    public let score: Float
    /// Where it stands in the text.
    public let range: Range<String.Index>

    static func all(of text: String, _ outputs: TextOutputs) -> [Entity] {
        (0..<Int(outputs.ints["entity_count"]![0])).map { i in
            let start = index(in: text, atByte: Int(outputs.ints["entity_starts"]![i]))
            let end = index(in: text, atByte: Int(outputs.ints["entity_ends"]![i]))
            return Entity(
                text: String(text[start..<end]),
                label: outputs.label(Int(outputs.ints["entity_labels"]![i])),
                score: outputs.floats["entity_scores"]![i],
                range: start..<end
            )
        }
    }
}
