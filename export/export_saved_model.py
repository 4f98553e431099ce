"""Exports the model of any task as a SavedModel that takes text.

python export/export_saved_model.py --model=my-classifier --output=serving/1
"""

import sys

from absl import app, flags

import keras_bert_lib as kbl
from keras_bert_lib.cli import artifact

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "Directory of a fine-tuned model.", required=True)
flags.DEFINE_string(
    "output",
    None,
    "Directory to write: serving/name, serving/name/1.",
    required=True,
)
flags.DEFINE_integer("max_length", None, "Most tokens of a text; all positions by default.")
flags.DEFINE_bool("pairs", False, "Whether a classifier takes pairs of texts.")
flags.DEFINE_bool("overwrite", False, "Replace what stands at --output.")


def main(_):
    """Loads, exports, and says what to do next."""
    try:
        model = artifact.load_model(FLAGS.model)
        path = kbl.export.saved_model(
            model,
            FLAGS.output,
            max_length=FLAGS.max_length,
            pairs=FLAGS.pairs,
            overwrite=FLAGS.overwrite,
        )
    except (OSError, ValueError) as error:
        print(f"export_saved_model: error: {error}", file=sys.stderr)
        return 2
    print(f'Wrote {path}. Try it: keras-bert predict {path} "some text"')
    return 0


if __name__ == "__main__":
    app.run(main)
