"""Classification of texts and of pairs of texts."""

import keras
import numpy as np
from keras import ops

from keras_bert_lib.models.labelled_model import LabelledModel
from keras_bert_lib.models.texts import batches_of_like_length, check_pairs, check_texts
from keras_bert_lib.models.windows import predict_windows, window_stride

# As `transformers` calls them.
SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"
PROBLEM_TYPES = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)

# How the tokenizer cuts texts that are too long.
_TRUNCATIONS = {"head": "longest_first", "head_and_tail": "head_and_tail"}
LONG_TEXTS = (*_TRUNCATIONS, "mean_of_windows", "max_of_windows")


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertClassifier(LabelledModel):
    """Puts a text, or a pair of texts, into one of several classes.

    `compile(optimizer)` is enough: the loss is then the sparse categorical cross entropy of the
    logits and the metric accuracy. A `loss` or `metrics` given to `compile` wins.

    A text may also have any number of the labels, or a number for each of them; see
    `problem_type`.

    `keras.models.load_model` reads a saved `.keras` file, compiled as it was, once
    `keras_bert_lib` is imported.

    Args:
        encoder: `BertEncoder`.
        num_classes: int, number of classes; may be left out where `labels` are given.
        tokenizer: `BertTokenizer` or None. `predict_text` needs one, and it is saved and exported
            with the model.
        labels: list of str, the names of the classes in the order of their ids. None names them
            `LABEL_0`, `LABEL_1` and so on.
        dropout: float, the rate of dropout before the last layer; None takes the encoder's
            `hidden_dropout`.
        problem_type: `"single_label_classification"`, where `fit` takes class ids `[batch]`;
            `"multi_label_classification"`, with 0 or 1 for each label, float `[batch, classes]`,
            and binary cross entropy; `"regression"`, with numbers, float `[batch]` or
            `[batch, classes]`, and the mean squared error. None is a regression where there is
            one class, as in `transformers`, and a single label where there are more.
        long_texts: what of a text that is too long for the model counts in `predict_text` and in
            exported files: `"head"`, its beginning; `"head_and_tail"`, its first quarter and the
            rest from its end; `"mean_of_windows"` or `"max_of_windows"`, all of it, in windows that
            overlap (of pairs the second text, the first one in each window), whose logits are
            averaged, or of which each class takes the greatest. Labels of which one place in the
            text is enough want the greatest. `fit` takes what it is given; see `long_texts` of
            `kbl.data.text_classification`.
        **kwargs: keyword arguments of `keras.Model`; the dtype policy is the encoder's where none
            is given.

    Call arguments:
        inputs: dict of the encoder's inputs, as the tokenizer makes it.
        training: bool, whether dropout is on.

    Returns:
        Float32 logits `[batch, num_classes]`.

    Raises:
        ValueError: if neither or both disagreeing `num_classes` and `labels` are given, if
            labels are not unique strings, if `problem_type` or `long_texts` is none, or if the
            tokenizer has more pieces than the encoder.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.models import BertClassifier, BertConfig, BertEncoder

        encoder = BertEncoder(BertConfig.from_size("tiny", vocab_size=100))
        classifier = BertClassifier(encoder, labels=["neg", "pos"])
        classifier.compile("adam")
        x = {"token_ids": np.array([[2, 7, 3], [2, 9, 3]], "int32")}
        classifier.fit(x, np.array([0, 1]))
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
        - [Sun et al., 2019](https://arxiv.org/abs/1905.05583) (long texts)
    """

    _architecture = "BertForSequenceClassification"

    def __init__(
        self,
        encoder,
        num_classes=None,
        tokenizer=None,
        labels=None,
        dropout=None,
        problem_type=None,
        long_texts="head",
        **kwargs,
    ):
        super().__init__(encoder, num_classes, tokenizer, labels, dropout, **kwargs)
        if problem_type is None:
            problem_type = REGRESSION if self.num_classes == 1 else SINGLE_LABEL
        if problem_type not in PROBLEM_TYPES:
            raise ValueError(
                f"`problem_type` must be one of {', '.join(PROBLEM_TYPES)}. "
                f"Received: problem_type={problem_type!r}"
            )
        if long_texts not in LONG_TEXTS:
            raise ValueError(
                f"`long_texts` must be one of {', '.join(LONG_TEXTS)}. "
                f"Received: long_texts={long_texts!r}"
            )
        self.problem_type = problem_type
        self.long_texts = long_texts

    def _defaults(self):
        if self.problem_type == SINGLE_LABEL:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            return {"loss": loss, "metrics": ["accuracy"]}
        if self.problem_type == MULTI_LABEL:
            loss = keras.losses.BinaryCrossentropy(from_logits=True)
            # A logit over 0 is a probability over a half.
            accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)
            return {"loss": loss, "metrics": [accuracy]}
        return {"loss": keras.losses.MeanSquaredError(), "metrics": ["mean_absolute_error"]}

    def call(self, inputs, training=None):
        """Returns the logits `[b, c]`."""
        pooled = self.encoder(inputs, training=training)["pooled_output"]  # [b, h]
        return self.classifier(self.dropout_layer(pooled, training=training))

    def predict_text(self, texts, text_pairs=None, batch_size=32, threshold=0.5, top_k=None):
        """Classifies texts.

        Args:
            texts: list of str.
            text_pairs: list of str of the same length, for pairs, or None.
            batch_size: int, number of texts that are computed at once.
            threshold: float, above which probability a text has a label, where it may have
                several.
            top_k: int, how many of the labels are given with their scores, where a text has one;
                all of them where it is more. None gives the best alone, in no list.

        Returns:
            List with one answer a text. For a single label a dict with the best class's name
            `label` and its probability `score`, or with `top_k` a list of such dicts, the most
            probable first; for several labels such a list, too; for a regression the number,
            float, or a list of them where there are more.

        Raises:
            ValueError: if the model has no tokenizer, the lists do not fit each other, or `top_k`
                is no positive integer or is given where a text has not one label.

        Example:
            ```python
            import keras_bert_lib as kbl

            tokenizer = kbl.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fine"])
            encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=6))
            classifier = kbl.BertClassifier(encoder, tokenizer=tokenizer, labels=["neg", "pos"])
            classifier.predict_text(["fine"])  # [{"label": "pos", "score": 0.51}]
            classifier.predict_text(["fine"], top_k=2)
            # [[{"label": "pos", "score": 0.51}, {"label": "neg", "score": 0.49}]]
            ```
        """
        if top_k is not None:
            if self.problem_type != SINGLE_LABEL:
                raise ValueError(
                    "`top_k` is for models that give a text one of several labels, and this one is "
                    f"for {self.problem_type}. Leave it out. Received: top_k={top_k!r}"
                )
            if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
                raise ValueError(f"`top_k` must be a positive integer. Received: top_k={top_k!r}")
        scores = self.predict_scores(texts, text_pairs, batch_size)
        return [self._answer(row, threshold, top_k) for row in scores]

    def predict_scores(self, texts, text_pairs=None, batch_size=32):
        """Returns all that `predict_text` chooses from.

        Args:
            texts: list of str.
            text_pairs: list of str of the same length, for pairs, or None.
            batch_size: int, number of texts that are computed at once.

        Returns:
            Float32 NumPy array `[len(texts), num_classes]`: probabilities in the order of `labels`,
            or of a regression the numbers.

        Raises:
            ValueError: if the model has no tokenizer, or the lists do not fit each other.
        """
        tokenizer = self._tokenizer_for("predict_text")
        texts = check_texts(texts, "texts")
        lengths = [len(text) for text in texts]
        if text_pairs is not None:
            text_pairs = check_pairs(texts, text_pairs, "text_pairs")
            lengths = [length + len(pair) for length, pair in zip(lengths, text_pairs)]
        max_length = min(tokenizer.max_length, self.config.max_position_embeddings)
        scores = np.zeros([len(texts), self.num_classes], "float32")
        for batch in batches_of_like_length(lengths, batch_size):
            columns = [[texts[i] for i in batch]]
            columns.append(None if text_pairs is None else [text_pairs[i] for i in batch])
            if self.reads_windows:
                windows = self.windows(*columns, max_length)
                windows = {name: np.asarray(x) for name, x in windows.items()}
                logits = predict_windows(self, windows, batch_size)  # [w, c]
                logits = self.pool_windows(logits, windows["text_index"], len(batch))
            else:
                inputs = tokenizer(*columns, max_length=max_length, truncation=self.truncation)
                logits = self.predict_on_batch(inputs)[: len(batch)]  # [b, c]
            scores[batch] = ops.convert_to_numpy(self._scores(logits))
        return scores

    @property
    def reads_windows(self):
        """Whether long texts are read in windows."""
        return self.long_texts not in _TRUNCATIONS

    @property
    def truncation(self):
        """How the tokenizer cuts texts that are too long, where they are not read in windows."""
        return _TRUNCATIONS.get(self.long_texts, "longest_first")

    def windows(self, texts, text_pairs, max_length):
        """Makes the model's inputs of texts, where they are read in windows.

        Args:
            texts: list of str, string tensor `[t]`, or int32 tensor `[t, bytes]`.
            text_pairs: the same for second texts, or None.
            max_length: int, tokens of a window, special tokens included.

        Returns:
            Dict of tensors as the tokenizer makes it with windows, and whether a text was cut.
        """
        return self.tokenizer(
            texts,
            text_pairs,
            max_length=max_length,
            truncation="only_second",
            stride=window_stride(max_length),
            return_truncated=True,
        )

    def pool_windows(self, logits, text_index, num_texts):
        """Makes the logits of texts of those of their windows.

        Args:
            logits: float32 `[w, c]`.
            text_index: int32 `[w]`: the text that a window is of.
            num_texts: int or int32 scalar.

        Returns:
            Float32 `[num_texts, c]`.
        """
        is_mean = self.long_texts == "mean_of_windows"
        if isinstance(num_texts, int) and num_texts == 1:  # sums by text are none of TFLite's
            return (ops.mean if is_mean else ops.max)(logits, axis=0, keepdims=True)
        if not is_mean:
            return ops.segment_max(logits, text_index, num_texts)
        counts = ops.segment_sum(ops.ones_like(logits[:, :1]), text_index, num_texts)
        return ops.segment_sum(logits, text_index, num_texts) / counts

    def _answer(self, scores, threshold, top_k):
        """Returns what the scores `[c]` of a text say, as `predict_text` gives it."""
        if self.problem_type == REGRESSION:
            return float(scores[0]) if len(scores) == 1 else scores.tolist()
        best_first = (-scores).argsort(kind="stable")
        ranked = [{"label": self.labels[i], "score": float(scores[i])} for i in best_first]
        if self.problem_type == SINGLE_LABEL:
            return ranked[0] if top_k is None else ranked[:top_k]
        return [answer for answer in ranked if answer["score"] > threshold]

    def _scores(self, logits):
        """Returns what `logits` `[b, c]` say to the user: probabilities, or numbers as they are."""
        if self.problem_type == SINGLE_LABEL:
            return ops.softmax(logits, axis=-1)
        if self.problem_type == MULTI_LABEL:
            return ops.sigmoid(logits)
        return logits

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | self._settings()

    def _huggingface_config(self):
        return super()._huggingface_config() | self._settings()

    def _settings(self):
        return {"problem_type": self.problem_type, "long_texts": self.long_texts}

    @classmethod
    def _from_checkpoint(cls, config, checkpoint, **kwargs):
        kwargs.setdefault("problem_type", checkpoint.config.get("problem_type"))
        kwargs.setdefault("long_texts", checkpoint.config.get("long_texts", "head"))
        return super()._from_checkpoint(config, checkpoint, **kwargs)
