"""Runs functions of this file in several processes that train together.

`run_workers("train_tasks", 2, ...)` starts two processes; each calls `train_tasks(...)` in the
scope of a `MultiWorkerMirroredStrategy` and prints what it returns, as JSON.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_ports(count):
    """Ports that are free, held all at once so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for held in sockets:
        held.bind(("localhost", 0))
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def start_worker(function, ports, index, **arguments):
    """Starts one of the workers at `ports`; returns its `subprocess.Popen`."""
    config = {
        "cluster": {"worker": [f"localhost:{port}" for port in ports]},
        "task": {"type": "worker", "index": index},
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.multi_worker", function, json.dumps(arguments)],
        cwd=ROOT,
        env=os.environ | {"TF_CONFIG": json.dumps(config), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_workers(function, count, timeout=500, **arguments):
    """Returns what each worker returned."""
    ports = free_ports(count)
    workers = [start_worker(function, ports, index, **arguments) for index in range(count)]
    try:
        outputs = [worker.communicate(timeout=timeout) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for worker, (_, errors) in zip(workers, outputs):
        assert worker.returncode == 0, errors
    return [json.loads(output.splitlines()[-1]) for output, _ in outputs]


def train_tasks(tasks):
    """Of each task, what `strategy_tasks.train` returns."""
    from tests.training.strategy_tasks import train

    return {task: train(task, **arguments) for task, arguments in tasks.items()}


def train_plain_keras():
    """Trains a model of plain Keras."""
    import keras
    import numpy as np

    model = keras.Sequential([keras.Input([4]), keras.layers.Dense(2)])
    model.compile("sgd", "mse", metrics=["mae"])
    x = np.random.RandomState(0).normal(size=[16, 4]).astype("float32")
    return model.fit(x, x[:, :2], batch_size=8, verbose=0).history["loss"]


def train_own_shards(steps):
    """Trains on data that each worker makes for itself; returns the losses and what it read."""
    import numpy as np
    import tensorflow as tf

    from tests.training.strategy_tasks import BATCH, TASKS, LossPerStep, make_model

    strategy = tf.distribute.get_strategy()
    examples = TASKS["pretrainer"][2](np.random.RandomState(0), steps * BATCH)
    read = []

    def make_data(context):
        workers, index = context.num_input_pipelines, context.input_pipeline_id
        batch = context.get_per_replica_batch_size(BATCH)

        def batches():
            for step in range(steps):
                start = step * BATCH + index * batch
                read.append([start, batch, workers])
                yield {name: x[start : start + batch] for name, x in examples.items()}

        specs = {n: tf.TensorSpec([batch, *x.shape[1:]], x.dtype) for n, x in examples.items()}
        return tf.data.Dataset.from_generator(batches, output_signature=specs)

    data = strategy.distribute_datasets_from_function(make_data)
    model = make_model("pretrainer", steps)
    losses = LossPerStep()
    model.fit(data, steps_per_epoch=steps, callbacks=[losses], verbose=0)
    return {"losses": losses.losses, "read": read[:steps]}


def resume(path, steps, save_every, die_at=None):
    """Trains with `Resume`; the worker with index 1 dies before it goes on from a step."""
    import signal

    import keras

    from keras_bert_lib.training import Resume
    from tests.training.strategy_tasks import make_data, make_model

    model = make_model("pretrainer", steps, dropout=0.1)
    is_doomed = json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1

    def die(batch, logs):
        if is_doomed and batch + 1 == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks = [Resume(path, save_every), keras.callbacks.LambdaCallback(on_train_batch_end=die)]
    history = model.fit(
        make_data("pretrainer", steps).repeat(),
        steps_per_epoch=steps,
        callbacks=callbacks,
        verbose=0,
    ).history
    sums = [float(abs(x).sum()) for x in model.get_weights()]
    return {"loss": history["loss"], "weights": sums}


def main():
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    import tensorflow as tf

    from keras_bert_lib.training import create_strategy

    tf.config.threading.set_intra_op_parallelism_threads(1)
    with create_strategy("auto", wait=120.0).scope():
        result = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
