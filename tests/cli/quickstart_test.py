import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from keras_bert_lib.cli import main, quickstart

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# The least agreement with Keras of each file.
CHECKED = {"saved_model/1": 1.0, "classifier.tflite": 1.0, "classifier-int8.tflite": 0.6}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder and the output of a run of seconds, which Ctrl-C met in the middle of."""
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    command = [sys.executable, "-m", "keras_bert_lib.cli.main", "quickstart", "--smoke"]
    command += ["--output", str(folder)]
    environment = os.environ | {"PYTHONPATH": REPOSITORY, "PYTHONUNBUFFERED": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **streams) as process:
        for line in process.stdout:
            if line.startswith("[3/7]"):
                break
        # Pretraining has begun; its first steps are being traced.
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, interrupted = process.communicate()
        code = process.returncode
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {"folder": folder, "out": done.stdout, "code": code, "interrupted": interrupted}


@pytest.mark.slow
def test_interrupted_run_says_so_and_goes_on(finished):
    assert finished["code"] == 130
    last = finished["interrupted"].splitlines()[-1]
    assert last == ("keras-bert quickstart: interrupted. Run the same command again to go on.")
    assert "Traceback" not in finished["interrupted"]
    assert "[2/7] Learning a WordPiece vocabulary: done before" in finished["out"]
    assert "[3/7] Pretraining a BERT on it\n" in finished["out"]


@pytest.mark.slow
def test_table_sets_each_number_beside_what_it_is_compared_with(finished):
    table = finished["out"][finished["out"].index("Area of a docstring") :]
    for row in [
        "most frequent area",
        "this model without pretraining",
        "unigram model",
        "saved_model/1",
        "classifier.tflite",
        "classifier-int8.tflite",
    ]:
        assert table.count(row) >= 1
    with open(finished["folder"] / "state.json", encoding="utf-8") as file:
        results = json.load(file)["results"]
    # A model of 15 steps is nowhere sure, so 8 bits change some labels; those of a whole run are
    # checked where it is run.
    for path, least in CHECKED.items():
        assert results["comparing"][path]["agreement"] >= least
        assert results["comparing"][path]["ms_a_text"] > 0
    # What answers as Keras does is as often right.
    assert results["comparing"]["classifier.tflite"]["accuracy"] == pytest.approx(
        results["fine_tuning"]["accuracy"]
    )


@pytest.mark.slow
def test_next_commands_work_as_printed(finished, run_command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    commands = [
        shlex.split(line)
        for line in finished["out"].splitlines()
        if line.startswith("  keras-bert")
    ]
    assert [command[1] for command in commands] == ["predict", "finetune", "inspect"]
    for command in commands:
        if command[1] == "finetune":  # for seconds, not for as long as few texts are given
            command += ["--epochs", "1"]
        code, out, error = run_command(*command[1:])
        assert code == 0, error
        assert out


@pytest.mark.slow
def test_finished_run_is_not_run_again(finished, run_command, monkeypatch):
    monkeypatch.chdir(finished["folder"].parent)  # nor by another name of the same folder
    before = os.stat(finished["folder"] / "bert" / "model.safetensors").st_mtime_ns
    code, out, _ = run_command("quickstart", "--smoke", "--output", os.path.join(".", "run"))
    assert code == 0
    assert out.count(": done before\n") == 7
    assert "Area of a docstring" in out
    assert os.stat(finished["folder"] / "bert" / "model.safetensors").st_mtime_ns == before


def test_other_settings_start_anew(tmp_path, capsys):
    files = quickstart.Files(str(tmp_path / "run"))
    progress = quickstart.Progress(files, quickstart.Plan())
    progress.finish("vocabulary", {"size": 3})
    with open(files.vocabulary, "w") as file:
        file.write("[PAD]\n")
    assert quickstart.Progress(files, quickstart.Plan()).results == {"vocabulary": {"size": 3}}
    assert os.path.exists(files.vocabulary)
    capsys.readouterr()
    assert quickstart.Progress(files, quickstart.Plan(seed=2)).results == {}
    assert "Settings changed (seed 1 to 2): starting" in capsys.readouterr().out
    assert not os.path.exists(files.vocabulary)


def test_folder_of_something_else_is_left_alone(run_command, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, _, error = run_command("quickstart", "--output", tmp_path)
    assert code == 2
    assert "not a quickstart's" in error
    assert os.listdir(tmp_path) == ["notes.txt"]
    (tmp_path / "state.json").write_text("{")
    code, _, error = run_command("quickstart", "--output", tmp_path)
    assert code == 2
    assert "is damaged" in error


def test_smoke_is_not_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main.main(["quickstart", "--help"])
    out = capsys.readouterr().out
    assert "--smoke" not in out
    assert "--output" in out
