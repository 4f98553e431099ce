package kerasbert.text

import android.content.Context
import java.io.File

/**
 * Gives texts labels.
 *
 *     val classifier = TextClassifier(context, "model.tflite")
 *     val answer = classifier.classify("a fine film")  // Classification(label=pos, score=0.98, ...)
 *     classifier.close()
 */
class TextClassifier(val model: TextModel) : AutoCloseable by model {
    constructor(context: Context, asset: String) : this(TextModel(context, asset))

    constructor(file: File) : this(TextModel(file))

    /**
     * Returns the label of a text, or of two where the model takes pairs.
     *
     * @throws TextModelException if the file is no classifier, or takes pairs and got none.
     */
    suspend fun classify(text: String, textPair: String? = null): Classification =
        decodeClassification(model.run(text, textPair, listOf("probabilities"), listOf("truncated")))
}
