"""BERT's tokenizer as a Keras layer."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_bert_lib.text import packing, wordpiece_graph
from keras_bert_lib.text.vocabulary import load_vocabulary, save_vocabulary, validate_vocabulary
from keras_bert_lib.text.wordpiece_tables import build_wordpiece_tables

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_BYTES_STEP = 64

# What decoding mends, in this order (Hugging Face's `clean_up_tokenization`).
_CLEAN_UP = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


class _WordPiece:
    """The compiled vocabulary, and the function that looks it up."""

    def __init__(self, tables, unk_token_id):
        self._tables = tables
        self._tensors = None
        self._unk_token_id = unk_token_id
        self.on_any_length = tf.function(
            self,
            input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.int32)],
            autograph=False,
        )

    def __call__(self, data, row_starts):
        if self._tensors is None:
            # Made once and outside of any graph, so that every graph captures the same tensors.
            with tf.init_scope(), tf.device("CPU:0"):
                arrays = self._tables._asdict()
                arrays = {k: tf.constant(v) for k, v in arrays.items() if type(v) is np.ndarray}
                self._tensors = self._tables._replace(**arrays)
        return wordpiece_graph.tokenize_bytes(data, row_starts, self._tensors, self._unk_token_id)


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertTokenizer(keras.layers.Layer):
    """Turns texts to BERT's input ids, inside the graph.

    One implementation serves eager calls, `tf.data`, SavedModel and TFLite, so the ids are the same
    everywhere, and the same as those of Hugging Face's `BertTokenizer`: control characters dropped,
    accents stripped and letters lowered (uncased), words split at white space, punctuation and CJK
    ideographs, then cut to the longest pieces of the vocabulary. Invalid UTF-8 never fails: bytes
    that are not a character vanish.

    Args:
        vocabulary: path of a `vocab.txt` (one piece a line), or list of str.
        lowercase: bool. Lowers letters. True for uncased vocabularies.
        strip_accents: bool, or None to follow `lowercase`.
        split_on_cjk: bool. Makes each CJK ideograph a word.
        special_tokens_in_text: bool. Whether "[MASK]" and the like in a text become that token;
            off, they are characters like any other (safer for untrusted text).
        max_length: int. Default for the most tokens in a row, special tokens included.

    Call arguments:
        texts: str, list of str or bytes, string tensor `[batch]` or `[]`, or int32 tensor
            `[batch, bytes]` with UTF-8 bytes, NUL padded (what TFLite clients send; signed bytes
            are understood).
        text_pairs: the same for second texts, or None.
        max_length: int, most tokens in a row; longer texts are cut (of a pair, the longer first).
        pad_to_max_length: bool. False pads to the longest row of the batch.

    Returns:
        A dict of int32 tensors `[batch, seq]` (`[seq]` for a single text): "token_ids",
        "segment_ids", "padding_mask" (1 at tokens, 0 at padding).

    Raises:
        ValueError: if the vocabulary cannot be used, `max_length` leaves no room, or texts are
            no texts.
        FileNotFoundError: if the vocabulary file is not there.

    Example:
        >>> tokenizer = BertTokenizer(
        ...     ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "caf", "##e", "!"])
        >>> tokenizer(["Café!"])["token_ids"].numpy().tolist()
        [[2, 5, 6, 7, 3]]

    References:
        - Devlin et al., "BERT" (2019), https://arxiv.org/abs/1810.04805
        - google-research/bert, `tokenization.py`
        - Hugging Face `tokenizers`: `BertNormalizer`, `BertPreTokenizer`, `WordPiece`
    """

    def __init__(
        self,
        vocabulary,
        lowercase=True,
        strip_accents=None,
        split_on_cjk=True,
        special_tokens_in_text=True,
        max_length=512,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if isinstance(vocabulary, (str, os.PathLike)):
            vocabulary = load_vocabulary(vocabulary)
        else:
            vocabulary = list(vocabulary)
            validate_vocabulary(vocabulary)
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.split_on_cjk = split_on_cjk
        self.special_tokens_in_text = special_tokens_in_text
        self.max_length = _check_max_length(max_length, pairs=False)
        self._vocabulary = tuple(vocabulary)
        self._token_to_id = {token: i for i, token in enumerate(vocabulary)}
        self.pad_token_id, self.unk_token_id, self.cls_token_id, self.sep_token_id = (
            self._token_to_id[token] for token in SPECIAL_TOKENS[:4]
        )
        self.mask_token_id = self._token_to_id.get("[MASK]")  # only pretraining needs one
        present = [token for token in SPECIAL_TOKENS if token in self._token_to_id]
        self.special_token_ids = [self._token_to_id[token] for token in present]
        self._wordpiece = _WordPiece(
            build_wordpiece_tables(
                vocabulary,
                lowercase=lowercase,
                strip_accents=lowercase if strip_accents is None else strip_accents,
                split_on_cjk=split_on_cjk,
                special_tokens=present if special_tokens_in_text else [],
            ),
            self.unk_token_id,
        )
        self.built = True

    @property
    def vocabulary(self):
        """The pieces, list of str: the piece of id `i` is `vocabulary[i]`."""
        return list(self._vocabulary)

    @property
    def vocabulary_size(self):
        """Number of pieces, int."""
        return len(self._vocabulary)

    def token_to_id(self, token):
        """Returns the id (int) of a piece (str); that of [UNK] if there is no such piece."""
        return self._token_to_id.get(token, self.unk_token_id)

    def id_to_token(self, token_id):
        """Returns the piece (str) of an id (int).

        Raises:
            ValueError: if the id is outside the vocabulary.
        """
        if not 0 <= token_id < self.vocabulary_size:
            raise ValueError(
                f"Token ids run from 0 to {self.vocabulary_size - 1}. Received: {token_id}"
            )
        return self._vocabulary[token_id]

    def __call__(self, texts, text_pairs=None, **kwargs):
        """Turns texts to ids; see the class."""
        texts = _to_tensor(texts, "texts")
        if text_pairs is not None:
            text_pairs = _to_tensor(text_pairs, "text_pairs")
            if not texts.shape[:1].is_compatible_with(text_pairs.shape[:1]):
                raise ValueError(
                    "`texts` and `text_pairs` must be equally many. "
                    f"Received: {texts.shape[0]} and {text_pairs.shape[0]}"
                )
        return super().__call__(texts, text_pairs, **kwargs)

    def call(self, texts, text_pairs=None, max_length=None, pad_to_max_length=False):
        """Turns a tensor of texts to ids; see the class."""
        max_length = self.max_length if max_length is None else max_length
        _check_max_length(max_length, pairs=text_pairs is not None)
        is_single = len(texts.shape) == 0
        rows = [texts] if text_pairs is None else [texts, text_pairs]
        if is_single:
            rows = [tf.expand_dims(row, 0) for row in rows]
        batch = tf.shape(rows[0])[0]
        pieces, lengths = self._tokenize_rows(rows)
        outputs = packing.pack(
            pieces,
            lengths[:batch],
            lengths[batch:] if len(rows) == 2 else None,
            max_length,
            pad_to_max_length,
            (self.cls_token_id, self.sep_token_id, self.pad_token_id),
        )
        return {k: tf.squeeze(v, 0) for k, v in outputs.items()} if is_single else outputs

    def compute_output_spec(self, texts, text_pairs=None, **kwargs):
        """Shapes of the outputs, for functional models."""
        shape = (*texts.shape[:1], None)
        names = ("token_ids", "segment_ids", "padding_mask")
        return {name: keras.KerasTensor(shape, "int32", name=name) for name in names}

    def tokenize_ragged(self, texts):
        """Cuts texts to piece ids: no special tokens, no truncation.

        Args:
            texts: list of str, or string tensor `[batch]`.

        Returns:
            `tf.RaggedTensor`, int32 `[batch, pieces]`.
        """
        pieces, lengths = self._tokenize_rows([_to_tensor(texts, "texts")])
        return tf.RaggedTensor.from_row_lengths(pieces[: tf.reduce_sum(lengths)], lengths)

    def tokenize(self, texts):
        """Cuts texts to pieces.

        Args:
            texts: str or list of str.

        Returns:
            List of str, or for a list of texts, list of lists of str.
        """
        if isinstance(texts, (str, bytes)):
            return self.tokenize([texts])[0]
        return [[self._vocabulary[i] for i in row] for row in self.tokenize_ragged(texts).to_list()]

    def decode(self, token_ids, skip_special_tokens=False, clean_up=True):
        """Joins ids to text, as Hugging Face's `decode` does.

        Args:
            token_ids: ints `[seq]`.
            skip_special_tokens: bool. Leaves out [CLS], [SEP], [PAD], [UNK] and [MASK].
            clean_up: bool. Joins English punctuation and contractions to the word before.

        Returns:
            str.
        """
        skipped = set(self.special_token_ids) if skip_special_tokens else set()
        text = ""
        for token_id in np.asarray(token_ids).reshape(-1).tolist():
            if token_id in skipped:
                continue
            token = self.id_to_token(token_id)
            if text:
                token = token[2:] if token.startswith("##") else f" {token}"
            text += token
        if clean_up:
            for spaced, joined in _CLEAN_UP:
                text = text.replace(spaced, joined)
        return text

    def _tokenize_rows(self, rows):
        """Lays the texts end to end and cuts them; returns (pieces [n], lengths [rows])."""
        if rows[0].dtype == tf.string:
            # Stacked, not concatenated: that fails where texts and pairs are not equally many.
            texts = tf.reshape(tf.stack(rows), [-1])
            joined = tf.strings.reduce_join(texts, separator="\n") + "\n"
            data = tf.cast(tf.io.decode_raw(joined, tf.uint8), tf.int32)
            row_starts = tf.cumsum(tf.strings.length(texts) + 1, exclusive=True)
            return self._wordpiece.on_any_length(data, row_starts)
        starts, offset, flat = [], 0, []
        for row in rows:  # [batch, bytes]
            row = tf.math.floormod(tf.cast(row, tf.int32), 256)  # signed bytes are bytes, too
            # Cost follows the text, not the capacity; in steps, since TFLite plans anew for each
            # new length.
            used = tf.cast(row > 0, tf.int32) * tf.range(1, row.shape[1] + 1)
            used = (tf.reduce_max(used) + _BYTES_STEP - 1) // _BYTES_STEP * _BYTES_STEP
            row = row[:, : tf.minimum(used, row.shape[1])]
            batch, size = row.shape[0] or tf.shape(row)[0], tf.shape(row)[1] + 1
            ended = tf.pad(row, [[0, 0], [0, 1]], constant_values=ord("\n"))
            flat.append(tf.reshape(ended, [-1]))
            starts.append(offset + tf.range(batch) * size)
            offset += batch * size
        return self._wordpiece(tf.concat(flat, 0), tf.concat(starts, 0))

    def get_config(self):
        """The constructor's arguments; the vocabulary as a list of str."""
        return {
            **super().get_config(),
            "vocabulary": self.vocabulary,
            "lowercase": self.lowercase,
            "strip_accents": self.strip_accents,
            "split_on_cjk": self.split_on_cjk,
            "special_tokens_in_text": self.special_tokens_in_text,
            "max_length": self.max_length,
        }

    def save_pretrained(self, directory):
        """Writes `vocab.txt` and `tokenizer_config.json`, from which Hugging Face reads the same.

        Args:
            directory: path; made if it is not there.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        save_vocabulary(self._vocabulary, directory / "vocab.txt")
        config = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.split_on_cjk,
            "split_special_tokens": not self.special_tokens_in_text,
            "model_max_length": self.max_length,
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        }
        temporary = directory / "tokenizer_config.json.tmp"
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, directory / "tokenizer_config.json")

    @classmethod
    def from_pretrained(cls, directory, **overrides):
        """Reads a tokenizer from a directory in Hugging Face's layout.

        Args:
            directory: path with `vocab.txt` and, if it is there, `tokenizer_config.json`.
            **overrides: constructor arguments that win over the file's.

        Returns:
            `BertTokenizer`.

        Raises:
            FileNotFoundError: if there is no `vocab.txt`.
            ValueError: if a file is not what it should be.
        """
        directory = Path(directory)
        config, path = {}, directory / "tokenizer_config.json"
        if path.exists():
            try:
                config = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{path} is not JSON: {error}") from None
        arguments = {
            "lowercase": config.get("do_lower_case", True),
            "strip_accents": config.get("strip_accents"),
            "split_on_cjk": config.get("tokenize_chinese_chars", True),
            "special_tokens_in_text": not config.get("split_special_tokens", False),
            # Hugging Face writes an astronomic number for "no limit".
            "max_length": min(config.get("model_max_length", 512), 2**20),
        }
        return cls(directory / "vocab.txt", **{**arguments, **overrides})


def _check_max_length(max_length, pairs):
    """Returns `max_length` if the special tokens and one piece a text fit in it."""
    least = 5 if pairs else 3
    if max_length < least:
        raise ValueError(
            f"`max_length` must be at least {least}: the special tokens and one piece a text. "
            f"Received: {max_length}"
        )
    return max_length


def _to_tensor(texts, name):
    """Python strings to a string tensor; tensors as they are."""
    if tf.is_tensor(texts) or isinstance(texts, keras.KerasTensor):
        return texts
    if isinstance(texts, (str, bytes)):
        return tf.constant(_encode(texts))
    if isinstance(texts, np.ndarray) and texts.dtype.kind in "iu":
        return tf.constant(texts, tf.int32)
    try:
        texts = list(texts)
    except TypeError:
        raise ValueError(
            f"`{name}` must be a str, a list of str or a string tensor. Received: {texts!r}"
        ) from None
    for i, text in enumerate(texts):
        if not isinstance(text, (str, bytes)):
            raise ValueError(f"`{name}` must hold str only. Received at index {i}: {text!r}")
    return tf.constant([_encode(text) for text in texts], tf.string, shape=[len(texts)])


def _encode(text):
    """UTF-8 of a str; lone surrogates become invalid UTF-8, which the tokenizer drops."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
