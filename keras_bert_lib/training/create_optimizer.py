"""The optimizer that BERT is trained with, in one call."""

from keras_bert_lib.training.adamw import AdamW
from keras_bert_lib.training.warmup_linear_decay import WarmupLinearDecay


def create_optimizer(
    learning_rate, total_steps, warmup_ratio=0.1, weight_decay=0.01, clip_norm=1.0
):
    """Returns AdamW whose learning rate warms up and then decays, both linearly.

    Args:
        learning_rate: float. The peak: 1e-4 for pretraining, 2e-5 to 5e-5 for fine-tuning;
            small models take more.
        total_steps: int. Batches in the whole training: batches of an epoch times epochs.
        warmup_ratio: float. The share of `total_steps` after which the peak is reached.
        weight_decay: float. Decoupled weight decay; biases and LayerNorm have none.
        clip_norm: float or None. The largest global norm of the gradients.

    Returns:
        An `AdamW` for `compile`.

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
    schedule = WarmupLinearDecay(
        learning_rate, total_steps, warmup_steps=round(total_steps * warmup_ratio)
    )
    return AdamW(schedule, weight_decay=weight_decay, clip_norm=clip_norm)
