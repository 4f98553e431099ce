"""The processes that train together."""

import tensorflow as tf


class Workers:
    """The processes of a `MultiWorkerMirroredStrategy`, or this one alone under any other.

    Args:
        strategy: a `tf.distribute.Strategy`.
    """

    def __init__(self, strategy):
        self._strategy = strategy
        self.count, self.index = 1, 0
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver = strategy.cluster_resolver
            jobs = resolver.cluster_spec().as_dict()
            self.count = max(sum(map(len, jobs.values())), 1)
            chiefs = len(jobs.get("chief", []))
            if self.count > 1:  # the chief is the first of all
                self.index = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
        self.is_first = self.index == 0

    def sum(self, number):
        """Returns the sum of an integer over all replicas; each worker must ask for it."""
        numbers = self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(number, tf.int64)
        )
        return int(self._strategy.reduce("SUM", numbers, axis=None))
