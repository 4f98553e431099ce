import Foundation
import LiteRT

/// A `.tflite` file with the text interface: text in, named outputs out.
///
/// Making one reads the labels only; the model is loaded off the main thread at the first `run` or
/// `load`. An actor: texts are run one after another, whoever sends them. `TextClassifier` and its
/// siblings make answers of the outputs.
public actor TextModel {
    private let path: String
    private let name: String
    private let labels: [String]?
    private var loaded: Loaded?
    private var isClosed = false

    /// - Throws: `TextModelError` if there is no TFLite file at the path.
    public init(modelPath: String) throws {
        path = modelPath
        name = (modelPath as NSString).lastPathComponent
        let file: Data
        do {
            file = try Data(contentsOf: URL(fileURLWithPath: modelPath), options: .mappedIfSafe)
        } catch {
            throw TextModelError("\(name) cannot be opened: \(error.localizedDescription)")
        }
        guard isTflite(file) else { throw TextModelError("\(name) is not a TFLite file.") }
        guard isWhole(file) else { throw TextModelError("\(name) is not whole. Download or export it again.") }
        labels = try packedLines(file, "labels.txt")
    }

    /// Loads the model before its first text comes; else that one waits for it.
    public func load() throws {
        _ = try loadedModel()
    }

    /// Runs the file on a text.
    ///
    /// - Parameters:
    ///   - text: a text; what is longer than the file takes is cut off.
    ///   - textPair: the second text, for files that take pairs.
    ///   - floats: names of outputs of float32.
    ///   - ints: names of outputs of int32.
    /// - Throws: `TextModelError` if the file cannot be loaded, does not take this or lacks an output.
    public func run(_ text: String, textPair: String? = nil, floats: [String], ints: [String]) throws -> TextOutputs {
        let model = try loadedModel()
        guard (textPair != nil) == (model.inputs["text_pair"] != nil) else {
            throw TextModelError("\(name) takes \(textPair == nil ? "pairs of texts" : "single texts").")
        }
        if let missing = (floats + ints).first(where: { model.outputs[$0] == nil }) {
            throw TextModelError("\(name) is for another task: it has no output `\(missing)`.")
        }
        do {
            try model.inputs["text"]!.write(utf8Codes(text, maxBytes: model.maxBytes))
            if let textPair { try model.inputs["text_pair"]!.write(utf8Codes(textPair, maxBytes: model.maxBytes)) }
            try model.run()
            return TextOutputs(
                floats: try model.read(floats),
                ints: try model.read(ints),
                labels: labels
            )
        } catch {
            throw TextModelError("\(name) could not be run: \(error)")
        }
    }

    /// Frees the model. Using it again throws.
    public func close() {
        isClosed = true
        loaded = nil
    }

    private func loadedModel() throws -> Loaded {
        if isClosed { throw TextModelError("\(name) is closed.") }
        if let loaded { return loaded }
        let model: Loaded
        do {
            model = try Loaded(path)
        } catch {
            throw TextModelError("\(name) cannot be loaded: it is damaged, or newer than this LiteRT. \(error)")
        }
        guard model.inputs["text"] != nil else {
            throw TextModelError("\(name) does not take text. Export it with interface=\"text\".")
        }
        loaded = model
        return model
    }

    private final class Loaded {
        private let environment: Environment
        private let model: CompiledModel
        private let inputList: [TensorBuffer]
        private let outputList: [TensorBuffer]
        let inputs: [String: TensorBuffer]
        let outputs: [String: TensorBuffer]
        let maxBytes: Int

        init(_ path: String) throws {
            environment = try Environment()
            let options = try Options()
            try options.setHardwareAccelerators([.cpu])
            model = try CompiledModel(filePath: path, environment: environment, options: options)
            inputList = try model.createInputBuffers()
            outputList = try model.createOutputBuffers()
            var inputs: [String: TensorBuffer] = [:]
            for (i, buffer) in inputList.enumerated() { inputs[try model.inputName(inputIndex: i)] = buffer }
            var outputs: [String: TensorBuffer] = [:]
            for (i, buffer) in outputList.enumerated() { outputs[try model.outputName(outputIndex: i)] = buffer }
            self.inputs = inputs
            self.outputs = outputs
            let codes: [Int32] = try inputs["text"]?.read() ?? []
            maxBytes = codes.count
        }

        func run() throws {
            try model.run(inputs: inputList, outputs: outputList)
        }

        func read<T>(_ names: [String]) throws -> [String: [T]] {
            var values: [String: [T]] = [:]
            for name in names { values[name] = try outputs[name]!.read() }
            return values
        }
    }
}
