import CLiteRT

// What the kit uses of LiteRT's Swift API, 2.3, on its C library; the original is for Apple's
// systems only.

public enum LiteRtError: Error, Equatable {
    case invalidArgument
    case runtimeFailure
    case status(Int32)
}

private func check(_ status: LiteRtStatus) throws {
    if status != 0 { throw LiteRtError.status(status) }
}

private func made<T>(_ make: (inout T?) -> LiteRtStatus) throws -> T {
    var value: T?
    try check(make(&value))
    guard let value else { throw LiteRtError.runtimeFailure }
    return value
}

public enum Accelerator: Int32 {
    case none = 0
    case cpu = 1
    case gpu = 2
    case npu = 4
}

public final class Environment {
    let pointer: LiteRtEnvironment

    public init() throws {
        pointer = try made { LiteRtCreateEnvironment(0, nil, &$0) }
    }

    deinit { LiteRtDestroyEnvironment(pointer) }
}

public final class Options {
    let pointer: LiteRtOptions

    public init() throws {
        pointer = try made { LiteRtCreateOptions(&$0) }
    }

    public func setHardwareAccelerators(_ accelerators: Set<Accelerator>) throws {
        try check(LiteRtSetOptionsHardwareAccelerators(pointer, accelerators.reduce(0) { $0 | $1.rawValue }))
    }

    deinit { LiteRtDestroyOptions(pointer) }
}

public final class TensorBuffer {
    let pointer: LiteRtTensorBuffer
    public let size: Int

    init(_ pointer: LiteRtTensorBuffer, size: Int) {
        self.pointer = pointer
        self.size = size
    }

    public func write<T>(_ data: [T]) throws {
        guard data.count * MemoryLayout<T>.stride == size else { throw LiteRtError.invalidArgument }
        let memory = try made { LiteRtLockTensorBuffer(pointer, &$0, kLiteRtTensorBufferLockModeWrite) }
        defer { LiteRtUnlockTensorBuffer(pointer) }
        data.withUnsafeBytes { memory.copyMemory(from: $0.baseAddress!, byteCount: size) }
    }

    public func read<T>() throws -> [T] {
        let memory = try made { LiteRtLockTensorBuffer(pointer, &$0, kLiteRtTensorBufferLockModeRead) }
        defer { LiteRtUnlockTensorBuffer(pointer) }
        let count = size / MemoryLayout<T>.stride
        return Array(UnsafeBufferPointer(start: memory.bindMemory(to: T.self, capacity: count), count: count))
    }

    deinit { LiteRtDestroyTensorBuffer(pointer) }
}

public final class CompiledModel {
    private let environment: Environment
    private let model: LiteRtModel
    private let pointer: LiteRtCompiledModel
    private let signature: LiteRtSignature

    public init(filePath: String, environment: Environment, options: Options? = nil) throws {
        self.environment = environment
        let model: LiteRtModel = try made { LiteRtCreateModelFromFile(environment.pointer, filePath, &$0) }
        self.model = model
        pointer = try made { LiteRtCreateCompiledModel(environment.pointer, model, options?.pointer, &$0) }
        signature = try made { LiteRtGetModelSignature(model, 0, &$0) }
    }

    public func inputCount(signatureIndex: Int = 0) throws -> Int {
        var count = 0
        try check(LiteRtGetNumSignatureInputs(signature, &count))
        return count
    }

    public func outputCount(signatureIndex: Int = 0) throws -> Int {
        var count = 0
        try check(LiteRtGetNumSignatureOutputs(signature, &count))
        return count
    }

    public func inputName(inputIndex: Int, signatureIndex: Int = 0) throws -> String {
        String(cString: try made { LiteRtGetSignatureInputName(signature, inputIndex, &$0) })
    }

    public func outputName(outputIndex: Int, signatureIndex: Int = 0) throws -> String {
        String(cString: try made { LiteRtGetSignatureOutputName(signature, outputIndex, &$0) })
    }

    public func createInputBuffers(signatureIndex: Int = 0) throws -> [TensorBuffer] {
        try (0..<inputCount()).map { i in
            try buffer(
                try made { LiteRtGetSignatureInputTensorByIndex(signature, i, &$0) },
                try made { LiteRtGetCompiledModelInputBufferRequirements(pointer, 0, i, &$0) })
        }
    }

    public func createOutputBuffers(signatureIndex: Int = 0) throws -> [TensorBuffer] {
        try (0..<outputCount()).map { i in
            try buffer(
                try made { LiteRtGetSignatureOutputTensorByIndex(signature, i, &$0) },
                try made { LiteRtGetCompiledModelOutputBufferRequirements(pointer, 0, i, &$0) })
        }
    }

    private func buffer(_ tensor: LiteRtTensor, _ needs: LiteRtTensorBufferRequirements) throws -> TensorBuffer {
        var type = LiteRtRankedTensorType()
        try check(LiteRtGetRankedTensorType(tensor, &type))
        let buffer: LiteRtTensorBuffer = try made {
            LiteRtCreateManagedTensorBufferFromRequirements(environment.pointer, &type, needs, &$0)
        }
        let sizes = withUnsafeBytes(of: type.layout.dimensions) { Array($0.bindMemory(to: Int32.self)) }
        let count = sizes.prefix(Int(type.layout.rank)).reduce(1) { $0 * Int($1) }
        return TensorBuffer(buffer, size: 4 * count)  // int32 and float32 only
    }

    public func run(inputs: [TensorBuffer], outputs: [TensorBuffer], signatureIndex: Int = 0) throws {
        var inputs = inputs.map { $0.pointer as LiteRtTensorBuffer? }
        var outputs = outputs.map { $0.pointer as LiteRtTensorBuffer? }
        try check(LiteRtRunCompiledModel(pointer, 0, inputs.count, &inputs, outputs.count, &outputs))
    }

    deinit {
        LiteRtDestroyCompiledModel(pointer)
        LiteRtDestroyModel(model)
    }
}
