"""How much a pretraining step has to compute."""


def pretraining_flops(config, batch_size, max_length, max_predictions):
    """Returns the floating-point operations of a pretraining step, forward and backward.

    Counted are the matrix products that the model needs, a multiplication and an addition as two;
    the backward pass takes twice what the forward pass does. What an implementation computes
    again, as recomputation does, is not counted: divided by the time of a step and by what a device
    can do, it is the model FLOPs utilization.

    Args:
        config: `BertConfig`.
        batch_size: int. Rows of a batch.
        max_length: int. Tokens of a row, padding included.
        max_predictions: int. Masked positions of a row, padding included.

    Returns:
        int.

    Example:
        >>> import keras_bert_lib as kbl
        >>> config = kbl.BertConfig.from_size("base", vocab_size=30522)
        >>> f"{kbl.training.pretraining_flops(config, 1, 128, 20):.2e}"
        '6.99e+10'

    References:
        - [Chowdhery et al., 2022](https://arxiv.org/abs/2204.02311), appendix B
    """
    hidden, tokens = config.hidden_size, batch_size * max_length
    projections = 2 * tokens * hidden * (4 * hidden + 2 * config.intermediate_size)
    scores = 2 * 2 * tokens * max_length * hidden  # queries with keys, and weights with values
    predictions = 2 * batch_size * max_predictions * hidden * (hidden + config.vocab_size)
    return 3 * (config.num_layers * (projections + scores) + predictions)
