package kerasbert.text

import android.content.Context
import java.io.File

/**
 * Makes vectors of texts, near each other where the texts mean the same.
 *
 *     val embedder = TextEmbedder(context, "model.tflite")
 *     embedder.embed("a fine film")  // FloatArray(384)
 */
class TextEmbedder(val model: TextModel) : AutoCloseable by model {
    constructor(context: Context, asset: String) : this(TextModel(context, asset))

    constructor(file: File) : this(TextModel(file))

    /**
     * Returns the vector of a text.
     *
     * @throws TextModelException if the file is no embedder.
     */
    suspend fun embed(text: String): FloatArray =
        model.run(text, null, listOf("embedding"), listOf("truncated")).floats.getValue("embedding")
}
