"""What `fit` and `evaluate` of Keras leave undone under `tf.distribute`."""

import contextlib

import keras


class DistributedModel(keras.Model):
    """Base of the models: they train, evaluate and predict under every strategy with replicas.

    Keras 3.15 fails under `MultiWorkerMirroredStrategy`
    ([issue 20585](https://github.com/keras-team/keras/issues/20585)), and with
    `steps_per_execution` above 1 under every strategy of several replicas. Here the functions that
    run a step are made anew, from the model's `train_step` and `test_step`. On one device, and on
    other backends than TensorFlow, Keras' own do the work.
    """

    def make_train_function(self, force=False):
        """Makes `train_function`, as Keras does or for replicas."""
        if not self._has_replicas():
            super().make_train_function(force)
        elif self.train_function is None or force:
            self.train_function = self._replicated(self.train_step)

    def make_test_function(self, force=False):
        """Makes `test_function`, as Keras does or for replicas."""
        if not self._has_replicas():
            super().make_test_function(force)
        elif self.test_function is None or force:
            self.test_function = self._replicated(self.test_step)

    def train_step(self, *args):
        """Trains on a batch, as Keras does."""
        with once_there(args):
            return super().train_step(*args)

    def test_step(self, *args):
        """Evaluates a batch, as Keras does."""
        with once_there(args):
            return super().test_step(*args)

    def _has_replicas(self):
        """Whether the model was made in the scope of a strategy of several replicas."""
        if keras.backend.backend() != "tensorflow":
            return False
        return self.distribute_strategy.num_replicas_in_sync > 1

    def _replicated(self, step):
        """Returns the function that makes `steps_per_execution` steps, each on all replicas.

        Args:
            step: a function from a replica's batch to its dict of metrics.

        Returns:
            A function from an iterator over batches to a dict of metrics, means over the replicas.
        """
        import tensorflow as tf

        strategy = self.distribute_strategy
        is_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
        if self.jit_compile and not self.run_eagerly and not is_tpu:
            raise ValueError(
                "XLA cannot compile a step that replicas share: give `compile` "
                '`jit_compile="auto"` or False, or train on one device. '
                f"Received: jit_compile=True, {strategy.num_replicas_in_sync} replicas"
            )

        def step_and_mean(data):
            # All metrics in one exchange; each worker then has the same numbers.
            metrics = {name: tf.cast(x, tf.float32) for name, x in step(data).items()}
            return tf.distribute.get_replica_context().all_reduce("mean", metrics)

        def one_step(data):
            metrics = strategy.run(step_and_mean, args=(data,))
            return {n: strategy.experimental_local_results(x)[0] for n, x in metrics.items()}

        # Keras asks in a branch within its loop whether there is another batch. But a step that
        # replicas share, being traced once for each of them, may not be in a branch. So the first
        # step comes before the loop, which ends where the batches do.
        def steps(iterator):
            metrics = one_step(iterator.get_next())
            if self.steps_per_execution == 1:
                return metrics

            def is_next(done, metrics, batch):
                return tf.logical_and(done < self.steps_per_execution, batch.has_value())

            def make_next(done, metrics, batch):
                metrics = one_step(batch.get_value())
                # A batch that is drawn after the last step would be lost.
                batch = tf.cond(
                    done + 1 < self.steps_per_execution,
                    iterator.get_next_as_optional,
                    lambda: batch,
                )
                return done + 1, metrics, batch

            start = tf.constant(1), metrics, iterator.get_next_as_optional()
            return tf.while_loop(is_next, make_next, start)[1]

        functions = one_step, steps
        if not self.run_eagerly:
            functions = [tf.function(x, reduce_retracing=True, autograph=False) for x in functions]

        def function(iterator):
            if isinstance(iterator, tf.distribute.DistributedIterator):
                return functions[1](iterator)
            return functions[0](next(iterator))  # of `train_on_batch`: every replica gets it whole

        return function

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if keras.backend.backend() != "tensorflow":
            super()._maybe_symbolic_build(iterator, data_batch)
            return
        # Keras draws a batch, only to know its shapes, and cannot make one of the batches of
        # several workers. The iterator knows the shapes, and the first batch is still to come. On
        # one device Keras makes the variables of metrics and optimizer within the first step, but
        # there they would wait for a batch (`once_there`), and XLA cannot have that.
        if iterator is not None:
            if self._has_replicas():
                replicas = self.distribute_strategy.num_replicas_in_sync
                _check_batch_size(iterator.data_adapter, replicas)
            data_batch = _local_specs(iterator._distributed_dataset.element_spec)
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=data_batch)


def once_there(data):
    """Lets what a step does wait for its batch.

    At the end of a dataset of unknown length the step has no batch and fails. But Keras' metrics
    count a batch of fixed size by a constant, which was added before.
    """
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.control_dependencies(
        [x for x in keras.tree.flatten(data) if isinstance(x, tf.Tensor)]
    )


def _local_specs(specs):
    """Returns the `tf.TensorSpec` of one replica for each spec of a distributed dataset."""
    import tensorflow as tf

    return keras.tree.map_structure(
        lambda spec: tf.nest.flatten(spec, expand_composites=True)[0], specs
    )


def _check_batch_size(adapter, replicas):
    """Raises where replicas would get batches of different sizes, whose mean is not the batch's."""
    import tensorflow as tf

    dataset = adapter.get_tf_dataset()
    if not isinstance(dataset, tf.data.Dataset):
        return  # somebody distributed it already
    variant = tf.data.experimental.to_variant(dataset)
    batch_size = int(tf.raw_ops.ComputeBatchSize(input_dataset=variant))  # -1: it cannot be known
    if batch_size > 0 and batch_size % replicas:
        raise ValueError(
            f"{replicas} replicas cannot share a batch evenly. Make the batch size a multiple of "
            f"{replicas}. Received: batch size {batch_size}"
        )
