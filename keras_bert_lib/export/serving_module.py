"""What an exported file computes: texts, or tokens, to named answers."""

import os

import tensorflow as tf

from keras_bert_lib.backend import require_tensorflow
from keras_bert_lib.export.answers import answers_class
from keras_bert_lib.export.half_weights import HalfWeights
from keras_bert_lib.models import BertEncoder

# The inputs of every model.
_NAMES = ("token_ids", "segment_ids", "padding_mask")


class ServingModule(tf.Module):
    """Holds a model's variables, and the functions that files are made of.

    It does not hold the Keras objects themselves, so what is saved from it needs no Keras to load.

    Args:
        model: a model of any task, with a tokenizer.
        max_length: int, most tokens of a text, special tokens included, or a list of such lengths,
            the longest of which is the module's; None for as many as the model has positions for,
            the tokenizer allows, and `most` says.
        most: int or None, see `max_length`.
        pairs: bool, whether the model takes pairs of texts; it need not be said of models that
            take nothing else.
        choices: int or None, how many choices a `BertMultipleChoice` has in a TFLite file.
        weights: "float32", or as what the weights are stored: "bfloat16" or "float16".
        **options: other arguments of the model's `TaskAnswers`.

    Raises:
        ValueError: if the model is none that can be exported, or an argument does not fit it.
    """

    def __init__(
        self,
        model,
        max_length=None,
        most=None,
        pairs=False,
        choices=None,
        weights="float32",
        **options,
    ):
        super().__init__()
        require_tensorflow("Export")
        kind = answers_class(model)
        if model.tokenizer is None:
            raise ValueError(
                "`model` has no tokenizer, so its file could not take text. Set "
                "`model.tokenizer`. Received: tokenizer=None"
            )
        if pairs and kind.pairs is False:
            raise ValueError(
                f"A {type(model).__name__} takes single texts. Leave out `pairs`. "
                f"Received: pairs={pairs!r}"
            )
        if choices is not None and not kind.has_choices:
            raise ValueError(
                f"A {type(model).__name__} has no choices. Leave out `choices`. "
                f"Received: choices={choices!r}"
            )
        self.pairs = bool(pairs or kind.pairs)
        self.choices = choices
        # An embedder reads no more tokens than it was trained with.
        positions = model.config.max_position_embeddings
        longest = getattr(model, "max_length", positions)
        if max_length is None:
            max_length = min(model.tokenizer.max_length, longest, most or positions)
        lengths = max_length if isinstance(max_length, (list, tuple)) else [max_length]
        least = 5 if self.pairs else 3
        for length in lengths or [None]:
            if not is_int(length) or not least <= length <= positions:
                raise ValueError(
                    f"`max_length` must lie between {least} and {positions}, the model's "
                    f"`max_position_embeddings`. Received: {max_length!r}"
                )
        self.lengths = sorted(set(lengths))
        self.max_length = self.lengths[-1]
        model = in_float32(model)
        variables = model.variables
        if weights != "float32":
            half = HalfWeights(model, weights)
            self.half_variables, self.float32_copies = half.stored, half.copies
            variables, options["weights"] = half.others, half
        self.model_variables = [variable.value for variable in variables]
        self.answers = kind(model, self.max_length, **options)

    def text_function(self, max_bytes=None):
        """Answers for texts.

        Args:
            max_bytes: int or None. With None the function takes any number of strings. With a
                number it takes one text as its bytes, int32 `[1, max_bytes]` (UTF-8, NUL padded),
                and gives no strings: what TFLite knows.

        Returns:
            `tf.function` with the input "text", and "text_pair" where there are pairs.
        """
        if max_bytes is None:
            specs, answer = self._string_specs(), self._answer_strings
        else:
            specs = [tf.TensorSpec([1, max_bytes], tf.int32, name="text")]
            shape = [self.choices or 1, max_bytes]
            specs.append(tf.TensorSpec(shape, tf.int32, name="text_pair"))

            def answer(*columns):
                return _without_strings(self.answers.of_texts(*columns))

        if not self.pairs:
            return tf.function(
                lambda text: answer(text), input_signature=specs[:1], autograph=False
            )
        return tf.function(
            lambda text, text_pair: answer(text, text_pair), input_signature=specs, autograph=False
        )

    def tokenize_function(self):
        """Returns the `tf.function` of `tokenize`, for any number of strings."""
        specs = self._string_specs()
        if not self.pairs:
            return tf.function(
                lambda text: self.tokenize(text), input_signature=specs[:1], autograph=False
            )
        return tf.function(self.tokenize, input_signature=specs, autograph=False)

    def tokenize(self, text, text_pair=None):
        """What the model is given for texts.

        Args:
            text: strings `[b]`.
            text_pair: strings `[b]`, or `[b, choices]`, or None.

        Returns:
            Dict of int32 tensors: the model's inputs `[b, s]`, "byte_offsets" and "char_offsets"
            `[b, s, 2]`, places in a token's own text (0 at special tokens), and "truncated" `[b]`;
            for multiple choice each `[b, choices, ...]` but the last.
        """
        (text, text_pair), truncated = self._cut(text, text_pair)
        return self.answers.tokens_of_texts(text, text_pair, truncated)

    def examples_function(self, text_function):
        """Answers for serialized `tf.train.Example` messages.

        Args:
            text_function: what `text_function` gives, for strings; files hold its graph once.

        Returns:
            `tf.function` with the input "examples", strings `[b]`. The features "text", and
            "text_pair" where there are pairs, are required, and one string each; but those of
            choices, which are as many in each example of a batch.
        """
        features = {"text": tf.io.FixedLenFeature([], tf.string)}
        if self.answers.has_choices:
            features["text_pair"] = tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int32)
        elif self.pairs:
            features["text_pair"] = tf.io.FixedLenFeature([], tf.string)

        def answer(examples):
            columns = tf.io.parse_example(examples, features)
            if self.answers.has_choices:
                columns["text_pair"] = _equally_many(columns["text_pair"])
            return text_function(**columns)

        spec = tf.TensorSpec([None], tf.string, name="examples")
        return tf.function(answer, input_signature=[spec], autograph=False)

    def _string_specs(self):
        shape = [None, None] if self.answers.has_choices else [None]
        return [
            tf.TensorSpec([None], tf.string, name="text"),
            tf.TensorSpec(shape, tf.string, name="text_pair"),
        ]

    def _answer_strings(self, text, text_pair=None):
        (text, text_pair), truncated = self._cut(text, text_pair)
        # Shapes that are to be few cannot depend on how many tokens there are.
        skips_padding = not self.answers.lengths
        with self.answers.model.encoder.skipping_padding(skips_padding):
            outputs = self.answers.of_texts(text, text_pair)
        return outputs | {"truncated": tf.maximum(outputs["truncated"], truncated)}

    def _cut(self, *columns):
        """Cuts strings to `most_bytes`; returns them, and which rows were cut, int32 `[b]`."""
        # Loaders do not compare what they are given with the signature: a text too many in a list
        # would be read as part of another.
        text, *pairs = [tf.ensure_shape(x, x.shape) for x in columns if x is not None]
        checks = [
            _check(
                tf.equal(tf.shape(text)[0], tf.shape(pair)[0]),
                "`text` and `text_pair` must be equally many.",
                [tf.shape(text), tf.shape(pair)],
            )
            for pair in pairs
        ]
        # The work, and so the memory, is bounded whatever comes.
        most = self.answers.most_bytes
        with tf.control_dependencies(checks):
            truncated = tf.strings.length(text) > most
            for pair in pairs:
                is_cut = tf.strings.length(pair) > most
                if self.answers.has_choices:
                    is_cut = tf.reduce_any(is_cut, axis=1)
                truncated = tf.logical_or(truncated, is_cut)
            cut = [tf.strings.substr(x, 0, most) for x in (text, *pairs)]
        return [*cut, None][:2], tf.cast(truncated, tf.int32)

    def _checked_tokens(self, tokens):
        """Returns a caller's own tokens; raises, when it runs, where the model has not their like.

        On a GPU nothing else would: an embedding that is not there is read as zeros.
        """
        tokens = {name: tf.ensure_shape(x, x.shape) for name, x in tokens.items()}
        config = self.answers.model.config
        shape = tf.shape(tokens["token_ids"])
        length, most = shape[-1], config.max_position_embeddings

        def all_below(name, count):
            x = tokens[name]
            return _check(
                tf.reduce_all(tf.logical_and(x >= 0, x < count)),
                f"`{name}` must lie between 0 and {count - 1}.",
                [tf.reduce_min(x), tf.reduce_max(x)],
            )

        checks = [
            _check(
                tf.logical_and(length >= 1, length <= most),
                f"`token_ids` must have between 1 and {most} tokens a row.",
                [shape],
            ),
            *(
                _check(
                    tf.reduce_all(tf.equal(shape, tf.shape(tokens[name]))),
                    f"`token_ids` and `{name}` must have the same shape.",
                    [shape, tf.shape(tokens[name])],
                )
                for name in _NAMES[1:]
            ),
            all_below("token_ids", config.vocab_size),
            all_below("segment_ids", config.type_vocab_size),
            all_below("padding_mask", 2),
        ]
        with tf.control_dependencies(checks):
            return {name: tf.identity(x) for name, x in tokens.items()}

    def tokens_function(self, seq=None):
        """Answers for token ids made by the caller.

        Args:
            seq: int or None. With None the function takes any number of rows of any length. With a
                number it takes one row of this length (one a choice), and gives no strings.

        Returns:
            `tf.function` with inputs "token_ids", "segment_ids" and "padding_mask".
        """
        has_choices = self.answers.has_choices
        if seq is None:
            shape = [None, None, None] if has_choices else [None, None]
        else:
            shape = [self.choices or 1, seq]
        specs = [tf.TensorSpec(shape, tf.int32, name=name) for name in _NAMES]

        def answer(token_ids, segment_ids, padding_mask):
            tokens = dict(zip(_NAMES, (token_ids, segment_ids, padding_mask)))
            if seq is None:
                return self.answers.of_tokens(self._checked_tokens(tokens))
            if has_choices:
                tokens = {name: tf.expand_dims(x, 0) for name, x in tokens.items()}
            return _without_strings(self.answers.of_tokens(tokens))

        return tf.function(answer, input_signature=specs, autograph=False)


def _check(condition, message, received):
    """Returns an op that fails with a message, and what was received, where it is not so."""
    return tf.debugging.Assert(condition, [f"{message} Received:", *received], summarize=8)


def _equally_many(choices):
    """Makes ragged strings `[b, none]` a tensor `[b, c]`."""
    counts = choices.row_lengths()  # [b]
    check = _check(
        tf.reduce_all(tf.logical_and(counts > 0, tf.equal(counts, tf.reduce_max(counts)))),
        "The examples of a batch must have equally many choices, strings in `text_pair`.",
        [counts],
    )
    with tf.control_dependencies([check]):
        return choices.to_tensor("")


def _without_strings(outputs):
    """Leaves out strings, which do not exist in TFLite: labels are for the caller to look up."""
    return {name: x for name, x in outputs.items() if x.dtype != tf.string}


def in_float32(model):
    """Returns the model, or one with the same weights where it computes in half precision.

    Half-precision casts of training have no place in a file, and weights are float32 anyway.
    """
    if model.encoder.compute_dtype == model.compute_dtype == "float32":
        return model
    encoder = model.encoder.get_config() | {"config": model.config, "dtype": "float32"}
    arguments = model.get_config() | {
        "encoder": BertEncoder(**encoder),
        "tokenizer": model.tokenizer,
        "dtype": "float32",
    }
    exact = type(model)(**arguments)
    exact.set_weights(model.get_weights())
    return exact


def is_int(value):
    """Whether a value is an int, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_free(path, overwrite):
    """Raises where something stands at `path` that is not to be replaced.

    Raises:
        FileExistsError: if it does.
    """
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(
            f"{path} is there already. Give another path, or replace it with `overwrite=True`."
        )
