"""The one place where models know of `tf.distribute`."""

import keras


def sum_over_replicas(value):
    """Returns the sum of `value` over all replicas, or `value` where there is one."""
    if keras.backend.backend() != "tensorflow":
        return value
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
