"""Processes that are measured side by side: each holds one library, and waits for its turn."""

import json
import os
import signal
import subprocess
import sys
import tempfile


class Worker:
    """A benchmark program, started again to measure one library.

    Libraries that were measured one after the other would be compared across whatever else the
    machine was doing; so all workers live at once, and take turns. One whose turn it is not is
    stopped: idle libraries keep threads that spin, or fetch data ahead, on cores that are measured.

    Args:
        name: str, what to call it in a table.
        arguments: list of str, the program and its arguments.
        python: str, the interpreter; another environment's where a library needs one.
        environment: dict of str, variables to set.
    """

    def __init__(self, name, arguments, python=sys.executable, environment=None):
        self.name = name
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (close() does)
        self._process = subprocess.Popen(
            [python, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})},
        )

    def ask(self, request):
        """Returns the answer to a request; both are what JSON can hold.

        Raises:
            RuntimeError: with the last line that the process wrote, if it has ended.
        """
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            self._log.seek(0)
            last = (self._log.read().strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(last)
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()
        self._log.close()


def start(workers):
    """Asks each worker for what it says of itself, and leaves out those that cannot start.

    Args:
        workers: iterable that starts workers; started one by one, for they share the machine.

    Returns:
        Dict of `Worker` to its answer.
    """
    started = {}
    for worker in workers:
        try:
            started[worker] = worker.ask("start")
        except RuntimeError as error:
            print(f"{worker.name} left out: {error}", flush=True)
            worker.close()
    return started


def serve(start):
    """Answers requests from standard input until it ends.

    Args:
        start: function without arguments, called once, that returns what to say of the library and
            a function from each later request to its answer.
    """
    # Libraries write to standard output too.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer = None
    for line in sys.stdin:
        if answer is None:
            about, answer = start()
        else:
            about = answer(json.loads(line))
        print(json.dumps(about), file=answers, flush=True)
