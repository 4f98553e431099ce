"""The `tf.distribute` strategy that a name stands for."""

import functools

import tensorflow as tf


def create_strategy(name="auto"):
    """Returns a strategy; make it before any other TensorFlow call, and the model in its scope.

    Args:
        name: "one_device" for the first GPU or else the CPU, "mirrored" for every GPU or else
            every logical CPU of this machine, "auto" for "mirrored" where there are two GPUs or
            more and "one_device" elsewhere.

    Returns:
        A `tf.distribute.Strategy`. A global batch is split over its replicas.

    Raises:
        ValueError: if the name is unknown.

    Example:
    ```python
    with kbl.training.create_strategy("auto").scope():
        model = kbl.BertClassifier(kbl.BertEncoder(config), num_classes=2)
        model.compile(optimizer=kbl.training.create_optimizer(3e-5, total_steps))
    model.fit(dataset)
    ```
    """
    gpus = tf.config.list_logical_devices("GPU")
    if name == "one_device" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    if name in ("auto", "mirrored"):
        devices = gpus or tf.config.list_logical_devices("CPU")
        return _mirrored(tuple(device.name for device in devices))
    raise ValueError(f'`name` must be "auto", "one_device" or "mirrored". Received: {name!r}')


# TensorFlow numbers the collectives of each strategy from the same start. A second strategy over
# the same devices would find the first one's gradients under its numbers, of another shape, and
# fail: hence one strategy for the same devices.
@functools.cache
def _mirrored(devices):
    return tf.distribute.MirroredStrategy(list(devices))
