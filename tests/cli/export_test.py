import os

import pytest


@pytest.mark.parametrize("name", ["small.tflite", "serving/1"])
def test_exported_file_answers_and_is_verified(run_command, artifacts, tmp_path, name):
    texts = tmp_path / "dev.csv"
    texts.write_text("text,label\nthe film was fine,pos\nrain fell on it,neg\nthe dog,neg\n")
    code, out, _ = run_command(
        *("export", "--model", artifacts["model"], "--output", tmp_path / name),
        *("--quantization", "none", "--max-bytes", "64", "--verify", texts),
    )
    assert code == 0
    assert f"Wrote {tmp_path / name}: " in out
    assert "100.00%" in out
    code, answer, _ = run_command("predict", tmp_path / name, "rain fell")
    assert code == 0
    assert answer == run_command("predict", artifacts["model"], "rain fell")[1]
    # Nothing is written over.
    code, _, error = run_command(
        "export", "--model", artifacts["model"], "--output", tmp_path / name
    )
    assert code == 2
    assert "--overwrite" in error


def test_tokens_interface_takes_no_text(run_command, artifacts, tmp_path):
    code, out, _ = run_command(
        *("export", "--model", artifacts["model"], "--output", tmp_path / "t.tflite"),
        *("--interface", "tokens"),
    )
    assert code == 0
    assert "predict" not in out
    code, _, error = run_command("predict", tmp_path / "t.tflite", "text")
    assert code == 2
    assert "does not take text" in error


def test_bad_input_gives_one_line_and_writes_nothing(run_command, artifacts, tmp_path):
    output = tmp_path / "x.tflite"
    for argv, part in [
        (["--model", tmp_path / "absent"], "no model directory"),
        (["--model", tmp_path], "config.json"),
        (["--model", artifacts["model"], "--verify", tmp_path / "absent.csv"], "absent.csv"),
        (["--model", artifacts["model"], "--max-length", "64"], "16"),
    ]:
        code, _, error = run_command("export", "--output", output, *argv)
        assert code == 2
        assert part in error
        assert error.count("\n") == 1
        assert not os.path.exists(output)
