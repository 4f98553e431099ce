"""Losses that say which texts are to have like embeddings.

Each returns the loss of every example, float32 `[b]`, and where something can be right or wrong 1
and 0, else None.
"""

from keras import ops


def in_batch_negatives(embeddings, temperature):
    """Cross entropy of each anchor's own positive among those of the whole batch.

    Args:
        embeddings: dict of "anchor" and "positive" `[b, h]`, and maybe "negative" `[b, h]`, which
            are as many wrong answers more to all anchors. Of any length: cosines are taken.
        temperature: float, what cosines are divided by; the less, the more the nearest wrong
            answers count.

    References:
        - [Henderson et al., 2017](https://arxiv.org/abs/1705.00652)
        - [van den Oord et al., 2018](https://arxiv.org/abs/1807.03748)
    """
    anchors = _unit(embeddings["anchor"])  # [b, h]
    answers = [_unit(embeddings[name]) for name in ("positive", "negative") if name in embeddings]
    answers = ops.concatenate(answers, axis=0)  # [b or 2 b, h]
    logits = ops.matmul(anchors, ops.transpose(answers)) / temperature  # [b, b or 2 b]
    own = ops.arange(ops.shape(anchors)[0])
    losses = ops.sparse_categorical_crossentropy(own, logits, from_logits=True)
    best = ops.cast(ops.argmax(logits, axis=-1), own.dtype)
    return losses, ops.cast(ops.equal(best, own), "float32")


def cosine(embeddings, similarity):
    """Squared difference of the cosine of "anchor" and "positive" `[b, h]` from `similarity` `[b]`.

    References:
        - [Reimers and Gurevych, 2019](https://arxiv.org/abs/1908.10084)
    """
    cosines = ops.sum(_unit(embeddings["anchor"]) * _unit(embeddings["positive"]), axis=-1)
    return ops.square(cosines - ops.reshape(ops.cast(similarity, "float32"), (-1,))), None


def triplet(embeddings, margin):
    """By how much "negative" is not farther from "anchor" than "positive" is, and a margin more.

    Args:
        embeddings: dict of the three, `[b, h]`, whose Euclidean distances are taken as they are: at
            most 2 where the model scales embeddings to length 1.
        margin: float.

    References:
        - [Schroff et al., 2015](https://arxiv.org/abs/1503.03832)
        - [Reimers and Gurevych, 2019](https://arxiv.org/abs/1908.10084)
    """
    near, far = (
        _distance(embeddings["anchor"], embeddings[name]) for name in ("positive", "negative")
    )
    return ops.relu(near - far + margin), ops.cast(near < far, "float32")


def _unit(x):
    return ops.normalize(x, axis=-1, epsilon=1e-12)


def _distance(a, b):
    # Of equal vectors the root has no gradient: where a text stands twice in an example.
    return ops.sqrt(ops.maximum(ops.sum(ops.square(a - b), axis=-1), 1e-12))
