package kerasbert.text

/**
 * What a file says of a text, by the names of its outputs.
 *
 * @property floats outputs of float32.
 * @property ints outputs of int32.
 * @property labels the labels in the file, if there are any.
 */
class TextOutputs(
    val floats: Map<String, FloatArray>,
    val ints: Map<String, IntArray>,
    val labels: List<String>?,
) {
    /** Whether the end of the text was cut off: it was longer than the file takes. */
    val truncated: Boolean get() = ints.getValue("truncated")[0] != 0

    /** The name of a label; its number where the file has no names. */
    fun label(index: Int): String = labels?.getOrNull(index) ?: index.toString()
}
