"""Weights that make up for classes of unlike size."""

import numpy as np


def balanced_class_weights(label_ids, num_classes):
    """Returns weights by which all classes count alike in the loss.

    A class with few examples gets a large weight: the number of examples, divided by that of
    classes and by the class's own. The mean weight of an example is 1.

    Args:
        label_ids: int array `[n]`, the class of each training example.
        num_classes: int, number of classes.

    Returns:
        Dict of each class's id and its weight, for `fit(class_weight=)`. A class without an
        example has 1.

    Raises:
        ValueError: if there are no examples, or one is of no class.

    Example:
    ```python
    weights = kbl.training.balanced_class_weights([0, 0, 0, 1], num_classes=2)
    weights  # {0: 0.667, 1: 2.0}
    model.fit(dataset, class_weight=weights)
    ```

    References:
        - [King and Zeng, 2001](https://doi.org/10.1093/oxfordjournals.pan.a004868)
        - `compute_class_weight("balanced")` of scikit-learn, which computes them
    """
    from sklearn.utils.class_weight import compute_class_weight

    label_ids = np.asarray(label_ids)
    if label_ids.ndim != 1 or label_ids.size == 0 or label_ids.dtype.kind not in "iu":
        raise ValueError(
            "`label_ids` must be the class ids of one training example or more, integers [n]. "
            f"Received: {label_ids.dtype} of shape {label_ids.shape}"
        )
    if label_ids.min() < 0 or label_ids.max() >= num_classes:
        raise ValueError(
            "`label_ids` must be from 0 to `num_classes` - 1. "
            f"Received: {label_ids.min()} to {label_ids.max()}, num_classes={num_classes}"
        )
    seen = np.unique(label_ids)
    weights = compute_class_weight("balanced", classes=seen, y=label_ids)
    return dict.fromkeys(range(num_classes), 1.0) | dict(zip(seen.tolist(), weights.tolist()))
