"""Classification of each token, as for named entities."""

import keras
import numpy as np
from keras import ops

from keras_bert_lib.models.entity_decoding import decode_entities, kept_pieces, read_labels
from keras_bert_lib.models.labelled_model import LabelledModel
from keras_bert_lib.models.texts import batches_of_like_length, check_texts, readable
from keras_bert_lib.models.windows import predict_windows, window_length, window_stride

# The label of tokens that have none: special tokens, padding, and later pieces of a word.
NO_LABEL = -100


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertTokenClassifier(LabelledModel):
    """Gives each token of a text one of several labels.

    `compile(optimizer)` is enough: the loss is then the sparse categorical cross entropy and the
    metric accuracy, both over the tokens that have a label; those whose label is -100 count for
    nothing.

    `predict_text` and exported files give entities, runs of words of one type: labels are types,
    with or without the prefixes of BIO, IOBES or BILOU ("B-person"), and "O" for none. A word's
    label is that of its first piece. A text that is too long for the model is read in windows that
    overlap.

    Args:
        encoder: `BertEncoder`. It needs no pooler: `BertEncoder(config, use_pooler=False)`.
        num_classes: int, number of labels; may be left out where `labels` are given.
        tokenizer: `BertTokenizer` or None, which is saved with the model.
        labels: list of str, the names of the labels in the order of their ids. None names them
            `LABEL_0`, `LABEL_1` and so on.
        dropout: float, the rate of dropout before the last layer; None takes the encoder's
            `hidden_dropout`.
        **kwargs: keyword arguments of `keras.Model`; the dtype policy is the encoder's where none
            is given.

    Call arguments:
        inputs: dict of the encoder's inputs, as the tokenizer makes it.
        training: bool, whether dropout is on.

    Returns:
        Float32 logits `[batch, seq, num_classes]`.

    Raises:
        ValueError: if neither or both disagreeing `num_classes` and `labels` are given, if
            labels are not unique strings, or if the tokenizer has more pieces than the encoder.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.models import BertConfig, BertEncoder, BertTokenClassifier

        config = BertConfig.from_size("tiny", vocab_size=100)
        tagger = BertTokenClassifier(BertEncoder(config, use_pooler=False), labels=["O", "NAME"])
        tagger.compile("adam")
        x = {"token_ids": np.array([[2, 7, 9, 3]], "int32")}
        tagger.fit(x, np.array([[-100, 0, 1, -100]]))
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    _architecture = "BertForTokenClassification"
    _use_pooler = False

    def _defaults(self):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=NO_LABEL)
        return {"loss": loss, "metrics": [TokenAccuracy(name="accuracy")]}

    def call(self, inputs, training=None):
        """Returns the logits `[b, s, c]`."""
        x = self.encoder(inputs, training=training)["sequence_output"]  # [b, s, h]
        return self.classifier(self.dropout_layer(x, training=training))

    @property
    def entity_types(self):
        """The types of entities that the labels name, list of str."""
        return read_labels(self.labels).types

    def windows(self, texts, max_length):
        """Makes the model's inputs of texts.

        Args:
            texts: list of str, string tensor `[t]`, or int32 tensor `[t, bytes]`.
            max_length: int, tokens of a window, special tokens included.

        Returns:
            Dict of tensors as the tokenizer makes it with windows, offsets, numbers of words, and
            whether a text was cut.
        """
        return self.tokenizer(
            texts,
            max_length=max_length,
            stride=window_stride(max_length),
            return_offsets=True,
            offsets_with_marks=True,
            return_word_ids=True,
            return_truncated=True,
        )

    def decode(self, logits, windows, offsets, num_texts, max_length, max_entities):
        """Finds the entities; see `decode_entities`.

        Args:
            logits: the model's, float32 `[w, s, num_classes]`, for the windows.
            windows: dict of tensors that `windows` makes.
            offsets: "byte_offsets" or "char_offsets", what places are counted in.
            num_texts: int or int32 scalar.
            max_length: int, what the windows were made with.
            max_entities: int, entities of a text that there is room for.
        """
        word_ids, text_index = windows["word_ids"], windows["text_index"]
        is_kept = kept_pieces(word_ids >= 0, text_index, window_stride(max_length))
        return decode_entities(
            logits,
            is_kept,
            word_ids,
            windows[offsets],
            text_index,
            num_texts,
            read_labels(self.labels),
            max_entities,
        )

    def predict_text(self, texts, batch_size=32, max_length=None):
        """Finds the entities in texts.

        Args:
            texts: list of str.
            batch_size: int, number of windows that are computed at once.
            max_length: int, tokens of a window, special tokens included; None is as many as the
                tokenizer and the model allow.

        Returns:
            List with a list of entities for each text, in the order of the text: dicts with the
            words, `text`, their type, `label`, where they stand in characters, `start` and `end`,
            and the mean of the words' probabilities, `score`.

        Raises:
            ValueError: if the model has no tokenizer, texts are no list of str, or `max_length`
                leaves no room.

        Example:
            ```python
            import keras_bert_lib as kbl

            tokenizer = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ann"])
            encoder = kbl.BertEncoder(
                kbl.BertConfig.from_size("tiny", vocab_size=6), use_pooler=False
            )
            tagger = kbl.BertTokenClassifier(
                encoder, tokenizer=tokenizer, labels=["O", "B-person", "I-person"]
            )
            tagger.predict_text(["Ann sings"])
            # [[{"text": "Ann", "label": "person", "start": 0, "end": 3, "score": 0.36}]]
            ```
        """
        self._tokenizer_for("predict_text")
        texts = [readable(text) for text in check_texts(texts, "texts")]
        max_length = window_length(self, max_length, least=3)
        types = self.entity_types
        answers = [None] * len(texts)
        for batch in batches_of_like_length([len(text) for text in texts], batch_size):
            windows = self.windows([texts[i] for i in batch], max_length)
            windows = {name: np.asarray(x) for name, x in windows.items()}
            logits = predict_windows(self, windows, batch_size)
            most = max(1, int(windows["word_ids"].max()) + 1)  # of entities: one a word
            found = self.decode(logits, windows, "char_offsets", len(batch), max_length, most)
            found = {name: np.asarray(x).tolist() for name, x in found.items()}
            for row, i in enumerate(batch):
                columns = (
                    found[name][row][: found["entity_count"][row]]
                    for name in ("entity_starts", "entity_ends", "entity_labels", "entity_scores")
                )
                answers[i] = [
                    {
                        "text": texts[i][start:end],
                        "label": types[label],
                        "start": start,
                        "end": end,
                        "score": score,
                    }
                    for start, end, label, score in zip(*columns)
                ]
        return answers


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class TokenAccuracy(keras.metrics.Mean):
    """The share of right labels among the tokens that have one."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts labels `y_true` `[b, s]` and logits `y_pred` `[b, s, c]`."""
        y_true = ops.cast(y_true, "int32")
        right = ops.cast(ops.equal(y_true, ops.argmax(y_pred, axis=-1)), "float32")
        weights = ops.cast(ops.not_equal(y_true, NO_LABEL), "float32")
        if sample_weight is not None:
            weights = weights * ops.cast(sample_weight, "float32")
        super().update_state(right, weights)
