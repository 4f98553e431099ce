package kerasbert.text

/**
 * Returns a text as the file takes it: its UTF-8 bytes, one in each int, zero-padded.
 *
 * One that is too long is cut between characters, and spaces fill the last places: by those the
 * file knows that it was cut. Half a surrogate pair, which UTF-8 has no bytes for, becomes the three
 * bytes of its number; the file drops it as a control character.
 */
internal fun utf8Codes(text: String, maxBytes: Int): IntArray {
    val codes = IntArray(maxBytes)
    var at = 0
    var i = 0
    while (i < text.length) {
        val point = text.codePointAt(i)
        val size = utf8Size(point)
        if (at + size > maxBytes) {
            codes.fill(' '.code, at)
            break
        }
        when (size) {
            1 -> codes[at] = point
            2 -> codes[at] = 0xC0 or (point shr 6)
            3 -> codes[at] = 0xE0 or (point shr 12)
            4 -> codes[at] = 0xF0 or (point shr 18)
        }
        for (k in 1 until size) {
            codes[at + k] = 0x80 or (point shr 6 * (size - 1 - k) and 0x3F)
        }
        at += size
        i += Character.charCount(point)
    }
    return codes
}

/** Returns where in a String the character stands that starts at a place in its UTF-8 bytes. */
internal fun utf16Index(text: String, byteOffset: Int): Int {
    var bytes = 0
    var i = 0
    while (i < text.length && bytes < byteOffset) {
        val point = text.codePointAt(i)
        bytes += utf8Size(point)
        i += Character.charCount(point)
    }
    return i
}

private fun utf8Size(point: Int) = when {
    point < 0x80 -> 1
    point < 0x800 -> 2
    point < 0x10000 -> 3
    else -> 4
}
