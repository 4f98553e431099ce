"""The metrics of all tasks, counted by scikit-learn, SciPy and seqeval.

All are fractions, from 0 to 1, where the official scripts print percentages; correlations are from
-1 to 1.

Example:
    >>> import keras_bert_lib as kbl
    >>> kbl.evaluation.metrics.f1([0, 1, 1, 1], [0, 0, 1, 1], average="micro")
    0.75
"""

import collections
import re
import string
import warnings

import numpy as np

__all__ = [
    "accuracy",
    "by_class",
    "entity_scores",
    "exact_matches",
    "expected_calibration_error",
    "f1",
    "label_ranking",
    "matthews_correlation",
    "mean_reciprocal_rank",
    "normalized",
    "pearson",
    "recall_at",
    "reliability",
    "set_f1",
    "spearman",
    "top_k_accuracy",
    "word_f1s",
]


def accuracy(found, right):
    """Returns the share of answers that are the right ones.

    Args:
        found: list of answers.
        right: list of the right ones.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.accuracy(["pos", "neg"], ["pos", "pos"])
        0.5
    """
    return float(np.mean([a == b for a, b in zip(found, right, strict=True)]))


def top_k_accuracy(scores, right, k):
    """Returns the share of examples whose right class is among the `k` with the greatest scores.

    Args:
        scores: float `[n, classes]`.
        right: int `[n]`, the right classes.
        k: int, less than the number of classes.

    Example:
        >>> import keras_bert_lib as kbl
        >>> scores = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]
        >>> kbl.evaluation.metrics.top_k_accuracy(scores, [1, 0], k=2)
        0.5
    """
    from sklearn.metrics import top_k_accuracy_score

    scores = np.asarray(scores)
    return float(top_k_accuracy_score(right, scores, k=k, labels=range(scores.shape[1])))


def f1(found, right, average):
    """Returns the F1 score of classes.

    Args:
        found: list of classes, or 0 and 1 `[n, classes]` where there may be several.
        right: the same of the right ones.
        average: `"macro"`, the mean over the classes that were found or are right, or `"micro"`,
            over all decisions together. A class that there is nothing right of counts as 0.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.f1([0, 1, 1, 1], [0, 0, 1, 1], average="macro")
        0.733...
    """
    from sklearn.metrics import f1_score

    return float(f1_score(right, found, average=average, zero_division=0))


def matthews_correlation(found, right):
    """Returns the Matthews correlation coefficient of classes; 0 where one list is constant.

    Args:
        found: list of classes.
        right: list of the right ones.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.matthews_correlation([0, 1, 1, 1], [0, 0, 1, 1])
        0.577...
    """
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(right, found))


def by_class(found, right, classes):
    """Returns precision, recall, F1 and support of each class.

    Args:
        found: list of classes, or 0 and 1 `[n, classes]` where there may be several.
        right: the same of the right ones.
        classes: list of str, their names in the order of their ids; `found` and `right` hold ids.

    Returns:
        Dict of name to dict of "precision", "recall", "f1" (0 where there is nothing to count) and
        "support", how many examples are of the class.

    Example:
        >>> import keras_bert_lib as kbl
        >>> rows = kbl.evaluation.metrics.by_class([0, 1, 1], [0, 0, 1], ["neg", "pos"])
        >>> rows["neg"]
        {'precision': 1.0, 'recall': 0.5, 'f1': 0.666..., 'support': 2}
    """
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        right, found, labels=range(len(classes)), zero_division=0
    )
    return {name: _row(*numbers) for name, *numbers in zip(classes, *columns)}


def label_ranking(scores, right):
    """Returns how well scores order labels: those of an example first that it has.

    Args:
        scores: float `[n, labels]`.
        right: 0 and 1 `[n, labels]`.

    Returns:
        Tuple of the label ranking average precision, of which 1 is best, and the ranking loss, the
        share of pairs of labels in the wrong order, of which 0 is best.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.label_ranking([[0.9, 0.2, 0.5]], [[1, 1, 0]])
        (0.833..., 0.5)
    """
    from sklearn.metrics import label_ranking_average_precision_score, label_ranking_loss

    right = np.asarray(right)
    precision = label_ranking_average_precision_score(right, scores)
    return float(precision), float(label_ranking_loss(right, scores))


def set_f1(found, right):
    """Returns the F1 of all labels, or entities, of all texts together.

    Args:
        found: list of sets.
        right: list of sets.

    Returns:
        float; 1 where there is nothing to find and nothing was found.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.set_f1([{"a", "b"}, set()], [{"a"}, {"c"}])
        0.5
    """
    from sklearn.metrics import f1_score

    found, right = (
        {(i, item) for i, row in enumerate(rows) for item in row} for rows in (found, right)
    )
    items = list(found | right)
    if not items:
        return 1.0
    return float(f1_score([x in right for x in items], [x in found for x in items]))


def pearson(found, right):
    """Returns the linear correlation of two lists of numbers; NaN where one is constant.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.pearson([1, 2, 3], [1, 2, 4])
        0.981...
    """
    from scipy import stats

    return _correlation(stats.pearsonr, found, right)


def spearman(found, right):
    """Returns the rank correlation of two lists of numbers; NaN where one is constant.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.spearman([1, 2, 3], [1, 3, 2])
        0.5
    """
    from scipy import stats

    return _correlation(stats.spearmanr, found, right)


def entity_scores(found, right):
    """Returns the scores of named entities as CoNLL's `conlleval` counts them.

    An entity is right where its type, its first and its last word are.

    Args:
        found: list of lists of tags of words: "O", and types with the prefixes B-, I-, E-, S-.
        right: the same of the right ones.

    Returns:
        Tuple of a dict of "precision", "recall" and "f1" of all entities together and "macro_f1",
        the mean over types, and a dict of types as `by_class` gives it.

    Example:
        >>> import keras_bert_lib as kbl
        >>> tags = [["B-name", "I-name", "O"]]
        >>> kbl.evaluation.metrics.entity_scores(tags, [["B-name", "O", "O"]])[0]["f1"]
        0.0

    References:
        - [Tjong Kim Sang and De Meulder, 2003](https://aclanthology.org/W03-0419)
    """
    from seqeval.metrics import classification_report

    if not any(tag != "O" for rows in (found, right) for tags in rows for tag in tags):
        return dict.fromkeys(("precision", "recall", "f1", "macro_f1"), 1.0), {}
    report = classification_report(right, found, output_dict=True, zero_division=0)
    averages = {name: report.pop(f"{name} avg") for name in ("micro", "macro", "weighted")}
    rows = {
        name: _row(x["precision"], x["recall"], x["f1-score"], x["support"])
        for name, x in report.items()
    }
    scores = dict(zip(("precision", "recall", "f1"), map(float, averages["micro"].values())))
    return scores | {"macro_f1": float(averages["macro"]["f1-score"])}, rows


def exact_matches(found, right):
    """Tells of each answer whether it is right, but for case, articles and punctuation.

    Args:
        found: list of str.
        right: list with a list of str for each, all of which are right; an empty one where the
            right answer is none.

    Returns:
        List of 0 and 1, as the script of SQuAD 2.0 counts them.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.exact_matches(["The cat!", "x"], [["cat", "dog"], []])
        [1, 0]

    References:
        - [Rajpurkar et al., 2018](https://arxiv.org/abs/1806.03822)
    """
    return [
        max(int(normalized(answer) == text) for text in _normalized_all(texts))
        for answer, texts in zip(found, right, strict=True)
    ]


def word_f1s(found, right):
    """Returns of each answer the F1 of its words, against the right answer that is nearest.

    Args:
        found: list of str.
        right: list with a list of str for each; see `exact_matches`.

    Returns:
        List of float, as the script of SQuAD 2.0 counts them.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.word_f1s(["the black cat"], [["cat", "a dog"]])
        [0.666...]
    """
    return [
        max(_word_f1(normalized(answer).split(), text.split()) for text in _normalized_all(texts))
        for answer, texts in zip(found, right, strict=True)
    ]


def normalized(text):
    """Returns an answer in small letters, without punctuation, articles and double spaces.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.normalized("The  Black-Cat!")
        'blackcat'
    """
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def mean_reciprocal_rank(ranks):
    """Returns the mean of 1 over the rank of the first right answer.

    Args:
        ranks: list of int, 1 for those that come first.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.mean_reciprocal_rank([1, 2, 4])
        0.583...
    """
    return float(np.mean(1 / np.asarray(ranks, float)))


def recall_at(ranks, k):
    """Returns the share of questions whose first right answer is among the first `k`.

    Args:
        ranks: list of int, 1 for those that come first.
        k: int.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.recall_at([1, 2, 4, 9], k=2)
        0.5
    """
    return float(np.mean(np.asarray(ranks) <= k))


def reliability(confidences, right, bins=10):
    """Compares how sure a model is with how often it is right.

    Args:
        confidences: float `[n]`, probabilities of answers.
        right: 0 or 1 `[n]`.
        bins: int, of equal width, into which the probabilities are put.

    Returns:
        Dict of "confidence" and "accuracy", float lists with the means of each bin that is not
        empty, and "count", list of int.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.reliability([0.95, 0.97, 0.52], [1, 0, 1])["accuracy"]
        [1.0, 0.5]
    """
    confidences, right = np.asarray(confidences, float), np.asarray(right, float)
    place = np.minimum((confidences * bins).astype(int), bins - 1)
    in_bins = [place == i for i in np.unique(place)]
    return {
        "confidence": [float(confidences[x].mean()) for x in in_bins],
        "accuracy": [float(right[x].mean()) for x in in_bins],
        "count": [int(x.sum()) for x in in_bins],
    }


def expected_calibration_error(confidences, right, bins=10):
    """Returns the mean difference of confidence and accuracy of the bins, by their counts.

    Args:
        confidences: float `[n]`, probabilities of answers.
        right: 0 or 1 `[n]`.
        bins: int, see `reliability`.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.evaluation.metrics.expected_calibration_error([0.9, 0.9, 0.5], [1, 1, 1])
        0.233...

    References:
        - [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """
    rows = {name: np.array(x) for name, x in reliability(confidences, right, bins).items()}
    gaps = np.abs(rows["confidence"] - rows["accuracy"])
    return float(np.average(gaps, weights=rows["count"]))


def _row(precision, recall, f1, support):
    numbers = zip(("precision", "recall", "f1"), map(float, (precision, recall, f1)))
    return dict(numbers) | {"support": int(support)}


def _correlation(function, found, right):
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)  # NaN says it
        return float(function(np.ravel(found), np.ravel(right)).statistic)


def _normalized_all(texts):
    """The right answers that are left when normalized, [""] where there is none."""
    return [text for text in map(normalized, texts) if text] or [""]


def _word_f1(found, right):
    if not found or not right:  # no answer is right where there is none, and nowhere else
        return float(found == right)
    same = sum((collections.Counter(found) & collections.Counter(right)).values())
    return 2 * same / (len(found) + len(right))
