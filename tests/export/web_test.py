"""The web kit, in plain Node and in headless Chromium, answers as the Python interpreter does."""

import functools
import http.server
import itertools
import json
import os
import re
import shutil
import subprocess
import threading

import pytest

import keras_bert_lib as kbl
from tests.export.kit_answers import (
    HTML,
    TASKS,
    check,
    error_of,
    make_file,
    make_rows,
    run_program,
)
from tests.export.task_models import MAX_BYTES, make_model

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
KIT = os.path.join(ROOT, "export", "web")


@pytest.fixture(scope="module")
def node():
    if shutil.which("node") is None:
        pytest.skip("Node.js is missing: install it, 20 or newer.")
    if not os.path.isdir(os.path.join(KIT, "node_modules", "@litertjs", "core")):
        pytest.fail("LiteRT.js is missing. Run: npm install --prefix export/web")
    return "node"


@pytest.fixture(scope="module")
def chromium(node):
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is missing. On Debian run: apt-get install chromium")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A function from a task to its float32 file, which takes texts."""
    directory = tmp_path_factory.mktemp("tasks")
    return functools.cache(lambda task: make_file(task, directory / f"{task}.tflite"))


def run_node(path, *texts):
    return ["node", os.path.join(KIT, "run_node.mjs"), str(path), *texts]


@pytest.mark.parity
@pytest.mark.parametrize("task", TASKS)
def test_node_answers_as_the_interpreter(node, files, task):
    rows = make_rows(task)
    check(task, files(task), rows, run_program(run_node(files(task)), rows), "utf-16-le")


@pytest.mark.parity
@pytest.mark.parametrize("quantization", ["float16", "dynamic_int8", "int8", "int16x8", "int4"])
def test_node_runs_quantized_files(node, tmp_path, quantization):
    path = make_file("label", tmp_path / "model.tflite", quantization)
    rows = make_rows("label")
    # Sums in WebAssembly end in other digits, so a rounded activation may be one step off.
    tolerance = 1e-5 if quantization == "float16" else 1e-3
    check("label", path, rows, run_program(run_node(path), rows), "utf-16-le", tolerance)


@pytest.mark.parity
def test_node_says_what_is_wrong(node, files, tmp_path):
    wrong = tmp_path / "wrong.tflite"
    assert "no such file" in error_of(run_node(wrong))
    wrong.write_text("no model")
    assert "is not a TFLite file" in error_of(run_node(wrong))
    wrong.write_bytes(files("label").read_bytes()[:9000])
    assert "is damaged" in error_of(run_node(wrong))
    assert "takes 0 second text(s)" in error_of(run_node(files("label"), "a", "b"))


@pytest.fixture(scope="module")
def drive(chromium, files, tmp_path_factory):
    """A function from steps to what the page shows after each; see drive_page.mjs."""
    site = tmp_path_factory.mktemp("site")
    for name in os.listdir(KIT):
        os.symlink(os.path.abspath(os.path.join(KIT, name)), site / name)
    shutil.copy(files("label"), site / "model.tflite")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=site)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def drive(steps, address="index.html"):
        done = subprocess.run(
            [
                *("node", os.path.join(os.path.dirname(__file__), "drive_page.mjs")),
                f"http://127.0.0.1:{server.server_port}/{address}",
            ],
            input=json.dumps(list(steps), default=str).encode(),
            capture_output=True,
            env={**os.environ, "CHROMIUM": chromium},
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[:2000]
        return [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]

    drive.site = site
    yield drive
    server.shutdown()


def shares(step):
    """The bars of the page: name to percentage."""
    numbers = [float(re.fullmatch(r"(\d+\.\d) %", share)[1]) for share in step["shares"]]
    return dict(zip(step["names"], numbers, strict=True))


@pytest.mark.parity
def test_page_shows_what_predict_text_gives(drive, files):
    # One browser for all: each task's file is chosen, and its texts are typed.
    rows = {task: make_rows(task) for task in ("label", "tagger", "answerer")}
    rows["embedder"] = [[a, b] for [a], [b] in itertools.pairwise(make_rows("embedder"))]
    # What fits the file, and an empty text gets no answer.
    rows = {
        task: [row for row in pairs if all(0 < len(x.encode()) < 50 for x in row)]
        for task, pairs in rows.items()
    }
    steps = [
        [{"file": files(task)}, *({"texts": row} for row in pairs)] for task, pairs in rows.items()
    ]
    shown = iter(drive(itertools.chain(*steps)))
    models = {task: make_model(task) for task in rows}

    assert next(shown)["labels"] == ["Text"]
    for true in models["label"].predict_text([text for [text] in rows["label"]]):
        step = next(shown)
        assert step["best"] == [true["label"]]
        assert shares(step)[true["label"]] == pytest.approx(100 * true["score"], abs=0.051)

    assert next(shown)["labels"] == ["Text"]
    for [text], true in zip(
        rows["tagger"], models["tagger"].predict_text([text for [text] in rows["tagger"]])
    ):
        step = next(shown)
        assert step["marks"] == [[entity["text"], entity["label"]] for entity in true]
        assert step["unmarked"] == text
        assert step["elements"] == 0  # "<b>" is text

    assert next(shown)["labels"] == ["Question", "Text that holds the answer"]
    for true in models["answerer"].predict_text(*map(list, zip(*rows["answerer"]))):
        step = next(shown)
        assert step["best"] == [true["answer"]]
        assert step["marks"] == [[true["answer"], ""]]

    assert next(shown)["labels"] == ["Text", "Text to compare it with"]
    for one, other in zip(*(models["embedder"].encode(list(x)) for x in zip(*rows["embedder"]))):
        assert float(next(shown)["best"][0]) == pytest.approx(float(one @ other), abs=1e-4)
    assert next(shown, None) is None


@pytest.mark.parity
def test_page_takes_any_text(drive, files):
    texts = ["", HTML[1], "a fine film é€ " * 70_000, "😀"]  # the third has more than 1 MB
    found = drive([{"file": files("tagger")}, *({"texts": [text]} for text in texts)])
    nothing, attack, long, emoji = found[1:]
    assert nothing["note"] == "Type to see the answer."
    assert nothing["unmarked"] is None
    assert attack["elements"] == 0
    assert attack["unmarked"] == HTML[1]
    assert "longer than the model reads" in long["note"]
    assert len(long["unmarked"].encode()) in range(MAX_BYTES - 3, MAX_BYTES + 1)
    assert texts[2].startswith(long["unmarked"])
    assert "longer" not in emoji["note"]
    assert emoji["unmarked"] == "😀"


@pytest.mark.parity
def test_page_says_what_is_wrong_in_one_line(drive, files, tmp_path):
    (tmp_path / "notes.txt").write_text("no model")
    whole = files("label").read_bytes()
    (tmp_path / "half.tflite").write_bytes(whole[: len(whole) // 2])
    tokens = tmp_path / "tokens.tflite"
    kbl.export.tflite(make_model("label"), tokens, quantization="none", interface="tokens")
    found = drive(
        [
            {"file": tmp_path / "notes.txt"},
            {"file": tmp_path / "half.tflite"},
            {"file": tokens},
            {"address": "missing.tflite"},
            {"address": "model.tflite"},
            {"texts": ["fine"]},
        ]
    )
    for step, message in zip(
        found, ["is not a TFLite file", "is damaged", 'interface="text"', "(404)"]
    ):
        assert message in step["error"]
        assert "\n" not in step["error"]
        assert (step["status"], step["labels"]) == ("", [])
    assert found[4]["error"] == ""  # and a good file runs after all of these
    [true] = make_model("label").predict_text(["fine"])
    assert found[5]["best"] == [true["label"]]


@pytest.mark.parity
def test_page_loads_the_model_of_its_address(drive):
    [step] = drive([{"texts": ["fine"]}], "?model=model.tflite")
    assert (len(step["best"]), step["error"]) == (1, "")
    [step] = drive([{}], "?model=<b>x</b>.tflite")
    assert step["error"].startswith("<b>x</b>.tflite cannot be loaded (404)")


# MediaPipe's web package is asked as its users do.
MEDIAPIPE_PAGE = """<!DOCTYPE html>
<script type="module">
import {FilesetResolver, TextClassifier, TextEmbedder}
  from "./node_modules/@mediapipe/tasks-text/text_bundle.mjs";
const files = await FilesetResolver.forTextTasks("./node_modules/@mediapipe/tasks-text/wasm");
const open = (Task, path) => Task.createFromOptions(files, {baseOptions: {modelAssetPath: path}});
const classifier = await open(TextClassifier, "./classifier.tflite");
const embedder = await open(TextEmbedder, "./embedder.tflite");
window.answers = TEXTS.map((text) => ({
  label: classifier.classify(text).classifications[0].categories[0],
  embedding: embedder.embed(text).embeddings[0].floatEmbedding,
}));
</script>
"""


@pytest.mark.parity
def test_mediapipe_runs_its_files_in_the_browser(drive):
    # Of these texts MediaPipe's tokenizer makes what ours makes.
    texts = ["the FILM was fine.", "dully-fine, it's!?", "the " * 60, "a b c, x-ray", "Q"]
    models = {"classifier": make_model("label"), "embedder": make_model("embedder")}
    for name, model in models.items():
        kbl.export.tflite(model, drive.site / f"{name}.tflite", "none", interface="mediapipe")
    (drive.site / "mediapipe.html").write_text(MEDIAPIPE_PAGE.replace("TEXTS", json.dumps(texts)))
    [answers] = drive([{"value": "window.answers"}], "mediapipe.html")
    vectors = models["embedder"].encode(texts)
    for answer, true, vector in zip(
        answers, models["classifier"].predict_text(texts), vectors, strict=True
    ):
        assert answer["label"]["categoryName"] == true["label"]
        assert answer["label"]["score"] == pytest.approx(true["score"], abs=1e-5)
        assert answer["embedding"] == pytest.approx(vector.tolist(), abs=1e-5)
