"""Chains of element-wise operations in one pass over memory."""

import functools

import keras


def fused(function):
    """Decorates a function of tensors, so that training computes it in one program each way.

    TensorFlow makes a pass over memory for every operation of such a chain, and keeps what the
    gradient needs of each. XLA makes one pass; here only the inputs are kept, from which the
    gradient computes the rest again in its own pass. On a CPU this is two to five times as fast.
    XLA compiles once for every shape, so shapes that are not known when the step is made get the
    function as it is. So do other backends than TensorFlow, and machines with an accelerator: on
    GPUs and TPUs Keras compiles the step whole, and not every plugin has a compiler.

    Args:
        function: of tensors, from which alone its result follows, to a tensor or a tuple of them.

    Returns:
        A function of the same tensors. Those of integers have no gradient.
    """

    @functools.wraps(function)
    def call(*args, **static):
        if not can_fuse(*args):
            return function(*args, **static)
        import tensorflow as tf

        return _programs(function, **static)(*[tf.convert_to_tensor(x) for x in args])

    return call


def can_fuse(*args):
    """Returns whether functions of these tensors may become programs; see `fused`."""
    if keras.backend.backend() != "tensorflow" or any(
        isinstance(x, keras.KerasTensor) for x in args
    ):
        return False
    import tensorflow as tf

    has_shapes = all(tf.convert_to_tensor(x).shape.is_fully_defined() for x in args)
    return has_shapes and {x.device_type for x in tf.config.get_visible_devices()} == {"CPU"}


@functools.cache
def _programs(function, **static):
    """Returns the function, with a gradient, as two compiled programs."""
    import tensorflow as tf

    compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
    forward = compiled(functools.partial(function, **static))

    @compiled
    def backward(args, upstream):
        floats = [x for x in args if x.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            result = function(*args, **static)
        return tape.gradient(result, floats, upstream, tf.UnconnectedGradients.ZERO)

    @tf.custom_gradient
    def call(*args):
        def gradient(*upstream):
            gradients = iter(backward(args, upstream if len(upstream) > 1 else upstream[0]))
            return [next(gradients) if x.dtype.is_floating else None for x in args]

        return forward(*args), gradient

    return call
