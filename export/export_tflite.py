"""Exports the model of any task as a TFLite file that takes text.

python export/export_tflite.py --model=my-classifier --output=my-classifier.tflite
"""

import sys

from absl import app, flags

import keras_bert_lib as kbl
from keras_bert_lib.cli import artifact
from keras_bert_lib.export.quantization import MODES

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "Directory of a fine-tuned model.", required=True)
flags.DEFINE_string("output", None, "File to write.", required=True)
flags.DEFINE_enum("quantization", "dynamic_int8", MODES, "How the numbers are stored.")
flags.DEFINE_enum("interface", "text", ["text", "tokens", "mediapipe"], "What the file takes.")
flags.DEFINE_integer("max_bytes", 512, "Most bytes of a text.", lower_bound=8)
flags.DEFINE_integer(
    "max_length",
    None,
    "Most tokens of a text; all positions by default, and 128 at most with --interface=tokens.",
)
flags.DEFINE_bool("pairs", False, "Whether a classifier takes pairs of texts.")
flags.DEFINE_integer("choices", None, "How many choices a text has, for multiple choice.")
flags.DEFINE_string(
    "calibration_texts",
    None,
    "File of texts as the model will see them, one a line (pairs and choices parted by tabs). "
    "int8, int16x8 and int4 need it.",
)
flags.DEFINE_bool("overwrite", False, "Replace what stands at --output.")


def main(_):
    """Loads, exports, and says what to do next."""
    try:
        model = artifact.load_model(FLAGS.model)
        kbl.export.tflite(
            model,
            FLAGS.output,
            quantization=FLAGS.quantization,
            interface=FLAGS.interface,
            max_bytes=FLAGS.max_bytes,
            max_length=FLAGS.max_length,
            pairs=FLAGS.pairs,
            choices=FLAGS.choices,
            calibration_texts=read_texts(FLAGS.calibration_texts),
            overwrite=FLAGS.overwrite,
        )
    except (OSError, ValueError) as error:
        print(f"export_tflite: error: {error}", file=sys.stderr)
        return 2
    print(f"Wrote {FLAGS.output}.")
    if FLAGS.interface == "text":
        print(f'Try it: keras-bert predict {FLAGS.output} "some text"')
    return 0


def read_texts(path):
    """Returns the lines of a file, those with tabs as (text, text_pair) or (text, choices)."""
    if path is None:
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    if FLAGS.choices:
        return [(text, choices) for text, *choices in rows]
    return [tuple(row) if len(row) > 1 else row[0] for row in rows]


if __name__ == "__main__":
    app.run(main)
