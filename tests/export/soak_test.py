import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(
    not (ROOT / "benchmarks").is_dir() or not Path("/proc/self/statm").exists(),
    reason="needs benchmarks/soak.py and Linux",
)
def test_5000_mixed_and_hostile_requests():
    """The program ends with code 1 if memory grows, or an answer changes or fails."""
    process = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--requests=5000"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "5,000 requests, " in process.stdout
    assert "largest change in the answers to the probe: 0e+00" in process.stdout
