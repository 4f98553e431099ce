"""Exports a fine-tuned model directory as a TFLite file that takes text.

python export/export_tflite.py --model=my-classifier --output=my-classifier.tflite
"""

import sys

from absl import app, flags

import keras_bert_lib as kbl

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "Directory of a fine-tuned classifier.", required=True)
flags.DEFINE_string("output", None, "File to write.", required=True)
flags.DEFINE_enum(
    "quantization",
    "dynamic_int8",
    ["none", "float16", "dynamic_int8"],
    "How the weights are stored.",
)
flags.DEFINE_enum("interface", "text", ["text", "tokens"], "What the file takes.")
flags.DEFINE_integer("max_bytes", 512, "Most bytes of a text.", lower_bound=1)
flags.DEFINE_integer(
    "max_length", None, "Most tokens of a text; 128 by default, or fewer positions."
)
flags.DEFINE_bool("pairs", False, "Whether the model takes pairs of texts.")
flags.DEFINE_bool("overwrite", False, "Replace what stands at --output.")


def main(_):
    """Loads, exports, and says what to do next."""
    try:
        classifier = kbl.BertClassifier.from_pretrained(FLAGS.model)
        kbl.export.tflite(
            classifier,
            FLAGS.output,
            quantization=FLAGS.quantization,
            interface=FLAGS.interface,
            max_bytes=FLAGS.max_bytes,
            max_length=FLAGS.max_length,
            pairs=FLAGS.pairs,
            overwrite=FLAGS.overwrite,
        )
    except (OSError, ValueError) as error:
        print(f"export_tflite: error: {error}", file=sys.stderr)
        return 2
    print(f'Wrote {FLAGS.output}. Try it: keras-bert predict {FLAGS.output} "some text"')
    return 0


if __name__ == "__main__":
    app.run(main)
