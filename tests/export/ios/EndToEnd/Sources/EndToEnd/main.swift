import BertText
import Foundation

// Does what a file asks for, and prints the answers as JSON. The requests to one model are made all
// at once; each list of them is one model's.

struct Model: Decodable {
    let model: String, task: String, requests: [[String?]]
}

func answer(_ model: TextModel, _ task: String, _ texts: [String?]) async -> Any {
    let text = texts[0]!
    func places(_ range: Range<String.Index>, in text: String) -> [String: Any] {
        ["start": range.lowerBound.utf16Offset(in: text), "end": range.upperBound.utf16Offset(in: text)]
    }
    do {
        switch task {
        case "classify":
            let answer = try await TextClassifier(model).classify(text, textPair: texts[1])
            let scores = answer.scores.map { ["label": $0.label, "score": Double($0.score)] as [String: Any] }
            return [
                "label": answer.label, "score": Double(answer.score), "truncated": answer.truncated, "scores": scores,
            ] as [String: Any]
        case "recognize":
            return try await EntityRecognizer(model).recognize(text).map { entity in
                places(entity.range, in: text).merging(
                    ["text": entity.text, "label": entity.label, "score": Double(entity.score)]) { $1 }
            }
        case "answer":
            let answer = try await QuestionAnswerer(model).answer(text, in: texts[1]!)
            return places(answer.range, in: texts[1]!).merging(
                ["answer": answer.text, "score": Double(answer.score)]) { $1 }
        default:
            return try await TextEmbedder(model).embed(text).map(Double.init)
        }
    } catch {
        return ["error": error.localizedDescription]
    }
}

let models = try JSONDecoder().decode(
    [Model].self, from: Data(contentsOf: URL(fileURLWithPath: CommandLine.arguments[1])))
var answers: [[Any]] = []
for request in models {
    let model: TextModel
    do {
        model = try TextModel(modelPath: request.model)
    } catch {
        answers.append(request.requests.map { _ in ["error": error.localizedDescription] })
        continue
    }
    var found = [Any](repeating: NSNull(), count: request.requests.count)
    await withTaskGroup(of: (Int, Data).self) { group in
        for (i, texts) in request.requests.enumerated() {
            group.addTask {
                let answer = await answer(model, request.task, texts)
                return (i, try! JSONSerialization.data(withJSONObject: answer))
            }
        }
        for await (i, data) in group { found[i] = try! JSONSerialization.jsonObject(with: data) }
    }
    await model.close()
    found.append(await answer(model, request.task, request.requests[0]))
    answers.append(found)
}
FileHandle.standardOutput.write(try JSONSerialization.data(withJSONObject: answers))
