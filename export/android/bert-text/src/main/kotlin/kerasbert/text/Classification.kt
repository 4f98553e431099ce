package kerasbert.text

/**
 * The label of a text.
 *
 * @property label the best label.
 * @property score its probability.
 * @property scores all labels, best first; where a text may have several, those above 0.5 are its.
 * @property truncated whether the end of the text was cut off: it was longer than the file takes.
 */
data class Classification(
    val label: String,
    val score: Float,
    val scores: List<Scored>,
    val truncated: Boolean,
) {
    /** A label and its probability. */
    data class Scored(val label: String, val score: Float)
}

internal fun decodeClassification(outputs: TextOutputs): Classification {
    val scores = outputs.floats.getValue("probabilities")
        .mapIndexed { i, score -> Classification.Scored(outputs.label(i), score) }
        .sortedByDescending { it.score }
    return Classification(scores[0].label, scores[0].score, scores, outputs.truncated)
}
