package kerasbert.sample

import android.app.Activity
import android.os.Bundle
import android.text.Editable
import android.text.TextWatcher
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.TextView
import kerasbert.text.TextClassifier
import kerasbert.text.TextModelException
import kotlinx.coroutines.Job
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch

/** Type, and see the label of what you typed. */
class MainActivity : Activity() {
    private val scope = MainScope()
    private val classifier by lazy { TextClassifier(this, "model.tflite") }
    private lateinit var answer: TextView
    private var job: Job? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        answer = TextView(this).apply { textSize = 20f }
        val input = EditText(this).apply { hint = "Type a text" }
        input.addTextChangedListener(
            object : TextWatcher {
                override fun beforeTextChanged(s: CharSequence?, start: Int, count: Int, after: Int) = Unit

                override fun onTextChanged(s: CharSequence?, start: Int, before: Int, count: Int) = Unit

                override fun afterTextChanged(s: Editable?) = show(s.toString())
            },
        )
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                fitsSystemWindows = true
                setPadding(48, 48, 48, 48)
                addView(input)
                addView(answer)
            },
        )
    }

    private fun show(text: String) {
        job?.cancel() // only the newest text matters
        job = scope.launch {
            answer.text = try {
                val result = classifier.classify(text)
                result.scores.joinToString("\n") { "%s  %.3f".format(it.label, it.score) }
            } catch (error: TextModelException) {
                error.message
            }
        }
    }

    override fun onDestroy() {
        scope.cancel()
        classifier.close()
        super.onDestroy()
    }
}
