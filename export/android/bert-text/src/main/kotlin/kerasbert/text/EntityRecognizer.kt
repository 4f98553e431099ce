package kerasbert.text

import android.content.Context
import java.io.File

/**
 * Finds names, places and the like in texts.
 *
 *     val recognizer = EntityRecognizer(context, "model.tflite")
 *     recognizer.recognize("Anna lives in Kraków")  // [Entity(text=Anna, label=PER, ...), ...]
 */
class EntityRecognizer(val model: TextModel) : AutoCloseable by model {
    constructor(context: Context, asset: String) : this(TextModel(context, asset))

    constructor(file: File) : this(TextModel(file))

    /**
     * Returns the entities of a text, in the order of the text.
     *
     * @throws TextModelException if the file is no token classifier.
     */
    suspend fun recognize(text: String): List<Entity> = decodeEntities(text, model.run(text, null, FLOATS, INTS))

    private companion object {
        val FLOATS = listOf("entity_scores")
        val INTS = listOf("entity_starts", "entity_ends", "entity_labels", "entity_count", "truncated")
    }
}
