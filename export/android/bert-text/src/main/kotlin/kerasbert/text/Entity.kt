package kerasbert.text

/**
 * A name, place or the like in a text.
 *
 * @property text as it stands there: `text.substring(start, end)`.
 * @property label its type.
 * @property score its probability.
 * @property start where it starts, counted as String does.
 * @property end where it ends, exclusive.
 */
data class Entity(val text: String, val label: String, val score: Float, val start: Int, val end: Int)

internal fun decodeEntities(text: String, outputs: TextOutputs): List<Entity> =
    List(outputs.ints.getValue("entity_count")[0]) { i ->
        val start = utf16Index(text, outputs.ints.getValue("entity_starts")[i])
        val end = utf16Index(text, outputs.ints.getValue("entity_ends")[i])
        val label = outputs.label(outputs.ints.getValue("entity_labels")[i])
        Entity(text.substring(start, end), label, outputs.floats.getValue("entity_scores")[i], start, end)
    }
