"""What is known of a model's training stays with it."""

import json

import keras
import numpy as np

import keras_bert_lib as kbl
from tests.export.task_models import make_model


def test_a_record_is_kept_in_the_directory(tmp_path):
    model = make_model("label")
    assert model.training_record is None
    model.save_pretrained(tmp_path / "new")
    assert "training" not in json.loads((tmp_path / "new" / "config.json").read_text())

    model.compile("adam")
    history = model.fit(model.tokenizer(["a b", "c"]), np.array([0, 2]), epochs=2, verbose=0)
    last = {name: values[-1] for name, values in history.history.items()}
    expected = {"epochs": 2, "last epoch": last}
    assert set(last) == {"accuracy", "loss"}
    assert model.training_record == expected
    model.save_pretrained(tmp_path / "trained")
    loaded = kbl.BertClassifier.from_pretrained(tmp_path / "trained")
    assert loaded.training_record == expected

    # What somebody says wins over what was measured.
    model.training_record = {"data": "SST-2", "validation": {"accuracy": 0.9}}
    assert model.training_record == {"data": "SST-2", "validation": {"accuracy": 0.9}}
    model.save_pretrained(tmp_path / "trained")
    loaded = kbl.BertClassifier.from_pretrained(tmp_path / "trained")
    assert loaded.training_record == model.training_record
    # And goes on where a loaded model is saved again.
    loaded.save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config["training"] == model.training_record


def test_the_record_is_of_the_epoch_whose_weights_are_kept(tmp_path):
    model = make_model("label")
    model.compile("adam")
    x, y = model.tokenizer(["a b", "c", "d"]), np.array([0, 2, 1])
    scores = iter([0.25, 0.75, 0.5])
    best = kbl.training.BestCheckpoint(
        tmp_path / "best.weights.h5", "val_score", evaluate=lambda _: {"score": next(scores)}
    )
    history = model.fit(x, y, epochs=3, callbacks=[best], verbose=0).history
    second = {name: values[1] for name, values in history.items()}
    assert second["val_score"] == 0.75
    assert model.training_record == {"epochs": 3, "best epoch": {"epoch": 2} | second}
    # Another `fit` has another last epoch, and no best one.
    history = model.fit(x, y, verbose=0).history
    last = {name: values[0] for name, values in history.items()}
    assert model.training_record == {"epochs": 1, "last epoch": last}


def test_what_json_cannot_hold_is_left_out():
    model = make_model("label")
    model.history = keras.callbacks.History()
    model.history.epoch = [0]
    model.history.history = {"loss": [np.nan], "f1": [np.ones(3)], "accuracy": [0.5], "new": []}
    assert model.training_record == {"epochs": 1, "last epoch": {"accuracy": 0.5}}
