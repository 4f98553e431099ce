"""What an exported file computes: texts, or tokens, to named answers."""

import os

import tensorflow as tf

from keras_bert_lib.models import BertClassifier, BertEncoder


class ServingModule(tf.Module):
    """Holds a classifier's variables, and the functions that files are made of.

    It does not hold the Keras objects themselves, so what is saved from it needs no Keras to load.

    Args:
        model: `BertClassifier` with a tokenizer.
        max_length: int, most tokens of a text, special tokens included, or None for as many as the
            model has positions for, the tokenizer allows, and `most` says.
        most: int or None, see `max_length`.

    Raises:
        ValueError: if the model is none that can be exported, or `max_length` does not fit it.
    """

    def __init__(self, model, max_length=None, most=None):
        super().__init__()
        if not isinstance(model, BertClassifier):
            raise ValueError(
                "`model` must be a BertClassifier; fine-tune the encoder first. "
                f"Received: {type(model).__name__}"
            )
        if model.problem_type != "single_label_classification":
            raise ValueError(
                "Only classifiers of one label a text can be exported. "
                f"Received: model.problem_type={model.problem_type!r}"
            )
        if model.tokenizer is None:
            raise ValueError(
                "`model` has no tokenizer, so its file could not take text. Set "
                "`model.tokenizer`. Received: tokenizer=None"
            )
        positions = model.config.max_position_embeddings
        if max_length is None:
            max_length = min(model.tokenizer.max_length, positions, most or positions)
        if not 3 <= max_length <= positions:
            raise ValueError(
                f"`max_length` must lie between 3 and {positions}, the model's "
                f"`max_position_embeddings`. Received: {max_length}"
            )
        if model.compute_dtype != "float32":
            # Half-precision casts of training have no place in a file; weights are float32 anyway.
            encoder = BertEncoder(model.config, dtype="float32")
            exact = BertClassifier(encoder, tokenizer=model.tokenizer, labels=model.labels)
            exact.set_weights(model.get_weights())
            model = exact
        self.max_length = max_length
        self.model_variables = [variable.value for variable in model.variables]
        self._model = _Untracked(model)

    def text_function(self, text, text_pair=None):
        """Answers for texts; "truncated" among them, 1 where a text was cut to fit.

        Args:
            text: `tf.TensorSpec`: string `[batch]`, or int32 `[batch, bytes]` (UTF-8, NUL padded).
            text_pair: the same for second texts, or None.

        Returns:
            `tf.function` with these named inputs.
        """
        tokenizer = self._model.get().tokenizer

        # The rows of a batch are padded to the longest. A batch of one has no padding, and its
        # graph no mask; its cost follows the length of the text.
        def answer(text, text_pair=None):
            tokens = tokenizer(text, text_pair, max_length=self.max_length, return_truncated=True)
            truncated = tokens.pop("truncated")
            if text_pair is None:
                del tokens["segment_ids"]  # all 0, which is what the model takes for none
            if text.shape[0] == 1:
                del tokens["padding_mask"]
            return {**self._answer(tokens), "truncated": truncated}

        if text_pair is None:
            return tf.function(lambda text: answer(text), input_signature=[text], autograph=False)
        return tf.function(answer, input_signature=[text, text_pair], autograph=False)

    def tokens_function(self, shape):
        """Answers for token ids made by the caller.

        Args:
            shape: `[batch, seq]`, None where it may vary.

        Returns:
            `tf.function` with inputs "token_ids", "segment_ids" and "padding_mask".
        """
        names = ("token_ids", "segment_ids", "padding_mask")
        specs = [tf.TensorSpec(shape, tf.int32, name=name) for name in names]

        def answer(token_ids, segment_ids, padding_mask):
            return self._answer(dict(zip(names, (token_ids, segment_ids, padding_mask))))

        return tf.function(answer, input_signature=specs, autograph=False)

    def _answer(self, tokens):
        model = self._model.get()
        probabilities = tf.nn.softmax(model(tokens, training=False))  # [b, c]
        best = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        return {"probabilities": probabilities, "label": tf.gather(model.labels, best)}


class _Untracked:
    """Hides an object from `tf.Module`, which saves every trackable attribute."""

    def __init__(self, value):
        self.get = lambda: value


def check_free(path, overwrite):
    """Raises where something stands at `path` that is not to be replaced.

    Raises:
        FileExistsError: if it does.
    """
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(
            f"{path} is there already. Give another path, or replace it with `overwrite=True`."
        )
