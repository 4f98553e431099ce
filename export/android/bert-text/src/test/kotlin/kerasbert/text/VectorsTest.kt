package kerasbert.text

import java.nio.ByteBuffer
import java.util.Base64
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.boolean
import kotlinx.serialization.json.float
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

/** Compares with what Python does; vectors.json says with what. */
class VectorsTest {
    private val vectors = Json.parseToJsonElement(
        javaClass.getResource("/vectors.json")!!.readText(),
    ).jsonObject

    @Test
    fun packsTextsAsPython() = each("utf8") { case ->
        val text = case.text().repeat(case.int("repeat"))
        val expected = IntArray(case.int("max_bytes"))
        case.string("codes").chunked(2).forEachIndexed { i, code -> expected[i] = code.toInt(16) }
        assertArrayEquals(expected, utf8Codes(text, case.int("max_bytes")))
    }

    @Test
    fun findsPlacesAsPython() = each("spans") { case ->
        assertEquals(case.int("utf16_start"), utf16Index(case.text(), case.int("start")))
        assertEquals(case.int("utf16_end"), utf16Index(case.text(), case.int("end")))
    }

    @Test
    fun readsPackedLines() = each("packed") { case ->
        val file = ByteBuffer.wrap(Base64.getDecoder().decode(case.string("base64")))
        assertEquals(case.getValue("tflite").jsonPrimitive.boolean, isTflite(file))
        assertEquals(case.getValue("whole").jsonPrimitive.boolean, isWhole(file))
        assertEquals(case.strings("lines"), packedLines(file, "labels.txt"))
        assertEquals(null, packedLines(file, "label"))
        for (end in 0 until file.limit()) { // a download that broke off
            assertEquals(false, isWhole(ByteBuffer.wrap(file.array(), 0, end).slice()))
        }
        for (i in 0 until file.limit()) { // a damaged one
            val damaged = file.array().copyOf()
            damaged[i] = (damaged[i].toInt() xor 0xFF).toByte()
            try {
                packedLines(ByteBuffer.wrap(damaged), "labels.txt")
            } catch (_: TextModelException) { // and nothing else
            }
        }
    }

    @Test
    fun classifies() = each("classifications") { case ->
        val probabilities = case.floats("probabilities")
        val outputs = TextOutputs(
            mapOf("probabilities" to probabilities),
            mapOf("truncated" to intArrayOf(1)),
            case.strings("labels"),
        )
        val answer = decodeClassification(outputs)
        assertEquals(case.strings("best"), answer.scores.map { it.label })
        assertEquals(answer.scores[0].label, answer.label)
        assertEquals(probabilities.max(), answer.score)
        assertEquals(true, answer.truncated)
    }

    @Test
    fun findsEntities() = each("entities") { case ->
        val ints = listOf("entity_starts", "entity_ends", "entity_labels").associateWith { case.ints(it) } +
            ("entity_count" to intArrayOf(case.int("entity_count")))
        val scores = case.floats("entity_scores")
        val outputs = TextOutputs(mapOf("entity_scores" to scores), ints, case.strings("labels"))
        val entities = decodeEntities(case.text(), outputs)
        assertEquals(case.strings("names"), entities.map { it.text })
        assertEquals(case.strings("types"), entities.map { it.label })
        assertEquals(scores.take(entities.size), entities.map { it.score })
        for (entity in entities) assertEquals(entity.text, case.text().substring(entity.start, entity.end))
    }

    @Test
    fun findsAnswers() = each("answers") { case ->
        val ints = listOf("answer_start", "answer_end").associateWith { intArrayOf(case.int(it)) }
        val floats = listOf("score", "no_answer_score").associateWith { floatArrayOf(case.float(it)) }
        val answer = decodeAnswer(case.text(), TextOutputs(floats, ints, null))
        assertEquals(case.string("answer"), answer.text)
        assertEquals(answer.text, case.text().substring(answer.start, answer.end))
        assertEquals(case.float("score"), answer.score)
        assertEquals(case.float("no_answer_score"), answer.noAnswerScore)
    }

    private fun each(name: String, check: (JsonObject) -> Unit) =
        vectors.getValue(name).jsonArray.forEach { check(it.jsonObject) }

    private fun JsonObject.text() = String(ints("utf16").map { it.toChar() }.toCharArray())

    private fun JsonObject.int(name: String) = getValue(name).jsonPrimitive.int

    private fun JsonObject.float(name: String) = getValue(name).jsonPrimitive.float

    private fun JsonObject.string(name: String) = getValue(name).jsonPrimitive.content

    private fun JsonObject.ints(name: String) = list(name).map { it.jsonPrimitive.int }.toIntArray()

    private fun JsonObject.floats(name: String) = list(name).map { it.jsonPrimitive.float }.toFloatArray()

    private fun JsonObject.strings(name: String): List<String>? =
        if (getValue(name) is JsonNull) null else list(name).map { it.jsonPrimitive.content }

    private fun JsonObject.list(name: String): List<JsonElement> = getValue(name) as JsonArray
}
