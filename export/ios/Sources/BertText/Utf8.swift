/// Returns a text as the file takes it: its UTF-8 bytes, one in each number, zero-padded.
///
/// One that is too long is cut between characters, and spaces fill the last places: by those the
/// file knows that it was cut.
func utf8Codes(_ text: String, maxBytes: Int) -> [Int32] {
    var codes: [Int32] = []
    codes.reserveCapacity(maxBytes)
    var padding: Int32 = 0
    for scalar in text.unicodeScalars {
        if codes.count + UTF8.width(scalar) > maxBytes {
            padding = 0x20
            break
        }
        codes.append(contentsOf: String(scalar).utf8.map(Int32.init))
    }
    return codes + [Int32](repeating: padding, count: maxBytes - codes.count)
}

/// Returns where in a String the character stands that starts at a place in its UTF-8 bytes.
func index(in text: String, atByte offset: Int) -> String.Index {
    text.utf8.index(text.startIndex, offsetBy: offset, limitedBy: text.endIndex) ?? text.endIndex
}
