/// What a file says of a text, by the names of its outputs.
public struct TextOutputs: Sendable {
    /// Outputs of float32.
    public let floats: [String: [Float]]
    /// Outputs of int32.
    public let ints: [String: [Int32]]
    /// The labels in the file, if there are any.
    public let labels: [String]?

    /// Whether the end of the text was cut off: it was longer than the file takes.
    public var truncated: Bool { ints["truncated"]![0] != 0 }

    /// The name of a label; its number where the file has no names.
    public func label(_ index: Int) -> String {
        if let labels, labels.indices.contains(index) { return labels[index] }
        return String(index)
    }
}
