"""The iOS kit, compiled here: its own tests, its sample, and whole files run from Swift.

Needs Swift 5.9 or later, which is in Debian 13. Elsewhere the environment variable SWIFT may hold
another command, here one for a Debian 13 of its own:

    root=/srv/swift
    debootstrap --variant=minbase --include=swiftlang,libc6-dev,libstdc++-14-dev,git trixie $root
    mount -t proc proc $root/proc
    mkdir -p $root/srv && ln -s / $root$root   # so that paths are the same inside
    SWIFT="chroot $root swift" pytest -m slow --basetemp=$root/kits tests/export/ios_test.py

LiteRT's own Swift package and SwiftUI are for Apple's systems. Stand-ins of what the kit uses of
them are in tests/export/ios; that of LiteRT runs LiteRT's C library, the one in ai-edge-litert.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.export import kit_models, make_kit_vectors

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KIT = ROOT / "export" / "ios"
SWIFT = os.environ.get("SWIFT", "swift").split()


@pytest.fixture(scope="module")
def swift(tmp_path_factory):
    """Lays out the kit and what it needs; returns a function that runs a command on a package."""
    if shutil.which(SWIFT[0]) is None:
        pytest.skip("no Swift compiler: it is in Debian 13, apt-get install swiftlang")
    runtime = importlib.util.find_spec("ai_edge_litert")
    if runtime is None:
        pytest.skip("no ai-edge-litert")
    directory = tmp_path_factory.mktemp("swift")
    shutil.copytree(Path(__file__).parent / "ios", directory, dirs_exist_ok=True)
    shutil.copytree(KIT, directory / "BertText", ignore=shutil.ignore_patterns(".build"))
    shutil.copytree(KIT / "Sample", directory / "EndToEnd" / "Sample")
    shutil.copy(Path(runtime.submodule_search_locations[0]) / "libLiteRt.so", directory)
    # The C API is declared in the C++ kit already.
    header = (ROOT / "export" / "cpp" / "litert.h").read_text()
    header = header.replace("<cstddef>", "<stddef.h>").replace("<cstdint>", "<stdint.h>")
    header = header.replace('extern "C" {', "#include <stdbool.h>").replace('}  // extern "C"', "")
    include = directory / "LiteRT" / "Sources" / "CLiteRT" / "include"
    include.mkdir(exist_ok=True)
    (include / "CLiteRT.h").write_text(header)
    manifest = directory / "BertText" / "Package.swift"
    local, count = re.subn(
        r"\.package\(url: .*\)", '.package(path: "../LiteRT")', manifest.read_text()
    )
    assert count == 1
    manifest.write_text(local)

    def swift(command, package, *arguments):
        done = subprocess.run(
            [*SWIFT, command, "--package-path", directory / package]
            + ["-Xlinker", f"-L{directory}", "-Xswiftc", "-warnings-as-errors", *arguments],
            env={**os.environ, "LD_LIBRARY_PATH": str(directory), "HOME": str(directory)},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return swift


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("files")
    kit_models.make_files(directory)
    return directory


def run(swift, requests, files):
    """Returns what the program prints that does what a file asks for."""
    requests = [{**request, "model": str(files / request["model"])} for request in requests]
    (files / "requests.json").write_text(json.dumps(requests))
    output = swift("run", "EndToEnd", "EndToEnd", str(files / "requests.json"))
    return json.loads(output[output.index("[[") :])


def test_its_own_tests_pass(swift):
    output = swift("test", "BertText")
    tests = (KIT / "Tests/BertTextTests/VectorsTests.swift").read_text()
    passed = re.findall(r"VectorsTests\.(\w+)' passed", output)
    assert sorted(passed) == sorted(re.findall(r"func (test\w+)\(", tests))


def test_answers_are_those_of_python(swift, files):
    requests = kit_models.good_requests()
    for request in requests:  # as a String of Swift has them
        request["requests"] = [
            [text and make_kit_vectors.repaired(text) for text in texts]
            for texts in request["requests"]
        ]
    found = run(swift, requests, files)
    for request, answers in zip(requests, found):
        expected = kit_models.expected_answers(files, request)
        kit_models.assert_answers(answers[:-1], expected)
        assert answers[-1] == {"error": f"{request['model']} is closed."}
    assert sum(map(len, kit_models.expected_answers(files, requests[2]))) > 20


def test_errors_say_what_is_wrong(swift, files):
    requests, messages = kit_models.bad_requests()
    for answers, message in zip(run(swift, requests, files), messages):
        assert message in answers[0]["error"]
