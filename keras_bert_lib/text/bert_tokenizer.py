"""BERT's tokenizer as a Keras layer."""

import os
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from keras_bert_lib.text import packing, tokenizer_files, wordpiece_graph
from keras_bert_lib.text.tokenizer_files import SPECIAL_TOKENS
from keras_bert_lib.text.vocabulary import load_vocabulary, validate_vocabulary
from keras_bert_lib.text.wordpiece_tables import build_wordpiece_tables

PADDINGS = ("longest", "max_length", "do_not_pad")

_OFFSETS = ("byte_starts", "byte_ends", "char_starts", "char_ends")
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
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


class _WordPiece:
    """The compiled vocabulary, and the function that looks it up."""

    def __init__(self, tables, unk_token_id):
        self._tables = tables
        self._tensors = None
        self.tf_text_tokenizer = None
        self._unk_token_id = unk_token_id
        # One trace each for texts of any length.
        signature = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.int32)]
        self.on_any_length, self.on_any_length_with_offsets, self.on_any_length_with_marks = (
            tf.function(partial(self, **options), input_signature=signature, autograph=False)
            for options in ({}, {"with_offsets": True}, {"with_offsets": True, "with_marks": True})
        )

    def __call__(self, data, row_starts, with_offsets=False, with_marks=False):
        if self._tensors is None:
            # Made once and outside of any graph, so that every graph captures the same tensors.
            with tf.init_scope(), tf.device("CPU:0"):
                self._tensors = self._tables._replace(
                    expansions=tuple(tf.constant(x) for x in self._tables.expansions),
                    **{
                        name: tf.constant(x)
                        for name, x in self._tables._asdict().items()
                        if type(x) is np.ndarray
                    },
                )
        return wordpiece_graph.tokenize_bytes(
            data, row_starts, self._tensors, self._unk_token_id, with_offsets, with_marks
        )


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertTokenizer(keras.layers.Layer):
    """Turns texts to BERT's input ids, inside the graph.

    One implementation serves eager calls, `tf.data`, SavedModel and TFLite, so the ids are the same
    everywhere, and the same as those of Hugging Face's `BertTokenizer`: control characters dropped,
    accents stripped and letters lowered (uncased), words split at white space, punctuation and CJK
    ideographs, then cut to the longest pieces of the vocabulary. Invalid UTF-8 never fails: it is
    what Python's `decode(errors="replace")` makes of it.

    Args:
        vocabulary: path of a `vocab.txt` (one piece a line), or list of str.
        lowercase: bool. Lowers letters. True for uncased vocabularies.
        strip_accents: bool, or None to follow `lowercase`.
        split_on_cjk: bool. Makes each CJK ideograph a word.
        clean_text: bool. Drops control characters and U+FFFD.
        max_chars_per_word: int. A longer word becomes [UNK].
        special_tokens_in_text: bool. Whether "[MASK]" and the like in a text become that token;
            off, they are characters like any other (safer for untrusted text).
        added_tokens: list of str. Words of your domain that stay whole: each is matched anywhere in
            the normalized text, before it is split. Ids follow the vocabulary's; one that is a
            piece already keeps its id. See `add_tokens`.
        additional_special_tokens: list of str. Markers of your own, such as "[E1]": each is matched
            anywhere in the text as it is given, before any rule, and never split or masked. Like
            "[MASK]" they are characters where `special_tokens_in_text` is off. Ids follow the
            vocabulary's, before those of `added_tokens`; one that is a piece already keeps its id.
        max_length: int. Default for the most tokens in a row, special tokens included.

    Call arguments:
        texts: str, list of str or bytes, string tensor `[batch]` or `[]`, or int32 tensor
            `[batch, bytes]` with UTF-8 bytes, NUL padded (what TFLite clients send; signed bytes
            are understood).
        text_pairs: the same for second texts, or None.
        max_length: int, most tokens in a row; longer texts are cut.
        truncation: how pairs are cut: "longest_first", "only_first", "only_second" (each as in
            Hugging Face; the other text is cut only where it alone is too long), or "round_robin".
            "head_and_tail" cuts the middle out, of single texts too: what is left is the first
            quarter from a text's head and the rest from its tail; of pairs as much of each as by
            "longest_first".
        padding: "longest" pads to the longest row of the batch, "max_length" to that;
            "do_not_pad" gives ragged tensors.
        pad_to_multiple_of: int or None. Rounds the length of padded rows up, past `max_length` if
            need be.
        stride: int or None. With one, a text that is too long is not cut: it fills several rows,
            each beginning with the last `stride` pieces of the one before. Of pairs, `truncation`
            says which text: "only_first" or "only_second". "text_index" `[rows]` tells of which
            text a row is.
        return_offsets: bool. Adds "byte_offsets" and "char_offsets" `[batch, seq, 2]`: where each
            piece starts and ends in its own text, in UTF-8 bytes and in characters of a Python str;
            0 and 0 at special tokens and padding.
        offsets_with_marks: bool. Ends pieces after the marks that follow, which the text rules drop
            (the accent of a letter that is written with two code points, the vowel signs of many
            scripts), so that what is cut out of a text is whole. Offsets are those of Hugging Face
            without.
        return_word_ids: bool. Adds "word_ids" `[batch, seq]`: the number of each piece's word
            within its own text, from 0; -1 at special tokens and padding.
        return_truncated: bool. Adds "truncated" `[batch]`: 1 where a text was cut to fit. Bytes
            that fill their row to its last place count as a text that was cut.
        use_tf_text: bool. Cuts words of plain ASCII by tensorflow-text, which must be installed, to
            the same ids in less time. For large corpora in `tf.data`; a SavedModel with it in would
            not load everywhere. Texts with offsets, and tokenizers with tokens of their own, do
            without.

    Returns:
        A dict of int32 tensors `[batch, seq]` (`[seq]` for a single text): "token_ids",
        "segment_ids", "padding_mask" (1 at tokens, 0 at padding), and what was asked for besides.
        Where Keras runs on another backend than TensorFlow, eager calls return NumPy arrays.

    Raises:
        ValueError: if the vocabulary cannot be used, `max_length` leaves no room, texts are no
            texts, or an argument is none of these.
        FileNotFoundError: if the vocabulary file is not there.

    Example:
        >>> tokenizer = BertTokenizer(
        ...     ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "caf", "##e", "!"])
        >>> outputs = tokenizer(["Café!"], return_offsets=True)
        >>> outputs["token_ids"].numpy().tolist()
        [[2, 5, 6, 7, 3]]
        >>> outputs["byte_offsets"].numpy().tolist()
        [[[0, 0], [0, 3], [3, 5], [5, 6], [0, 0]]]

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
        clean_text=True,
        max_chars_per_word=100,
        special_tokens_in_text=True,
        added_tokens=(),
        additional_special_tokens=(),
        max_length=512,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if isinstance(vocabulary, (str, os.PathLike)):
            vocabulary = load_vocabulary(vocabulary)
        else:
            validate_vocabulary(vocabulary)
        if max_chars_per_word < 1:
            raise ValueError(
                f"`max_chars_per_word` must be at least 1. Received: {max_chars_per_word}"
            )
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.split_on_cjk = split_on_cjk
        self.clean_text = clean_text
        self.max_chars_per_word = max_chars_per_word
        self.special_tokens_in_text = special_tokens_in_text
        self.max_length = _check_max_length(max_length, pairs=False)
        self._base_vocabulary = tuple(vocabulary)
        self._token_to_id = {token: i for i, token in enumerate(vocabulary)}
        self.pad_token_id, self.unk_token_id, self.cls_token_id, self.sep_token_id = (
            self._token_to_id[token] for token in SPECIAL_TOKENS[:4]
        )
        self.mask_token_id = self._token_to_id.get("[MASK]")  # only pretraining needs one
        additional = list(dict.fromkeys(additional_special_tokens))
        tokenizer_files.check_special_tokens(additional)
        for token in additional:
            self._token_to_id.setdefault(token, len(self._token_to_id))
        # In the order of ids, as files list them.
        self.additional_special_tokens = tuple(sorted(additional, key=self._token_to_id.get))
        specials = (*SPECIAL_TOKENS, *self.additional_special_tokens)
        self._special_tokens = tuple(x for x in specials if x in self._token_to_id)
        self.special_token_ids = [self._token_to_id[token] for token in self._special_tokens]
        self.added_tokens = ()
        self._compile(self._check_added_tokens(added_tokens))
        self.built = True

    def _compile(self, added_tokens):
        """Makes the tables anew, for the vocabulary and these added tokens."""
        token_to_id = {token: i for i, token in enumerate(self._base_vocabulary)}
        for token in (*self.additional_special_tokens, *added_tokens):
            token_to_id.setdefault(token, len(token_to_id))
        added_tokens = sorted(added_tokens, key=token_to_id.get)
        tables = build_wordpiece_tables(
            self._base_vocabulary,
            lowercase=self.lowercase,
            strip_accents=self.lowercase if self.strip_accents is None else self.strip_accents,
            split_on_cjk=self.split_on_cjk,
            clean_text=self.clean_text,
            max_chars_per_word=self.max_chars_per_word,
            special_tokens=tuple(
                (token, token_to_id[token])
                for token in self._special_tokens
                if self.special_tokens_in_text
            ),
            added_tokens=tuple((token, token_to_id[token]) for token in added_tokens),
        )
        self._wordpiece = _WordPiece(tables, self.unk_token_id)
        self._token_to_id = token_to_id
        self._vocabulary = tuple(token_to_id)
        self.added_tokens = tuple(added_tokens)

    @property
    def vocabulary(self):
        """The pieces, list of str: that of id `i` is `vocabulary[i]`; added tokens come last."""
        return list(self._vocabulary)

    @property
    def vocabulary_size(self):
        """Number of pieces, int, added tokens included."""
        return len(self._vocabulary)

    def add_tokens(self, tokens):
        """Adds words of a domain that are to stay whole.

        Each is matched anywhere in the normalized text, also within words, before the text is
        split: what Hugging Face's `add_tokens` does. Where two overlap, the one that starts first
        wins; of those that start together, the longest. A model needs as many more embeddings as
        ids are new. Graphs and datasets that were made with the tokenizer before do not change.

        Args:
            tokens: list of str.

        Returns:
            int, the number of tokens that were not added before.

        Raises:
            ValueError: if a token is not a str, is a special token, begins or ends with white
                space, is empty by the text rules, or is by them the same as another.
        """
        added = list(dict.fromkeys([*self.added_tokens, *self._check_added_tokens(tokens)]))
        count = len(added) - len(self.added_tokens)
        if count:
            self._compile(added)
        return count

    def _check_added_tokens(self, tokens):
        """Returns them as a list without repetitions."""
        if isinstance(tokens, (str, bytes)):
            raise ValueError(f"Added tokens must be a list of str. Received: {tokens!r}")
        for token in tokens:
            if not isinstance(token, str):
                raise ValueError(f"Added tokens must be str. Received: {token!r}")
            if token in (*SPECIAL_TOKENS, *self.additional_special_tokens):
                raise ValueError(
                    f"{token} is a special token already and cannot be added. Received: {token!r}"
                )
        return list(dict.fromkeys(tokens))

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
        if keras.backend.backend() == "tensorflow":
            return super().__call__(texts, text_pairs, **kwargs)
        if isinstance(texts, keras.KerasTensor):
            raise ValueError(
                "A tokenizer within a functional model needs the TensorFlow backend. Call it on "
                f"texts, or in `tf.data`. Received: backend {keras.backend.backend()!r}"
            )
        # Past Keras, which would make the backend's arrays of the texts: they hold no strings.
        outputs = self.call(texts, text_pairs, **kwargs)
        if not tf.executing_eagerly():
            return outputs
        return {
            name: x if isinstance(x, tf.RaggedTensor) else x.numpy() for name, x in outputs.items()
        }

    def call(
        self,
        texts,
        text_pairs=None,
        max_length=None,
        truncation="longest_first",
        padding="longest",
        pad_to_multiple_of=None,
        stride=None,
        return_offsets=False,
        offsets_with_marks=False,
        return_word_ids=False,
        return_truncated=False,
        use_tf_text=False,
    ):
        """Turns a tensor of texts to ids; see the class."""
        max_length = self.max_length if max_length is None else max_length
        _check_max_length(max_length, pairs=text_pairs is not None)
        _check_choice("truncation", truncation, packing.TRUNCATIONS)
        _check_choice("padding", padding, PADDINGS)
        if pad_to_multiple_of is not None and pad_to_multiple_of < 1:
            raise ValueError(
                f"`pad_to_multiple_of` must be at least 1. Received: {pad_to_multiple_of}"
            )
        if stride is not None:
            _check_stride(stride, max_length, truncation, pairs=text_pairs is not None)

        is_single = len(texts.shape) == 0
        rows = [texts] if text_pairs is None else [texts, text_pairs]
        if is_single:
            rows = [tf.expand_dims(row, 0) for row in rows]
        batch = tf.shape(rows[0])[0]
        with_offsets = return_offsets or return_word_ids
        pieces = self._tokenize_rows(rows, with_offsets, use_tf_text, offsets_with_marks)
        features = {"token_ids": pieces.ids}
        if return_offsets:
            features |= {name: getattr(pieces, name) for name in _OFFSETS}
        if return_word_ids:
            features["word_ids"] = pieces.word_ids
        lengths = pieces.row_lengths
        layout = packing.lay_out(
            lengths[:batch],
            lengths[batch:] if len(rows) == 2 else None,
            max_length,
            truncation,
            stride,
        )
        outputs = packing.pack(
            layout,
            features,
            (self.cls_token_id, self.sep_token_id, self.pad_token_id),
            max_length,
            padding == "max_length",
            pad_to_multiple_of,
        )
        if return_offsets:
            first_byte, last_byte, first_char, last_char = (
                tf.maximum(outputs.pop(name), 0) for name in _OFFSETS
            )
            outputs["byte_offsets"] = tf.stack([first_byte, last_byte], axis=-1)
            outputs["char_offsets"] = tf.stack([first_char, last_char], axis=-1)
        if padding == "do_not_pad":
            lengths = tf.reduce_sum(outputs["padding_mask"], axis=1)
            outputs = {name: tf.RaggedTensor.from_tensor(x, lengths) for name, x in outputs.items()}
        if return_truncated:
            outputs["truncated"] = tf.maximum(layout.truncated, _fills_capacity(rows, layout))
        if is_single and stride is None:
            return {name: x[0] for name, x in outputs.items()}
        if stride is not None:
            outputs["text_index"] = layout.text_index
        return outputs

    def compute_output_spec(
        self, texts, text_pairs=None, padding="longest", max_length=None, stride=None, **kwargs
    ):
        """Shapes of the outputs, for functional models."""
        is_fixed = padding == "max_length" and kwargs.get("pad_to_multiple_of") is None
        rows = texts.shape[:1] if stride is None else (None,)
        row = (*rows, (max_length or self.max_length) if is_fixed else None)
        shapes = dict.fromkeys(("token_ids", "segment_ids", "padding_mask"), row)
        if kwargs.get("return_offsets"):
            shapes |= dict.fromkeys(("byte_offsets", "char_offsets"), (*row, 2))
        if kwargs.get("return_word_ids"):
            shapes["word_ids"] = row
        if kwargs.get("return_truncated"):
            shapes["truncated"] = rows
        if stride is not None:
            shapes["text_index"] = rows
        return {k: keras.KerasTensor(shape, "int32", name=k) for k, shape in shapes.items()}

    def tokenize_ragged(self, texts, use_tf_text=False):
        """Cuts texts to piece ids: no special tokens, no truncation.

        Args:
            texts: list of str, or string tensor `[batch]`.
            use_tf_text: bool; see the class.

        Returns:
            `tf.RaggedTensor`, int32 `[batch, pieces]`.
        """
        texts = _to_tensor(texts, "texts")
        ids, lengths = self._tokenize_rows([texts], use_tf_text=use_tf_text)[:2]
        return tf.RaggedTensor.from_row_lengths(ids[: tf.reduce_sum(lengths)], lengths)

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
            token_ids: ints `[seq]`, or `[batch, seq]`, ragged or not.
            skip_special_tokens: bool. Leaves out [CLS], [SEP], [PAD], [UNK], [MASK] and the
                `additional_special_tokens`.
            clean_up: bool. Joins English punctuation and contractions to the word before.

        Returns:
            str, or list of str for a batch.

        Raises:
            ValueError: if an id is outside the vocabulary.
        """
        if isinstance(token_ids, tf.RaggedTensor):
            token_ids = token_ids.to_list()
        elif not isinstance(token_ids, (list, tuple)):
            token_ids = np.asarray(token_ids).tolist()
        if token_ids and np.ndim(token_ids[0]) > 0:
            return [self.decode(row, skip_special_tokens, clean_up) for row in token_ids]
        skipped = set(self.special_token_ids) if skip_special_tokens else set()
        text = ""
        for token_id in token_ids:
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

    def _tokenize_rows(self, rows, with_offsets=False, use_tf_text=False, with_marks=False):
        """Cuts the texts of one or two `[batch]`es, one after the other; returns `WordPieces`."""
        if rows[0].dtype != tf.string:
            return self._wordpiece(*self._lay_bytes(rows), with_offsets, with_marks)
        # Stacked, not concatenated: that fails where texts and pairs are not equally many.
        texts = tf.reshape(tf.stack(rows), [-1])
        if with_offsets and with_marks:
            return self._wordpiece.on_any_length_with_marks(*_join(texts))
        if with_offsets:
            return self._wordpiece.on_any_length_with_offsets(*_join(texts))
        if any(character.isspace() for token in self.added_tokens for character in token):
            return self._wordpiece.on_any_length(*_join(texts))
        return self._tokenize_distinct_words(texts, use_tf_text)

    def _tokenize_distinct_words(self, texts, use_tf_text):
        """Cuts each distinct word of a batch once: most of a text is the same words again.

        What stands between spaces can be cut by itself, since no piece reaches over a space. Other
        white space stays within; BERT's rules find it there.
        """
        words = tf.strings.split(texts, " ")
        distinct, index = tf.unique(words.flat_values)
        if use_tf_text and not self.added_tokens and not self.additional_special_tokens:
            ids, starts, lengths = self._tokenize_ascii_by_tf_text(distinct)
        else:
            ids, lengths = self._wordpiece.on_any_length(*_join(distinct))[:2]
            starts = tf.cumsum(lengths, exclusive=True)
        lengths, starts = tf.gather(lengths, index), tf.gather(starts, index)  # [words]
        ends = tf.concat([[0], tf.cumsum(lengths)], 0)
        word = tf.repeat(tf.range(tf.size(lengths)), lengths)  # [pieces]
        source = tf.gather(starts - ends[:-1], word) + tf.range(ends[-1])
        ids = tf.concat([tf.gather(ids, source), [0]], 0)
        row_splits = tf.gather(ends, words.row_splits)
        return wordpiece_graph.WordPieces(ids, row_splits[1:] - row_splits[:-1])

    def _tokenize_ascii_by_tf_text(self, words):
        """Cuts words `[n]`, those of plain ASCII by tensorflow-text.

        Returns:
            int32 tensors: pieces, end to end; where those of each word start `[n]`; how many `[n]`.
        """
        # Printable ASCII and white space. Where special tokens are looked for, "[" may begin one.
        plain = (
            r"[\x20-\x5a\x5c-\x7e\t\n\r]*" if self.special_tokens_in_text else r"[\x20-\x7e\t\n\r]*"
        )
        is_plain = tf.strings.regex_full_match(words, plain)
        places = [tf.cast(tf.where(x), tf.int32)[:, 0] for x in (is_plain, ~is_plain)]
        plain, others = (tf.gather(words, x) for x in places)
        if self.lowercase:
            plain = tf.strings.lower(plain)
        by_tf_text = self._tf_text_tokenizer().tokenize(plain)
        plain_lengths = tf.cast(by_tf_text.row_lengths(), tf.int32)
        ids, lengths = self._wordpiece.on_any_length(*_join(others))[:2]
        count = tf.size(by_tf_text.flat_values)
        starts = [
            tf.cumsum(plain_lengths, exclusive=True),
            count + tf.cumsum(lengths, exclusive=True),
        ]
        return (
            tf.concat([by_tf_text.flat_values, ids], 0),
            tf.dynamic_stitch(places, starts),
            tf.dynamic_stitch(places, [plain_lengths, lengths]),
        )

    def _tf_text_tokenizer(self):
        """Returns tensorflow-text's tokenizer for the vocabulary, made at the first call."""
        if self._wordpiece.tf_text_tokenizer is None:
            try:
                import tensorflow_text
            except ImportError as error:
                raise ValueError(
                    "`use_tf_text` needs tensorflow-text of the same version as TensorFlow: "
                    f'pip install "keras-bert-lib[fast]". Received: {error}'
                ) from error
            with tf.init_scope(), tf.device("CPU:0"):
                self._wordpiece.tf_text_tokenizer = tensorflow_text.FastWordpieceTokenizer(
                    self._base_vocabulary,
                    token_out_type=tf.int32,
                    unknown_token="[UNK]",
                    max_bytes_per_word=self.max_chars_per_word,
                    no_pretokenization=False,
                    support_detokenization=False,
                )
        return self._wordpiece.tf_text_tokenizer

    def _lay_bytes(self, rows):
        """Lays rows of bytes end to end; returns (bytes [n], where each row starts [rows])."""
        starts, offset, flat = [], 0, []
        for row in rows:  # [batch, bytes]
            row = tf.math.floormod(tf.cast(row, tf.int32), 256)  # signed bytes are bytes, too
            # Cost follows the text, not the capacity; in steps, since TFLite plans anew for each
            # new length.
            used = tf.where(row > 0, tf.range(1, row.shape[1] + 1), 0)
            used = (tf.reduce_max(used) + _BYTES_STEP - 1) // _BYTES_STEP * _BYTES_STEP
            row = row[:, : tf.minimum(used, row.shape[1])]
            if not self.clean_text:  # which would drop what pads
                row = tf.where(row > 0, row, ord("\n"))
            batch, size = row.shape[0] or tf.shape(row)[0], tf.shape(row)[1] + 1
            ended = tf.pad(row, [[0, 0], [0, 1]], constant_values=ord("\n"))
            flat.append(tf.reshape(ended, [-1]))
            starts.append(offset + tf.range(batch) * size)
            offset += batch * size
        return tf.concat(flat, 0), tf.concat(starts, 0)

    def get_config(self):
        """The constructor's arguments; the vocabulary as a list of str."""
        return {**super().get_config(), **self._arguments()}

    def _arguments(self):
        return {
            "vocabulary": list(self._base_vocabulary),
            "lowercase": self.lowercase,
            "strip_accents": self.strip_accents,
            "split_on_cjk": self.split_on_cjk,
            "clean_text": self.clean_text,
            "max_chars_per_word": self.max_chars_per_word,
            "special_tokens_in_text": self.special_tokens_in_text,
            "added_tokens": list(self.added_tokens),
            "additional_special_tokens": list(self.additional_special_tokens),
            "max_length": self.max_length,
        }

    def save_pretrained(self, directory):
        """Writes the files from which Hugging Face reads the same tokenizer.

        `vocab.txt`, `tokenizer_config.json` and `tokenizer.json`.

        Args:
            directory: path; made if it is not there.
        """
        tokenizer_files.write_tokenizer(directory, self._arguments())

    @classmethod
    def from_pretrained(cls, directory, **overrides):
        """Reads a tokenizer from a directory in Hugging Face's layout.

        Args:
            directory: path with `vocab.txt` or `tokenizer.json`, and, if it is there,
                `tokenizer_config.json`.
            **overrides: constructor arguments that win over the files'.

        Returns:
            `BertTokenizer`.

        Raises:
            FileNotFoundError: if there is neither `vocab.txt` nor `tokenizer.json`.
            ValueError: if a file is not what it should be, or asks for what BERT's rules are not.
        """
        return cls(**{**tokenizer_files.read_tokenizer(directory), **overrides})


def _check_max_length(max_length, pairs):
    """Returns `max_length` if the special tokens and one piece a text fit in it."""
    least = 5 if pairs else 3
    if max_length < least:
        raise ValueError(
            f"`max_length` must be at least {least}: the special tokens and one piece a text. "
            f"Received: {max_length}"
        )
    return max_length


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}. Received: {value!r}")


def _check_stride(stride, max_length, truncation, pairs):
    """Raises unless windows can be made that overlap by `stride`."""
    if pairs and truncation not in ("only_first", "only_second"):
        raise ValueError(
            '`stride` with pairs needs `truncation` "only_first" or "only_second", which tells '
            f"the text to make windows of. Received: {truncation!r}"
        )
    most = max_length - (4 if pairs else 3)
    if not 0 <= stride <= most:
        raise ValueError(
            f"`stride` must lie between 0 and {most}, so that each row of {max_length} tokens has "
            f"room for a new piece. Received: {stride}"
        )


def _fills_capacity(rows, layout):
    """1 where the bytes of a row go to its last place: a client's text may have gone on."""
    if rows[0].dtype == tf.string:
        return tf.zeros_like(layout.truncated)
    full = [tf.where(tf.equal(row[:, -1], 0), 0, 1) for row in rows]
    full = full[0] if len(full) == 1 else tf.maximum(*full)
    return full if layout.text_index is None else tf.gather(full, layout.text_index)


def _join(texts):
    """Lays strings [rows] end to end; returns (bytes [n], where each starts [rows])."""
    joined = tf.strings.reduce_join(texts, separator="\n") + "\n"
    data = tf.cast(tf.io.decode_raw(joined, tf.uint8), tf.int32)
    return data, tf.cumsum(tf.strings.length(texts) + 1, exclusive=True)


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
