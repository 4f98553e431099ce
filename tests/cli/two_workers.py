"""Runs one command of `keras-bert` in two processes that train together."""

import json
import os
import signal
import subprocess
import sys

from tests.training.multi_worker import free_ports


def run_two_workers(arguments, stop_at=None, stop_by=signal.SIGTERM):
    """Runs the command line in two workers.

    Args:
        arguments: of `keras-bert`, `--strategy multi_worker` among them.
        stop_at: str or None. Once the first worker prints a line that begins so, the second one is
            told to stop.
        stop_by: the signal that tells it.

    Returns:
        The output of each, and their exit statuses.
    """
    command = [sys.executable, "-m", "keras_bert_lib.cli.main", *map(str, arguments)]
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    workers = []
    for index in (0, 1):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"TF_CONFIG": json.dumps(config)}
        workers.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
    lines = []
    for line in workers[0].stdout:
        lines.append(line)
        if stop_at is not None and line.startswith(stop_at):
            workers[1].send_signal(stop_by)
            break
    rest, second = (worker.communicate(timeout=400)[0] for worker in workers)
    return "".join(lines) + rest, second, [worker.returncode for worker in workers]
