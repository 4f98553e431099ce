"""The one place where models know of `tf.distribute`."""

import keras
from keras import ops


def sum_over_replicas(value):
    """Returns the sum of `value` over all replicas, or `value` where there is one."""
    if keras.backend.backend() != "tensorflow":
        return value
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def mean_over_replicas(values, weights):
    """Returns this replica's share of the weighted mean of `values` over the global batch.

    Keras sums the replicas' gradients. So each replica divides its own sum by the weights of all
    of them; then the sum of these shares is the mean. Without any weight it is 0.
    """
    return ops.divide_no_nan(ops.sum(values * weights), sum_over_replicas(ops.sum(weights)))
