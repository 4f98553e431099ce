"""What `import keras_bert_lib` costs beside the `import tensorflow` that it needs.

    python benchmarks/import_time.py

Each of five fresh processes imports TensorFlow, then this library; the medians are printed.
"""

import json
import os
import statistics
import subprocess
import sys

PROGRAM = """
import json, time
start = time.perf_counter()
import tensorflow
middle = time.perf_counter()
import keras_bert_lib
print(json.dumps([middle - start, time.perf_counter() - middle]))
"""


def main():
    runs = []
    for _ in range(5):
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=True,
        )
        runs.append(json.loads(process.stdout.splitlines()[-1]))
    tensorflow, ours = (statistics.median(column) for column in zip(*runs))
    print(f"import tensorflow             {tensorflow:6.2f} s")
    print(f"import keras_bert_lib after it {ours:5.2f} s  ({ours / tensorflow:.0%} of it)")


if __name__ == "__main__":
    main()
