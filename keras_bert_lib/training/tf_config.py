"""The cluster that the environment variable TF_CONFIG describes, and waiting for its workers."""

import json
import os
import socket
import time

_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)


def names_several_workers():
    """Whether there is a TF_CONFIG with two workers or more."""
    return bool(os.environ.get("TF_CONFIG")) and len(read_cluster()[0]) > 1


def read_cluster():
    """Returns the addresses of all workers, the chief's first, and the place of this one in them.

    Raises:
        ValueError: if TF_CONFIG is missing, or does not describe a cluster that trains in step.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        raise ValueError(
            "Several workers find each other by the environment variable TF_CONFIG, for example "
            f"{_EXAMPLE}. Received: no TF_CONFIG"
        )
    try:
        config = json.loads(text)
        cluster, task = dict(config["cluster"]), dict(config["task"])
        jobs = {name: list(cluster.get(name, [])) for name in ("chief", "worker")}
    except (ValueError, KeyError, TypeError) as error:
        raise _malformed(f"it is not JSON with a cluster and a task ({error!r})") from error
    others = sorted(set(cluster) - set(jobs))
    if others:
        raise _malformed(f"workers in step have no jobs {', '.join(others)}; leave them out")
    if len(jobs["chief"]) > 1:
        raise _malformed("it names several chiefs")
    addresses = jobs["chief"] + jobs["worker"]
    for address in addresses:
        if not isinstance(address, str) or not _port(address):
            raise _malformed(f"{address!r} is not an address, host:port")
    if not addresses:
        raise _malformed("the cluster names no worker")
    if len(set(addresses)) < len(addresses):
        raise _malformed("two workers have the same address")
    job, index = task.get("type"), task.get("index")
    if job not in jobs:
        raise _malformed(f'the type of the task is "worker" or "chief", and not {job!r}')
    if not isinstance(index, int) or not 0 <= index < len(jobs[job]):
        raise _malformed(f"the cluster has no {job} with the index {index!r}")
    return addresses, index + (len(jobs["chief"]) if job == "worker" else 0)


def wait_for_workers(addresses, own, seconds):
    """Returns when every other worker listens at its address.

    While a worker waits it listens at its own. Once it returns, TensorFlow's server does.

    Args:
        addresses: list of str, host:port.
        own: int, the place of this worker in it.
        seconds: float, how long to wait.

    Raises:
        TimeoutError: if a worker is missing by then.
        OSError: if this worker cannot listen at its own port.
    """
    missing = [address for place, address in enumerate(addresses) if place != own]
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as door:
        if door.family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(("", _port(addresses[own])))
        except OSError as error:
            raise OSError(
                error.errno,
                f"This worker cannot listen at {addresses[own]} ({error.strerror}). Is another "
                "one running with the same index in TF_CONFIG?",
            ) from error
        door.listen(len(addresses))
        while missing:
            missing = [address for address in missing if not _answers(address)]
            if missing and time.monotonic() > deadline:
                raise TimeoutError(
                    f"{len(missing)} of {len(addresses)} workers did not answer within "
                    f"{seconds:g} seconds: {', '.join(missing)}. Start them with the same cluster "
                    "in TF_CONFIG, see that their ports are open, or give them more time with "
                    f"`wait`. Received: wait={seconds:g}"
                )
            time.sleep(0.1 if missing else 0)


def _port(address):
    """Returns the port of an address, or 0 where it is none."""
    host, _, port = address.rpartition(":")
    return int(port) if host and port.isdecimal() and int(port) < 2**16 else 0


def _answers(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except OSError:  # a name that is not known yet too: clusters start their names late
        return False
    return True


def _malformed(what):
    return ValueError(
        f"TF_CONFIG: {what}. It should be like {_EXAMPLE}. Received: {os.environ['TF_CONFIG']}"
    )
