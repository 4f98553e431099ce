"""The `tf.distribute` strategy that a name stands for."""

import functools
import os

import tensorflow as tf

from keras_bert_lib.backend import require_tensorflow
from keras_bert_lib.training.tf_config import (
    names_several_workers,
    read_cluster,
    wait_for_workers,
)


def create_strategy(name="auto", wait=300.0, tpu=None):
    """Returns a strategy; make it before any other TensorFlow call, and the model in its scope.

    Args:
        name: "one_device" for the first GPU or else the CPU; "mirrored" for every GPU or else
            every logical CPU of this machine; "multi_worker" for every GPU or else the CPU of each
            worker that the environment variable TF_CONFIG names; "tpu" for every core of a TPU.
            "auto" is "multi_worker" where TF_CONFIG names two workers or more, "mirrored" where
            there are two GPUs or more, and "one_device" elsewhere.
        wait: float. The seconds that the other workers of "multi_worker", or a TPU at an address
            (`grpc://host:port`), have to come up.
        tpu: str or None, for "tpu". Its name or address, "local" on the TPU's own machine; None
            takes that of the environment variable TPU_NAME.

    Returns:
        A `tf.distribute.Strategy`. A global batch is split over its replicas.

    Raises:
        ValueError: if the name is unknown, TF_CONFIG is malformed, or the TPU is not named.
        TimeoutError: if a worker or the TPU did not come up.
        OSError: if this worker's port is taken.
        RuntimeError: if TensorFlow was used before, which workers must do as one.

    Example:
    ```python
    with kbl.training.create_strategy("auto").scope():
        model = kbl.BertClassifier(kbl.BertEncoder(config), num_classes=2)
        model.compile(optimizer=kbl.training.create_optimizer(3e-5, total_steps))
    model.fit(dataset)
    ```

    References:
        - [Multi-worker training](https://www.tensorflow.org/tutorials/distribute/multi_worker_with_keras),
          for TF_CONFIG
    """
    require_tensorflow("`tf.distribute` (`keras.distribution` is for JAX)")
    if name == "multi_worker" or (name == "auto" and names_several_workers()):
        return _multi_worker(os.environ.get("TF_CONFIG"), wait)
    if name == "tpu":
        return _tpu(os.environ.get("TPU_NAME") if tpu is None else tpu, wait)
    gpus = tf.config.list_logical_devices("GPU")
    if name == "one_device" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    if name in ("auto", "mirrored"):
        devices = gpus or tf.config.list_logical_devices("CPU")
        return _mirrored(tuple(device.name for device in devices))
    raise ValueError(
        '`name` must be "auto", "one_device", "mirrored", "multi_worker" or "tpu". '
        f"Received: {name!r}"
    )


_multi_workers = {}  # the text of TF_CONFIG -> its strategy, which a process can make once


# TensorFlow numbers the collectives of each strategy from the same start. A second strategy over
# the same devices would find the first one's gradients under its numbers, of another shape, and
# fail: hence one strategy for the same devices.
@functools.cache
def _mirrored(devices):
    return tf.distribute.MirroredStrategy(list(devices))


def _multi_worker(tf_config, wait):
    if tf_config in _multi_workers:
        return _multi_workers[tf_config]
    addresses, own = read_cluster()
    wait_for_workers(addresses, own, wait)  # TensorFlow itself would wait for an hour
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise RuntimeError(
            'Make the strategy before any other TensorFlow call: `create_strategy("multi_worker")` '
            f"comes first in the program. Received: {error}"
        ) from error
    _multi_workers[tf_config] = strategy
    return strategy


_tpus = {}  # the address of a TPU -> its strategy, for connecting anew would end what it computes


def _tpu(address, wait):
    if address in _tpus:
        return _tpus[address]
    if address is None:
        raise ValueError(
            'Which TPU? Give `tpu` its name, or "local" on its own machine, or set the environment '
            "variable TPU_NAME. Received: tpu=None"
        )
    if address.startswith("grpc://"):
        _wait_for_server(address, wait)  # TensorFlow itself would wait without end
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(address)
    except (OSError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"This machine reaches no such TPU: {reason}. Received: tpu={address!r}"
        ) from error
    _tpus[address] = tf.distribute.TPUStrategy(resolver)
    return _tpus[address]


def _wait_for_server(address, wait):
    """Returns when a gRPC server answers at an address."""
    import grpc

    with grpc.insecure_channel(address.removeprefix("grpc://")) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=wait)
        except grpc.FutureTimeoutError:
            raise TimeoutError(
                f"No TPU answered at {address} within {wait:g} seconds. Check its address, see "
                "that it is on and its port open, or give it more time with `wait`. "
                f"Received: tpu={address!r}"
            ) from None
