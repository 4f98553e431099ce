import json

import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from keras_bert_lib.checkpoints.tensor_names import weights_by_name
from keras_bert_lib.models import BertQuestionAnswerer, BertTokenClassifier
from tests.models.small_models import pretraining_batch, small_encoder

# Those of a `BertEncoder` of Model Garden, two layers of 12 units, three heads, 20 units between.
VARIABLES = {
    "layer_with_weights-0/embeddings": [30, 12],
    "layer_with_weights-1/embeddings": [8, 12],
    "layer_with_weights-2/embeddings": [5, 12],
    "layer_with_weights-3/beta": [12],
    "layer_with_weights-3/gamma": [12],
    "layer_with_weights-6/bias": [12],
    "layer_with_weights-6/kernel": [12, 12],
}
for layer in ("layer_with_weights-4", "layer_with_weights-5"):
    VARIABLES |= {
        f"{layer}/_attention_layer/_key_dense/bias": [3, 4],
        f"{layer}/_attention_layer/_key_dense/kernel": [12, 3, 4],
        f"{layer}/_attention_layer/_output_dense/bias": [12],
        f"{layer}/_attention_layer/_output_dense/kernel": [3, 4, 12],
        f"{layer}/_attention_layer/_query_dense/bias": [3, 4],
        f"{layer}/_attention_layer/_query_dense/kernel": [12, 3, 4],
        f"{layer}/_attention_layer/_value_dense/bias": [3, 4],
        f"{layer}/_attention_layer/_value_dense/kernel": [12, 3, 4],
        f"{layer}/_attention_layer_norm/beta": [12],
        f"{layer}/_attention_layer_norm/gamma": [12],
        f"{layer}/_intermediate_dense/bias": [20],
        f"{layer}/_intermediate_dense/kernel": [12, 20],
        f"{layer}/_output_dense/bias": [12],
        f"{layer}/_output_dense/kernel": [20, 12],
        f"{layer}/_output_layer_norm/beta": [12],
        f"{layer}/_output_layer_norm/gamma": [12],
    }
FIELDS = {
    "vocab_size": 30,
    "hidden_size": 12,
    "num_layers": 2,
    "num_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 8,
    "type_vocab_size": 5,
}
# Where a `BertEncoderV2`, which is no functional model, has its layers.
ATTRIBUTES = {
    "layer_with_weights-0": "_embedding_layer",
    "layer_with_weights-1": "_position_embedding_layer",
    "layer_with_weights-2": "_type_embedding_layer",
    "layer_with_weights-3": "_embedding_norm_layer",
    "layer_with_weights-4": "_transformer_layers/0",
    "layer_with_weights-5": "_transformer_layers/1",
    "layer_with_weights-6": "_pooler_layer",
}


def random_arrays(shapes):
    rng = np.random.default_rng(0)
    return {path: rng.normal(size=shape).astype("float32") for path, shape in shapes.items()}


def write(directory, arrays, below="encoder"):
    """Writes arrays, by their paths, as an object-based checkpoint; returns its prefix.

    A value that is a str is a path: the object has two.
    """
    root = tf.train.Checkpoint()
    arrays = {f"{below}/{path}": value for path, value in arrays.items()}
    for path, value in arrays.items():
        *parents, name = path.split("/")
        setattr(find(root, parents), name, value if isinstance(value, str) else tf.Variable(value))
    for path, value in arrays.items():
        if isinstance(value, str):
            *parents, name = path.split("/")
            delattr(find(root, parents), name)
            setattr(find(root, parents), name, find(root, value.split("/")))
    return root.save(str(directory / "ckpt"))


def find(node, path):
    """Returns the object at a path, which is made where it does not exist."""
    for name in path:
        if not hasattr(node, name):
            setattr(node, name, tf.train.Checkpoint())
        node = getattr(node, name)
    return node


def weights(model):
    return {name: np.asarray(variable) for name, variable in weights_by_name(model).items()}


def check_encoder(model, arrays):
    """Compares weights with arrays by the paths of a functional encoder."""
    found = weights(model)
    block, attention = "layer_with_weights-5", "layer_with_weights-5/_attention_layer"
    kernels = [arrays[f"{attention}/_{x}_dense/kernel"] for x in ("query", "key", "value")]
    biases = [arrays[f"{attention}/_{x}_dense/bias"] for x in ("query", "key", "value")]
    for name, expected in {
        "embeddings/token_embedding": arrays["layer_with_weights-0/embeddings"],
        "embeddings/position_embedding": arrays["layer_with_weights-1/embeddings"],
        "embeddings/segment_embedding": arrays["layer_with_weights-2/embeddings"],
        "embeddings/layer_norm/gamma": arrays["layer_with_weights-3/gamma"],
        # head after head
        "block_1/attention/qkv/kernel": np.concatenate([x.reshape(12, 12) for x in kernels], -1),
        "block_1/attention/qkv/bias": np.concatenate([x.reshape(12) for x in biases], -1),
        "block_1/attention/output/kernel": arrays[f"{attention}/_output_dense/kernel"].reshape(
            12, 12
        ),
        "block_1/attention_norm/beta": arrays[f"{block}/_attention_layer_norm/beta"],
        "block_1/intermediate/kernel": arrays[f"{block}/_intermediate_dense/kernel"],
        "block_1/output/kernel": arrays[f"{block}/_output_dense/kernel"],
        "block_1/output_norm/gamma": arrays[f"{block}/_output_layer_norm/gamma"],
    }.items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_writes_what_an_encoder_of_theirs_writes(tmp_path):
    kbl.checkpoints.save_model_garden(kbl.BertEncoder(kbl.BertConfig(**FIELDS)), tmp_path)
    prefix = tf.train.latest_checkpoint(tmp_path)
    assert prefix == str(tmp_path / "bert_model.ckpt")
    written = dict(tf.train.list_variables(prefix))
    expected = {f"encoder/{path}": shape for path, shape in VARIABLES.items()}
    keys = [f"{path}/.ATTRIBUTES/VARIABLE_VALUE" for path in (*expected, "save_counter")]
    assert set(written) == {*keys, "_CHECKPOINTABLE_OBJECT_GRAPH"}
    for key, shape in zip(keys, expected.values()):
        assert written[key] == shape, key


@pytest.mark.parametrize("kind", ["BertEncoder", "BertEncoderV2", "BertEncoder of 2020"])
def test_reads_encoders(kind, tmp_path):
    arrays = random_arrays(VARIABLES)
    stored = arrays
    if kind == "BertEncoderV2":
        stored = {ATTRIBUTES[path.split("/")[0]] + path[20:]: x for path, x in arrays.items()}
    if kind == "BertEncoder of 2020":
        old = "_attention_layer/_output_dense", "_attention_output_dense"
        stored = {path.replace(*old): x for path, x in arrays.items()}
    prefix = write(tmp_path, stored)
    for path in (tmp_path, prefix):
        model = kbl.BertEncoder.from_pretrained(path)
        check_encoder(model, arrays)
        pooler = arrays["layer_with_weights-6/kernel"]
        np.testing.assert_array_equal(weights(model)["pooler/dense/kernel"], pooler)
        # No file says it, so it is told from the shapes, and the GELU is Model Garden's.
        assert model.config == kbl.BertConfig(**FIELDS, hidden_act="gelu_tanh")


def test_reads_pretrainers(tmp_path):
    arrays = random_arrays(VARIABLES)
    head = random_arrays(
        {
            "dense/kernel": [12, 12],
            "dense/bias": [12],
            "layer_norm/gamma": [12],
            "layer_norm/beta": [12],
            "bias": [30],
        }
    )
    nsp = random_arrays({"kernel": [12, 2], "bias": [2]})
    pooler = random_arrays({"kernel": [12, 12], "bias": [12]})
    mlm = {f"masked_lm/{path}": x for path, x in head.items()}
    encoder = {f"encoder_network/{path}": x for path, x in arrays.items()}
    mlm["masked_lm/embedding_table"] = "model/encoder_network/layer_with_weights-0/embeddings"
    heads = {f"classification_heads/0/out_proj/{name}": x for name, x in nsp.items()}
    heads |= {f"classification_heads/0/dense/{name}": x for name, x in pooler.items()}
    (tmp_path / "v2").mkdir()
    optimizer = {"optimizer/learning_rate": np.float32(1)}
    write(tmp_path / "v2", encoder | mlm | heads | optimizer, below="model")
    found = kbl.BertPretrainer.from_pretrained(tmp_path / "v2")
    check_encoder(found, arrays)
    found = weights(found)
    np.testing.assert_array_equal(found["mlm_head/dense/kernel"], head["dense/kernel"])
    np.testing.assert_array_equal(found["mlm_head/layer_norm/gamma"], head["layer_norm/gamma"])
    np.testing.assert_array_equal(found["mlm_head/bias"], head["bias"])
    np.testing.assert_array_equal(found["nsp_head/dense/kernel"], nsp["kernel"])
    # Of two poolers, the one that was trained.
    np.testing.assert_array_equal(found["pooler/dense/kernel"], pooler["kernel"])

    (tmp_path / "v1").mkdir()
    heads = {f"classification/layer_with_weights-0/{name}": x for name, x in nsp.items()}
    write(tmp_path / "v1", encoder | mlm | heads, below="model")
    found = weights(kbl.BertPretrainer.from_pretrained(tmp_path / "v1"))
    np.testing.assert_array_equal(found["nsp_head/dense/bias"], nsp["bias"])
    np.testing.assert_array_equal(
        found["pooler/dense/kernel"], arrays["layer_with_weights-6/kernel"]
    )

    (tmp_path / "untied").mkdir()
    mlm["masked_lm/embedding_table"] = arrays["layer_with_weights-0/embeddings"] + 1
    write(tmp_path / "untied", encoder | mlm, below="model")
    with pytest.raises(ValueError, match=r"embedding_table.* differs from .*tie_word_embeddings"):
        kbl.BertPretrainer.from_pretrained(tmp_path / "untied")


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("classifier/out_proj", kbl.BertClassifier),
        ("classifier", BertTokenClassifier),
        ("span_labeling/layer_with_weights-0", BertQuestionAnswerer),
    ],
)
def test_reads_models_for_tasks(path, model, tmp_path):
    encoder = {f"_network/{path}": x for path, x in random_arrays(VARIABLES).items()}
    head = random_arrays({f"{path}/kernel": [12, 2], f"{path}/bias": [2]})
    write(tmp_path, encoder | head, below="model")
    found = weights(model.from_pretrained(tmp_path))
    name = "qa_outputs" if model is BertQuestionAnswerer else "classifier"
    np.testing.assert_array_equal(found[f"{name}/kernel"], head[f"{path}/kernel"])
    np.testing.assert_array_equal(found[f"{name}/bias"], head[f"{path}/bias"])


def test_models_for_tasks_there_and_back(tmp_path):
    batch = pretraining_batch()
    for i, model in enumerate(
        [BertTokenClassifier(small_encoder(), 3), BertQuestionAnswerer(small_encoder())]
    ):
        kbl.checkpoints.save_model_garden(model, tmp_path / f"{i}")
        loaded = type(model).from_pretrained(tmp_path / f"{i}")
        for a, b in zip(tf.nest.flatten(model(batch)), tf.nest.flatten(loaded(batch))):
            np.testing.assert_array_equal(a, b)


def test_reads_the_config_beside_a_checkpoint(tmp_path):
    write(tmp_path, random_arrays(VARIABLES))
    params = {
        "vocab_size": 30,
        "hidden_size": 12,
        "num_layers": 2,
        "num_attention_heads": 3,
        "hidden_activation": "relu",
        "intermediate_size": 20,
        "dropout_rate": 0.3,
        "attention_dropout_rate": 0.4,
        "max_position_embeddings": 8,
        "type_vocab_size": 5,
        "initializer_range": 0.01,
        "embedding_size": None,
        "norm_first": False,
    }
    model = {"encoder": {"type": "bert", "bert": params}, "mlm_activation": "gelu"}
    # JSON is YAML.
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps({"task": {"model": model}}), encoding="utf-8")
    config = kbl.BertEncoder.from_pretrained(tmp_path).config
    assert config == kbl.BertConfig(
        **FIELDS,
        hidden_act="relu",
        mlm_hidden_act="gelu_tanh",
        hidden_dropout=0.3,
        attention_dropout=0.4,
        initializer_range=0.01,
    )
    for changed, message in [
        ({"encoder": {"type": "albert", "albert": {}}}, "type='albert'"),
        ({"encoder": {"type": "bert", "bert": params | {"norm_first": True}}}, "norm_first=True"),
        ({}, r"params\.yaml has no task\.model\.encoder"),
    ]:
        path.write_text(json.dumps({"task": {"model": changed}}), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            kbl.BertEncoder.from_pretrained(tmp_path)

    sizes = {"num_hidden_layers": 2, "num_attention_heads": 3} | {
        name: FIELDS[name] for name in FIELDS if not name.startswith("num")
    }
    for theirs, ours in [("gelu", "gelu_tanh"), ("gelu_exact", "gelu"), ("relu", "relu")]:
        text = json.dumps(sizes | {"hidden_act": theirs})
        (tmp_path / "bert_config.json").write_text(text, encoding="utf-8")
        config = kbl.BertEncoder.from_pretrained(tmp_path).config
        assert config == kbl.BertConfig(**FIELDS, hidden_act=ours)
    # With another number of heads all tensors would have the same sizes, and mean other things.
    text = json.dumps(sizes | {"num_attention_heads": 4})
    (tmp_path / "bert_config.json").write_text(text, encoding="utf-8")
    expected = r"_query_dense/kernel.* Expected: \(12, 4, 3\). Received: \(12, 3, 4\)"
    with pytest.raises(ValueError, match=expected):
        kbl.BertEncoder.from_pretrained(tmp_path)


def test_tensors_that_do_not_fit(tmp_path):
    kbl.checkpoints.save_model_garden(kbl.BertEncoder(kbl.BertConfig(**FIELDS)), tmp_path)
    arrays = random_arrays(VARIABLES)
    missing = {path: x for path, x in arrays.items() if not path.startswith("layer_with_weights-5")}
    missing["layer_with_weights-5/_attention_layer/_query_dense/bias"] = np.ones([3, 4])
    # Of an embedding narrower than the blocks: before the pooler in the order of layers.
    projected = {path.replace("weights-6", "weights-7"): x for path, x in arrays.items()}
    projected["layer_with_weights-6/kernel"] = np.ones([6, 12])
    key = "layer_with_weights-5/_output_dense/bias"
    for changed, message in [
        (missing, r"lacks 15 of the 39 tensors .*encoder\.layer\.1"),
        (projected, "Unexpected: encoder/layer_with_weights-6/kernel"),
        (arrays | {key: np.ones(13, "float32")}, rf"{key}.* Expected: \(12,\). Received: \(13,\)"),
        ({"layer_with_weights-0/kernel": np.ones(3)}, "must have one BERT encoder.* 0 of them"),
        (
            {f"{name}/{path}": x for path, x in arrays.items() for name in "ab"},
            "must have one BERT encoder.* 2 of them",
        ),
    ]:
        write(tmp_path, changed)
        with pytest.raises(ValueError, match=message):
            kbl.BertEncoder.from_pretrained(tmp_path)
