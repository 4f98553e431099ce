"""One training with several seeds, and whether they agree."""

from typing import NamedTuple

import keras
import numpy as np


class Repeats(NamedTuple):
    """What `repeat` found. Printed, it is a table with a line for each seed.

    Attributes:
        seeds: list of int.
        results: list of dicts, the metrics of each seed.
        mean: dict of each metric's mean.
        deviation: dict of each metric's standard deviation, that of a sample: 0 for one seed.
        disagreements: list of str, what is wrong where the seeds disagree; else empty.
    """

    seeds: list
    results: list
    mean: dict
    deviation: dict
    disagreements: list

    def __str__(self):
        """Returns the table, and below it the disagreements."""
        names = list(self.mean)
        rows = [["seed", *names]]
        for seed, result in zip(self.seeds, self.results):
            rows.append([str(seed), *(f"{result[name]:.4f}" for name in names)])
        rows.append(["mean", *(f"{self.mean[name]:.4f}" for name in names)])
        rows.append(["deviation", *(f"{self.deviation[name]:.4f}" for name in names)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(names) + 1)]
        lines = ["  ".join(x.rjust(w) for x, w in zip(row, widths)) for row in rows]
        return "\n".join([*lines, *self.disagreements])


def repeat(train, seeds=(0, 1, 2), majority=None, max_deviation=0.02):
    """Trains with several seeds, and says whether they agree.

    Fine-tuning on small sets is unstable: the same training with another seed, which decides the
    new head, the order of the examples and dropout, ends elsewhere, and sometimes learns nothing
    at all. One number is then no result; a mean and a deviation are.

    Seeds disagree where a metric's standard deviation is above `max_deviation`, or where a seed
    is no better than guessing, `majority`, by as much. More epochs, a lower learning rate and more
    warmup help (Mosbach et al.).

    Args:
        train: callable. Takes a seed, int, makes and trains a model, and returns a dict of its
            metrics, floats. `keras.utils.set_random_seed(seed)` is called before; the seed is
            for what has seeds of its own, as `kbl.data.text_classification(seed=seed)`.
        seeds: list of int.
        majority: dict of float or None, the metrics of a model that learned nothing, as the share
            of the most frequent class for accuracy. Higher must be better. Not every metric need
            be there.
        max_deviation: float, the largest standard deviation of seeds that agree. 0.02 are two
            points of accuracy.

    Returns:
        A named tuple `Repeats`: `seeds`, `results` (list of dicts), `mean` and `deviation` (dicts),
        and `disagreements`, list of str, which is empty where the seeds agree.

    Raises:
        ValueError: if there are no seeds, one is there twice, or `train` returns no dict of
            the same metrics each time.

    Example:
    ```python
    def train(seed):
        model = kbl.BertClassifier(kbl.BertEncoder(config), num_classes=2)
        model.compile(kbl.training.create_optimizer(3e-5, total_steps))
        return {"loss": model.fit(dataset, verbose=0).history["loss"][-1]}

    repeats = kbl.training.repeat(train, seeds=[0, 1, 2])
    print(repeats)
    ```

    References:
        - [Dodge et al., 2020](https://arxiv.org/abs/2002.06305)
        - [Mosbach et al., 2020](https://arxiv.org/abs/2006.04884)
    """
    seeds = list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must be one or more different integers. Received: {seeds}")
    results = []
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        result = train(seed)
        if not isinstance(result, dict) or (results and result.keys() != results[0].keys()):
            raise ValueError(
                "`train` must return a dict of metrics, the same ones for each seed. "
                f"Received: {result!r}"
            )
        results.append({name: float(number) for name, number in result.items()})
    columns = {name: [result[name] for result in results] for name in results[0]}
    mean = {name: float(np.mean(column)) for name, column in columns.items()}
    deviation = {
        name: float(np.std(column, ddof=1)) if len(seeds) > 1 else 0.0
        for name, column in columns.items()
    }
    disagreements = []
    for name, column in columns.items():
        nan = ", ".join(str(seed) for seed, number in zip(seeds, column) if np.isnan(number))
        if nan and len(seeds) > 1:
            disagreements.append(f"Seeds cannot be compared: {name} of seed {nan} is NaN.")
        elif deviation[name] > max_deviation:
            disagreements.append(
                f"Seeds disagree: the standard deviation of {name} is {deviation[name]:.4f}, above "
                f"{max_deviation}."
            )
        floor = (majority or {}).get(name)
        # NaN, as the correlation of answers that are all alike, is no better.
        failed = [
            str(seed)
            for seed, number in zip(seeds, column)
            if floor is not None and not number > floor + max_deviation
        ]
        if failed:
            disagreements.append(
                f"Learned nothing: {name} of seed {', '.join(failed)} is no better than "
                f"about {floor:.4f}, that of guessing."
            )
    return Repeats(seeds, results, mean, deviation, disagreements)
