"""The format of a token cache: tokenized documents in shards, and what they were made from.

A cache is a directory. `cache.json` says what it holds; the shards are TFRecord files, whose
records carry checksums, and which any file system of TensorFlow can stream. A record is a block of
documents, all its numbers little-endian: int32 counts of documents, of sentences, and of bytes an
id takes (2 or 4); int32 sentences of each document; int32 pieces of each sentence; the ids.
"""

import hashlib
import inspect
import json
import os
import re

import numpy as np
import tensorflow as tf

from keras_bert_lib.data.documents import warn_once
from keras_bert_lib.data.tokenized_documents import TokenizedDocument

INFO_FILE = "cache.json"
FORMAT = 1
# Arguments of a tokenizer that change nothing in the ids of a text.
_NO_MATTER = ("vocabulary", "name", "dtype", "trainable", "max_length")
# Shards that are read side by side, so that documents from far apart meet.
_SIDE_BY_SIDE = 4


def is_token_cache(source):
    """Whether a source is the path of a token cache."""
    return isinstance(source, (str, os.PathLike)) and tf.io.gfile.exists(
        os.path.join(os.fspath(source), INFO_FILE)
    )


def partial_directory(directory):
    """Where a cache is built before it is whole."""
    return os.fspath(directory).rstrip("/") + ".partial"


def check_finished(paths):
    """Raises where one of the paths is of a token cache that was not built to its end."""
    for path in map(os.fspath, paths):
        if os.path.isdir(partial_directory(path)) and not os.path.exists(path):
            raise ValueError(
                f"The token cache {path} is not finished. Run what builds it again, to go on with "
                f"it. Received: {partial_directory(path)}"
            )


def describe_tokenizer(tokenizer):
    """What of a tokenizer makes the ids that they are, as JSON has it."""
    pieces = "\n".join(tokenizer.vocabulary).encode()
    options = {k: v for k, v in tokenizer.get_config().items() if k not in _NO_MATTER}
    described = {"vocabulary_sha256": hashlib.sha256(pieces).hexdigest(), **options}
    return json.loads(json.dumps(described))


def encode_block(documents, vocabulary_size):
    """Returns the record of a list of `TokenizedDocument`."""
    dtype = np.dtype("<u2" if vocabulary_size <= 2**16 else "<i4")
    sentences = [np.diff(document.splits) for document in documents]
    counts = np.array([len(documents), sum(map(len, sentences)), dtype.itemsize])
    arrays = [counts, np.array(list(map(len, sentences))), *sentences]
    ids = [document.ids.astype(dtype).tobytes() for document in documents]
    return b"".join([array.astype("<i4").tobytes() for array in arrays] + ids)


def decode_block(record):
    """Yields the `TokenizedDocument`s of a record."""
    documents, sentences, id_bytes = np.frombuffer(record, "<i4", 3).tolist()
    sizes = np.frombuffer(record, "<i4", documents, offset=12)
    pieces = np.frombuffer(record, "<i4", sentences, offset=12 + 4 * documents)
    ids = np.frombuffer(
        record, "<u2" if id_bytes == 2 else "<i4", offset=12 + 4 * documents + 4 * sentences
    )
    splits = np.concatenate([[0], np.cumsum(pieces)])
    last = 0
    for size in sizes.tolist():
        first, last = last, last + size
        # Copies, in the type of the batches: views would keep the block in memory.
        yield TokenizedDocument(
            ids[splits[first] : splits[last]].astype(np.int32),
            splits[first : last + 1] - splits[first],
        )


def count_block(record):
    """Returns the documents, sentences and pieces of a record, `[3]`."""
    documents, sentences, id_bytes = np.frombuffer(record, "<i4", 3).tolist()
    pieces = (len(record) - 12 - 4 * documents - 4 * sentences) // id_bytes
    return np.array([documents, sentences, pieces])


def read_info(directory, tokenizer=None):
    """Returns what `cache.json` says.

    Args:
        directory: a token cache.
        tokenizer: `BertTokenizer`, to check that the cache was made with its like.

    Raises:
        ValueError: `cache.json` is broken or of a later format, or the tokenizer is another one.
    """
    path = os.path.join(os.fspath(directory), INFO_FILE)
    try:
        info = json.loads(tf.io.gfile.GFile(path).read())
        known = info["format"] == FORMAT
    except (ValueError, KeyError, TypeError, tf.errors.OpError) as error:
        raise ValueError(
            f"{path} is not what a token cache has. Build the cache again. Received: {error}"
        ) from None
    if not known:
        raise ValueError(
            f"{path} is of another version of this library. Build the cache again. "
            f"Received: format {info['format']}, and this one reads {FORMAT}"
        )
    if tokenizer is not None:
        now = describe_tokenizer(tokenizer)
        # An option that came with a later version of the library had its default.
        defaults = {
            name: list(p.default) if isinstance(p.default, tuple) else p.default
            for name, p in inspect.signature(type(tokenizer).__init__).parameters.items()
        }
        was = {key: info["tokenizer"].get(key, defaults.get(key)) for key in now}
        other = [key for key in now if was[key] != now[key]]
        if "vocabulary_sha256" in other:
            raise ValueError(
                f"The token cache {os.fspath(directory)} was built with another vocabulary. Give "
                "the tokenizer it was built with, or build it again. Received: a vocabulary with "
                f"the SHA-256 {now['vocabulary_sha256'][:12]}..., and not "
                f"{was['vocabulary_sha256'][:12]}..."
            )
        if other:
            differences = ", ".join(f"{k}={now[k]!r} and not {was[k]!r}" for k in other)
            raise ValueError(
                f"The token cache {os.fspath(directory)} was built with other options of the "
                "tokenizer. Give the tokenizer it was built with, or build it again. "
                f"Received: {differences}"
            )
    return info


def shards_of_worker(directory, info, num_workers, worker_index):
    """Returns the (path, bytes) of the shards that are a worker's."""
    shards = info["shards"]
    if len(shards) < num_workers:
        raise ValueError(
            f"The token cache {os.fspath(directory)} has fewer shards than there are workers. "
            f"Build it with `num_shards` {num_workers} or more. Received: {len(shards)} shards"
        )
    return [
        (os.path.join(os.fspath(directory), shard["name"]), shard["bytes"])
        for shard in shards[worker_index::num_workers]
    ]


def read_shards(shards, on_corrupt, rng=None):
    """Yields the documents of shards, some side by side, the shards in a random order.

    Args:
        shards: list of (path, bytes).
        on_corrupt: "raise", or "skip" to log, once a process, which shard is corrupt and what is
            wrong with it. From the first record on that is corrupt, all documents of that shard
            are left out, whole ones too; a shard of another size than it had is left out whole.
        rng: `np.random.Generator`; without it, the order is that of the list.

    Yields:
        `TokenizedDocument`.

    Raises:
        ValueError: if a shard is corrupt.
    """
    order = range(len(shards)) if rng is None else rng.permutation(len(shards))
    waiting = iter([shards[i] for i in order])
    reading = []
    while True:
        while len(reading) < _SIDE_BY_SIDE and (shard := next(waiting, None)):
            reading.append(_blocks(*shard, on_corrupt))
        if not reading:
            return
        blocks = reading.pop(0)
        block = next(blocks, None)
        if block is not None:
            reading.append(blocks)
            yield from decode_block(block)


def plain_reason(error):
    """What an error says, without TensorFlow's names for the parts of its graphs."""
    message = getattr(error, "message", None) or str(error)
    return re.sub(r"\{\{function_node.*?\}\}\s*|\s*\[(\[|Op:).*", "", message, flags=re.DOTALL)


def _blocks(path, size, on_corrupt):
    """Yields the records of a shard."""
    documents = 0
    try:
        found = tf.io.gfile.stat(path).length
        if found != size:
            raise ValueError(f"it has {found:,} bytes, and had {size:,}")
        for record in tf.data.TFRecordDataset(path, buffer_size=2**20).as_numpy_iterator():
            yield record
            documents += int(count_block(record)[0])
    except (ValueError, tf.errors.OpError) as error:
        reason = plain_reason(error)
        if on_corrupt == "raise":
            raise ValueError(
                f"The shard {path} of the token cache is corrupt. Build the cache again, or give "
                '`on_corrupt="skip"` to leave out what is corrupt and all that comes after it in '
                f"the shard. Received: {reason}"
            ) from None
        kept = f" after the first {documents:,}" if documents else ""
        warn_once(
            f"The shard {path} of the token cache is corrupt. All of its documents{kept} are left "
            f"out. Received: {reason}"
        )
