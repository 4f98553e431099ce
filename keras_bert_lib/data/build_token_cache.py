"""Text files to a token cache, by one or many processes, so that no epoch tokenizes again."""

import collections
import contextlib
import errno
import glob
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import tensorflow as tf
from absl import logging

from keras_bert_lib.data.documents import RawDocument, read_raw_documents, split_raw_document
from keras_bert_lib.data.files import expand_paths
from keras_bert_lib.data.token_cache import (
    FORMAT,
    INFO_FILE,
    count_block,
    decode_block,
    describe_tokenizer,
    encode_block,
    partial_directory,
    plain_reason,
    read_info,
)
from keras_bert_lib.data.tokenized_documents import tokenize_batch

# Characters of a block, which is one call of the tokenizer and one record.
_BLOCK_CHARACTERS = 65_536
# Blocks of a segment: what is lost, at most, when a build is killed.
_SEGMENT_BLOCKS = 512
# Records a shard gets at least, where there are documents enough: by fewer, shards would be empty
# or of very different sizes.
_LEAST_RECORDS = 4
_SETTINGS_FILE = "settings.json"


def build_token_cache(
    source,
    tokenizer,
    directory,
    num_shards=16,
    num_workers=1,
    text_column="text",
    on_corrupt="raise",
):
    """Tokenizes a corpus once and for all, for `pretraining_dataset` to read.

    The cache holds documents and sentences, not examples: one cache serves every length, objective
    and kind of masking, and each epoch draws its own. It takes about half the bytes of the text
    (and as much again while the shards are written).

    It is built in `directory` + ".partial", which is renamed when all is written: a directory with
    half a cache never stands there. A build that was interrupted, killed or stopped by a full disk
    goes on where it was when it is called again. The number of processes changes nothing in the
    cache.

    Args:
        source: a path, a glob or a list of them (`read_documents` tells the formats), or an
            iterable of documents, each a list of str, its sentences.
        tokenizer: `BertTokenizer`. The cache can be read with its like only.
        directory: the directory to write; it must not exist, or be empty.
        num_shards: files to write; as many as the workers of a training, at least. None is empty
            where there are as many documents.
        num_workers: processes that tokenize. With more than one, a program must be guarded by
            `if __name__ == "__main__":`, for they import it.
        text_column: the key of the text in JSONL files, and the column in Parquet files.
        on_corrupt: "raise", or "skip" to log what is wrong with a file and go on with the next:
            what comes after it in that file is left out of the cache, too.

    Returns:
        Dict of the numbers of `documents`, `sentences` and `pieces` (and more: `cache.json`).

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        FileExistsError: there is something in `directory`.
        ValueError: a file is not what it should be, there is no text, or an interrupted build had
            other settings.
        OSError: the disk is full.

    Example:
        >>> import keras_bert_lib as kbl
        >>> documents = [["the cat sat .", "it slept ."], ["rain fell .", "the cat ran ."]]
        >>> pieces = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat it slept rain fell ran .".split()
        >>> tokenizer = kbl.BertTokenizer(pieces)
        >>> kbl.data.build_token_cache(documents, tokenizer, "cache", num_shards=2)["pieces"]
        14
        >>> dataset = kbl.data.pretraining_dataset("cache", tokenizer, 2, max_length=16)
    """
    for name, value in [("num_shards", num_shards), ("num_workers", num_workers)]:
        if value < 1:
            raise ValueError(f"`{name}` must be 1 at least. Received: {value}")
    raw_documents, settings = _open(source, text_column, on_corrupt)
    settings |= {
        "format": FORMAT,
        "tokenizer": describe_tokenizer(tokenizer),
        "num_shards": num_shards,
    }
    partial = start_build(directory, settings)
    if not os.path.exists(os.path.join(partial, INFO_FILE)):
        try:
            _write_segments(raw_documents, tokenizer, partial, num_workers)
            _write_shards(partial, settings, tokenizer)
        except ChildProcessError:
            raise
        except (OSError, tf.errors.OpError) as error:
            raise _disk_error(error, partial) from error
    return finish_build(directory)


def start_build(directory, settings):
    """Makes the directory to build in, or checks that it is one of the same settings."""
    directory = os.fspath(directory)
    if os.path.isfile(directory) or (os.path.isdir(directory) and os.listdir(directory)):
        raise FileExistsError(
            f"There is something in {directory} already. Name a new directory for the token cache, "
            "or remove that one."
        )
    partial = partial_directory(directory)
    path = os.path.join(partial, _SETTINGS_FILE)
    for temporary in glob.glob(os.path.join(glob.escape(partial), "*.tmp")):
        os.remove(temporary)
    if _segments(partial):
        with open(path, encoding="utf-8") as file:
            was = json.load(file)
        if was != settings:
            other = [key for key in settings if was.get(key) != settings[key]]
            raise ValueError(
                f"{partial} holds a build of a token cache that was interrupted, and had other "
                "settings. Give those to go on with it, or remove it to start anew. Received: "
                f"another {', '.join(other)}"
            )
    else:
        os.makedirs(partial, exist_ok=True)
        _write_json(settings, path)
    return partial


def finish_build(directory):
    """Removes what only the build needed and gives the cache its name; returns its info."""
    directory = os.fspath(directory)
    partial = partial_directory(directory)
    info = read_info(partial)
    keep = {INFO_FILE, *(shard["name"] for shard in info["shards"])}
    for name in os.listdir(partial):
        path = os.path.join(partial, name)
        if os.path.isdir(path):  # of Beam's
            shutil.rmtree(path)
        elif name not in keep:
            os.remove(path)
    os.replace(partial, directory)
    return info


def write_info(partial, settings, totals, names):
    """Writes `cache.json`, from which on the cache is whole."""
    documents, sentences, pieces = map(int, totals)
    shards = [
        {"name": name, "bytes": tf.io.gfile.stat(os.path.join(partial, name)).length}
        for name in names
    ]
    info = {
        "format": FORMAT,
        "tokenizer": settings["tokenizer"],
        "documents": documents,
        "sentences": sentences,
        "pieces": pieces,
        "shards": shards,
    }
    _write_json(info, os.path.join(partial, INFO_FILE))


def raw_blocks(raw_documents):
    """Yields lists of documents, `RawDocument` or list of str, for one call of the tokenizer."""
    pending, characters = [], 0
    for raw in raw_documents:
        pending.append(raw)
        characters += sum(map(len, raw.lines if isinstance(raw, RawDocument) else raw))
        if characters >= _BLOCK_CHARACTERS:
            yield pending
            pending, characters = [], 0
    if pending:
        yield pending


def tokenize_block(raw_documents, tokenizer):
    """Returns the record of a list of documents, `RawDocument` or list of str."""
    documents = []
    for raw in raw_documents:
        documents += split_raw_document(raw) if isinstance(raw, RawDocument) else [raw]
    tokenized = list(tokenize_batch(documents, tokenizer)) if documents else []
    return encode_block(tokenized, tokenizer.vocabulary_size)


def _open(source, text_column, on_corrupt):
    """Returns the raw documents of a source, and what tells it from another one."""
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    first = next(iter(source), None) if isinstance(source, (list, tuple)) else None
    if not isinstance(first, (str, os.PathLike)):
        return source, {}
    files = expand_paths(source)
    about = [[path, os.path.getsize(path), os.path.getmtime(path)] for path in files]
    raw_documents = read_raw_documents(files, text_column, on_corrupt)
    return raw_documents, {"files": about, "text_column": text_column, "on_corrupt": on_corrupt}


def _write_segments(raw_documents, tokenizer, partial, num_workers):
    """Writes the records in files of `_SEGMENT_BLOCKS`, each whole or not at all."""
    blocks = raw_blocks(raw_documents)
    done = len(_segments(partial))
    # What an interrupted build has done is read again, which is quick, but not tokenized.
    collections.deque(itertools.islice(blocks, done * _SEGMENT_BLOCKS), maxlen=0)
    records = _tokenized(blocks, tokenizer, num_workers)
    for number in itertools.count(done):
        segment = list(itertools.islice(records, 1))
        if not segment:
            return
        segment = itertools.chain(segment, itertools.islice(records, _SEGMENT_BLOCKS - 1))
        totals = _write_records([os.path.join(partial, f"segment-{number:05}")], segment)
        logging.info("Tokenized %s pieces more: segment %s.", f"{totals[2]:,}", number)


def _write_shards(partial, settings, tokenizer):
    """Deals the records of all segments out to the shards."""

    def read():
        segments = tf.data.TFRecordDataset(_segments(partial), buffer_size=2**20)
        return segments.as_numpy_iterator()

    count = settings["num_shards"]
    names = [f"tokens-{number:05}-of-{count:05}.tfrecord" for number in range(count)]
    least = _LEAST_RECORDS * count
    records = read()
    documents = [int(count_block(record)[0]) for record in itertools.islice(read(), least)]
    if len(documents) < least:
        size = max(1, sum(documents) // least)
        records = _smaller_records(records, size, tokenizer.vocabulary_size)
    totals = _write_records([os.path.join(partial, name) for name in names], records)
    if not totals[0]:
        raise ValueError("There is no text to tokenize. Received: 0 pieces")
    write_info(partial, settings, totals, names)


def _smaller_records(records, size, vocabulary_size):
    """Yields the documents of records anew, `size` to a record."""
    documents = itertools.chain.from_iterable(map(decode_block, records))
    while block := list(itertools.islice(documents, size)):
        yield encode_block(block, vocabulary_size)


def _segments(partial):
    # Not those of another process, or of none, that are not whole.
    return sorted(glob.glob(os.path.join(glob.escape(partial), "segment-?????")))


def _write_records(paths, records):
    """Writes records to files in turn, each whole or not at all; returns their `count_block`."""
    totals = np.zeros(3, np.int64)
    with _moved_into_place(paths) as temporary, contextlib.ExitStack() as stack:
        writers = [stack.enter_context(tf.io.TFRecordWriter(path)) for path in temporary]
        for number, record in enumerate(records):
            writers[number % len(writers)].write(record)
            totals += count_block(record)
    return totals


@contextlib.contextmanager
def _moved_into_place(paths):
    """Gives temporary names to write under; what stands there gets the names of `paths`."""
    temporary = [f"{path}.tmp" for path in paths]
    try:
        yield temporary
        for written, path in zip(temporary, paths):
            os.replace(written, path)
    finally:
        # Where the disk is full, what is half-written would keep it so.
        for path in temporary:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


def _tokenized(blocks, tokenizer, num_workers):
    """Yields the record of each block, in their order."""
    if num_workers == 1:
        for block in blocks:
            yield tokenize_block(block, tokenizer)
        return
    with ProcessPoolExecutor(
        num_workers,
        multiprocessing.get_context("spawn"),  # TensorFlow does not survive a fork
        _start_worker,
        (type(tokenizer), tokenizer.get_config()),
    ) as pool:
        # So many blocks at a time, that no process waits and the memory does not grow.
        waiting = collections.deque()
        try:
            for block in blocks:
                waiting.append(pool.submit(_tokenize_in_worker, block))
                if len(waiting) > 2 * num_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise ChildProcessError(
                "A process that tokenizes was killed; memory may have run out. Build the cache "
                f"again with fewer, to go on with it. Received: {num_workers} processes"
            ) from None


_worker_tokenizer = None


def _start_worker(tokenizer_class, config):
    global _worker_tokenizer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tf.config.set_visible_devices([], "GPU")  # or each would take its memory
    # A process for each core: more threads would only be in each other's way.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    _worker_tokenizer = tokenizer_class.from_config(config)


def _end_with_parent():
    """Ends this process when its parent is gone: one that was killed cannot tell it to end."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _tokenize_in_worker(block):
    return tokenize_block(block, _worker_tokenizer)


def _write_json(value, path):
    with _moved_into_place([path]) as (temporary,), open(temporary, "w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2) + "\n")


def _disk_error(error, partial):
    message = getattr(error, "strerror", None) or plain_reason(error)
    is_full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in message
    return OSError(
        errno.ENOSPC if is_full else errno.EIO,
        f"The token cache could not be written ({message}). Build it again to go on with what is "
        "done, which is kept",
        partial,
    )
