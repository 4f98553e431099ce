package kerasbert.text

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException
import com.google.ai.edge.litert.TensorBuffer
import java.io.File
import java.io.FileInputStream
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.channels.FileChannel.MapMode.READ_ONLY
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext

private const val SIGNATURE = "serving_default"

/**
 * A `.tflite` file with the text interface: text in, named outputs out.
 *
 * Making one costs nothing; the file is loaded off the calling thread at the first [run] or [load].
 * All functions may be called from any thread: texts are run one after another. [close] waits for
 * the one that is running. [TextClassifier] and its siblings make answers of the outputs.
 */
class TextModel private constructor(
    private val name: String,
    private val map: () -> ByteBuffer,
    private val compile: (CompiledModel.Options) -> CompiledModel,
) : AutoCloseable {
    /** A model among the app's assets. Gradle must not compress it, `noCompress += "tflite"`. */
    constructor(context: Context, asset: String) : this(
        asset,
        {
            context.assets.openFd(asset).use { part ->
                FileInputStream(part.fileDescriptor).use { it.channel.map(READ_ONLY, part.startOffset, part.length) }
            }
        },
        { CompiledModel.create(context.assets, asset, it) },
    )

    /** A model in a file, such as a downloaded one. */
    constructor(file: File) : this(
        file.name,
        { FileInputStream(file).use { it.channel.map(READ_ONLY, 0, file.length()) } },
        { CompiledModel.create(file.path, it) },
    )

    private val worker = Dispatchers.Default.limitedParallelism(1)
    private var loaded: Loaded? = null
    private var closed = false

    /** Loads the file before its first text comes; else that one waits for it. */
    suspend fun load() {
        withContext(worker) { loadNow() }
    }

    /**
     * Runs the file on a text.
     *
     * @param text a text; what is longer than the file takes is cut off.
     * @param textPair the second text, for files that take pairs.
     * @param floats names of all its outputs of float32.
     * @param ints names of all its outputs of int32.
     * @throws TextModelException if the file cannot be loaded, does not take this or lacks an output.
     */
    suspend fun run(text: String, textPair: String?, floats: List<String>, ints: List<String>): TextOutputs =
        withContext(worker) { runNow(text, textPair, floats, ints) }

    /** Frees the model. Using it again throws an IllegalStateException. */
    @Synchronized
    override fun close() {
        closed = true
        loaded?.close()
        loaded = null
    }

    @Synchronized
    private fun runNow(text: String, textPair: String?, floats: List<String>, ints: List<String>): TextOutputs {
        val model = loadNow()
        if ((textPair != null) != ("text_pair" in model.inputs)) {
            val what = if (textPair == null) "pairs of texts" else "single texts"
            throw TextModelException("$name takes $what.")
        }
        try {
            model.inputs.getValue("text").writeInt(utf8Codes(text, model.maxBytes))
            if (textPair != null) model.inputs.getValue("text_pair").writeInt(utf8Codes(textPair, model.maxBytes))
            val outputs = (floats + ints).associateWith { model.output(it) }
            model.compiled.run(model.inputs, outputs, SIGNATURE)
            return TextOutputs(
                floats.associateWith { outputs.getValue(it).readFloat() },
                ints.associateWith { outputs.getValue(it).readInt() },
                model.labels,
            )
        } catch (error: LiteRtException) {
            throw TextModelException("$name could not be run: ${error.message}", error)
        }
    }

    @Synchronized
    private fun loadNow(): Loaded {
        check(!closed) { "$name is closed." }
        return loaded ?: open().also { loaded = it }
    }

    private fun open(): Loaded {
        val file = try {
            map()
        } catch (error: IOException) {
            throw TextModelException(
                "$name cannot be opened. Is it there, and as an asset not compressed " +
                    "(noCompress += \"tflite\")? ${error.message}",
                error,
            )
        }
        if (!isTflite(file)) throw TextModelException("$name is not a TFLite file.")
        if (!isWhole(file)) throw TextModelException("$name is not whole. Download or export it again.")
        val labels = packedLines(file, "labels.txt")
        val compiled = try {
            compile(CompiledModel.Options(Accelerator.CPU))
        } catch (error: LiteRtException) {
            throw TextModelException(
                "$name cannot be loaded: it is damaged, or newer than this LiteRT. ${error.message}",
                error,
            )
        }
        try {
            val text = compiled.input("text") ?: throw TextModelException(
                "$name does not take text. Export it with interface=\"text\".",
            )
            val pair = compiled.input("text_pair")
            val inputs = if (pair == null) mapOf("text" to text) else mapOf("text" to text, "text_pair" to pair)
            return Loaded(name, compiled, inputs, labels)
        } catch (error: TextModelException) {
            compiled.close()
            throw error
        }
    }

    private fun CompiledModel.input(name: String): TensorBuffer? = try {
        createInputBuffer(name, SIGNATURE)
    } catch (_: LiteRtException) { // there is no list of the names to ask
        null
    }

    private class Loaded(
        val name: String,
        val compiled: CompiledModel,
        val inputs: Map<String, TensorBuffer>,
        val labels: List<String>?,
    ) : AutoCloseable {
        val maxBytes = inputs.getValue("text").readInt().size
        private val outputs = mutableMapOf<String, TensorBuffer>()

        fun output(output: String): TensorBuffer = outputs.getOrPut(output) {
            try {
                compiled.createOutputBuffer(output, SIGNATURE)
            } catch (error: LiteRtException) {
                throw TextModelException("$name is for another task: it has no output `$output`.", error)
            }
        }

        override fun close() {
            (inputs.values + outputs.values).forEach { it.close() }
            compiled.close()
        }
    }
}
