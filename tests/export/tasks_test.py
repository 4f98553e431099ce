"""Files of every task answer as the model does."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import keras_bert_lib as kbl
from keras_bert_lib.export import quantization, tflite_file
from keras_bert_lib.export.quantization import flatbuffer
from keras_bert_lib.export.quantization.embedding import quantize_embeddings
from keras_bert_lib.export.stock_runtime import read_labels, utf8_bytes
from tests.export.saved_model_test import operations
from tests.export.task_models import (
    CHOICES,
    MAX_BYTES,
    MAX_LENGTH,
    PIECES,
    fitting,
    make_model,
    make_texts,
)
from tests.export.tflite_test import BUILT_IN

TASKS = ("multi_label", "regression", "embedder", "choice", "masked")
TEXTS = make_texts(50)
# The choices of each text are other texts, in turn.
OPTIONS = [[TEXTS[(i + k) % 50] for k in (0, 7, 18)] for i in range(50)]
SHAPES = {
    "multi_label": {"probabilities": [1, 3]},
    "regression": {"values": [1, 2]},
    "embedder": {"embedding": [1, 16]},
    "choice": {"probabilities": [1, CHOICES]},
    "masked": {
        "token_ids": [1, 8, 5],
        "scores": [1, 8, 5],
        "mask_starts": [1, 8],
        "mask_ends": [1, 8],
        "mask_count": [1],
    },
}


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture(scope="session")
def models():
    return {task: make_model(task) for task in TASKS}


@pytest.fixture(scope="session")
def phone_files(models, tmp_path_factory):
    """A float32 TFLite file of each task that takes text."""
    paths = {}
    for task, model in models.items():
        paths[task] = tmp_path_factory.mktemp(task) / "model.tflite"
        choices = CHOICES if task == "choice" else None
        kbl.export.tflite(model, paths[task], "none", max_bytes=MAX_BYTES, choices=choices)
    return paths


def inputs_of(task, i):
    inputs = {"text": utf8_bytes(TEXTS[i], MAX_BYTES)}
    if task == "choice":
        rows = [utf8_bytes(text, MAX_BYTES) for text in OPTIONS[i]]
        inputs["text_pair"] = np.concatenate(rows)
    return inputs


def answers_of_model(model, task, texts, options):
    """What Python's methods answer, in the form of the outputs of files."""
    if task == "embedder":
        return {"embedding": model.encode(texts)}
    if task == "choice":
        return model.predict_text(texts, options)
    if task == "multi_label":
        answers = model.predict_text(texts, threshold=0.0)
        return {
            "probabilities": np.array(
                [
                    [{x["label"]: x["score"] for x in answer}[name] for name in model.labels]
                    for answer in answers
                ]
            )
        }
    if task == "regression":
        return {"values": np.array(model.predict_text(texts))}
    return model.predict_text(texts)


def check(task, model, texts, options, found):
    """Compares outputs `[n, ...]` of a file with what the model answers."""
    expected = answers_of_model(model, task, texts, options)
    if task == "choice":
        assert [answer["index"] for answer in expected] == found["probabilities"].argmax(1).tolist()
        scores = [answer["score"] for answer in expected]
        np.testing.assert_allclose(found["probabilities"].max(axis=1), scores, atol=1e-5)
    elif task == "masked":
        assert {0, 1, 2} < {len(answer) for answer in expected}
        for i, (text, answer) in enumerate(zip(texts, expected, strict=True)):
            assert found["mask_count"][i] == min(len(answer), 8)
            for k, ranked in enumerate(answer[:8]):
                start, end = found["mask_starts"][i, k], found["mask_ends"][i, k]
                assert text[start:end] == b"[MASK]"
                assert [PIECES[x] for x in found["token_ids"][i, k]] == [x["token"] for x in ranked]
                scores = [x["score"] for x in ranked]
                np.testing.assert_allclose(found["scores"][i, k], scores, atol=1e-5)
            rest = slice(len(answer), None)
            for name in ("mask_starts", "mask_ends", "token_ids", "scores"):
                assert not found[name][i, rest].any()
    else:
        for name, values in expected.items():
            assert np.std(values, axis=0).min() > 0.01  # texts get different answers
            np.testing.assert_allclose(found[name], values, atol=2e-5)


@pytest.mark.parametrize("task", TASKS)
def test_tflite_answers_as_the_model_does(models, phone_files, task):
    runner = Interpreter(str(phone_files[task])).get_signature_runner("serving_default")
    shapes = {
        name: detail["shape_signature"].tolist()
        for name, detail in runner.get_output_details().items()
    }
    assert shapes == {**SHAPES[task], "truncated": [1]}  # all of them static
    rows = [runner(**inputs_of(task, i)) for i in range(len(TEXTS))]
    for row in rows:
        assert {name: list(x.shape) for name, x in row.items()} == shapes
    found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    options = [fitting(row) for row in OPTIONS]
    check(task, models[task], fitting(TEXTS), options, found)
    # Too long for the file, for the model, or with more masks than there is room for.
    assert found["truncated"][TEXTS.index(b"q" * 300)] == 1
    assert found["truncated"][TEXTS.index(b"a b c d " * 60)] == 1
    if task != "choice":  # where a choice may be cut
        assert found["truncated"][TEXTS.index(b"[MASK]" * 11)] == (task == "masked")
        assert found["truncated"][TEXTS.index("ÀÉÎ".encode())] == 0


@pytest.mark.parametrize("task", TASKS)
def test_built_in_operators_only(phone_files, task):
    operators = set(tflite_file.operators(phone_files[task].read_bytes()))
    extra = {"masked": {"PAD", "TOPK_V2"}, "choice": {"TILE"}, "multi_label": {"LOGISTIC"}}
    assert operators <= BUILT_IN | extra.get(task, set()) | {"L2_NORMALIZATION", "SQRT", "DIV"}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["float16", "dynamic_int8", "int8", "int16x8", "int4"])
@pytest.mark.parametrize("task", TASKS)
def test_every_quantization_runs(phone_files, task, mode):
    exact = phone_files[task].read_bytes()
    if mode == "float16":  # embeddings of 8 bits are its one error that can be seen
        model = flatbuffer.read(exact)
        quantize_embeddings(model)
        exact = flatbuffer.write(model)
    samples = [inputs_of(task, i) for i in range(len(TEXTS))]
    content = quantization.quantize(phone_files[task].read_bytes(), mode, samples)
    added = set(tflite_file.operators(content)) - set(tflite_file.operators(exact))
    assert added <= {"EMBEDDING_LOOKUP", "DEQUANTIZE", "QUANTIZE"}
    runners = [
        Interpreter(model_content=x).get_signature_runner("serving_default")
        for x in (exact, content)
    ]
    # Random weights of this scale are the hardest to quantize; what 4 bits leave of so small a
    # model is not much, but numbers.
    bound = {"float16": 0.01, "dynamic_int8": 0.2, "int8": 0.3, "int16x8": 0.1, "int4": 3.0}[mode]
    for sample in samples:
        expected, found = (runner(**sample) for runner in runners)
        for name, x in expected.items():
            assert found[name].shape == x.shape
            if x.dtype == np.float32:
                np.testing.assert_allclose(found[name], x, atol=bound)
            elif name != "token_ids":  # the tokenizer and its offsets stay exact
                np.testing.assert_array_equal(found[name], x)


@pytest.mark.parametrize("task", TASKS)
def test_work_follows_the_length_of_the_text(phone_files, task):
    """The encoder's feed-forward layers see the tokens there are, and no padding."""
    interpreter = Interpreter(
        str(phone_files[task]),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    details = {x["name"]: x["index"] for x in interpreter.get_input_details()}
    for text, count in [("a", 3), ("a film [MASK] a b", 7), ("a b c d " * 4, 18)]:
        for name, index in details.items():
            given = utf8_bytes(text if "text_pair" not in name else "b c", MAX_BYTES)
            rows = CHOICES if "text_pair" in name else 1
            interpreter.set_tensor(index, np.repeat(given, rows, axis=0))
        interpreter.invoke()
        rows = {
            int(np.prod(tensor["shape"][:-1]))
            for tensor in interpreter.get_tensor_details()
            if tensor["dtype"] == np.float32 and list(tensor["shape"][-1:]) == [24]
        }
        if task == "choice":
            count = CHOICES * (count + 3)
        assert count in rows
        assert max(rows - {16}) == count  # 16: the kernel


@pytest.mark.parametrize("task", TASKS)
def test_other_runtimes_answer_alike(phone_files, task):
    """LiteRT's newer interface, and the interpreter that is in TensorFlow."""
    path = str(phone_files[task])
    runner = Interpreter(path).get_signature_runner("serving_default")
    in_tensorflow = tf.lite.Interpreter(path).get_signature_runner("serving_default")
    compiled = CompiledModel.from_file(path)
    details = compiled.get_output_tensor_details("serving_default")
    for i in (0, 2, 4, 9, 11, 20, 30):
        inputs = inputs_of(task, i)
        expected = runner(**inputs)
        ins = {
            name: compiled.create_input_buffer_by_name("serving_default", name) for name in inputs
        }
        outs = {
            name: compiled.create_output_buffer_by_name("serving_default", name) for name in details
        }
        for name, buffer in ins.items():
            buffer.write(np.ascontiguousarray(inputs[name]))
        compiled.run_by_name("serving_default", ins, outs)
        others = [in_tensorflow(**inputs)]
        others.append(
            {
                name: outs[name]
                .read(x.size, np.float32 if x.dtype == np.float32 else np.int32)
                .reshape(x.shape)
                for name, x in expected.items()
            }
        )
        for other in others:
            for name, x in expected.items():
                np.testing.assert_allclose(other[name], x, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("task", [slow("multi_label"), *TASKS[1:]])
def test_saved_model_answers_as_the_model_does(models, tmp_path, task):
    kbl.export.saved_model(models[task], tmp_path / "1")
    loaded = tf.saved_model.load(str(tmp_path / "1"))

    def answer(rows):
        inputs = {"text": tf.constant([TEXTS[i] for i in rows])}
        if task == "choice":
            inputs["text_pair"] = tf.constant([OPTIONS[i] for i in rows])
        outputs = loaded.signatures["serving_default"](**inputs)
        return {name: x.numpy() for name, x in outputs.items()}

    names = operations(tmp_path / "1")
    assert not [x for x in names if "Table" in x or "ordpiece" in x or "PyFunc" in x]
    everything = answer(range(50))
    check(task, models[task], TEXTS, OPTIONS, everything)
    # Neither the order nor the batch mates of a text change its answer.
    order = np.random.default_rng(0).permutation(50)
    for rows in (order[:20], order[20:21], order[21:50]):
        for name, x in answer(rows).items():
            np.testing.assert_allclose(x, everything[name][rows], atol=1e-5, err_msg=name)
    # And an empty batch has an empty answer.
    pairs = {"text_pair": tf.zeros([0, CHOICES], tf.string)} if task == "choice" else {}
    nothing = loaded.signatures["serving_default"](text=tf.zeros([0], tf.string), **pairs)
    for name, shape in SHAPES[task].items():
        assert nothing[name].shape.as_list() in ([0, *shape[1:]], [0, 0])

    if task == "masked":
        return  # its answer to token ids is another
    by_tokens = loaded.signatures["tokens"]
    if task == "choice":
        tokens = models[task].tokenizer([TEXTS[3]] * CHOICES, OPTIONS[3])
        tokens = {name: tf.expand_dims(x, 0) for name, x in tokens.items()}
    else:
        tokens = models[task].tokenizer([TEXTS[3]])
    for name, x in by_tokens(**tokens).items():
        np.testing.assert_allclose(x[0], everything[name][3], atol=1e-5)


@pytest.mark.parametrize(
    "task", [slow("embedder"), slow("tagger"), "choice", slow("masked"), "answerer"]
)
def test_token_ids_of_fixed_length(tmp_path, task):
    model, path = make_model(task), tmp_path / "tokens.tflite"
    choices = CHOICES if task == "choice" else None
    kbl.export.tflite(model, path, "none", interface="tokens", max_length=24, choices=choices)
    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    for i in (0, 2, 9, 20, 30):
        pairs = {"choice": OPTIONS[i], "answerer": [TEXTS[i + 1]]}.get(task)
        texts = [TEXTS[i]] * (CHOICES if task == "choice" else 1)
        tokens = model.tokenizer(texts, pairs, max_length=24, padding="max_length")
        found = runner(**{name: x.numpy() for name, x in tokens.items()})
        if task == "choice":
            tokens = {name: tf.expand_dims(x, 0) for name, x in tokens.items()}
        expected = model(tokens)
        if task == "choice":
            expected = {"probabilities": tf.nn.softmax(expected)}
        elif task == "embedder":
            expected = {"embedding": expected}
        elif task != "answerer":
            expected = {"logits": expected}
        assert sorted(found) == sorted(expected)
        for name, x in expected.items():
            np.testing.assert_allclose(found[name], x, atol=2e-5)
    # What the logits are of: not the types of entities, which are the answers to texts.
    assert read_labels(path) == (model.labels if task == "tagger" else None)


@pytest.mark.parametrize(
    ("task", "dtype"),
    [
        ("regression", "float16"),
        *((task, "mixed_bfloat16") for task in ("embedder", "choice", "masked", "answerer")),
    ],
)
def test_half_precision_models_are_made_anew_in_float32(task, dtype):
    model = make_model(task)
    half = make_model(task, dtype=dtype)
    half.set_weights(model.get_weights())
    module = kbl.export.serving_module.ServingModule(half)
    exact = module.answers.model
    assert exact.compute_dtype == exact.encoder.compute_dtype == "float32"
    for weight, other in zip(exact.weights, half.weights, strict=True):
        assert weight.dtype == "float32"
        np.testing.assert_array_equal(weight, np.asarray(other, "float32"))
    pairs = ["b"] if module.pairs else None
    tokens = model.tokenizer(["a film"], pairs, return_truncated=True)
    del tokens["truncated"]
    if task == "choice":
        tokens = {name: tf.expand_dims(x, 0) for name, x in tokens.items()}
    tolerance = 1e-6 if dtype == "mixed_bfloat16" else 0.02  # of weights in float16
    expected = kbl.export.serving_module.ServingModule(model).answers.of_tokens(tokens)
    for name, x in module.answers.of_tokens(tokens).items():
        np.testing.assert_allclose(x, expected[name], atol=tolerance)


def test_bad_arguments(models, tmp_path):
    path = tmp_path / "model.tflite"

    def refuse(task, part, **options):
        with pytest.raises(ValueError, match=part):
            kbl.export.tflite(models[task], path, **options)

    refuse("regression", r"`max_bytes` must be at least 8.*Received: 7", max_bytes=7)
    refuse("regression", r"`max_bytes`.*Received: 512\.0", max_bytes=512.0)
    refuse("regression", r"between 3 and 32.*Received: '16'", max_length="16")
    refuse("regression", r"between 5 and 32.*Received: 4", max_length=4, pairs=True)
    refuse("regression", "has no choices.*Received: choices=3", choices=3)
    refuse("embedder", "takes single texts.*Received: pairs=True", pairs=True)
    for choices in (None, 1, "3"):
        refuse("choice", "how many choices", choices=choices)
    refuse("regression", r"Received: calibration_texts=\[\]", calibration_texts=[])
    refuse("regression", "must be a list; put a single", calibration_texts="a text")
    refuse("regression", "strings only.*index 1: 5", calibration_texts=["a", 5])
    pairs = "The model takes pairs, so `calibration_texts` must hold"
    refuse("regression", rf"{pairs} \(text, text_pair\)", calibration_texts=["a"], pairs=True)
    choices = {"choices": 3, "calibration_texts": [("a", ["b", "c"])]}
    refuse("choice", "3 choices in each.*index 0", **choices)
    with pytest.raises(ValueError, match=r"model of a task.*Received: BertPretrainer"):
        kbl.export.saved_model(kbl.BertPretrainer(models["regression"].encoder), path)
    no_masks = kbl.BertTokenizer(PIECES[:4] + PIECES[5:])
    model = kbl.BertMaskedLM(models["masked"].encoder, tokenizer=no_masks)
    with pytest.raises(ValueError, match=r"has no \[MASK\]"):
        kbl.export.saved_model(model, path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("interface", ["text", "tokens"])
def test_calibration_texts_become_inputs(models, interface):
    from keras_bert_lib.export.calibration_samples import calibration_samples
    from keras_bert_lib.export.serving_module import ServingModule

    max_bytes = 40 if interface == "text" else None
    samples = calibration_samples(ServingModule(models["regression"]), ["é a", "b"], max_bytes)
    if interface == "text":
        assert [sorted(sample) for sample in samples] == [["text"]] * 2
        assert bytes(samples[0]["text"][0].astype("uint8")).rstrip(b"\0") == "é a".encode()
    else:
        expected = models["regression"].tokenizer(["é a"], padding="max_length")
        for name, x in expected.items():
            np.testing.assert_array_equal(samples[0][name], x)

    module = ServingModule(models["choice"], choices=2)
    (sample,) = calibration_samples(module, [("a film", ["b", "the c"])], max_bytes)
    shapes = {name: x.shape for name, x in sample.items()}
    if interface == "text":
        assert shapes == {"text": (1, 40), "text_pair": (2, 40)}
        assert bytes(sample["text_pair"][1, :5].astype("uint8")) == b"the c"
    else:
        assert shapes == dict.fromkeys(
            ("token_ids", "segment_ids", "padding_mask"), (2, MAX_LENGTH)
        )
