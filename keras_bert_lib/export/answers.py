"""What the model of each task answers, as named tensors: the outputs of exported files.

One class a task. They are made of TensorFlow ops only, of which the TFLite converter makes built-in
operators.
"""

import contextlib

import tensorflow as tf

from keras_bert_lib.models import (
    BertClassifier,
    BertMaskedLM,
    BertMultipleChoice,
    BertQuestionAnswerer,
    BertTextEmbedder,
    BertTokenClassifier,
)
from keras_bert_lib.models.bert_classifier import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from keras_bert_lib.models.bert_masked_lm import mask_tokenizer
from keras_bert_lib.models.windows import model_inputs, of_windows

# Of windows that are computed at once: tens of MB in a model of BERT's size.
_MOST_TOKENS = 8192

# What there is room for in the answers of a BertTokenClassifier.
_MOST_ENTITIES = 64

# What there is room for in the answers of a BertMaskedLM.
_MOST_MASKS = 8
_MOST_FILLS = 5


class TaskAnswers:
    """Base of the answers of one task.

    It is no `tf.Module`, so the Keras objects it holds are not saved along with a module that has
    it for an attribute.

    Args:
        model: a model of the task, with a tokenizer.
        max_length: int, most tokens of a text, special tokens included.
        lengths: tuple of int, ascending, or empty: rows are padded to the next of them, so that a
            server sees few shapes.
        weights: `HalfWeights` of the model, or None for its own.
    """

    truncation = "longest_first"  # see `BertTokenizer`
    reads_windows = False  # whether long texts are read in windows
    pairs = None  # whether the task takes pairs of texts; None: as the caller says
    has_choices = False  # whether there are several second texts to each first one

    def __init__(self, model, max_length, lengths=(), weights=None):
        self.model = model
        self.tokenizer = model.tokenizer
        self.max_length = max_length
        self.lengths = tuple(lengths)
        self.weights = weights

    @property
    def most_bytes(self):
        """How many bytes of a string are read, int; that bounds the memory of hostile texts."""
        return 2**17 if self.reads_windows else 2**16

    @property
    def labels(self):
        """List of str, what `labels.txt` holds; empty where answers are no labels."""
        return []

    @property
    def lists(self):
        """Dict of file name to list of str: the names of what outputs give as numbers."""
        lists = {"labels.txt": self.labels, "vocab.txt": self.tokenizer.vocabulary}
        return {name: lines for name, lines in lists.items() if lines}

    def of_tokens(self, tokens):
        """Answers for token ids.

        Args:
            tokens: dict of the model's inputs, int32 `[b, s]`.

        Returns:
            Dict of name to tensor.
        """
        raise NotImplementedError

    def of_texts(self, text, text_pair=None):
        """Answers for texts; "truncated" int32 `[b]` among them, 1 where a text was cut to fit.

        Args:
            text: string `[b]`, or int32 `[b, bytes]` (UTF-8, NUL padded).
            text_pair: the same for second texts, or None.

        Returns:
            Dict of name to tensor.
        """
        tokens = self.tokenize(text, text_pair)
        truncated = tokens.pop("truncated")
        return {**self.of_tokens(tokens), "truncated": truncated}

    def tokenize(self, text, text_pair=None, **options):
        """Returns what the tokenizer makes of texts, less the inputs that say nothing."""
        tokens = self.tokenizer(
            text,
            text_pair,
            max_length=self.max_length,
            truncation=self.truncation,
            return_truncated=True,
            **options,
        )
        if text_pair is None:
            del tokens["segment_ids"]  # all 0, which is what the model takes for none
        # The rows of a batch are padded to the longest. A batch of one has no padding, and its
        # graph no mask; its cost follows the length of the text.
        if text.shape[0] == 1:
            del tokens["padding_mask"]
        return tokens

    def predict(self, tokens, by_token=False):
        """Returns what the model gives for its inputs.

        Args:
            tokens: dict of tensors, the model's inputs.
            by_token: bool, whether what it gives has a place for each token, `[b, s, ...]`.
        """
        length = tf.shape(tokens["token_ids"])[-1]
        if self.lengths:
            tokens = self._padded(tokens, length)
        with self.weights.read() if self.weights else contextlib.nullcontext():
            outputs = self.model(tokens, training=False)
        if self.lengths and by_token:
            return tf.nest.map_structure(lambda x: x[:, :length], outputs)
        return outputs

    def predict_windows(self, tokens, text, dtypes=tf.float32, by_token=True):
        """Returns what the model gives for windows `[w, s]`.

        Of strings, which may be long, some windows are computed at a time; that bounds the memory.

        Args:
            tokens: dict of tensors, the model's inputs.
            text: what the windows are of; see `of_texts`.
            dtypes: the dtype of the output, or a dict of those of the outputs.
            by_token: bool, whether the output has a place for each token.
        """
        if text.dtype != tf.string:
            return self.predict(tokens, by_token)
        count, length = tf.unstack(tf.shape(tokens["token_ids"]))
        parts = tf.maximum((count * length + _MOST_TOKENS - 1) // _MOST_TOKENS, 1)
        rows = (count + parts - 1) // parts  # of a part
        padding = [[0, parts * rows - count], [0, 0]]
        parted = {
            name: tf.reshape(tf.pad(x, padding), [parts, rows, length])
            for name, x in tokens.items()
        }
        outputs = tf.map_fn(
            lambda part: self.predict(part, by_token),
            parted,
            parallel_iterations=1,
            fn_output_signature=dtypes,
        )
        rows = [parts * rows, length] if by_token else [parts * rows]
        return tf.nest.map_structure(
            lambda x: tf.reshape(x, [*rows, *x.shape[1 + len(rows) :]])[:count], outputs
        )

    def _padded(self, tokens, length):
        """Pads the model's inputs to the next of `lengths`, if they are not longer than all."""
        index = tf.reduce_sum(tf.cast(tf.constant(self.lengths) < length, tf.int32))
        target = tf.gather(tf.concat([self.lengths, tf.expand_dims(length, 0)], 0), index)
        padded = dict(tokens)
        for name in ("token_ids", "segment_ids", "padding_mask"):
            if name in tokens:
                before = [[0, 0]] * (len(tokens[name].shape) - 1)
                value = self.tokenizer.pad_token_id if name == "token_ids" else 0
                padded[name] = tf.pad(
                    tokens[name], [*before, [0, target - length]], constant_values=value
                )
        return padded

    def tokens_of_texts(self, text, text_pair, truncated):
        """What the tokenizer makes of strings; see `ServingModule.tokenize`.

        Args:
            text: strings `[b]`.
            text_pair: strings `[b]` (of choices `[b, c]`), or None.
            truncated: int32 `[b]`, 1 where one was cut before.
        """
        tokens = self.tokenizer(
            text,
            text_pair,
            max_length=self.max_length,
            truncation=self.truncation,
            return_offsets=True,
            return_truncated=True,
        )
        return tokens | {"truncated": tf.maximum(tokens["truncated"], truncated)}


class ClassifierAnswers(TaskAnswers):
    """Base of the answers of a `BertClassifier`, which it makes of its logits."""

    def __init__(self, model, max_length, **options):
        super().__init__(model, max_length, **options)
        self.truncation = model.truncation
        self.reads_windows = model.reads_windows

    @property
    def labels(self):
        """The names of the outputs."""
        return self.model.labels

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return self.of_logits(self.predict(tokens))

    def of_texts(self, text, text_pair=None):
        """Answers for texts; see the class."""
        if not self.reads_windows:
            return super().of_texts(text, text_pair)
        windows = self.model.windows(text, text_pair, self.max_length)
        tokens = model_inputs(windows)
        if text_pair is None:
            del tokens["segment_ids"]  # all 0, which is what the model takes for none
        logits = self.predict_windows(tokens, text, by_token=False)  # [w, c]
        num_texts = text.shape[0] or tf.shape(text)[0]
        logits = self.model.pool_windows(logits, windows["text_index"], num_texts)
        return {**self.of_logits(logits), "truncated": _of_texts(windows, num_texts)}

    def of_logits(self, logits):
        """Answers for the model's logits `[b, c]`; see the class."""
        raise NotImplementedError


class LabelAnswers(ClassifierAnswers):
    """One label a text: "probabilities" float32 `[b, classes]`, and "label" string `[b]`.

    With `top_k` or `threshold` instead the best labels, best first: "labels" string, "label_ids"
    int32 and "probabilities" float32 `[b, k]`, and how many of them are above their threshold,
    "label_count" int32 `[b]`; "", -1 and 0 stand in the other places.

    Args:
        model: see `TaskAnswers`.
        max_length: see `TaskAnswers`.
        top_k: int or None, most labels to give.
        threshold: float, above which probability a label is given; a dict of one for each label; or
            None for all.
        **options: see `TaskAnswers`.
    """

    several = False  # whether a text may have several labels

    def __init__(self, model, max_length, top_k=None, threshold=None, **options):
        super().__init__(model, max_length, **options)
        self.is_ranked = top_k is not None or threshold is not None
        count = len(self.labels)
        if top_k is None:
            top_k = count if self.several else 1
        if type(top_k) is not int or not 1 <= top_k <= count:
            raise ValueError(
                f"`top_k` must lie between 1 and {count}, the number of labels. "
                f"Received: top_k={top_k!r}"
            )
        self.top_k = top_k
        self.thresholds = _thresholds(threshold, self.labels)

    def of_logits(self, logits):
        """Answers for the model's logits; see the class."""
        probabilities = tf.nn.softmax(logits)  # [b, c]
        if self.is_ranked:
            return self._ranked(probabilities)
        best = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        return {"probabilities": probabilities, "label": tf.gather(self.model.labels, best)}

    def _ranked(self, probabilities):
        """The best labels; see the class."""
        is_above = probabilities > tf.constant(self.thresholds)
        scores, ids = tf.math.top_k(tf.where(is_above, probabilities, -1.0), self.top_k)  # [b, k]
        is_given = scores >= 0
        return {
            "labels": tf.where(is_given, tf.gather(self.labels, ids), ""),
            "label_ids": tf.where(is_given, ids, -1),
            "probabilities": tf.where(is_given, scores, 0.0),
            "label_count": tf.reduce_sum(tf.cast(is_given, tf.int32), axis=1),
        }


class MultiLabelAnswers(LabelAnswers):
    """Any number of labels a text: "probabilities" float32 `[b, classes]`, each by itself.

    With `top_k` or `threshold` as in `LabelAnswers`.
    """

    several = True

    def of_logits(self, logits):
        """Answers for the model's logits; see the class."""
        probabilities = tf.sigmoid(logits)
        return self._ranked(probabilities) if self.is_ranked else {"probabilities": probabilities}


class RegressionAnswers(ClassifierAnswers):
    """Numbers: "values" float32 `[b, outputs]`."""

    def of_logits(self, logits):
        """Answers for the model's logits; see the class."""
        return {"values": logits}


class EmbeddingAnswers(TaskAnswers):
    """One vector a text: "embedding" float32 `[b, hidden]`."""

    pairs = False

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return {"embedding": self.predict(tokens)}


class EntityAnswers(TaskAnswers):
    """The entities in a text; for token ids "logits" float32 `[b, s, labels]`.

    "entity_starts", "entity_ends" (byte offsets), "entity_labels" (which type) int32,
    "entity_scores" float32, and "entity_types" string, each `[b, 64]`: 0, -1 and "" where there is
    none; "entity_count" int32 `[b]`.
    """

    reads_windows = True
    pairs = False

    @property
    def labels(self):
        """The types of entities."""
        return self.model.entity_types

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return {"logits": self.predict(tokens, by_token=True)}

    def of_texts(self, text, text_pair=None):
        """Answers for texts; see the class. Entities there is no room for count as cut."""
        windows = self.model.windows(text, self.max_length)
        tokens = model_inputs(windows)
        del tokens["segment_ids"]  # all 0, which is what the model takes for none
        logits = self.predict_windows(tokens, text)
        num_texts = text.shape[0] or tf.shape(text)[0]
        answers = self.model.decode(
            logits, windows, "byte_offsets", num_texts, self.max_length, _MOST_ENTITIES
        )
        types = tf.gather(["", *self.labels], answers["entity_labels"] + 1)
        truncated = tf.maximum(answers["truncated"], _of_texts(windows, num_texts))
        return answers | {"entity_types": types, "truncated": truncated}


class SpanAnswers(TaskAnswers):
    """Where the answer stands; for token ids "start_logits", "end_logits" float32 `[b, s]`.

    "answer_start", "answer_end" int32 `[b, 1]`, byte offsets into the second text, both 0 for no
    answer; "score" float32 `[b, 1]`, the probability, and "no_answer_score" float32 `[b]`.
    """

    reads_windows = True
    truncation = "only_second"
    pairs = True

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return self.predict(tokens, by_token=True)

    def of_texts(self, text, text_pair):
        """Answers for texts; see the class."""
        windows = self.model.windows(text, text_pair, self.max_length)
        dtypes = {"start_logits": tf.float32, "end_logits": tf.float32}
        outputs = self.predict_windows(model_inputs(windows), text, dtypes)
        num_texts = text.shape[0] or tf.shape(text)[0]
        answers = self.model.decode(outputs, windows, "byte_offsets", num_texts)
        return answers | {"truncated": _of_texts(windows, num_texts)}


class ChoiceAnswers(TaskAnswers):
    """Which choice fits: "probabilities" float32 `[b, choices]`.

    Token ids are `[b, choices, s]`. Second texts are strings `[b, choices]`, or the bytes of the
    choices for one text, int32 `[choices, bytes]`.
    """

    pairs = True
    has_choices = True

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return {"probabilities": tf.nn.softmax(self.predict(tokens))}

    def of_texts(self, text, text_pair):
        """Answers for texts; see the class."""
        if text.dtype == tf.string:
            batch, choices = tf.unstack(tf.shape(text_pair))
            text_pair = tf.reshape(text_pair, [-1])  # [b * c]
        else:
            batch, choices = 1, text_pair.shape[0]
        # The rows of one text are padded to the longest of its batch.
        tokens = self.tokenize(tf.repeat(text, choices, axis=0), text_pair)  # each [b * c, s]
        truncated = tf.reshape(tokens.pop("truncated"), [batch, choices])
        tokens = {
            name: tf.reshape(x, [batch, choices, tf.shape(x)[1]]) for name, x in tokens.items()
        }
        probabilities = tf.reshape(self.of_tokens(tokens)["probabilities"], [batch, choices])
        return {"probabilities": probabilities, "truncated": tf.reduce_max(truncated, axis=1)}

    def tokens_of_texts(self, text, text_pair, truncated):
        """What the tokenizer makes of strings; see the base class."""
        choices = tf.shape(text_pair)[1]
        tokens = super().tokens_of_texts(
            tf.repeat(text, choices, axis=0),
            tf.reshape(text_pair, [-1]),
            tf.repeat(truncated, choices, axis=0),
        )
        batch = tf.shape(text)[0]
        tokens = {
            name: tf.reshape(x, tf.concat([[batch, choices], tf.shape(x)[1:]], 0))
            for name, x in tokens.items()
        }
        return tokens | {"truncated": tf.reduce_max(tokens["truncated"], axis=1)}


class FillAnswers(TaskAnswers):
    """What may stand at each [MASK]; for token ids "logits" float32 `[b, s, vocab]`.

    For texts "token_ids" int32 and "scores" float32 `[b, 8, 5]`, the most probable pieces for each
    [MASK], "mask_starts" and "mask_ends" int32 `[b, 8]`, its bytes, and "mask_count" int32 `[b]`;
    places that are not used are 0.
    """

    pairs = False

    def __init__(self, model, max_length, **options):
        super().__init__(model, max_length, **options)
        self.tokenizer = mask_tokenizer(model.tokenizer)

    def of_tokens(self, tokens):
        """Answers for token ids; see the class."""
        return {"logits": self.predict(tokens, by_token=True)}

    def of_texts(self, text, text_pair=None):
        """Answers for texts; see the class. Those past the eighth [MASK] count as cut."""
        tokens = self.tokenize(text, return_offsets=True)
        truncated, offsets = tokens.pop("truncated"), tokens.pop("byte_offsets")  # [b, s, 2]
        del tokens["char_offsets"]
        batch = text.shape[0] or -1
        is_mask = tf.where(tf.equal(tokens["token_ids"], self.tokenizer.mask_token_id), 1, 0)
        total = tf.reduce_sum(is_mask, axis=1)  # [b]
        count = tf.minimum(total, _MOST_MASKS)
        # Where the first, the second, ... [MASK] stands.
        number = tf.expand_dims(tf.cumsum(is_mask, axis=1) * is_mask, 1)  # [b, 1, s] from 1
        order = tf.reshape(tf.range(1, _MOST_MASKS + 1), [1, -1, 1])
        is_it = tf.where(tf.equal(number, order), 1, 0)  # [b, 8, s]
        places = tf.range(tf.shape(is_mask)[1])

        def at_masks(x):  # [b or 1, s] to [b, 8]
            places = tf.reduce_sum(is_it * tf.expand_dims(x, 1), axis=-1)
            return tf.reshape(places, [batch, _MOST_MASKS])

        # The vocabulary's scores are the greater part of the work: for as many as there are.
        used = tf.maximum(tf.reduce_max(tf.concat([count, [1]], 0)), 1)
        positions = at_masks(tf.expand_dims(places, 0))[:, :used]  # [b, p]
        logits = self.predict({**tokens, "masked_positions": positions})
        # Embeddings that have no piece are none to give.
        scores = tf.nn.softmax(logits)[:, :, : self.tokenizer.vocabulary_size]  # [b, p, v]
        scores, token_ids = tf.math.top_k(scores, k=_MOST_FILLS)  # each [b, p, 5]
        is_used = tf.expand_dims(tf.range(used), 0) < tf.expand_dims(count, 1)
        is_used = tf.expand_dims(tf.where(is_used, 1, 0), 2)  # [b, p, 1]

        def lay(x):
            padded = tf.pad(x, [[0, 0], [0, _MOST_MASKS - used], [0, 0]])
            return tf.reshape(padded, [batch, _MOST_MASKS, _MOST_FILLS])

        return {
            "mask_starts": at_masks(offsets[:, :, 0]),
            "mask_ends": at_masks(offsets[:, :, 1]),
            "token_ids": lay(token_ids * is_used),
            "scores": lay(scores * tf.cast(is_used, tf.float32)),
            "mask_count": count,
            "truncated": tf.maximum(truncated, tf.where(total > count, 1, 0)),
        }


def _thresholds(threshold, labels):
    """Returns the threshold of each label, list of float; -1 for none."""
    if threshold is None:
        return [-1.0] * len(labels)
    values = [threshold] * len(labels)
    if isinstance(threshold, dict):
        if set(threshold) != set(labels):
            raise ValueError(
                "`threshold` must have a number for each label. Received: thresholds of "
                f"{sorted(threshold)}, labels {sorted(labels)}"
            )
        values = [threshold[label] for label in labels]
    for value in values:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 <= value < 1:
            raise ValueError(
                "`threshold` must be a number from 0 to below 1, or a dict of one for each label. "
                f"Received: threshold={threshold!r}"
            )
    return values


def _of_texts(windows, num_texts):
    """Returns "truncated" of the texts, int32 `[t]`: 1 where it is so of a window."""
    truncated = of_windows(windows["truncated"], windows["text_index"], num_texts, 0)
    return tf.reduce_max(truncated, axis=1)


# The class of the model, or of a BertClassifier the problem.
_ANSWERS = {
    SINGLE_LABEL: LabelAnswers,
    MULTI_LABEL: MultiLabelAnswers,
    REGRESSION: RegressionAnswers,
    BertTextEmbedder: EmbeddingAnswers,
    BertTokenClassifier: EntityAnswers,
    BertQuestionAnswerer: SpanAnswers,
    BertMultipleChoice: ChoiceAnswers,
    BertMaskedLM: FillAnswers,
}
_MODELS = (BertClassifier, *(key for key in _ANSWERS if not isinstance(key, str)))


def answers_class(model):
    """Returns the subclass of `TaskAnswers` for a model.

    Raises:
        ValueError: if it is a model of no task.
    """
    for model_class in _MODELS:
        if isinstance(model, model_class):
            return _ANSWERS[model.problem_type if model_class is BertClassifier else model_class]
    raise ValueError(
        "`model` must be a model of a task, such as a BertClassifier or a BertTextEmbedder; "
        f"fine-tune the encoder first. Received: {type(model).__name__}"
    )
