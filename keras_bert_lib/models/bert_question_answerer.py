"""Extractive question answering: where in a text the answer begins and ends."""

import keras
import numpy as np

from keras_bert_lib.models.span_decoding import best_spans, decode_answers
from keras_bert_lib.models.task_model import TaskModel, logits_layer
from keras_bert_lib.models.texts import (
    batches_of_like_length,
    check_pairs,
    check_texts,
    readable,
)
from keras_bert_lib.models.windows import predict_windows, window_length, window_stride

# Where these stand in a model's `config.json`.
_CONFIG_KEY = "question_answering"


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class BertQuestionAnswerer(TaskModel):
    """Scores each token as the first and as the last of the answer to a question.

    The question is the first segment, the text the second. `compile(optimizer)` is enough: the
    loss is then the mean of the two sparse categorical cross entropies, and the metric the
    accuracy of each.

    `predict_text` and exported files give the best answer: the most probable first and last piece
    within the text, no more than `max_answer_tokens` apart. A text that is too long for the model
    is read in windows that overlap.

    Args:
        encoder: `BertEncoder`. It needs no pooler: `BertEncoder(config, use_pooler=False)`.
        tokenizer: `BertTokenizer` or None, which is saved with the model.
        max_answer_tokens: int, the most pieces of an answer.
        stride: int, how many pieces of a long text a window shares with the one before; None is
            128, or half of a window where that is less.
        may_have_no_answer: bool, whether questions may have none, as in SQuAD 2.0: no answer is
            given where that is more probable than the best one.
        **kwargs: keyword arguments of `keras.Model`; the dtype policy is the encoder's where none
            is given.

    Call arguments:
        inputs: dict of the encoder's inputs, as the tokenizer makes it of questions and texts.
        training: bool, whether dropout is on.

    Returns:
        Dict with the float32 logits `start_logits` and `end_logits`, each `[batch, seq]`. `fit`
        takes the positions of the first and the last token under the same names, each int32
        `[batch]`.

    Raises:
        ValueError: if the tokenizer has more pieces than the encoder, or `max_answer_tokens` or
            `stride` is no such number.

    Example:
        ```python
        import numpy as np
        from keras_bert_lib.models import BertConfig, BertEncoder, BertQuestionAnswerer

        config = BertConfig.from_size("tiny", vocab_size=100)
        answerer = BertQuestionAnswerer(BertEncoder(config, use_pooler=False))
        answerer.compile("adam")
        x = {
            "token_ids": np.array([[2, 7, 3, 8, 9, 3]], "int32"),
            "segment_ids": np.array([[0, 0, 0, 1, 1, 1]], "int32"),
        }
        answerer.fit(x, {"start_logits": np.array([3]), "end_logits": np.array([4])})
        ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    _architecture = "BertForQuestionAnswering"
    _use_pooler = False

    def __init__(
        self,
        encoder,
        tokenizer=None,
        max_answer_tokens=30,
        stride=None,
        may_have_no_answer=False,
        **kwargs,
    ):
        super().__init__(encoder, tokenizer, **kwargs)
        if not isinstance(max_answer_tokens, int) or max_answer_tokens < 1:
            raise ValueError(
                "`max_answer_tokens` must be a positive integer. "
                f"Received: max_answer_tokens={max_answer_tokens!r}"
            )
        if stride is not None and (not isinstance(stride, int) or stride < 0):
            raise ValueError(
                f"`stride` must be an integer from 0 on, or None. Received: stride={stride!r}"
            )
        self.max_answer_tokens = max_answer_tokens
        self.stride = stride
        self.may_have_no_answer = may_have_no_answer
        self.qa_outputs = logits_layer(2, self.config, "qa_outputs")
        self.build()

    def build(self, input_shape=None):
        """Creates the head's weights; the encoder has its own already."""
        if not self.built:
            self.qa_outputs.build((None, None, self.config.hidden_size))

    def _defaults(self):
        names = ("start_logits", "end_logits")
        return {
            "loss": {
                name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in names
            },
            "loss_weights": dict.fromkeys(names, 0.5),
            "metrics": {name: ["accuracy"] for name in names},
        }

    def call(self, inputs, training=None):
        """Returns the dict of logits."""
        x = self.encoder(inputs, training=training)["sequence_output"]  # [b, s, h]
        logits = self.qa_outputs(x)  # [b, s, 2]
        return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}

    def windows(self, questions, contexts, max_length):
        """Makes the model's inputs of questions and the texts that hold the answers.

        Args:
            questions: list of str, string tensor `[t]`, or int32 tensor `[t, bytes]`.
            contexts: the same for the texts.
            max_length: int, tokens of a window, special tokens included.

        Returns:
            Dict of tensors as the tokenizer makes it with windows, offsets, numbers of words, and
            whether a text was cut.
        """
        return self.tokenizer(
            questions,
            contexts,
            max_length=max_length,
            truncation="only_second",
            stride=window_stride(max_length) if self.stride is None else self.stride,
            return_offsets=True,
            offsets_with_marks=True,
            return_word_ids=True,
            return_truncated=True,
        )

    def decode(self, outputs, windows, offsets, num_texts):
        """Finds the answers; see `decode_answers`.

        Args:
            outputs: dict of the model's logits `[w, s]` for the windows.
            windows: dict of tensors that `windows` makes.
            offsets: "byte_offsets" or "char_offsets", what answers are counted in.
            num_texts: int or int32 scalar.
        """
        is_context = (windows["segment_ids"] > 0) & (windows["word_ids"] >= 0)  # [w, s]
        spans = best_spans(
            outputs["start_logits"], outputs["end_logits"], is_context, self.max_answer_tokens
        )
        return decode_answers(
            spans,
            is_context,
            windows["word_ids"],
            windows[offsets],
            windows["text_index"],
            num_texts,
            self.may_have_no_answer,
        )

    def predict_text(self, questions, contexts, batch_size=32, max_length=None):
        """Answers questions.

        Args:
            questions: list of str.
            contexts: list of str of the same length, the texts that hold the answers.
            batch_size: int, number of windows that are computed at once.
            max_length: int, tokens of a window, special tokens included; None is as many as the
                tokenizer and the model allow.

        Returns:
            List of dicts, one a question: `answer`, str, the words of the context that answer it,
            "" where there are none; `start` and `end`, where they stand in the context, in
            characters, both 0 for no answer; and `score`, the probability.

        Raises:
            ValueError: if the model has no tokenizer, the lists do not fit each other, or
                `max_length` or the model's `stride` leaves no room.

        Example:
            ```python
            import keras_bert_lib as kbl

            pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "who", "ann", "sings"]
            encoder = kbl.BertEncoder(
                kbl.BertConfig.from_size("tiny", vocab_size=8), use_pooler=False
            )
            answerer = kbl.BertQuestionAnswerer(encoder, tokenizer=kbl.BertTokenizer(pieces))
            answerer.predict_text(["Who sings"], ["Ann sings"])
            # [{"answer": "Ann", "start": 0, "end": 3, "score": 0.25}]
            ```
        """
        self._tokenizer_for("predict_text")
        questions = check_texts(questions, "questions")
        contexts = [readable(text) for text in check_pairs(questions, contexts, "contexts")]
        max_length = window_length(self, max_length, least=5)
        answers = [None] * len(questions)
        lengths = [len(question) + len(text) for question, text in zip(questions, contexts)]
        for batch in batches_of_like_length(lengths, batch_size):
            windows = self.windows(
                [questions[i] for i in batch], [contexts[i] for i in batch], max_length
            )
            windows = {name: np.asarray(x) for name, x in windows.items()}
            outputs = predict_windows(self, windows, batch_size)
            found = self.decode(outputs, windows, "char_offsets", len(batch))
            found = [
                np.asarray(found[name])[:, 0] for name in ("answer_start", "answer_end", "score")
            ]
            for i, start, end, score in zip(batch, *(x.tolist() for x in found)):
                answers[i] = {
                    "answer": contexts[i][start:end],
                    "start": start,
                    "end": end,
                    "score": score,
                }
        return answers

    def get_config(self):
        """Returns the arguments of the constructor."""
        return super().get_config() | self._decoding()

    def _decoding(self):
        return {
            "max_answer_tokens": self.max_answer_tokens,
            "stride": self.stride,
            "may_have_no_answer": self.may_have_no_answer,
        }

    def _huggingface_config(self):
        return super()._huggingface_config() | {_CONFIG_KEY: self._decoding()}

    @classmethod
    def _from_checkpoint(cls, config, checkpoint, **kwargs):
        kwargs = checkpoint.config.get(_CONFIG_KEY, {}) | kwargs
        return super()._from_checkpoint(config, checkpoint, **kwargs)
