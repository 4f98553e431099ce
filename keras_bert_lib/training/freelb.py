"""Adversarial training by several steps, each of which is learned from."""

import keras

from keras_bert_lib.training.adversarial import along_gradient, random_in_box, within


@keras.saving.register_keras_serializable("keras_bert_lib")
class FreeLB:
    """Adversarial training by several steps on the word embeddings (free large-batch).

    Each batch is learned `steps` times. The word embeddings of each example are first moved at
    random, and after each pass by `step_size` in the direction in which the loss grows fastest, but
    never further than `epsilon` from where they were. The gradients of all passes are averaged. A
    step costs as many as there are passes.

    Dropout drops the same in all passes, and padding is not moved. The loss and metrics that
    `fit` shows are those of the first pass.

    TensorFlow backend only.

    Args:
        steps: int. Passes over each batch, 2 or more.
        step_size: float. How far each example's embeddings are moved after a pass, in the norm of
            all its tokens.
        epsilon: float. How far they are moved at most. Word embeddings of BERT have a norm of
            about 1.4 each.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
    ```python
    optimizer = kbl.training.create_optimizer(3e-5, total_steps)
    classifier.compile(optimizer, adversarial=kbl.training.FreeLB(steps=3))
    classifier.fit(dataset)
    ```

    References:
        - [Zhu et al., 2020](https://arxiv.org/abs/1909.11764), algorithm 1 and section 3.3
    """

    def __init__(self, steps=3, step_size=0.1, epsilon=0.2):
        if not isinstance(steps, int) or steps < 2:
            raise ValueError(f"`steps` must be an integer from 2 on. Received: {steps}")
        for argument, number in {"step_size": step_size, "epsilon": epsilon}.items():
            if not number > 0:
                raise ValueError(f"`{argument}` must be above 0. Received: {number}")
        self.steps = steps
        self.step_size = float(step_size)
        self.epsilon = float(epsilon)

    @property
    def passes(self):
        """Passes over a batch, int."""
        return self.steps

    @property
    def share(self):
        """The share of each pass in the gradient, float."""
        return 1.0 / self.steps

    def start(self, mask, hidden_size, seed):
        """Returns how far embeddings `[b, s, h]` are moved at first: at random."""
        return random_in_box(mask, hidden_size, self.epsilon, seed)

    def move(self, perturbation, gradient):
        """Returns `perturbation` for the next pass, after its `gradient`, both `[b, s, h]`."""
        return within(perturbation + along_gradient(gradient, self.step_size), self.epsilon)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"steps": self.steps, "step_size": self.step_size, "epsilon": self.epsilon}

    @classmethod
    def from_config(cls, config):
        """Makes what `get_config` describes."""
        return cls(**config)
