"""The optimizer that BERT is trained with, in one call."""

from keras_bert_lib.training.adamw import AdamW
from keras_bert_lib.training.lamb import LAMB
from keras_bert_lib.training.warmup_constant import WarmupConstant
from keras_bert_lib.training.warmup_cosine_decay import WarmupCosineDecay
from keras_bert_lib.training.warmup_linear_decay import WarmupLinearDecay

_OPTIMIZERS = {"adamw": AdamW, "lamb": LAMB}
_SCHEDULES = {
    "linear": WarmupLinearDecay,
    "cosine": WarmupCosineDecay,
    "constant": WarmupConstant,
}


def create_optimizer(
    learning_rate,
    total_steps,
    warmup_ratio=0.1,
    weight_decay=0.01,
    clip_norm=1.0,
    schedule="linear",
    layer_decay=None,
    accumulation_steps=1,
    optimizer="adamw",
    use_ema=False,
    ema_momentum=0.99,
):
    """Returns an optimizer whose learning rate warms up and then decays, both linearly by default.

    Args:
        learning_rate: float. The peak: 1e-4 for pretraining, 2e-5 to 5e-5 for fine-tuning;
            small models take more.
        total_steps: int. Updates in the whole training: batches of an epoch times epochs, divided
            by `accumulation_steps`.
        warmup_ratio: float. The share of `total_steps` after which the peak is reached.
        weight_decay: float. Decoupled weight decay; biases and LayerNorm have none.
        clip_norm: float or None. The largest global norm of the gradients.
        schedule: str. What comes after the warmup: "linear", down to 0 in a straight line;
            "cosine", down to 0 in half a wave; "constant", the peak.
        layer_decay: float or None. What the learning rate of each block is multiplied by from
            the head down to the embeddings, as 0.9: lower layers hold what is common to all
            texts, and change less. None: all layers have the same.
        accumulation_steps: int. Batches whose gradients are averaged to one update: what a
            batch of so many times the size does, in the memory of one.
        optimizer: str. "adamw", or "lamb" for batches of a thousand examples and more.
        use_ema: bool. Whether a moving average of the weights is kept, which the model has at the
            end of `fit`.
        ema_momentum: float. How much of the average stays at each update.

    Returns:
        An `AdamW` or `LAMB` for `compile`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
    ```python
    steps_per_epoch = 1000
    optimizer = kbl.training.create_optimizer(3e-5, total_steps=3 * steps_per_epoch)
    model.compile(optimizer=optimizer)
    model.fit(dataset, epochs=3)
    ```

    References:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805), appendix A.2 and A.3
        - [Sun et al., 2019](https://arxiv.org/abs/1905.05583), for `layer_decay`
    """
    if not learning_rate > 0:
        raise ValueError(f"`learning_rate` must be above 0. Received: {learning_rate}")
    if not total_steps >= 1:
        raise ValueError(
            "`total_steps` must be 1 or more: the batches of an epoch times the epochs. "
            f"Received: {total_steps}"
        )
    if not 0 <= warmup_ratio <= 1:
        raise ValueError(
            "`warmup_ratio` must be between 0 and 1, a share of `total_steps`. "
            f"Received: {warmup_ratio}"
        )
    if schedule not in _SCHEDULES:
        raise ValueError(f"`schedule` must be one of {list(_SCHEDULES)}. Received: {schedule!r}")
    if optimizer not in _OPTIMIZERS:
        raise ValueError(f"`optimizer` must be one of {list(_OPTIMIZERS)}. Received: {optimizer!r}")
    return _OPTIMIZERS[optimizer](
        _SCHEDULES[schedule](
            learning_rate, total_steps, warmup_steps=round(total_steps * warmup_ratio)
        ),
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        layer_decay=layer_decay,
        accumulation_steps=accumulation_steps,
        use_ema=use_ema,
        ema_momentum=ema_momentum,
    )
