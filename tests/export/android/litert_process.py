"""Runs a TFLite file for another process: a line of JSON in, a line of JSON out.

python litert_process.py model.tflite
"""

import json
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(path):
    interpreter = Interpreter(model_path=path)
    runner = interpreter.get_signature_runner("serving_default")
    shapes = {name: x["shape"] for name, x in runner.get_input_details().items()}
    sides = {"inputs": runner.get_input_details(), "outputs": runner.get_output_details()}
    print(
        json.dumps(
            {
                side: {
                    name: [int(np.prod(x["shape"])), np.dtype(x["dtype"]).name]
                    for name, x in tensors.items()
                }
                for side, tensors in sides.items()
            }
        ),
        flush=True,
    )
    for line in sys.stdin:
        inputs = {
            name: np.array(values, np.int32).reshape(shapes[name])
            for name, values in json.loads(line).items()
        }
        outputs = runner(**inputs)
        print(json.dumps({name: x.ravel().tolist() for name, x in outputs.items()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
