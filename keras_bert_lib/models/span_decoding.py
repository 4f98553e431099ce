"""The answer to a question, from scores of its first and its last token.

Pure functions of tensors: `predict_text` and exported files share them, so all of them become
built-in operators of TFLite.
"""

from typing import NamedTuple

from keras import ops

from keras_bert_lib.models.argmax import argmax
from keras_bert_lib.models.windows import of_windows

# Below every real score; unlike minus infinity, it fits float16 and sums stay numbers.
_NEVER = -1e4


class Spans(NamedTuple):
    """The best answer of each window, all `[w]`."""

    first: object  # int32, its first token
    last: object  # int32, its last token
    score: object  # float32, logarithm of its probability
    no_answer: object  # float32, logarithm of the probability that there is none


def best_spans(start_logits, end_logits, is_context, max_answer_tokens):
    """Finds the most probable answer of each window.

    Probabilities are those of Hugging Face's pipeline: a softmax of the first tokens, times one of
    the last tokens, each over the pieces of the context and [CLS], which stands for no answer.

    Args:
        start_logits: float32 `[w, s]`: scores of each token as the first of the answer.
        end_logits: float32 `[w, s]`: the same as the last.
        is_context: bool `[w, s]`: whether a token is a piece of the text to find the answer in.
        max_answer_tokens: int: most pieces of an answer.

    Returns:
        `Spans`. Where a window has no context its score is below that of any answer.
    """
    position = ops.expand_dims(ops.arange(ops.shape(start_logits)[1]), 0)  # [1, s]
    may_be = ops.logical_or(is_context, ops.equal(position, 0))
    start = ops.log_softmax(ops.where(may_be, start_logits, _NEVER), axis=-1)  # [w, s]
    end = ops.log_softmax(ops.where(may_be, end_logits, _NEVER), axis=-1)
    no_answer = start[:, 0] + end[:, 0]
    start = ops.where(is_context, start, _NEVER)
    end = ops.where(is_context, end, _NEVER)

    # What an answer that starts at a token can get by its end: the best of the next ends.
    reach = ops.expand_dims(position[0], 1) + ops.arange(max_answer_tokens)  # [s, k]
    ends = ops.pad(end, [[0, 0], [0, max_answer_tokens - 1]], constant_values=_NEVER)
    scores = start + ops.max(ops.take(ends, reach, axis=1), axis=-1)  # [w, s]
    first = argmax(scores)  # [w]
    after = position - ops.expand_dims(first, 1)  # [w, s]
    in_reach = ops.logical_and(after >= 0, after < max_answer_tokens)
    last = argmax(ops.where(in_reach, end, 2 * _NEVER))
    return Spans(first, last, ops.max(scores, axis=-1), no_answer)


def decode_answers(
    spans, is_context, word_ids, offsets, text_index, num_texts, may_have_no_answer=False
):
    """Gives the best answer over all windows of each text, as offsets into it.

    An answer is of whole words.

    Args:
        spans: `Spans` of the windows.
        is_context: bool `[w, s]`, see `best_spans`.
        word_ids: int32 `[w, s]`: number of each piece's word.
        offsets: int32 `[w, s, 2]`: where each piece starts and ends in its text.
        text_index: int32 `[w]`: the text that a window is of.
        num_texts: int or int32 scalar: texts in all.
        may_have_no_answer: bool: whether no answer is given where none is more probable.

    Returns:
        Dict of "answer_start", "answer_end" int32 `[t, 1]`, both 0 for no answer, "score" float32
        `[t, 1]`, the probability of what is answered, and "no_answer_score" float32 `[t]`, that of
        no answer: the least over the windows, since any of them may have it.
    """
    scores = of_windows(spans.score, text_index, num_texts, 3 * _NEVER)  # [t, w]
    best = argmax(scores)  # [t]
    score = ops.max(scores, axis=-1)
    no_answer = ops.min(of_windows(spans.no_answer, text_index, num_texts, 0.0), axis=-1)
    is_answer = score > _NEVER
    if may_have_no_answer:
        is_answer = ops.logical_and(is_answer, score >= no_answer)
        score = ops.maximum(score, no_answer)

    # The words of the best window's first and last piece.
    first, last = (ops.expand_dims(ops.take(x, best), 1) for x in (spans.first, spans.last))
    words = ops.take(ops.where(is_context, word_ids, -1), best, axis=0)  # [t, s]
    offsets = ops.take(offsets, best, axis=0)  # [t, s, 2]
    position = ops.expand_dims(ops.arange(ops.shape(words)[1]), 0)  # [1, s]

    def of_same_word(piece):  # [t, s]
        word = ops.max(ops.where(ops.equal(position, piece), words, -1), axis=-1, keepdims=True)
        return ops.equal(words, word)

    start = ops.min(ops.where(of_same_word(first), offsets[:, :, 0], 2**30), axis=-1)
    end = ops.max(ops.where(of_same_word(last), offsets[:, :, 1], 0), axis=-1)
    return {
        "answer_start": ops.expand_dims(ops.where(is_answer, start, 0), 1),
        "answer_end": ops.expand_dims(ops.where(is_answer, end, 0), 1),
        "score": ops.expand_dims(ops.exp(score), 1),
        "no_answer_score": ops.exp(no_answer),
    }
