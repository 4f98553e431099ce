"""What the device at hand can multiply."""

import time

import keras
import tensorflow as tf

# Wide enough for a device to reach what it can, and small enough for a moment.
_WIDTHS = {"CPU": 1024, "GPU": 8192}


def matmul_rate(dtype="float32", seconds=0.5):
    """Measures how many floating-point operations a second a device does in a matrix product.

    It is the most that a training step could reach there; the model FLOPs utilization is what it
    reaches, by `pretraining_flops`, divided by this.

    Args:
        dtype: str. What to multiply in, "float32", "bfloat16" or "float16"; or the name of a
            policy, such as "mixed_bfloat16", whose layers compute in it.
        seconds: float. How long to measure; the fastest product counts.

    Returns:
        float, of the first device. A strategy has as many times that as it has replicas.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.training.matmul_rate(seconds=0.1) > 1e6
        True
    """
    dtype = keras.DTypePolicy(dtype).compute_dtype
    width = _WIDTHS["GPU" if tf.config.list_logical_devices("GPU") else "CPU"]
    matrix = tf.random.stateless_normal([width, width], seed=(1, 2))
    matrix = tf.cast(matrix / width**0.5, dtype)

    # The sum is fetched, and so waited for; ten products hide what that takes.
    @tf.function
    def ten_products(x):
        for _ in range(10):
            x = tf.matmul(x, matrix)
        return tf.reduce_sum(tf.cast(x, "float32"))

    ten_products(matrix).numpy()
    fastest, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        ten_products(matrix).numpy()
        fastest = min(fastest, time.perf_counter() - start)
    return 10 * 2 * width**3 / fastest
