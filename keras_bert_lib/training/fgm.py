"""Adversarial training by one step along the gradient."""

import keras

from keras_bert_lib.training.adversarial import along_gradient, zeros


@keras.saving.register_keras_serializable("keras_bert_lib")
class FGM:
    """Adversarial training by the fast gradient method: one step on the word embeddings.

    Each batch is learned twice: as it is, and with the word embeddings of each example moved by
    `epsilon` in the direction in which the loss grows fastest. The two losses are added. The
    model learns to give the same answer to texts nearby, which helps where there are few examples.
    A step costs two.

    Dropout drops the same in both passes, and padding is not moved. The loss and metrics that
    `fit` shows are those of the batch as it is.

    TensorFlow backend only.

    Args:
        epsilon: float. How far each example's embeddings are moved together, in the norm of all
            its tokens. Word embeddings of BERT have a norm of about 1.4 each. (Implementations
            that move the embedding matrix share theirs among a batch: 1.0 there is 0.18 here for
            each of 32 examples. With 1.0 here, a small set was not learned at all.)

    Raises:
        ValueError: if `epsilon` is not above 0.

    Example:
    ```python
    optimizer = kbl.training.create_optimizer(3e-5, total_steps)
    classifier.compile(optimizer, adversarial=kbl.training.FGM(epsilon=0.2))
    classifier.fit(dataset)
    ```

    References:
        - [Miyato et al., 2017](https://arxiv.org/abs/1605.07725), equations 3 to 5
    """

    passes = 2
    share = 1.0  # of each pass in the gradient

    def __init__(self, epsilon=0.2):
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be above 0. Received: {epsilon}")
        self.epsilon = float(epsilon)

    def start(self, mask, hidden_size, seed):
        """Returns how far embeddings `[b, s, h]` are moved at first: not at all."""
        return zeros(mask, hidden_size)

    def move(self, perturbation, gradient):
        """Returns `perturbation` for the next pass, after its `gradient`, both `[b, s, h]`."""
        return along_gradient(gradient, self.epsilon)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"epsilon": self.epsilon}

    @classmethod
    def from_config(cls, config):
        """Makes what `get_config` describes."""
        return cls(**config)
