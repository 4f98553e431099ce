"""Weights that are stored in 16 bits, and computed with in 32."""

import hashlib

import keras
import numpy as np
import tensorflow as tf

DTYPES = ("bfloat16", "float16")


class HalfWeights:
    """The weights of a model, for a file of half the size.

    The matrices are variables of 16 bits. When the file is loaded, each is copied once into one of
    32 bits, with which everything is computed, so that answers take no longer. Vectors (biases and
    norms), which hardly take place, stay as they are.

    Args:
        model: a model whose weights are float32.
        dtype: "bfloat16" or "float16".

    Raises:
        ValueError: if `dtype` is neither, or a weight is too large for it.
    """

    def __init__(self, model, dtype):
        if dtype not in DTYPES:
            raise ValueError(
                f"`weights` must be one of float32, {', '.join(DTYPES)}. Received: {dtype!r}"
            )
        matrices = [v for v in model.variables if v.dtype == "float32" and len(v.shape) > 1]
        kept = set(map(id, matrices))
        self.others = [v for v in model.variables if id(v) not in kept]
        self.stored = []
        for variable in matrices:
            half = tf.cast(variable.value, dtype)
            if not np.isfinite(np.asarray(half, np.float32)).all():
                raise ValueError(
                    f'`weights="{dtype}"`: {variable.path} has a value that is too large for it. '
                    'Take "bfloat16". Received: '
                    f"{np.abs(keras.ops.convert_to_numpy(variable)).max():g}"
                )
            self.stored.append(tf.Variable(half, trainable=False))
        self.copies = [_Float32Copy(half) for half in self.stored]
        self._pairs = list(zip(matrices, self.copies))

    def read(self):
        """Returns a context in which the model computes with the copies."""
        return keras.StatelessScope([(variable, copy.read()) for variable, copy in self._pairs])


class _Float32Copy(tf.saved_model.experimental.TrackableResource):
    """A variable in float32 that is not stored: loading fills it from one of 16 bits.

    Args:
        half: `tf.Variable`.
    """

    def __init__(self, half):
        super().__init__()
        self._half = half
        # Sessions find it by its name. In a process that loads several files, the same name stands
        # for the same values.
        content = tf.bitcast(half, tf.uint16).numpy().tobytes()
        key = f"{half.dtype.name} {half.shape}".encode()
        self._name = f"float32_copy_{hashlib.sha256(key + content).hexdigest()}"
        self._initialize()

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(
            dtype=tf.float32, shape=self._half.shape, shared_name=self._name
        )

    def _initialize(self):
        value = tf.cast(self._half.read_value(), tf.float32)
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=value)

    def read(self):
        """Returns the values, float32."""
        value = tf.raw_ops.ReadVariableOp(resource=self.resource_handle, dtype=tf.float32)
        return tf.ensure_shape(value, self._half.shape)
