import Foundation

/// What is wrong with a model file or with what it was asked, and how to mend it.
public struct TextModelError: LocalizedError, CustomStringConvertible {
    public let description: String

    public var errorDescription: String? { description }

    init(_ description: String) {
        self.description = description
    }
}
