import XCTest

@testable import BertText

/// Compares with what Python does; vectors.json says with what.
final class VectorsTests: XCTestCase {
    private struct Vectors: Decodable {
        struct Utf8: Decodable {
            let utf16: [UInt16], `repeat`: Int, max_bytes: Int, repaired: String
        }
        struct Span: Decodable {
            let utf16: [UInt16], start: Int, end: Int, utf16_start: Int, utf16_end: Int
        }
        struct Packed: Decodable {
            let base64: Data, tflite: Bool, whole: Bool, lines: [String]?
        }
        struct Classes: Decodable {
            let labels: [String]?, probabilities: [Float], best: [String]
        }
        struct Entities: Decodable {
            let utf16: [UInt16], labels: [String]
            let entity_starts: [Int32], entity_ends: [Int32], entity_labels: [Int32], entity_scores: [Float]
            let entity_count: Int32, names: [String], types: [String]
        }
        struct Answers: Decodable {
            let utf16: [UInt16], answer_start: Int32, answer_end: Int32
            let score: Float, no_answer_score: Float, answer: String
        }
        let utf8: [Utf8], spans: [Span], packed: [Packed]
        let classifications: [Classes], entities: [Entities], answers: [Answers]
    }

    private var vectors: Vectors!

    override func setUpWithError() throws {
        let url = try XCTUnwrap(Bundle.module.url(forResource: "vectors", withExtension: "json"))
        vectors = try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: url))
    }

    private func string(_ units: [UInt16]) -> String {
        String(decoding: units, as: UTF16.self)
    }

    func testPacksTextsAsPython() {
        XCTAssertGreaterThan(vectors.utf8.count, 20)
        for test in vectors.utf8 {
            let text = String(repeating: string(test.utf16), count: test.repeat)
            var expected = [Int32](repeating: 0, count: test.max_bytes)
            let digits = Array(test.repaired)
            for i in 0..<digits.count / 2 {
                expected[i] = Int32(String(digits[2 * i...2 * i + 1]), radix: 16)!
            }
            XCTAssertEqual(utf8Codes(text, maxBytes: test.max_bytes), expected)
        }
    }

    func testFindsPlacesAsPython() {
        XCTAssertGreaterThan(vectors.spans.count, 20)
        for test in vectors.spans {
            let text = string(test.utf16)
            let range = index(in: text, atByte: test.start)..<index(in: text, atByte: test.end)
            XCTAssertEqual(range.lowerBound.utf16Offset(in: text), test.utf16_start)
            XCTAssertEqual(range.upperBound.utf16Offset(in: text), test.utf16_end)
            XCTAssertEqual(String(text[range]), string(Array(test.utf16[test.utf16_start..<test.utf16_end])))
        }
    }

    func testReadsPackedLines() throws {
        for test in vectors.packed {
            XCTAssertEqual(isTflite(test.base64), test.tflite)
            XCTAssertEqual(isWhole(test.base64), test.whole)
            XCTAssertEqual(try packedLines(test.base64, "labels.txt"), test.lines)
            XCTAssertNil(try packedLines(test.base64, "label"))
            for end in 0..<test.base64.count {  // a download that broke off
                XCTAssertFalse(isWhole(test.base64.prefix(end)))
            }
            for i in test.base64.indices {  // a damaged one: an error perhaps, no crash
                var damaged = test.base64
                damaged[i] ^= 0xFF
                _ = try? packedLines(damaged, "labels.txt")
            }
        }
    }

    func testClassifies() {
        for test in vectors.classifications {
            let outputs = TextOutputs(
                floats: ["probabilities": test.probabilities], ints: ["truncated": [1]], labels: test.labels)
            let answer = Classification(outputs)
            XCTAssertEqual(answer.scores.map(\.label), test.best)
            XCTAssertEqual(answer.label, test.best[0])
            XCTAssertEqual(answer.score, test.probabilities.max())
            XCTAssertTrue(answer.truncated)
        }
    }

    func testFindsEntities() {
        for test in vectors.entities {
            let text = string(test.utf16)
            let outputs = TextOutputs(
                floats: ["entity_scores": test.entity_scores],
                ints: [
                    "entity_starts": test.entity_starts, "entity_ends": test.entity_ends,
                    "entity_labels": test.entity_labels, "entity_count": [test.entity_count],
                ],
                labels: test.labels)
            let entities = Entity.all(of: text, outputs)
            XCTAssertEqual(entities.map(\.text), test.names)
            XCTAssertEqual(entities.map(\.label), test.types)
            XCTAssertEqual(entities.map(\.score), Array(test.entity_scores.prefix(entities.count)))
            XCTAssertEqual(entities.map { String(text[$0.range]) }, test.names)
        }
    }

    func testFindsAnswers() {
        for test in vectors.answers {
            let context = string(test.utf16)
            let outputs = TextOutputs(
                floats: ["score": [test.score], "no_answer_score": [test.no_answer_score]],
                ints: ["answer_start": [test.answer_start], "answer_end": [test.answer_end]],
                labels: nil)
            let answer = Answer(in: context, outputs)
            XCTAssertEqual(answer.text, test.answer)
            XCTAssertEqual(String(context[answer.range]), test.answer)
            XCTAssertEqual(answer.score, test.score)
            XCTAssertEqual(answer.noAnswerScore, test.no_answer_score)
        }
    }
}
