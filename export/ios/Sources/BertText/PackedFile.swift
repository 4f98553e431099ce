import Foundation

/// Whether these are the bytes of a TFLite file.
func isTflite(_ file: Data) -> Bool {
    file.count >= 8 && file.dropFirst(4).prefix(4).elementsEqual("TFL3".utf8)
}

/// Whether a TFLite file is whole: those of this library end as a zip archive does.
///
/// LiteRT does not look, and crashes the app where a file ends early, as a broken download does.
func isWhole(_ file: Data) -> Bool {
    endRecord(file) != nil
}

/// Returns the lines of a file packed into a `.tflite`, which is a zip archive too; nil without it.
///
/// Foundation opens no zip archives.
func packedLines(_ file: Data, _ name: String) throws -> [String]? {
    guard let end = endRecord(file) else { return nil }
    let directory = try file.number(at: end + 16, size: 4)
    // Places in the archive count from here; zero in the files of most writers.
    let base = try end - file.number(at: end + 12, size: 4) - directory
    var entry = base + directory
    while try entry + 46 <= end && file.number(at: entry, size: 4) == 0x0201_4b50 {
        let nameSize = try file.number(at: entry + 28, size: 2)
        if try file.bytes(at: entry + 46, size: nameSize).elementsEqual(name.utf8) {
            let local = try base + file.number(at: entry + 42, size: 4)
            guard try file.number(at: entry + 10, size: 2) == 0,
                try file.number(at: local, size: 4) == 0x0403_4b50
            else {
                throw TextModelError("\(name) in the model file is compressed or damaged. Export the model again.")
            }
            let start = try local + 30 + file.number(at: local + 26, size: 2) + file.number(at: local + 28, size: 2)
            let content = try file.bytes(at: start, size: file.number(at: entry + 24, size: 4))
            var lines = content.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            if lines.last?.isEmpty == true { lines.removeLast() }
            return lines.map { String(decoding: $0, as: UTF8.self) }
        }
        entry += try 46 + nameSize + file.number(at: entry + 30, size: 2) + file.number(at: entry + 32, size: 2)
    }
    return nil
}

/// Returns where the last record of a zip archive starts; nil if the file does not end with one.
private func endRecord(_ file: Data) -> Int? {
    guard file.count >= 22 else { return nil }
    let lowest = max(0, file.count - 22 - 0xFFFF)
    return try? stride(from: file.count - 22, through: lowest, by: -1).first {
        try file.number(at: $0, size: 4) == 0x0605_4b50
            && $0 + 22 + file.number(at: $0 + 20, size: 2) == file.count
    }
}

extension Data {
    fileprivate func bytes(at start: Int, size: Int) throws -> Data {
        guard start >= 0, size >= 0, start + size <= count else {
            throw TextModelError("The files packed into the model file are damaged. Export the model again.")
        }
        return self[startIndex + start..<startIndex + start + size]
    }

    /// A number as zip archives write them, the lowest byte first.
    fileprivate func number(at start: Int, size: Int) throws -> Int {
        try bytes(at: start, size: size).reversed().reduce(0) { $0 << 8 | Int($1) }
    }
}
