package com.google.ai.edge.litert

import android.content.res.AssetManager
import java.io.BufferedReader
import java.io.BufferedWriter
import java.io.File
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.float
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

// What the kit uses of LiteRT's Kotlin API, 2.3, on the LiteRT of a Python process.

enum class Accelerator { NONE, CPU, GPU, NPU }

class LiteRtException(message: String) : Exception(message)

class TensorBuffer internal constructor(internal val shape: Int, internal val type: String) : AutoCloseable {
    internal var values: List<Number> = List(shape) { 0 }
    private var closed = false

    fun writeInt(data: IntArray) = use("int32") { values = data.toList() }

    fun readInt(): IntArray = use("int32") { IntArray(shape) { values[it].toInt() } }

    fun readFloat(): FloatArray = use("float32") { FloatArray(shape) { values[it].toFloat() } }

    override fun close() {
        closed = true
    }

    private fun <T> use(type: String, action: () -> T): T {
        check(!closed) { "The handle has been destroyed." }
        if (this.type != type) throw LiteRtException("is $type, not ${this.type}")
        return action()
    }
}

class CompiledModel private constructor(path: String) : AutoCloseable {
    class Options(vararg val accelerators: Accelerator)

    private val process: Process = ProcessBuilder(
        System.getProperty("python"),
        System.getProperty("litert"),
        path,
    ).redirectError(ProcessBuilder.Redirect.DISCARD).start()
    private val writer: BufferedWriter = process.outputStream.bufferedWriter()
    private val reader: BufferedReader = process.inputStream.bufferedReader()
    private val signature: JsonObject =
        reader.readLine()?.let { Json.parseToJsonElement(it).jsonObject } ?: throw LiteRtException("invalid file")
    private var closed = false
    private var running = false

    fun createInputBuffer(inputName: String, signature: String? = null) = buffer("inputs", inputName, signature)

    fun createOutputBuffer(outputName: String, signature: String? = null) = buffer("outputs", outputName, signature)

    private fun buffer(kind: String, name: String, key: String?): TensorBuffer {
        check(!closed) { "The handle has been destroyed." }
        val tensor = signature.getValue(kind).jsonObject[name]?.jsonArray
        if (tensor == null || key != "serving_default") throw LiteRtException("Failed to find $name")
        return TensorBuffer(tensor[0].jsonPrimitive.int, tensor[1].jsonPrimitive.content)
    }

    fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String? = null) {
        check(!closed && !running) { "Called from two threads, or after close." }
        running = true
        for ((kind, given) in mapOf("inputs" to inputs, "outputs" to outputs)) {
            val missing = this.signature.getValue(kind).jsonObject.keys - given.keys
            if (missing.isNotEmpty()) throw LiteRtException("The map is missing some $kind: $missing")
        }
        val request = inputs.mapValues { (_, buffer) -> JsonArray(buffer.values.map { JsonPrimitive(it) }) }
        writer.write(JsonObject(request).toString() + "\n")
        writer.flush()
        val answer = Json.parseToJsonElement(reader.readLine()).jsonObject
        for ((name, buffer) in outputs) {
            buffer.values = answer.getValue(name).jsonArray.map {
                if (buffer.type == "int32") it.jsonPrimitive.int else it.jsonPrimitive.float
            }
        }
        running = false
    }

    override fun close() {
        check(!running) { "Closed while running." }
        closed = true
        process.destroy()
    }

    companion object {
        fun create(assetManager: AssetManager, assetName: String, options: Options): CompiledModel =
            create(File(AssetManager.directory, assetName).path, options)

        fun create(filePath: String, options: Options): CompiledModel {
            check(options.accelerators.contentEquals(arrayOf(Accelerator.CPU)))
            return CompiledModel(filePath)
        }
    }
}
