"""The two programs in export/, as a user runs them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_bert_lib.export import stock_runtime

ROOT = Path(__file__).parents[2]


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, ROOT / "export" / program, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "output"),
    [("export_saved_model.py", "serving/1"), ("export_tflite.py", "model.tflite")],
)
def test_program(classifier, held_out, tmp_path, program, output):
    classifier.save_pretrained(tmp_path / "model")
    done = run(program, f"--model={tmp_path / 'model'}", f"--output={tmp_path / output}")
    assert done.returncode == 0, done.stderr
    assert f"Wrote {tmp_path / output}." in done.stdout
    texts = held_out[0][:20]
    expected = [answer["label"] for answer in classifier.predict_text(texts)]
    assert stock_runtime.load(tmp_path / output)(texts)["label"].tolist() == expected

    # A second time, over what stands there: one line, no traceback.
    done = run(program, f"--model={tmp_path / 'model'}", f"--output={tmp_path / output}")
    assert done.returncode == 2
    assert "is there already" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
