"""Text files to a token cache by Apache Beam: for corpora beyond one machine."""

import functools
import glob
import json
import os

import numpy as np

from keras_bert_lib.data.build_token_cache import (
    finish_build,
    raw_blocks,
    start_build,
    tokenize_block,
    write_info,
)
from keras_bert_lib.data.documents import read_raw_documents
from keras_bert_lib.data.files import expand_paths
from keras_bert_lib.data.token_cache import FORMAT, count_block, describe_tokenizer


def build_token_cache_with_beam(
    source,
    tokenizer,
    directory,
    num_shards=16,
    text_column="text",
    on_corrupt="raise",
    pipeline_options=(),
):
    """Does what `build_token_cache` does by a Beam pipeline, on any runner.

    A file is read by one worker, and its blocks of text are tokenized by all of them: cut a corpus
    into many files. The workers read the files and write the shards under the names that they have
    here, so that both must be on a file system that all of them share. In which order the documents
    come is up to the runner. A pipeline that fails leaves no cache, and begins anew.

    Needs `pip install keras-bert-lib[beam]`.

    Args:
        source: a path, a glob or a list of them; `read_documents` tells the formats.
        tokenizer: `BertTokenizer`.
        directory: the directory to write; it must not exist, or be empty.
        num_shards: files to write; as many as the workers of a training, at least.
        text_column: the key of the text in JSONL files, and the column in Parquet files.
        on_corrupt: "raise", or "skip" to log what is wrong with a file and go on with the next.
        pipeline_options: list of str, Beam's own, such as `["--runner=FlinkRunner"]`. Without a
            runner, the pipeline runs in this process.

    Returns:
        Dict of the numbers of `documents`, `sentences` and `pieces` (and more: `cache.json`).

    Raises:
        ImportError: Beam is not installed.
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        FileExistsError: there is something in `directory`.
        RuntimeError: from the pipeline, with what is wrong with a file in it.

    Example:
        >>> import keras_bert_lib as kbl
        >>> tokenizer = kbl.BertTokenizer("vocab.txt")
        >>> kbl.data.build_token_cache_with_beam(  # doctest: +SKIP
        ...     "corpus/*.jsonl.gz",
        ...     tokenizer,
        ...     "cache",
        ...     num_shards=256,
        ...     pipeline_options=["--runner=FlinkRunner", "--parallelism=64"],
        ... )

    References:
        - https://beam.apache.org/documentation/sdks/python/
    """
    try:
        import apache_beam as beam
    except ImportError:
        raise ImportError(
            "Apache Beam is not installed: pip install 'keras-bert-lib[beam]'."
        ) from None
    files = expand_paths(source)
    described = describe_tokenizer(tokenizer)
    settings = {"format": FORMAT, "tokenizer": described, "num_shards": num_shards, "files": files}
    partial = os.path.abspath(start_build(directory, settings))
    config = json.dumps(tokenizer.get_config())
    totals = os.path.join(partial, "totals")
    # A file that is there already would be counted among those of this pipeline.
    for path in glob.glob(f"{glob.escape(totals)}*"):
        os.remove(path)

    options = beam.options.pipeline_options.PipelineOptions(list(pipeline_options))
    with beam.Pipeline(options=options) as pipeline:
        records = (
            pipeline
            | "Files" >> beam.Create(files)
            | "SpreadFiles" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_read_blocks, text_column, on_corrupt)
            | "SpreadBlocks" >> beam.Reshuffle()
            | "Tokenize" >> beam.Map(_tokenize_block, type(tokenizer), config)
        )
        _ = records | "Write" >> beam.io.WriteToTFRecord(
            os.path.join(partial, "tokens"), file_name_suffix=".tfrecord", num_shards=num_shards
        )
        _ = (
            records
            | "Count" >> beam.Map(lambda record: count_block(record).tolist())
            | "Sum" >> beam.CombineGlobally(_sum)
            | "Format" >> beam.Map(json.dumps)
            | "WriteSum" >> beam.io.WriteToText(totals, num_shards=1, shard_name_template="")
        )
    with open(totals, encoding="utf-8") as file:
        totals = json.load(file)
    if not totals[0]:
        raise ValueError("There is no text to tokenize. Received: 0 pieces")
    names = [f"tokens-{i:05}-of-{num_shards:05}.tfrecord" for i in range(num_shards)]
    write_info(partial, settings, totals, names)
    return finish_build(directory)


# What runs in Beam's workers.


def _read_blocks(path, text_column, on_corrupt):
    return raw_blocks(read_raw_documents([path], text_column, on_corrupt))


def _tokenize_block(block, tokenizer_class, config):
    return tokenize_block(block, _tokenizer(tokenizer_class, config))


@functools.lru_cache(maxsize=1)
def _tokenizer(tokenizer_class, config):
    """The tokenizer of a worker, which is not made anew for each block."""
    return tokenizer_class.from_config(json.loads(config))


def _sum(counts):
    return np.sum([[0, 0, 0], *counts], axis=0).tolist()
