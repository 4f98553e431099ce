import json
import os
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from keras_bert_lib.checkpoints.tensor_names import weights_by_name
from keras_bert_lib.models import BertQuestionAnswerer
from tests.models.small_models import pretraining_batch, small_encoder

CONFIG = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.2,
    "hidden_size": 12,
    "initializer_range": 0.02,
    "intermediate_size": 20,
    "max_position_embeddings": 8,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "type_vocab_size": 16,
    "vocab_size": 30,
}
HEADS = {
    "cls/predictions/output_bias": (30,),
    "cls/predictions/transform/LayerNorm/beta": (12,),
    "cls/predictions/transform/LayerNorm/gamma": (12,),
    "cls/predictions/transform/dense/bias": (12,),
    "cls/predictions/transform/dense/kernel": (12, 12),
    "cls/seq_relationship/output_bias": (2,),
    "cls/seq_relationship/output_weights": (2, 12),
}


def encoder_shapes(layers=2):
    """Returns the shapes of a BERT's variables, as modeling.py of google-research/bert makes it."""
    shapes = {
        "bert/embeddings/word_embeddings": (30, 12),
        "bert/embeddings/token_type_embeddings": (16, 12),
        "bert/embeddings/position_embeddings": (8, 12),
        "bert/embeddings/LayerNorm/beta": (12,),
        "bert/embeddings/LayerNorm/gamma": (12,),
        "bert/pooler/dense/bias": (12,),
        "bert/pooler/dense/kernel": (12, 12),
    }
    for i in range(layers):
        shapes |= {
            f"bert/encoder/layer_{i}/{name}": shape
            for name, shape in {
                "attention/output/LayerNorm/beta": (12,),
                "attention/output/LayerNorm/gamma": (12,),
                "attention/output/dense/bias": (12,),
                "attention/output/dense/kernel": (12, 12),
                "attention/self/key/bias": (12,),
                "attention/self/key/kernel": (12, 12),
                "attention/self/query/bias": (12,),
                "attention/self/query/kernel": (12, 12),
                "attention/self/value/bias": (12,),
                "attention/self/value/kernel": (12, 12),
                "intermediate/dense/bias": (20,),
                "intermediate/dense/kernel": (12, 20),
                "output/LayerNorm/beta": (12,),
                "output/LayerNorm/gamma": (12,),
                "output/dense/bias": (12,),
                "output/dense/kernel": (20, 12),
            }.items()
        }
    return shapes


def random_tensors(shapes):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def write(directory, tensors, prefix="bert_model.ckpt", step=None):
    """Writes a checkpoint and its config with TensorFlow 1's Saver."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, array in tensors.items():
            tf.compat.v1.get_variable(name, initializer=array)
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver()
        saver.save(session, os.path.join(directory, prefix), step, write_state=step is not None)
    with open(os.path.join(directory, "bert_config.json"), "w", encoding="utf-8") as file:
        json.dump(CONFIG, file)


def weights(model):
    return {name: np.asarray(variable) for name, variable in weights_by_name(model).items()}


def test_reads_a_pretrained_bert(tmp_path):
    tensors = random_tensors(encoder_shapes() | HEADS)
    write(tmp_path, tensors)
    for path in (tmp_path, str(tmp_path / "bert_model.ckpt")):
        model = kbl.BertPretrainer.from_pretrained(path)
        found = weights(model)
        for i in range(2):
            attention = f"bert/encoder/layer_{i}/attention"
            for kind in ("kernel", "bias"):
                fused = [tensors[f"{attention}/self/{x}/{kind}"] for x in ("query", "key", "value")]
                np.testing.assert_array_equal(
                    found[f"block_{i}/attention/qkv/{kind}"], np.concatenate(fused, axis=-1)
                )
        for ours, theirs in {
            "embeddings/token_embedding": "bert/embeddings/word_embeddings",
            "embeddings/segment_embedding": "bert/embeddings/token_type_embeddings",
            "embeddings/position_embedding": "bert/embeddings/position_embeddings",
            "embeddings/layer_norm/gamma": "bert/embeddings/LayerNorm/gamma",
            "block_1/attention/output/kernel": "bert/encoder/layer_1/attention/output/dense/kernel",
            "block_1/attention_norm/beta": "bert/encoder/layer_1/attention/output/LayerNorm/beta",
            "block_1/intermediate/kernel": "bert/encoder/layer_1/intermediate/dense/kernel",
            "block_1/output/kernel": "bert/encoder/layer_1/output/dense/kernel",
            "block_1/output_norm/gamma": "bert/encoder/layer_1/output/LayerNorm/gamma",
            "pooler/dense/kernel": "bert/pooler/dense/kernel",
            "mlm_head/dense/kernel": "cls/predictions/transform/dense/kernel",
            "mlm_head/layer_norm/beta": "cls/predictions/transform/LayerNorm/beta",
            "mlm_head/bias": "cls/predictions/output_bias",
            "nsp_head/dense/bias": "cls/seq_relationship/output_bias",
        }.items():
            np.testing.assert_array_equal(found[ours], tensors[theirs], err_msg=ours)
        np.testing.assert_array_equal(
            found["nsp_head/dense/kernel"], tensors["cls/seq_relationship/output_weights"].T
        )
        assert model.config == kbl.BertConfig(
            vocab_size=30,
            hidden_size=12,
            num_layers=2,
            num_heads=3,
            intermediate_size=20,
            hidden_dropout=0.2,
            max_position_embeddings=8,
            type_vocab_size=16,
        )


def test_reads_what_fine_tuning_leaves(tmp_path):
    shapes = encoder_shapes() | {"output_weights": (3, 12), "output_bias": (3,)}
    slots = {f"{name}/adam_{x}": shape for name, shape in shapes.items() for x in "mv"}
    tensors = random_tensors(shapes | slots) | {"global_step": np.int64(7)}
    write(tmp_path, tensors, "model.ckpt", step=7)
    later = tensors | {"output_bias": np.float32([1, 2, 3])}
    write(tmp_path, later, "model.ckpt", step=14)
    model = kbl.BertClassifier.from_pretrained(tmp_path)  # the latest
    found = weights(model)
    np.testing.assert_array_equal(found["classifier/kernel"], tensors["output_weights"].T)
    np.testing.assert_array_equal(found["classifier/bias"], [1, 2, 3])
    assert model.num_classes == 3
    model = kbl.BertClassifier.from_pretrained(tmp_path / "model.ckpt-7", labels=["x", "y", "z"])
    np.testing.assert_array_equal(weights(model)["classifier/bias"], tensors["output_bias"])
    (tmp_path / "checkpoint").unlink()
    with pytest.raises(ValueError, match=r"several checkpoints: model.ckpt-14, model.ckpt-7\. "):
        kbl.BertClassifier.from_pretrained(tmp_path)


def test_reads_what_squad_leaves(tmp_path):
    shapes = {"cls/squad/output_weights": (2, 12), "cls/squad/output_bias": (2,)}
    tensors = random_tensors(encoder_shapes() | shapes)
    write(tmp_path, tensors)
    found = weights(BertQuestionAnswerer.from_pretrained(tmp_path))
    np.testing.assert_array_equal(found["qa_outputs/kernel"], tensors[next(iter(shapes))].T)


def test_writes_the_variables_of_that_code(tmp_path):
    config = kbl.BertConfig.from_huggingface(CONFIG)
    model = kbl.BertPretrainer(kbl.BertEncoder(config))
    kbl.checkpoints.save_google_bert(model, tmp_path)
    prefix = tf.train.latest_checkpoint(tmp_path)
    assert prefix == str(tmp_path / "bert_model.ckpt")
    shapes = encoder_shapes() | HEADS
    assert {name: tuple(shape) for name, shape in tf.train.list_variables(prefix)} == shapes
    kernel = tf.train.load_variable(prefix, "bert/encoder/layer_1/attention/self/key/kernel")
    fused = weights(model)["block_1/attention/qkv/kernel"]
    np.testing.assert_array_equal(kernel, fused[:, 12:24])
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.get_variable(name, shape) for name, shape in shapes.items()]
        tf.compat.v1.train.Saver().restore(session, prefix)
        restored = dict(zip(shapes, session.run(variables)))
    np.testing.assert_array_equal(
        restored["bert/embeddings/word_embeddings"], weights(model)["embeddings/token_embedding"]
    )
    written = json.loads((tmp_path / "bert_config.json").read_text("utf-8"))
    assert written | CONFIG == written


@pytest.mark.parametrize(
    "changes",
    [
        {"num_heads": 3, "hidden_size": 21, "type_vocab_size": 16, "hidden_act": "gelu"},
        {"num_heads": 1, "hidden_act": "gelu_new", "hidden_dropout": 0.3},
        {"num_heads": 5, "hidden_size": 20, "num_layers": 3, "hidden_act": "gelu_tanh"},
        {"hidden_act": "relu", "position_embedding_type": "sinusoidal", "pad_token_id": 3},
    ],
)
@pytest.mark.parametrize("save", ["save_google_bert", "save_model_garden"])
def test_there_and_back(changes, save, tmp_path):
    encoder = small_encoder(**changes)
    batch = pretraining_batch()
    for i, model in enumerate([kbl.BertPretrainer(encoder), kbl.BertClassifier(encoder, 3)]):
        directory = tmp_path / f"{i}"
        getattr(kbl.checkpoints, save)(model, directory)
        loaded = type(model).from_pretrained(directory)
        assert loaded.config == model.config
        before, after = weights(model), weights(loaded)
        assert list(before) == list(after)
        for name in before:
            assert before[name].tobytes() == after[name].tobytes(), name
        for a, b in zip(tf.nest.flatten(model(batch)), tf.nest.flatten(loaded(batch))):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("save", ["save_google_bert", "save_model_garden"])
def test_tokenizer_and_labels_go_along(save, tmp_path):
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Caf", "##é"]
    tokenizer = kbl.BertTokenizer(vocabulary, lowercase=False, max_length=9)
    encoder = small_encoder(vocab_size=7)
    model = kbl.BertClassifier(encoder, tokenizer=tokenizer, labels=["good", "bad"])
    getattr(kbl.checkpoints, save)(model, tmp_path)
    loaded = kbl.BertClassifier.from_pretrained(tmp_path)
    assert loaded.labels == ["good", "bad"]
    assert loaded.tokenizer.max_length == 9
    ids = loaded.tokenizer(["Café café"])["token_ids"]
    np.testing.assert_array_equal(ids, [[2, 5, 6, 1, 3]])
    assert loaded.predict_text(["Café"]) == model.predict_text(["Café"])


@pytest.mark.parametrize(("piece", "token_ids"), [("Fine", [2, 1, 5, 3]), ("fine", [2, 5, 5, 3])])
def test_the_pieces_tell_whether_a_vocabulary_is_cased(piece, token_ids, tmp_path):
    write(tmp_path, random_tensors(encoder_shapes()))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", piece]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    model = kbl.BertClassifier.from_pretrained(tmp_path, num_classes=2)
    np.testing.assert_array_equal(model.tokenizer(["fine Fine"])["token_ids"], [token_ids])


def test_heads_that_are_not_there_are_named(tmp_path):
    write(tmp_path, random_tensors(encoder_shapes()))
    with mock.patch("absl.logging.warning") as warning:
        kbl.BertPretrainer.from_pretrained(tmp_path)
    (call,) = warning.call_args_list
    message = call.args[0] % call.args[1:]
    assert message == f"{tmp_path}/bert_model.ckpt has no mlm_head, nsp_head: newly initialized."


def test_tensors_that_do_not_fit(tmp_path):
    tensors = random_tensors(encoder_shapes())
    missing = dict(tensors)
    del missing["bert/encoder/layer_1/output/dense/bias"]
    key = "bert/encoder/layer_0/attention/self/key/kernel"
    for changed, message in [
        (missing, "lacks 1 of the 39 tensors.* encoder.layer.1.output.dense.bias"),
        (random_tensors(encoder_shapes(3)), "16 tensors .* bert/encoder/layer_2/attention"),
        (tensors | {"bert/embeddings/extra": np.ones(3)}, "Unexpected: bert/embeddings/extra"),
        (
            tensors | {key: np.ones([12, 10], "float32")},
            rf"bert_model.ckpt: {key} .*Expected: \(12, 12\). Received: \(10, 12\)",
        ),
    ]:
        write(tmp_path, changed)
        with pytest.raises(ValueError, match=message):
            kbl.BertEncoder.from_pretrained(tmp_path)


def test_what_is_no_bert(tmp_path):
    write(tmp_path, {"electra/embeddings/word_embeddings": np.ones([3, 2])})
    with pytest.raises(ValueError, match=r"is no BERT.*Received: electra/embeddings"):
        kbl.BertEncoder.from_pretrained(tmp_path)
    write(tmp_path, random_tensors(encoder_shapes()))
    (tmp_path / "bert_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"bert_config.json is not valid JSON"):
        kbl.BertEncoder.from_pretrained(tmp_path)
    (tmp_path / "bert_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no bert_config.json, without which nobody knows"):
        kbl.BertEncoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("save", ["save_google_bert", "save_model_garden"])
def test_damaged_files(save, tmp_path):
    getattr(kbl.checkpoints, save)(small_encoder(), tmp_path)
    for name in ("bert_model.ckpt.data-00000-of-00001", "bert_model.ckpt.index"):
        path = tmp_path / name
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 16
        for damaged in (bytes(flipped), whole[: len(whole) // 3], b""):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=r"bert_model.ckpt.* is damaged"):
                kbl.BertEncoder.from_pretrained(tmp_path)
        path.unlink()
        with pytest.raises((ValueError, FileNotFoundError), match=str(tmp_path)):
            kbl.BertEncoder.from_pretrained(tmp_path)
        path.write_bytes(whole)
    kbl.BertEncoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("save", ["save_google_bert", "save_model_garden"])
def test_saving_among_other_files(save, tmp_path):
    save = getattr(kbl.checkpoints, save)
    encoder = small_encoder(num_layers=1)
    (tmp_path / "thesis.tex").write_text("10 years", encoding="utf-8")
    with pytest.raises(ValueError, match=r"something other than such a checkpoint: thesis.tex"):
        save(encoder, tmp_path)
    save(encoder, tmp_path, overwrite=True)
    save(encoder, tmp_path)  # over its own
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(ValueError, match="must be a directory, not a file"):
        save(encoder, tmp_path / "thesis.tex")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with mock.patch("os.replace", side_effect=OSError("no space")):
        with pytest.raises(OSError, match="no space"):
            save(small_encoder(num_layers=2), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("save", ["save_google_bert", "save_model_garden"])
def test_what_the_other_code_cannot_compute(save, tmp_path):
    save = getattr(kbl.checkpoints, save)
    with pytest.raises(ValueError, match="Received: norm_first=True"):
        save(small_encoder(norm_first=True), tmp_path)
    assert not list(tmp_path.iterdir())
    with mock.patch("absl.logging.warning") as warning:
        save(small_encoder(layer_norm_eps=1e-5), tmp_path)
    assert "there it gives other numbers" in warning.call_args.args[0]
    assert kbl.BertEncoder.from_pretrained(tmp_path).config.layer_norm_eps == 1e-5
