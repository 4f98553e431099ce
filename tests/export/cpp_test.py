"""The C++ kit builds against LiteRT's own library, and answers as the Python interpreter does."""

import ctypes
import functools
import glob
import os
import re
import shutil
import subprocess

import pytest

import keras_bert_lib as kbl
from tests.export.kit_answers import (
    TASKS,
    check,
    error_of,
    make_file,
    make_rows,
    run_program,
)
from tests.export.task_models import make_model

KIT = os.path.join(os.path.dirname(__file__), "..", "..", "export", "cpp")


@pytest.fixture(scope="module")
def litert():
    """The directory of libLiteRt."""
    directory = pytest.importorskip("ai_edge_litert").__path__[0]
    if not glob.glob(os.path.join(directory, "libLiteRt.*")):
        pytest.skip("This ai-edge-litert has no libLiteRt: pip install -U ai-edge-litert")
    return directory


@pytest.fixture(scope="module")
def program(litert, tmp_path_factory):
    """The program, built as the README says."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is missing. On Debian run: apt-get install g++")
    build = tmp_path_factory.mktemp("build")
    if shutil.which("cmake"):
        subprocess.run(["cmake", "-S", KIT, "-B", build, f"-DLITERT_DIR={litert}"], check=True)
        subprocess.run(["cmake", "--build", build], check=True)
    else:
        sources = [os.path.join(KIT, name) for name in ("main.cpp", "text_model.cpp")]
        options = ["-std=c++17", "-O2", f"-L{litert}", "-lLiteRt", f"-Wl,-rpath,{litert}"]
        subprocess.run(["g++", *sources, *options, "-o", build / "answer"], check=True)
    return str(build / "answer")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A function from a task to its file, which takes texts."""
    directory = tmp_path_factory.mktemp("tasks")
    return functools.cache(
        lambda task: make_file(task, directory / f"{task}.tflite", "dynamic_int8")
    )


def test_declared_functions_are_there(litert):
    with open(os.path.join(KIT, "litert.h"), encoding="utf-8") as file:
        names = re.findall(r"\b(LiteRt\w+)\(", file.read())
    assert len(names) > 20
    library = ctypes.CDLL(os.path.join(litert, "libLiteRt.so"))
    assert [name for name in names if not hasattr(library, name)] == []


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_answers_as_the_interpreter(program, files, task):
    rows = make_rows(task)
    check(task, files(task), rows, run_program([program, str(files(task))], rows), "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["none", "float16", "int8", "int16x8", "int4"])
def test_runs_each_quantization(program, tmp_path, quantization):
    path = make_file("label", tmp_path / "model.tflite", quantization)
    rows = make_rows("label")
    check("label", path, rows, run_program([program, str(path)], rows), "utf-8")


@pytest.mark.slow
def test_says_what_is_wrong(program, files, tmp_path):
    wrong = tmp_path / "wrong.tflite"
    assert "cannot be opened" in error_of([program, str(wrong)])
    wrong.write_text("no model")
    assert "is not a TFLite file" in error_of([program, str(wrong)])
    wrong.write_bytes(files("label").read_bytes()[:9000])
    assert "ends too early" in error_of([program, str(wrong)])
    kbl.export.tflite(make_model("label"), tmp_path / "tokens.tflite", "none", interface="tokens")
    error = error_of([program, str(tmp_path / "tokens.tflite")])
    assert "Export it with the text interface. Received" in error
    assert "takes 1 second text(s)" in error_of([program, str(files("answerer"))])
    assert "Usage" in error_of([program])
