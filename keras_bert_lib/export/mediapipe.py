"""What a file for MediaPipe Tasks takes, and which models have one."""

import tensorflow as tf
from absl import logging

from keras_bert_lib.export.answers import EmbeddingAnswers, LabelAnswers

# The names by which MediaPipe knows the inputs, and ours.
INPUTS = {"ids": "token_ids", "mask": "padding_mask", "segment_ids": "segment_ids"}
# Of a model that takes capital letters for other tokens.
CASED = (
    "MediaPipe's tokenizer lowercases A to Z, and this model is cased: it will not see the capital "
    "letters it was trained with. The text interface keeps them."
)


def check(module):
    """Raises where MediaPipe Tasks has no task for a model, and warns where it reads other tokens.

    Args:
        module: `ServingModule`.

    Raises:
        ValueError: for a model that gives neither one label nor an embedding, or takes pairs.
    """
    model = module.answers.model
    if type(module.answers) not in (LabelAnswers, EmbeddingAnswers):
        problem = getattr(model, "problem_type", None)
        raise ValueError(
            "MediaPipe Tasks runs classifiers of one label a text, and embedders. Take "
            '`interface="text"`, or "tokens", for other models. '
            f"Received: {type(model).__name__}" + (f" for {problem}" if problem else "")
        )
    if module.pairs:
        raise ValueError(
            'MediaPipe Tasks takes single texts. Take `interface="text"` for pairs. '
            "Received: pairs=True"
        )
    if not model.tokenizer.lowercase:
        logging.warning(CASED)


def mediapipe_function(module):
    """Answers for what MediaPipe's tokenizer gives.

    MediaPipe fills each text up to the static length. The padding is cut off in the graph, so that
    the cost follows the length of the text.

    Args:
        module: `ServingModule`.

    Returns:
        `tf.function` with inputs "ids", "mask" and "segment_ids", int32 `[1, max_length]`.
    """
    specs = [tf.TensorSpec([1, module.max_length], tf.int32, name=name) for name in INPUTS]

    def answer(ids, mask, segment_ids):
        length = tf.maximum(tf.reduce_sum(mask), 1)
        tokens = {"token_ids": ids[:, :length], "segment_ids": segment_ids[:, :length]}
        answers = module.answers.of_tokens(tokens)
        return {name: x for name, x in answers.items() if x.dtype != tf.string}

    return tf.function(answer, input_signature=specs, autograph=False)


def renamed(samples):
    """Returns inputs of `interface="tokens"`, list of dicts, by the names they have here."""
    return [{name: sample[ours] for name, ours in INPUTS.items()} for sample in samples]
