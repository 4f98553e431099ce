package kerasbert.text

/**
 * The answer to a question, a part of the context.
 *
 * @property text as it stands in the context: `context.substring(start, end)`; empty if the context
 *   has no answer.
 * @property start where it starts, counted as String does.
 * @property end where it ends, exclusive.
 * @property score its probability; that of there being no answer where there is none.
 * @property noAnswerScore the probability that there is none, to set a bound of one's own.
 */
data class Answer(val text: String, val start: Int, val end: Int, val score: Float, val noAnswerScore: Float)

internal fun decodeAnswer(context: String, outputs: TextOutputs): Answer {
    val start = utf16Index(context, outputs.ints.getValue("answer_start")[0])
    val end = utf16Index(context, outputs.ints.getValue("answer_end")[0])
    return Answer(
        context.substring(start, end),
        start,
        end,
        outputs.floats.getValue("score")[0],
        outputs.floats.getValue("no_answer_score")[0],
    )
}
