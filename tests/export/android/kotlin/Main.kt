package kerasbert.text

import android.content.Context
import java.io.File
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/**
 * Runs the kit's own tests and then what a file asks for, and prints the answers as JSON.
 *
 * The requests to one model are made all at once; each list of them is one model's.
 */
fun main(args: Array<String>) = runBlocking(Dispatchers.Default) {
    val tests = VectorsTest()
    for (method in VectorsTest::class.java.methods.filter { it.isAnnotationPresent(org.junit.Test::class.java) }) {
        method.invoke(tests)
        System.err.println("passed ${method.name}")
    }
    val answers = Json.parseToJsonElement(File(args[0]).readText()).jsonArray.map { model ->
        val name = model.jsonObject.getValue("model").jsonPrimitive.content
        val text = if ('/' in name) TextModel(File(name)) else TextModel(Context(), name)
        val task = model.jsonObject.getValue("task").jsonPrimitive.content
        val requests = model.jsonObject.getValue("requests").jsonArray
        val answers = requests.map { async { answer(text, task, it.jsonArray) } }.awaitAll()
        text.close()
        JsonArray(answers + answer(text, task, requests[0].jsonArray))
    }
    println(JsonArray(answers))
}

private suspend fun answer(model: TextModel, task: String, texts: JsonArray): JsonElement {
    val text = texts[0].jsonPrimitive.content
    val pair = texts[1].jsonPrimitive.contentOrNull
    return try {
        when (task) {
            "classify" -> TextClassifier(model).classify(text, pair).let { answer ->
                json(
                    "label" to answer.label,
                    "score" to answer.score,
                    "truncated" to answer.truncated,
                    "scores" to JsonArray(answer.scores.map { json("label" to it.label, "score" to it.score) }),
                )
            }
            "recognize" -> JsonArray(
                EntityRecognizer(model).recognize(text).map {
                    val place = arrayOf("start" to it.start, "end" to it.end)
                    json("text" to it.text, "label" to it.label, "score" to it.score, *place)
                },
            )
            "answer" -> QuestionAnswerer(model).answer(text, pair!!).let {
                json("answer" to it.text, "score" to it.score, "start" to it.start, "end" to it.end)
            }
            else -> JsonArray(TextEmbedder(model).embed(text).map { JsonPrimitive(it) })
        }
    } catch (error: TextModelException) {
        json("error" to error.message)
    } catch (error: IllegalStateException) {
        json("closed" to error.message)
    }
}

private fun json(vararg pairs: Pair<String, Any?>) = JsonObject(
    pairs.associate { (name, value) ->
        name to when (value) {
            is JsonElement -> value
            is Number -> JsonPrimitive(value)
            is Boolean -> JsonPrimitive(value)
            is String -> JsonPrimitive(value)
            else -> JsonNull
        }
    },
)
