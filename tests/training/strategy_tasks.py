"""Models of all tasks and their batches, for the tests that train them under strategies."""

import keras
import numpy as np
import tensorflow as tf

from keras_bert_lib import models
from keras_bert_lib.training import create_optimizer

BATCH, LENGTH, PREDICTIONS, VOCAB = 8, 12, 3, 40


def make_encoder(dropout=0.0, use_pooler=True):
    keras.utils.set_random_seed(7)
    config = models.BertConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_layers=1,
        num_heads=2,
        intermediate_size=32,
        hidden_dropout=dropout,
        attention_dropout=dropout,
        max_position_embeddings=LENGTH,
    )
    return models.BertEncoder(config, use_pooler=use_pooler)


def make_inputs(rng, examples):
    lengths = rng.randint(5, LENGTH + 1, size=[examples, 1])
    mask = (np.arange(LENGTH) < lengths).astype("int32")
    return {
        "token_ids": rng.randint(1, VOCAB, size=[examples, LENGTH]).astype("int32") * mask,
        "segment_ids": (np.arange(LENGTH) >= 4).astype("int32") * mask,
        "padding_mask": mask,
    }


def pretraining_examples(rng, examples):
    """Examples with 0 to 3 predictions: each replica has another number of them."""
    inputs = make_inputs(rng, examples)
    count = rng.randint(0, PREDICTIONS + 1, size=[examples, 1])
    weights = (np.arange(PREDICTIONS) < count).astype("float32")
    positions = np.sort(rng.randint(1, 5, size=[examples, PREDICTIONS]))
    return inputs | {
        "masked_positions": (positions * weights).astype("int32"),
        "masked_ids": (rng.randint(1, 9, size=positions.shape) * weights).astype("int32"),
        "masked_weights": weights,
        "next_sentence_labels": (inputs["token_ids"][:, 1] % 2).astype("int32"),
    }


def masked_examples(rng, examples):
    inputs = pretraining_examples(rng, examples)
    del inputs["next_sentence_labels"]
    return inputs


def labelled_examples(rng, examples):
    inputs = make_inputs(rng, examples)
    return inputs, np.minimum(inputs["token_ids"][:, 1] % 8, 2).astype("int32")


def several_labels_examples(rng, examples):
    inputs = make_inputs(rng, examples)
    return inputs, (inputs["token_ids"][:, 1:3] % 2).astype("float32")


def graded_examples(rng, examples):
    inputs = make_inputs(rng, examples)
    return inputs, (inputs["token_ids"][:, 1] / VOCAB).astype("float32")


def tagged_examples(rng, examples):
    inputs = make_inputs(rng, examples)
    return inputs, (inputs["token_ids"] % 3).astype("int32")


def question_examples(rng, examples):
    inputs = make_inputs(rng, examples)
    return inputs, {
        "start_logits": (inputs["token_ids"][:, 1] % 4).astype("int32"),
        "end_logits": (inputs["token_ids"][:, 2] % 4).astype("int32"),
    }


def choice_examples(rng, examples):
    inputs, labels = labelled_examples(rng, examples * 3)
    inputs = {name: x.reshape(examples, 3, LENGTH) for name, x in inputs.items()}
    return inputs, labels[::3]


# task -> its model of an encoder, the pooler or none, and the examples
TASKS = {
    "pretrainer": (models.BertPretrainer, True, pretraining_examples),
    "classifier": (lambda e: models.BertClassifier(e, num_classes=3), True, labelled_examples),
    "several_labels": (
        lambda e: models.BertClassifier(
            e, labels=["a", "b"], problem_type="multi_label_classification"
        ),
        True,
        several_labels_examples,
    ),
    "regression": (lambda e: models.BertClassifier(e, num_classes=1), True, graded_examples),
    "tokens": (lambda e: models.BertTokenClassifier(e, num_classes=3), False, tagged_examples),
    "questions": (models.BertQuestionAnswerer, False, question_examples),
    "choices": (models.BertMultipleChoice, True, choice_examples),
    "masked": (models.BertMaskedLM, False, masked_examples),
}


def make_data(task, steps, batch=BATCH):
    examples = TASKS[task][2](np.random.RandomState(0), steps * batch)
    return tf.data.Dataset.from_tensor_slices(examples).batch(batch)


def make_model(task, total_steps, dropout=0.0, warmup_ratio=0.1, **compile_arguments):
    """Returns the same compiled model at each call; call it in the scope of a strategy."""
    create, use_pooler, _ = TASKS[task]
    model = create(make_encoder(dropout, use_pooler))
    # The gradients are longer than this, so that every step is clipped.
    optimizer = create_optimizer(0.02, total_steps, warmup_ratio, clip_norm=0.05)
    model.compile(optimizer, **compile_arguments)
    return model


class LossPerStep(keras.callbacks.Callback):
    """Notes the loss of each step (not the mean since the epoch's start) in `losses`."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))


def train(task, steps, **arguments):
    """Trains, evaluates and predicts in the current strategy's scope.

    Returns:
        Dict of what JSON can hold: the loss of each step, what the epoch reports, what `evaluate`
        does, and the predictions of three batches.
    """
    model = make_model(task, steps, **arguments)
    data, few = make_data(task, steps), make_data(task, 3)
    losses = LossPerStep()
    history = model.fit(data, validation_data=few, callbacks=[losses], verbose=0).history
    outputs = keras.tree.flatten(model.predict(few, verbose=0))
    return {
        "losses": losses.losses,
        "history": {name: float(values[-1]) for name, values in history.items()},
        "evaluate": model.evaluate(few, verbose=0, return_dict=True),
        "predict": [np.asarray(x).tolist() for x in outputs],
    }
