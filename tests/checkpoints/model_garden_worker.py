"""Runs Model Garden's own models for model_garden_parity_test.py, in a Python that has them.

    python model_garden_worker.py write cases.json   # saves random models, and their outputs
    python model_garden_worker.py read cases.json    # restores checkpoints, saves the outputs

A case is a dict with the folder `directory`, the sizes of the `encoder` in the words of Model
Garden, `exact_gelu`, and the `model` around the encoder.
"""

import json
import os
import sys

import numpy as np
import tensorflow as tf
from official.modeling import tf_utils
from official.nlp.modeling import layers, models, networks


def main(action, cases_file):
    with open(cases_file, encoding="utf-8") as file:
        cases = json.load(file)
    for seed, case in enumerate(cases):
        inputs = dict(np.load(os.path.join(case["directory"], "inputs.npz")))
        model, items = make_model(case)
        run(model, inputs)  # some weights are made on the first call
        prefix = os.path.join(case["directory"], "bert_model.ckpt")
        if action == "write":
            rng = np.random.default_rng(seed)
            for variable in model.trainable_variables:
                mean = float("gamma" in variable.name)
                variable.assign(rng.normal(mean, 0.2, variable.shape))
            tf.train.Checkpoint(**items).write(prefix)
        else:
            for variable in model.trainable_variables:
                variable.assign(tf.fill(variable.shape, np.nan))
            # What has no place in the checkpoint fails here, be it a layer without weights.
            status = tf.train.Checkpoint(**items).restore(prefix)
            status.expect_partial().assert_existing_objects_matched()
        np.savez(os.path.join(case["directory"], "outputs.npz"), **run(model, inputs))


def make_model(case):
    """Returns the model, and what a program would give to `tf.train.Checkpoint`."""
    act = tf.nn.gelu if case["exact_gelu"] else tf_utils.get_activation("gelu")
    kind = case["model"]
    if kind == "BertEncoderV2":
        encoder = networks.BertEncoderV2(inner_activation=act, **case["encoder"])
    else:
        # The first `BertPretrainer` takes lists.
        encoder = networks.BertEncoder(
            inner_activation=act, dict_outputs=kind != "BertPretrainer", **case["encoder"]
        )
    if kind in ("BertEncoder", "BertEncoderV2"):
        return encoder, {"encoder": encoder}
    if kind == "BertPretrainerV2":
        head = layers.ClassificationHead(
            case["encoder"]["hidden_size"], 2, dropout_rate=0.1, name="next_sentence"
        )
        model = models.BertPretrainerV2(encoder, act, classification_heads=[head])
        return model, {"model": model, **model.checkpoint_items}
    if kind == "BertPretrainer":
        model = models.BertPretrainer(encoder, 2, case["predictions"], activation=act)
    elif kind == "BertClassifier":
        model = models.BertClassifier(encoder, case["num_classes"])
    elif kind == "BertClassifier with a pooler of its own":
        model = models.BertClassifier(encoder, case["num_classes"], use_encoder_pooler=False)
    elif kind == "BertTokenClassifier":
        model = models.BertTokenClassifier(encoder, case["num_classes"])
    else:
        model = models.BertSpanLabeler(encoder)
    return model, {"model": model}


def run(model, inputs):
    """Returns the outputs, as a flat dict of arrays."""
    if isinstance(model, (models.BertPretrainerV2, networks.BertEncoderV2)):
        outputs = model({name: tf.constant(x) for name, x in inputs.items()}, training=False)
    else:
        names = ["input_word_ids", "input_mask", "input_type_ids"]
        names += ["masked_lm_positions"] * isinstance(model, models.BertPretrainer)
        outputs = model([tf.constant(inputs[name]) for name in names], training=False)
    if not isinstance(outputs, dict):
        outputs = {f"output_{i}": x for i, x in enumerate(tf.nest.flatten(outputs))}
    return {name: np.asarray(x) for name, x in outputs.items() if not isinstance(x, list)}


if __name__ == "__main__":
    main(*sys.argv[1:])
