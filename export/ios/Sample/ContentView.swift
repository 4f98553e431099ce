import BertText
import SwiftUI

/// Type, and see the label of what you typed. Add model.tflite to the app target.
struct ContentView: View {
    @State private var text = ""
    @State private var answer = ""

    private static let classifier = Result {
        guard let path = Bundle.main.path(forResource: "model", ofType: "tflite") else {
            throw CocoaError(.fileNoSuchFile)
        }
        return try TextClassifier(modelPath: path)
    }

    var body: some View {
        Form {
            TextField("Type a text", text: $text)
            Text(answer)
        }
        .task(id: text) {  // is cancelled when the next letter comes
            do {
                let result = try await Self.classifier.get().classify(text)
                if Task.isCancelled { return }
                answer = result.scores
                    .map { "\($0.label)  " + String(format: "%.3f", $0.score) }
                    .joined(separator: "\n")
            } catch {
                answer = error.localizedDescription
            }
        }
    }
}
