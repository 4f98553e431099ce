package kerasbert.text

import android.content.Context
import java.io.File

/**
 * Answers questions by a part of a context.
 *
 *     val answerer = QuestionAnswerer(context, "model.tflite")
 *     answerer.answer("Where does Anna live?", "Anna lives in Kraków.")  // Answer(text=Kraków, ...)
 */
class QuestionAnswerer(val model: TextModel) : AutoCloseable by model {
    constructor(context: Context, asset: String) : this(TextModel(context, asset))

    constructor(file: File) : this(TextModel(file))

    /**
     * Returns the answer to a question.
     *
     * @throws TextModelException if the file is no question answerer.
     */
    suspend fun answer(question: String, context: String): Answer =
        decodeAnswer(context, model.run(question, context, FLOATS, INTS))

    private companion object {
        val FLOATS = listOf("score", "no_answer_score")
        val INTS = listOf("answer_start", "answer_end", "truncated")
    }
}
