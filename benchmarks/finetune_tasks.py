"""The tasks that `finetune.py` measures: recipes, examples and metrics, of no library of them.

The files are those of the tasks' own releases. They are read here by a few lines each, and not by
the library that is measured, so that a fault of its readers shows.
"""

import json
import re
import string
from collections import Counter
from pathlib import Path
from typing import NamedTuple


class Task(NamedTuple):
    """What is trained, on what, and how: the same for every library."""

    title: str
    kind: str  # "classification", "regression", "similarity", "tokens" or "questions"
    metric: str  # the one that is compared, of those that `score` returns
    num_train: int | None  # examples, spread over the file; None for all of them
    num_test: int | None
    epochs: int
    learning_rate: float
    batch_size: int
    max_length: int  # in pieces, special tokens included
    seeds: int  # runs, each with its own head, dropout and order of the examples


TASKS = {
    "sst2": Task("SST-2", "classification", "accuracy", 20_000, None, 1, 1e-4, 32, 128, 1),
    "stsb": Task("STS-B", "regression", "Spearman", None, None, 3, 1e-4, 32, 128, 1),
    "stsb_embedder": Task(
        "STS-B, embeddings", "similarity", "Spearman", None, None, 2, 5e-5, 32, 128, 1
    ),
    "clinc150": Task("CLINC150", "classification", "accuracy", None, None, 3, 4e-4, 64, 64, 1),
    "wnut17": Task("WNUT-17", "tokens", "entity F1", None, None, 4, 2e-4, 32, 128, 1),
    "rte": Task("RTE", "classification", "accuracy", None, None, 3, 1e-4, 32, 128, 3),
    "sst2_small": Task("SST-2", "classification", "accuracy", 1_000, None, 3, 1e-4, 32, 128, 3),
    "squad": Task("SQuAD 1.1", "questions", "F1", 10_000, 1_000, 1, 2e-4, 16, 384, 1),
}
STRIDE = 128  # pieces that a window of a long context shares with the one before
MAX_ANSWER_PIECES = 30


def read(name, split, data, limit=None):
    """Reads the examples of a task.

    Args:
        name: str, a key of `TASKS`.
        split: "train" or "test"; the latter is the development set where there are no labels of a
            test set, or several.
        data: str, the folder with the data of all tasks.
        limit: int or None, the most examples.

    Returns:
        List of examples. Of classes, numbers and similarities `(text, pair, answer)`, `pair` None
        or str, and `answer` a str or a float; of tokens `(words, tags)`; of questions dicts of
        `question`, `context`, `answer_start`, in characters, and `answers`, a list of str.
    """
    task, train = TASKS[name], split == "train"
    examples = {
        "sst2": read_sst2,
        "stsb": read_stsb,
        "stsb_embedder": read_stsb,
        "clinc150": read_clinc150,
        "wnut17": read_wnut17,
        "rte": read_rte,
        "sst2_small": read_sst2,
        "squad": read_squad,
    }[name](Path(data), train)
    counts = [len(examples), task.num_train if train else task.num_test, limit]
    count = min(count for count in counts if count is not None)
    # The examples of a text stand side by side in some files, so these are taken from all over.
    return [examples[i * len(examples) // count] for i in range(count)]


def read_table(path):
    """Returns the rows of a tab-separated file of GLUE, dicts by the names in its first row."""
    header, *rows = [line.split("\t") for line in path.read_text("utf-8").split("\n") if line]
    return [dict(zip(header, row)) for row in rows]


def read_sst2(data, train):
    rows = read_table(data / "glue" / "SST-2" / ("train.tsv" if train else "dev.tsv"))
    return [(row["sentence"].strip(), None, row["label"]) for row in rows]


def read_stsb(data, train):
    rows = read_table(data / "glue" / "STS-B" / ("train.tsv" if train else "dev.tsv"))
    return [(row["sentence1"], row["sentence2"], float(row["score"])) for row in rows]


def read_rte(data, train):
    rows = read_table(data / "glue" / "RTE" / ("train.tsv" if train else "dev.tsv"))
    return [(row["sentence1"], row["sentence2"], row["label"]) for row in rows]


def read_clinc150(data, train):
    # Texts that fit no intent stand apart, as `oos_train` and so on.
    splits = json.loads((data / "clinc150" / "data_full.json").read_text("utf-8"))
    return [(text, None, intent) for text, intent in splits["train" if train else "test"]]


def read_wnut17(data, train):
    # Words of the test set have several tags.
    name = "wnut17train.conll" if train else "emerging.dev.conll"
    sentences = [([], [])]
    for line in (data / "ner_wnut17" / name).read_text("utf-8").split("\n"):
        if line.strip():
            word, tag = line.split("\t")
            if word != "\ufe0f":  # which only says how the one before looks, and is no piece
                sentences[-1][0].append(word)
                sentences[-1][1].append(tag)
        elif sentences[-1][0]:
            sentences.append(([], []))
    return [sentence for sentence in sentences if sentence[0]]


def read_squad(data, train):
    path = data / "squad" / ("train-v1.1.json" if train else "dev-v1.1.json")
    return [
        {
            "question": question["question"],
            "context": paragraph["context"],
            "answers": [answer["text"] for answer in question["answers"]],
            "answer_start": question["answers"][0]["answer_start"],
        }
        for article in json.loads(path.read_text("utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def labels_of(examples):
    """Returns the labels, or the tags of the words, that occur in examples, sorted."""
    if isinstance(examples[0][0], list):
        return sorted({tag for _, tags in examples for tag in tags})
    return sorted({label for _, _, label in examples})


def score(name, examples, predictions):
    """Returns the metrics of predictions, a dict of float, all in hundredths.

    Args:
        name: str, a key of `TASKS`.
        examples: list, as `read` returns it.
        predictions: list of one answer an example: a label, a number, a list of tags or a str.
    """
    kind = TASKS[name].kind
    if kind == "classification":
        right = [answer == label for answer, (_, _, label) in zip(predictions, examples)]
        return {"accuracy": 100 * sum(right) / len(right)}
    if kind in ("regression", "similarity"):
        from scipy import stats

        numbers = [number for _, _, number in examples]
        return {
            "Spearman": 100 * float(stats.spearmanr(predictions, numbers).statistic),
            "Pearson": 100 * float(stats.pearsonr(predictions, numbers).statistic),
        }
    if kind == "tokens":
        from seqeval.metrics import f1_score

        return {"entity F1": 100 * float(f1_score([tags for _, tags in examples], predictions))}
    return score_answers(predictions, [example["answers"] for example in examples])


def score_answers(predictions, answers):
    """Returns the exact match and the F1 of SQuAD: of the answer that fits best, in hundredths.

    References:
        - [Rajpurkar et al., 2016](https://arxiv.org/abs/1606.05250)
    """
    exact, f1 = [], []
    for prediction, right in zip(predictions, answers):
        words = normalize_answer(prediction)
        rights = [normalize_answer(text) for text in right]
        exact.append(float(words in rights))
        f1.append(max(words_f1(words, other) for other in rights))
    return {"F1": 100 * sum(f1) / len(f1), "EM": 100 * sum(exact) / len(exact)}


def normalize_answer(text):
    """Returns the words of an answer, without case, punctuation and articles."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def words_f1(words, right):
    """Returns the F1 of the words of an answer, two lists of str, each as often as it occurs."""
    common = sum((Counter(words) & Counter(right)).values())
    return 2 * common / (len(words) + len(right)) if common else 0.0
