@_exported import Foundation

// What the sample uses of SwiftUI, to check its types; nothing is shown.

@MainActor
public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}

extension Never: View {
    public var body: Never { fatalError() }
}

public struct Views: View {
    nonisolated init() {}

    public var body: Never { fatalError() }
}

@resultBuilder
public struct ViewBuilder {
    public static func buildBlock<Content: View>(_ content: Content) -> Content { content }

    public static func buildBlock<First: View, Second: View>(_ first: First, _ second: Second) -> Views { Views() }
}

@propertyWrapper
public struct State<Value> {
    public init(wrappedValue: Value) {
        self.wrappedValue = wrappedValue
    }

    public var wrappedValue: Value {
        get { fatalError() }
        nonmutating set {}
    }

    public var projectedValue: Binding<Value> { Binding() }
}

public struct Binding<Value> {}

public struct Form<Content: View>: View {
    public init(@ViewBuilder content: () -> Content) {}

    public var body: Never { fatalError() }
}

public struct Text: View {
    public init<S: StringProtocol>(_ content: S) {}

    public var body: Never { fatalError() }
}

public struct TextField: View {
    public init<S: StringProtocol>(_ title: S, text: Binding<String>) {}

    public var body: Never { fatalError() }
}

extension View {
    public func task<T: Equatable>(id: T, _ action: @escaping @Sendable @MainActor () async -> Void) -> some View {
        Views()
    }
}
