"""How the variables of a model are divided over devices, for `keras.distribution`."""

import keras


def create_layout_map(device_mesh, config):
    """Returns the layouts that divide a model with a `BertEncoder` over the devices of a mesh.

    For models that one device cannot hold, under `KERAS_BACKEND=jax`. What is large is divided
    over the mesh's last axis: the token embedding (by pieces, or by columns where the devices do
    not divide the pieces), the kernels of query, key and value and of the inner feed-forward layer
    (by columns), and those that lead back to the hidden size (by rows), so that each block sums
    over the devices twice. An optimizer's moments lie where their variables do. All else is on
    every device, and so are the weights of the heads of tasks.

    Make the model after `keras.distribution.set_distribution`. Files are those of a model on one
    device, and are read on any mesh.

    Args:
        device_mesh: `keras.distribution.DeviceMesh`. Its first axis divides batches and its last
            one the model: of shape `(1, 8)`, it divides the model alone.
        config: `BertConfig` of the model.

    Returns:
        A `keras.distribution.LayoutMap`; add layouts of other layers' variables to it.

    Raises:
        ValueError: if the devices of the last axis do not divide the heads or the
            `intermediate_size`.

    Example:
    ```python
    devices = [f"gpu:{i}" for i in range(8)]  # as `keras.distribution.list_devices` names them
    mesh = keras.distribution.DeviceMesh((4, 2), ("batch", "model"), devices)
    layouts = kbl.training.create_layout_map(mesh, config)
    distribution = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    # On a machine with these: keras.distribution.set_distribution(distribution)
    ```

    References:
        - [Shoeybi et al., 2019](https://arxiv.org/abs/1909.08053), section 3
    """
    axis, devices = device_mesh.axis_names[-1], device_mesh.shape[-1]
    for name in ("num_heads", "intermediate_size"):
        size = getattr(config, name)
        if size % devices:
            raise ValueError(
                f"The devices of the mesh's last axis must divide `{name}`. Make a mesh whose last "
                f"axis does. Received: {name}={size}, {devices} devices"
            )
    by_rows, by_columns = (axis, None), (None, axis)
    # JAX divides evenly or not at all.
    divides_pieces = config.vocab_size % devices == 0
    # Keys are patterns. Of each variable one matches at most, whether Keras looks for it in the
    # whole path or in a part of it, as versions differ.
    layouts = keras.distribution.LayoutMap(device_mesh)
    layouts[".*embeddings/token_embedding$"] = by_rows if divides_pieces else by_columns
    layouts[".*attention/qkv/kernel$"] = by_columns
    layouts[".*attention/qkv/bias$"] = (axis,)
    layouts[".*intermediate/kernel$"] = by_columns
    layouts[".*intermediate/bias$"] = (axis,)
    layouts[r".*block_\d+/(attention/)?output/kernel$"] = by_rows
    if divides_pieces:
        layouts[".*mlm_head/bias$"] = (axis,)
    return layouts
