"""What models compute, for jax_backend_test.py: the same on every backend of Keras.

    KERAS_BACKEND=jax python -m tests.integration.backend_numbers models FOLDER
    KERAS_BACKEND=jax python -m tests.integration.backend_numbers distribution FOLDER

The numbers are in `FOLDER/PART-BACKEND.npz` then.
"""

import os
import random
import sys
from pathlib import Path

import keras
import numpy as np

import keras_bert_lib as kbl
from tests.integration.task_files import PIECES, write_task

BATCH, STEPS = 4, 12
TAGS = ["O", "B-person", "B-place"]
# Of each task: its model, the arguments of the model, and what makes batches of a file.
TASKS = {
    "label": (kbl.BertClassifier, {"labels": ["neg", "pos"]}, kbl.data.text_classification),
    "tagger": (kbl.BertTokenClassifier, {"labels": TAGS}, kbl.data.token_classification),
    "answerer": (kbl.BertQuestionAnswerer, {}, kbl.data.question_answering),
    "choice": (kbl.BertMultipleChoice, {}, kbl.data.multiple_choice),
    "embedder": (kbl.BertTextEmbedder, {}, kbl.data.text_pairs),
}
TEXTS = ["anna was in rome", "Café, the the the", "", "東京 ran. dull"]


class LossPerStep(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


def fit(model, dataset, **arguments):
    """Returns the loss of each step."""
    losses = LossPerStep()
    model.fit(dataset, callbacks=[losses], verbose=0, **arguments)
    return losses.losses


def set_weights(model):
    """Draws weights, in an order that backends share."""
    rng = np.random.default_rng(0)
    for variable in sorted(model.trainable_variables, key=lambda v: v.path):
        mean = float(variable.path.endswith("gamma"))
        variable.assign(rng.normal(mean, 0.2, variable.shape))


def make_config(**changes):
    fields = {
        "vocab_size": len(PIECES),
        "hidden_size": 16,
        "num_layers": 1,
        "num_heads": 4,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
    }
    return kbl.BertConfig(**(fields | changes))


def documents(count=40, seed=0):
    rng = random.Random(seed)
    words = PIECES[5:]
    return [
        [" ".join(rng.choices(words, k=rng.randint(4, 9))) for _ in range(rng.randint(3, 6))]
        for _ in range(count)
    ]


def pretraining_data(**options):
    """Returns batches; made anew, they are the same again."""
    options = {"batch_size": BATCH, "max_length": 32, "max_predictions": 5} | options
    dataset = kbl.data.pretraining_dataset(documents(), kbl.BertTokenizer(PIECES), **options)
    return dataset.take(STEPS)


def make_pretrainer(steps=STEPS, dropout=0.0, dtype="float32", **optimizer):
    keras.utils.set_random_seed(1)  # that of dropout
    config = make_config(hidden_dropout=dropout, attention_dropout=dropout)
    encoder = kbl.BertEncoder(config, dtype=dtype)
    model = kbl.BertPretrainer(encoder)
    set_weights(model)
    # Gradients are longer than this, so that every step is clipped.
    model.compile(kbl.training.create_optimizer(0.01, steps, clip_norm=0.5, **optimizer))
    return model


def answer(task, model):
    """Returns what a model says to texts."""
    if task == "embedder":
        return model.encode(TEXTS)
    if task == "choice":
        return model.predict_text(TEXTS, [["anna", "in rome"]] * len(TEXTS))
    if task == "answerer":
        return model.predict_text(["who?"] * 2, [TEXTS[0], "the film was fine and " * 12])
    return model.predict_text(TEXTS)


def models(folder):
    """Returns the numbers of every model: outputs, losses in training, answers to texts."""
    numbers = {}
    tokenizer = kbl.BertTokenizer(PIECES, max_length=32)
    for task, (make_model, arguments, read) in TASKS.items():
        encoder = kbl.BertEncoder(make_config(), use_pooler=make_model._use_pooler)
        model = make_model(encoder, tokenizer=tokenizer, **arguments)
        set_weights(model)
        answers = keras.tree.flatten(answer(task, model))
        numbers[f"{task} answers"] = [x for x in answers if not isinstance(x, str)]
        path = write_task(folder, task, STEPS * BATCH)
        options = {"labels": TAGS} if task == "tagger" else {}
        # Unshuffled: on JAX Keras draws a batch more, to know its shapes, and with it an epoch.
        options |= {"batch_size": BATCH, "max_length": 32, "shuffle": False}
        dataset = read(path, tokenizer, pad_to_max_length=True, **options)
        model.compile(kbl.training.create_optimizer(0.01, STEPS, layer_decay=0.9))
        numbers[f"{task} losses"] = fit(model, dataset)
        numbers[f"{task} evaluation"] = model.evaluate(dataset, verbose=0)

    model = make_pretrainer(STEPS // 2, accumulation_steps=2, schedule="cosine")
    batch = next(iter(pretraining_data().as_numpy_iterator()))
    outputs = model.predict(batch, verbose=0)
    numbers |= {f"pretraining {name}": x for name, x in outputs.items()}
    half = STEPS // 2
    numbers["pretraining losses"] = fit(model, pretraining_data().take(half))
    # Both backends go on from a file of TensorFlow.
    if keras.backend.backend() == "tensorflow":
        model.save(folder / "half.keras")
    numbers["pretraining losses of the rest"] = fit(model, pretraining_data().skip(half))
    if keras.backend.backend() == "tensorflow":
        model.save_pretrained(folder / "trained")
    loaded = keras.models.load_model(folder / "half.keras")
    numbers["pretraining losses from a file"] = fit(loaded, pretraining_data().skip(half))
    loaded = kbl.BertPretrainer.from_pretrained(folder / "trained")
    numbers["pretraining mlm_logits from a directory"] = loaded(batch)["mlm_logits"]
    evaluation = model.evaluate(pretraining_data(), verbose=0, return_dict=True)
    numbers["pretraining evaluation"] = [evaluation[name] for name in sorted(evaluation)]
    numbers["pretraining losses with LAMB"] = fit(
        make_pretrainer(optimizer="lamb"), pretraining_data()
    )
    numbers["pretraining losses of packed rows"] = fit(
        make_pretrainer(), pretraining_data(max_length=24, packing=True)
    )
    for dtype in ("mixed_bfloat16", "mixed_float16"):
        numbers[f"pretraining losses in {dtype}"] = fit(
            make_pretrainer(dtype=dtype), pretraining_data()
        )
    return numbers


def distribution(folder):
    """Returns the losses of a training on one device, and on four in several ways."""
    devices = keras.distribution.list_devices()
    numbers = {"devices": len(devices)}
    # The same dropout on one device and on many, too.
    model = make_pretrainer(dropout=0.1)
    half = STEPS // 2
    numbers["one device"] = fit(model, pretraining_data())
    for name, shape in {"data": None, "model": (1, 4), "data and model": (2, 2)}.items():
        keras.utils.clear_session(free_memory=False)
        if shape is None:
            ways = keras.distribution.DataParallel(devices=devices)
        else:
            mesh = keras.distribution.DeviceMesh(shape, ("batch", "model"), devices)
            layouts = kbl.training.create_layout_map(mesh, make_config())
            ways = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
        keras.distribution.set_distribution(ways)
        model = make_pretrainer(dropout=0.1)
        numbers[name] = fit(model, pretraining_data().take(half))
        model.save(folder / "half.keras")
        numbers[name] += fit(model, pretraining_data().skip(half))
        for part, variables in {
            "weights": model.trainable_variables,
            "moments": model.optimizer.variables[2:],
        }.items():
            held = sum(v.value.addressable_shards[0].data.size for v in variables)
            numbers[f"{name}, {part} on a device"] = held / sum(v.value.size for v in variables)
    # The last way is both ways at once. Files of it, divided and on one device:
    loaded = keras.models.load_model(folder / "half.keras")
    numbers["loaded"] = fit(loaded, pretraining_data().skip(half))
    model.save_pretrained(folder / "trained")
    divided = kbl.BertPretrainer.from_pretrained(folder / "trained")
    keras.distribution.set_distribution(None)
    alone = kbl.BertPretrainer.from_pretrained(folder / "trained")
    for variable, *read in zip(
        model.trainable_variables, divided.trainable_variables, alone.trainable_variables
    ):
        for other in read:
            np.testing.assert_array_equal(other, variable)
    assert [v.value.sharding for v in divided.trainable_variables] == [
        v.value.sharding for v in model.trainable_variables
    ]
    return numbers


if __name__ == "__main__":
    part, folder = sys.argv[1], Path(sys.argv[2])
    numbers = {"models": models, "distribution": distribution}[part](folder)
    path = os.path.join(folder, f"{part}-{keras.backend.backend()}.npz")
    np.savez(path, **{name: np.asarray(x, "float64") for name, x in numbers.items()})
