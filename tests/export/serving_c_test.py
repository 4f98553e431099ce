"""The C program of export/serving answers as Python does, without any."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl
from export.serving import make_deployment
from tests.export.kit_answers import TASKS, make_rows
from tests.export.task_models import make_model, tiny_encoder, tiny_tokenizer

KIT = os.path.join(os.path.dirname(__file__), "..", "..", "export", "serving", "c")
TENSORFLOW = os.path.dirname(tf.__file__)
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
# Lines of any bytes: no UTF-8, no end, NULs, another system's line end.
HOSTILE = b"\xff\xfe film \xc3\n\nfine\x00film\r\n" + b"the film " * 120_000 + b"\n\xf0\x9f\x98"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program, built as the README says."""
    library = os.path.join(TENSORFLOW, "libtensorflow_cc.so.2")
    if shutil.which("gcc") is None or not os.path.exists(library):
        pytest.skip("gcc or libtensorflow_cc.so.2 is missing. On Debian run: apt-get install gcc")
    build = tmp_path_factory.mktemp("build")
    if shutil.which("cmake"):
        directory = f"-DTENSORFLOW_DIR={TENSORFLOW}"
        subprocess.run(["cmake", "-S", KIT, "-B", build, directory], check=True)
        subprocess.run(["cmake", "--build", build], check=True)
    else:
        sources = [os.path.join(KIT, name) for name in ("main.c", "signature.c")]
        options = ["-std=c11", "-O2", f"-I{TENSORFLOW}/include", f"-Wl,-rpath,{TENSORFLOW}", "-lm"]
        libraries = [library, library.replace("_cc", "_framework")]
        subprocess.run(["gcc", *sources, *libraries, *options, "-o", build / "answer"], check=True)
    return str(build / "answer")


def run(program, *arguments, given=b""):
    """The exit code, the answers, and the lines that are the program's own of what it says."""
    done = subprocess.run(
        [program, *map(str, arguments)],
        input=given,
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
    own = done.stderr.decode().splitlines()
    own = [line for line in own if line[:1] not in "IWEF" or not line[1:5].isdigit()]
    return done.returncode, answers, [line for line in own if not line.startswith("WARNING")]


def check(answers, signature, lines, takes_pairs=False, takes_choices=False):
    """Asserts that answers are those of the signature, each text alone."""
    assert len(answers) == len(lines)
    for answer, line in zip(answers, lines):
        text, *others = line.split(b"\t")
        inputs = {"text": tf.constant([text])}
        if takes_choices:
            inputs["text_pair"] = tf.constant([others])
        elif takes_pairs:
            inputs["text_pair"] = tf.constant(others)
        expected = signature(**inputs)
        assert answer.keys() == expected.keys()
        for name, x in expected.items():
            value = x.numpy()[0]
            if x.dtype == tf.string:
                decode = np.vectorize(bytes.decode, otypes=[object])
                assert answer[name] == decode(value).tolist()
            else:
                assert np.shape(answer[name]) == value.shape
                np.testing.assert_allclose(answer[name], value, atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_answers_as_python(program, task, tmp_path):
    path = kbl.export.saved_model(make_model(task), tmp_path / "model")
    loaded = tf.saved_model.load(str(path))
    lines = ["\t".join(row).encode() for row in make_rows(task, 24)]
    given = tmp_path / "texts.txt"
    given.write_bytes(b"\n".join(lines) + b"\n")
    code, answers, _ = run(program, path, given)
    assert code == 0
    options = {"takes_pairs": task == "answerer", "takes_choices": task == "choice"}
    check(answers, loaded.signatures["serving_default"], lines, **options)


def test_lines_of_any_bytes(program, tmp_path):
    path = kbl.export.saved_model(make_model("label"), tmp_path / "model")
    code, answers, _ = run(program, path, given=HOSTILE)
    assert code == 0
    lines = [line.rstrip(b"\r") for line in HOSTILE.split(b"\n")]
    check(answers, tf.saved_model.load(str(path)).signatures["serving_default"], lines)
    assert [answer["truncated"] for answer in answers] == [0, 0, 0, 1, 0]


def test_says_what_is_wrong(program, tmp_path):
    path = kbl.export.saved_model(make_model("choice"), tmp_path / "model")
    code, answers, (error,) = run(program, path, given=b"a\tb\tc\na\n")
    assert (code, len(answers)) == (2, 1)
    assert error.startswith("Line 2: the model takes a text and choices")
    code, _, (error,) = run(program, path.parent)
    assert code == 2
    assert "Give the directory of a version" in error
    code, _, (error,) = run(program, path, tmp_path / "no.txt")
    assert code == 2
    assert error.endswith("no.txt cannot be read: No such file or directory.")
    assert "Usage" in run(program)[2][0]

    broken = tmp_path / "broken"
    shutil.copytree(path, broken)
    content = (broken / "saved_model.pb").read_bytes()
    (broken / "saved_model.pb").write_bytes(content[: len(content) // 2])
    code, _, (error,) = run(program, broken)
    assert code == 2
    assert "cannot be loaded by TensorFlow" in error

    module = tf.Module()
    module.answer = tf.function(lambda x: {"y": x + 1}, [tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "numbers"), {"serving_default": module.answer})
    code, _, (error,) = run(program, tmp_path / "numbers")
    assert code == 2
    assert "does not take text" in error
    tf.saved_model.save(module, str(tmp_path / "other"), {"other": module.answer})
    code, _, (error,) = run(program, tmp_path / "other")
    assert code == 2
    assert error.endswith("no such signature. Received: serving_default of {other}")


def test_a_model_without_its_weights_has_no_answer(program, tmp_path):
    path = kbl.export.saved_model(make_model("label"), tmp_path / "model")
    shutil.rmtree(path / "variables")
    code, answers, (error,) = run(program, path, given=b"a film\n")
    assert (code, answers) == (1, [])
    assert error.startswith("Line 1 has no answer. Received: ")


def test_deployment_reads_half_precision_and_chosen_labels(program, tmp_path):
    """What an export may do otherwise changes neither the program nor the deployment."""
    labels = ["joy", "anger", "käse"]
    model = kbl.BertClassifier(tiny_encoder(), tokenizer=tiny_tokenizer(), labels=labels)
    path = kbl.export.saved_model(model, tmp_path / "model", top_k=2, weights="bfloat16")
    code, (answer,), _ = run(program, path, given=b"the film")
    assert code == 0
    assert len(answer["labels"]) == len(answer["label_ids"]) == 2
    assert [labels[i] for i in answer["label_ids"]] == answer["labels"]
    read = make_deployment.read_model(path)
    assert read["can_batch"]
    assert read["flops"] > 0
    assert read["max_length"] == 32
