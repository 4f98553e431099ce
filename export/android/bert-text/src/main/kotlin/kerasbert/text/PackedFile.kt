package kerasbert.text

import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val END = 0x06054b50 // signatures of a zip archive's records
private const val ENTRY = 0x02014b50
private const val LOCAL = 0x04034b50

/** Whether these are the bytes of a TFLite file. */
internal fun isTflite(file: ByteBuffer): Boolean =
    file.limit() >= 8 && String(file.bytes(4, 4), Charsets.US_ASCII) == "TFL3"

/**
 * Whether a TFLite file is whole: those of this library end as a zip archive does.
 *
 * LiteRT does not look, and crashes the app where a file ends early, as a broken download does.
 */
internal fun isWhole(file: ByteBuffer): Boolean = endRecord(file) != null

/**
 * Returns the lines of a file packed into a `.tflite`, which is a zip archive too; null without it.
 *
 * Android's own zip classes want a whole file, and a model in an APK is a part of one.
 */
internal fun packedLines(file: ByteBuffer, name: String): List<String>? {
    val zip = file.duplicate().order(ByteOrder.LITTLE_ENDIAN)
    val end = endRecord(file) ?: return null
    try {
        // Places in the archive count from here; zero in the files of most writers.
        val base = end - zip.getInt(end + 12) - zip.getInt(end + 16)
        var entry = base + zip.getInt(end + 16)
        while (entry + 46 <= end && zip.getInt(entry) == ENTRY) {
            val nameSize = zip.u16(entry + 28)
            if (String(zip.bytes(entry + 46, nameSize), Charsets.UTF_8) == name) {
                val local = base + zip.getInt(entry + 42)
                require(zip.u16(entry + 10) == 0 && zip.getInt(local) == LOCAL) // not compressed
                val start = local + 30 + zip.u16(local + 26) + zip.u16(local + 28)
                val text = String(zip.bytes(start, zip.getInt(entry + 24)), Charsets.UTF_8)
                return text.removeSuffix("\n").split("\n")
            }
            entry += 46 + nameSize + zip.u16(entry + 30) + zip.u16(entry + 32)
        }
        return null
    } catch (error: RuntimeException) { // a place outside the file, too
        throw TextModelException("$name in the model file is compressed or damaged. Export the model again.", error)
    }
}

/** Returns where the last record of a zip archive starts; null if the file does not end with one. */
private fun endRecord(file: ByteBuffer): Int? {
    val zip = file.duplicate().order(ByteOrder.LITTLE_ENDIAN)
    return (zip.limit() - 22 downTo maxOf(0, zip.limit() - 22 - 0xFFFF)).firstOrNull {
        zip.getInt(it) == END && it + 22 + zip.u16(it + 20) == zip.limit()
    }
}

private fun ByteBuffer.u16(at: Int) = getShort(at).toInt() and 0xFFFF

private fun ByteBuffer.bytes(at: Int, size: Int): ByteArray {
    require(size >= 0 && at + size <= limit())
    val bytes = ByteArray(size)
    val view = duplicate()
    view.position(at)
    view.get(bytes)
    return bytes
}
