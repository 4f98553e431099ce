"""Scores a corpus with a SavedModel: one line of JSON for each text.

    python examples/batch_predict.py serving/sentiment/1 scores 'corpus/*.jsonl.gz'

Files hold a text a line, or are tables (.csv, .tsv, .jsonl) with a column `text`; gzip is fine.
Each is a shard: it becomes `scores/<name>.jsonl`, with an answer a row, in the order of the rows,
and appears there when it is whole. After an interruption the same command goes on with the files
that are missing. Needs TensorFlow alone; where Apache Beam is installed the work goes through its
RunInference, and `--runner=DataflowRunner` and its like run it on many machines.
"""

import csv
import glob
import gzip
import importlib.util
import itertools
import json
import os
import sys
import time
import uuid

import tensorflow as tf
from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_string("column", "text", "Where the text of a table's row is.")
flags.DEFINE_string("pair_column", None, "Where the second text is, for models of pairs.")
flags.DEFINE_integer("batch_size", 32, "How many texts the model is given at a time.")
flags.DEFINE_bool(
    "beam", importlib.util.find_spec("apache_beam") is not None, "Whether to run in Apache Beam."
)


def read_rows(path, columns):
    """Yields the rows of a file, each a tuple of texts."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as lines:
        kind = os.path.splitext(path.removesuffix(".gz"))[1]
        if kind == ".jsonl":
            rows = (json.loads(line) for line in lines if line.strip())
        elif kind in (".csv", ".tsv"):
            rows = csv.DictReader(lines, delimiter="," if kind == ".csv" else "\t")
        else:
            rows = ({columns[0]: line.rstrip("\r\n")} for line in lines)
        for number, row in enumerate(rows, start=1):
            texts = tuple(row.get(name) for name in columns) if isinstance(row, dict) else (None,)
            if not all(isinstance(text, str) for text in texts):
                raise ValueError(f"{path}, row {number} has no text in {' and '.join(columns)}.")
            yield texts


def load_model(path):
    """Returns a function of rows: to their answers, a list of dicts."""
    loaded = tf.saved_model.load(path)
    signature = loaded.signatures["serving_default"]

    def answer(rows):
        outputs = signature(**dict(zip(("text", "text_pair"), map(tf.constant, zip(*rows)))))
        columns = [(name, to_python(x.numpy())) for name, x in sorted(outputs.items())]
        return [{name: values[i] for name, values in columns} for i in range(len(rows))]

    answer.loaded = loaded  # the signature alone does not keep its variables
    return answer


def to_python(array):
    """Returns what JSON can hold."""
    if array.dtype == object:
        return [x.decode() if isinstance(x, bytes) else to_python(x) for x in array]
    return array.tolist()


def write_shard(output, answers):
    """Writes a file of answers, under another name first; returns how many."""
    temporary = f"{output}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as lines:
            count = 0
            for count, answer in enumerate(answers, start=1):  # noqa: B007
                lines.write(json.dumps(answer, ensure_ascii=False) + "\n")
        os.replace(temporary, output)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
    return count


def run_alone(model, shards, columns, batch_size):
    """Scores shard after shard; rows are read while the model works. Returns how many texts."""
    answer, total = load_model(model), 0
    spec = tf.TensorSpec([len(columns)], tf.string)
    for number, (path, output) in enumerate(shards, start=1):
        begin = time.time()
        rows = tf.data.Dataset.from_generator(
            lambda path=path: map(list, read_rows(path, columns)), output_signature=spec
        )
        batches = rows.batch(batch_size).prefetch(2).as_numpy_iterator()
        count = write_shard(output, itertools.chain.from_iterable(map(answer, batches)))
        total += count
        speed = count / (time.time() - begin)
        print(f"[{number}/{len(shards)}] {path}: {count:,} texts, {speed:,.0f}/s", flush=True)
    return total


def run_in_beam(model, shards, columns, batch_size, arguments):
    """Scores shards in parallel; the answers of a shard are put in order in memory."""
    import apache_beam as beam
    from apache_beam.metrics import Metrics, MetricsFilter
    from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
    from apache_beam.options.pipeline_options import PipelineOptions

    class Handler(ModelHandler):
        def load_model(self):
            return load_model(model)

        def run_inference(self, batch, model, inference_args=None):
            return model(batch)

        def batch_elements_kwargs(self):
            return {"min_batch_size": 1, "max_batch_size": batch_size}

    def rows_of(shard):
        for number, row in enumerate(read_rows(shard[0], columns)):
            yield (shard[1], number), row

    def write(shard):
        output, (_, numbered) = shard
        answers = [answer for _, answer in sorted(numbered, key=lambda x: x[0])]
        count = write_shard(output, answers)
        Metrics.counter("batch_predict", "texts").inc(count)
        print(f"{output}: {count:,} texts", flush=True)

    pipeline = beam.Pipeline(options=PipelineOptions(arguments))
    shards = pipeline | beam.Create(shards)
    answers = (
        shards
        | beam.FlatMap(rows_of)
        | beam.Reshuffle()  # a shard's rows need not all go to one worker
        | RunInference(KeyedModelHandler(Handler()))
        | beam.Map(lambda keyed: (keyed[0][0], (keyed[0][1], keyed[1])))
    )
    # The outputs are in it too, for a file without rows has no answers.
    outputs = shards | beam.Map(lambda shard: (shard[1], None))
    _ = (outputs, answers) | beam.CoGroupByKey() | beam.Map(write)
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace("batch_predict"))["counters"]
    return sum(counter.committed for counter in counters)


def main(arguments):
    if len(arguments) < 4:
        raise app.UsageError("Give a SavedModel, the directory to write to, and files.")
    _, model, directory, *patterns = [x for x in arguments if not x.startswith("--")]
    begin = time.time()
    paths = [path for pattern in patterns for path in sorted(glob.glob(pattern)) or [pattern]]
    names = [os.path.basename(path) for path in paths]
    for path, name in zip(paths, names):
        if not os.path.isfile(path) or names.count(name) > 1:
            sys.exit(f"{path} is no file, or one of several of this name.")
    os.makedirs(directory, exist_ok=True)
    shards = [(path, os.path.join(directory, f"{x}.jsonl")) for path, x in zip(paths, names)]
    missing = [shard for shard in shards if not os.path.exists(shard[1])]
    columns = [FLAGS.column, *([FLAGS.pair_column] if FLAGS.pair_column else [])]

    try:
        if FLAGS.beam:
            options = [x for x in arguments if x.startswith("--")]
            total = run_in_beam(model, missing, columns, FLAGS.batch_size, options)
        else:
            total = run_alone(model, missing, columns, FLAGS.batch_size)
    except (ValueError, OSError, tf.errors.OpError) as error:
        # TensorFlow puts where it was before a message, and a traceback after it.
        sys.exit(str(error).splitlines()[0].split("}} ")[-1])
    seconds = time.time() - begin
    print(
        f"Scored {total:,} texts of {len(missing)} files in {seconds:.0f} s, "
        f"{total / seconds:,.0f}/s; {len(shards) - len(missing)} were there. See {directory}."
    )


if __name__ == "__main__":
    app.run(main, flags_parser=lambda argv: FLAGS(argv, known_only=True))
