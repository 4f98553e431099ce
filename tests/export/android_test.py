"""The Android kit, compiled here: its own tests, and whole files run from Kotlin.

Needs a JDK, and the Kotlin compiler that is in a PyPI package:
`pip install --no-deps kotlin-jupyter-kernel==0.19.0.944`. Android and LiteRT are stand-ins
(tests/export/android), the second on the ai-edge-litert of this Python.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.export import kit_models

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KIT = ROOT / "export" / "android"
STUBS = Path(__file__).parent / "android"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Compiles the kit; returns a function from requests to what its `main` prints and logs."""
    if shutil.which("javac") is None:
        pytest.skip("no JDK")
    if importlib.util.find_spec("run_kotlin_kernel") is None:
        pytest.skip("no Kotlin compiler: pip install --no-deps kotlin-jupyter-kernel==0.19.0.944")
    pytest.importorskip("ai_edge_litert")
    spec = importlib.util.find_spec("run_kotlin_kernel")
    jars = Path(spec.submodule_search_locations[0]) / "jars"
    classes = tmp_path_factory.mktemp("classes")
    java = [str(path) for path in STUBS.rglob("*.java")]
    subprocess.run(["javac", "-d", classes, *java], check=True)
    path = os.pathsep.join([str(classes), *(str(jar) for jar in jars.glob("*.jar"))])
    done = subprocess.run(
        ["java", "-Xmx1g", "-cp", path, "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
        + [
            "-no-stdlib",
            "-no-reflect",
            "-Werror",
            "-language-version",
            "2.3",
            "-api-version",
            "2.3",
        ]
        + ["-cp", path, "-d", classes]
        + [KIT / "bert-text" / "src", KIT / "sample" / "src", STUBS / "kotlin"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

    def run(requests, assets):
        file = assets / "requests.json"
        file.write_text(json.dumps(requests))
        done = subprocess.run(
            [
                "java",
                "-Dfile.encoding=UTF-8",
                f"-Dpython={sys.executable}",
                f"-Dlitert={STUBS / 'litert_process.py'}",
            ]
            + [f"-Dassets={assets}", "-cp"]
            + [path + os.pathsep + str(KIT / "bert-text" / "src" / "test" / "resources")]
            + ["kerasbert.text.MainKt", file],
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    return run


def test_its_own_tests_pass(run, tmp_path):
    _, log = run([], tmp_path)
    tests = (KIT / "bert-text/src/test/kotlin/kerasbert/text/VectorsTest.kt").read_text()
    assert log.count("passed ") == tests.count("@Test") == 6


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("files")
    kit_models.make_files(directory)
    return directory


def test_answers_are_those_of_python(run, files):
    requests = kit_models.good_requests()
    found, _ = run(requests, files)
    for request, answers in zip(requests, found):
        expected = kit_models.expected_answers(files, request)
        kit_models.assert_answers(answers[:-1], expected)
        assert answers[-1] == {"closed": f"{request['model']} is closed."}
    spans = kit_models.expected_answers(files, requests[2])
    assert sum(map(len, spans)) > 20  # there was something to find


@pytest.mark.parametrize("place", ["asset", "file"])
def test_errors_say_what_is_wrong(run, files, place):
    requests, messages = kit_models.bad_requests()
    if place == "file":
        requests = [{**request, "model": str(files / request["model"])} for request in requests]
    found, _ = run(requests, files)
    for (answer, _), message in zip(found, messages):
        assert message in answer["error"]
