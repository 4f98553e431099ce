import json
import socket
import threading
from unittest import mock

import pytest
import tensorflow as tf

from keras_bert_lib.training import create_strategy, tf_config
from tests.training.multi_worker import free_ports

WORKERS = ["a:2222", "b:2222"]
TASK = {"type": "worker", "index": 1}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("TPU_NAME", raising=False)


def set_cluster(monkeypatch, cluster, task):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))


def test_without_gpu_auto_is_one_device():
    for name in ("auto", "one_device"):
        strategy = create_strategy(name)
        assert strategy.num_replicas_in_sync == 1
        with strategy.scope():
            assert float(tf.Variable(2.0) * 3.0) == 6.0


def test_mirrored_takes_every_logical_cpu():
    strategy = create_strategy("mirrored")
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == 2
    assert create_strategy("mirrored") is strategy


def test_unknown_name():
    with pytest.raises(ValueError, match="Received: 'two'"):
        create_strategy("two")


def test_auto_takes_the_workers_that_tf_config_names(monkeypatch):
    set_cluster(monkeypatch, {"worker": WORKERS[:1]}, TASK | {"index": 0})
    assert create_strategy("auto").num_replicas_in_sync == 1
    set_cluster(monkeypatch, {"worker": [f"localhost:{port}" for port in free_ports(2)]}, TASK)
    with pytest.raises(TimeoutError, match="1 of 2 workers did not answer within 0 seconds"):
        create_strategy("auto", wait=0.0)
    with pytest.raises(TimeoutError, match=r"wait=0\.3"):
        create_strategy("multi_worker", wait=0.3)


def test_the_chief_comes_first(monkeypatch):
    set_cluster(monkeypatch, {"worker": WORKERS, "chief": ["c:1"]}, TASK)
    assert tf_config.read_cluster() == (["c:1", *WORKERS], 2)
    set_cluster(monkeypatch, {"worker": WORKERS, "chief": ["c:1"]}, {"type": "chief", "index": 0})
    assert tf_config.read_cluster() == (["c:1", *WORKERS], 0)


@pytest.mark.parametrize(
    ("cluster", "task", "message"),
    [
        ({"worker": WORKERS}, None, "not JSON with a cluster and a task"),
        ({"worker": 7}, TASK, "not JSON with a cluster and a task"),
        ({"worker": WORKERS, "ps": ["c:1"]}, TASK, "no jobs ps"),
        ({"worker": WORKERS, "chief": ["c:1", "d:1"]}, TASK, "several chiefs"),
        ({"worker": ["a:2222", "b"]}, TASK, "'b' is not an address"),
        ({"worker": ["a:2222", "b:70000"]}, TASK, "'b:70000' is not an address"),
        ({"worker": []}, TASK, "names no worker"),
        ({"worker": ["a:1", "a:1"]}, TASK, "same address"),
        ({"worker": WORKERS}, {"type": "evaluator", "index": 0}, "not 'evaluator'"),
        ({"worker": WORKERS}, {"type": "worker", "index": 2}, "no worker with the index 2"),
        ({"worker": WORKERS}, {"type": "worker", "index": "0"}, "no worker with the index '0'"),
    ],
)
def test_malformed_tf_config(monkeypatch, cluster, task, message):
    set_cluster(monkeypatch, cluster, task)
    with pytest.raises(ValueError, match=rf"^TF_CONFIG: .*{message}.*Received: \{{"):
        create_strategy("multi_worker")


def test_no_tf_config(monkeypatch):
    with pytest.raises(ValueError, match="Received: no TF_CONFIG"):
        create_strategy("multi_worker")
    monkeypatch.setenv("TF_CONFIG", "{'cluster'")
    with pytest.raises(ValueError, match="not JSON"):
        create_strategy("auto")


def test_workers_wait_for_each_other():
    ports = free_ports(3)
    addresses = [f"localhost:{port}" for port in ports]
    came, servers = [], []

    def worker(index):
        tf_config.wait_for_workers(addresses, index, 30.0)
        servers.append(socket.create_server(("localhost", ports[index])))  # as TensorFlow does
        came.append(index)

    threads = [threading.Thread(target=worker, args=[index]) for index in range(3)]
    for thread in threads[:2]:
        thread.start()
    threads[0].join(0.3)
    assert came == []
    threads[2].start()
    for thread in threads:
        thread.join()
    for server in servers:
        server.close()
    assert sorted(came) == [0, 1, 2]


def test_a_port_that_is_taken():
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    thread = threading.Thread(target=tf_config.wait_for_workers, args=[addresses, 0, 1.0])
    with mock.patch("threading.excepthook"):
        thread.start()
        thread.join(0.2)
        with pytest.raises(OSError, match="same index in TF_CONFIG"):
            tf_config.wait_for_workers(addresses, 0, 1.0)
        thread.join()


def test_strategy_after_other_calls(monkeypatch):
    set_cluster(monkeypatch, {"worker": WORKERS}, TASK)
    tf.zeros([1])
    with mock.patch("keras_bert_lib.training.create_strategy.wait_for_workers"):
        with pytest.raises(RuntimeError, match="before any other TensorFlow call"):
            create_strategy("multi_worker")


def test_tpu(monkeypatch):
    with pytest.raises(ValueError, match="Which TPU"):
        create_strategy("tpu")
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver
    with (
        mock.patch.object(resolver, "connect") as connect,
        mock.patch.object(tf.distribute, "TPUStrategy") as strategy,
    ):
        monkeypatch.setenv("TPU_NAME", "pod-7")
        assert create_strategy("tpu") is strategy.return_value
        connect.assert_called_once_with("pod-7")
        strategy.assert_called_once_with(connect.return_value)
        assert create_strategy("tpu") is strategy.return_value  # made once
        create_strategy("tpu", tpu="local")
        connect.assert_called_with("local")
        connect.side_effect = tf.errors.NotFoundError(None, None, "TPUs not found\nlong story")
        with pytest.raises(ValueError, match=r"TPUs not found\. Received: tpu='other'"):
            create_strategy("tpu", tpu="other")


@pytest.mark.parametrize("listens", [False, True])
def test_a_tpu_that_does_not_answer(listens):
    # Neither a port where nobody listens, nor a server that is no TPU's.
    with socket.create_server(("localhost", 0)) as server:
        address = f"grpc://localhost:{server.getsockname()[1]}"
        if not listens:
            server.close()
        with pytest.raises(TimeoutError, match=f"No TPU answered at {address} within 0.5 seconds"):
            create_strategy("tpu", wait=0.5, tpu=address)
