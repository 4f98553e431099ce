"""The tasks of GLUE, by the columns of their official files."""

import os
from typing import NamedTuple

from absl import logging

from keras_bert_lib.data.files import read_lines
from keras_bert_lib.data.labelled_texts import REGRESSION, SINGLE_LABEL, read_labelled_texts


class _Task(NamedTuple):
    texts: tuple  # of str, one column or two
    label: str
    labels: tuple | None  # of str; None for numbers


_YES_NO = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")
_TASKS = {
    "CoLA": _Task(("sentence",), "label", _YES_NO),
    "SST-2": _Task(("sentence",), "label", _YES_NO),
    "MRPC": _Task(("#1 String", "#2 String"), "Quality", _YES_NO),
    "STS-B": _Task(("sentence1", "sentence2"), "score", None),
    "QQP": _Task(("question1", "question2"), "is_duplicate", _YES_NO),
    "MNLI": _Task(
        ("sentence1", "sentence2"), "gold_label", ("contradiction", "entailment", "neutral")
    ),
    "QNLI": _Task(("question", "sentence"), "label", _ENTAILMENT),
    "RTE": _Task(("sentence1", "sentence2"), "label", _ENTAILMENT),
    "WNLI": _Task(("sentence1", "sentence2"), "label", _YES_NO),
}
# Its files have no header.
_COLA_COLUMNS = ("source", "label", "notes", "sentence")


def read_glue(directory_or_file, task, split="train"):
    r"""Reads a task of the GLUE benchmark from its official tab-separated file.

    Rows that lack a cell, of which QQP has a few, are left out and their number is logged.

    Args:
        directory_or_file: a file; or the folder of the task, with `train.tsv` and `dev.tsv`; or the
            folder with the folders of all tasks.
        task: "CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE" or "WNLI".
        split: "train" or "dev", of MNLI also "dev_matched" and "dev_mismatched"; which file of a
            folder to read. The test sets have no labels.

    Returns:
        `LabelledTexts`; the label ids of STS-B are float32 scores from 0 to 5.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is no such task, or the file is not its.

    Example:
        >>> import keras_bert_lib as kbl
        >>> os.makedirs("glue/SST-2")
        >>> with open("glue/SST-2/dev.tsv", "w") as file:
        ...     _ = file.write("sentence\tlabel\na fine film \t1\ndull \t0\n")
        >>> kbl.data.read_glue("glue", "SST-2", split="dev").label_ids
        array([1, 0], dtype=int32)

    References:
        - [Wang et al., 2018](https://arxiv.org/abs/1804.07461)
    """
    tasks = {_plain(name): name for name in _TASKS}
    if _plain(task) not in tasks:
        raise ValueError(f"`task` must be one of {', '.join(_TASKS)}. Received: {task!r}")
    task = tasks[_plain(task)]
    path = _find_file(os.fspath(directory_or_file), task, split)
    texts, label, labels = _TASKS[task]
    header, *rows = _cells(path)
    if task == "CoLA" and "label" not in header:
        header, rows = list(_COLA_COLUMNS), [header, *rows]
    columns = [*texts, label]
    missing = [name for name in columns if name not in header]
    if missing:
        hint = " The test sets have no labels." if missing == [label] else ""
        names = ", ".join(f'"{name}"' for name in header)
        raise ValueError(
            f'{path} has no column "{missing[0]}", so it is no labelled file of {task}.{hint} '
            f"Received columns: {names}"
        )
    places = [header.index(name) for name in columns]
    whole = [row for row in rows if len(row) > max(places) and all(row[i] for i in places)]
    if len(whole) < len(rows):
        logging.warning("%s: left out %d rows that lack a cell.", path, len(rows) - len(whole))
    items = [(tuple(row[i] for i in places[:-1]), row[places[-1]]) for row in whole]
    if len(texts) == 1:
        items = [(text, answer) for (text,), answer in items]
    try:
        problem_type = REGRESSION if labels is None else SINGLE_LABEL
        return read_labelled_texts(items, labels=labels, problem_type=problem_type)
    except ValueError as error:
        raise ValueError(f"{path} is no file of {task}: {error}") from None


def _plain(name):
    return str(name).lower().replace("-", "").replace("_", "")


def _find_file(path, task, split):
    if os.path.isfile(path):
        return path
    folders = {_plain(name): name for name in os.listdir(path)} if os.path.isdir(path) else {}
    if _plain(task) in folders:
        path = os.path.join(path, folders[_plain(task)])
    names = [f"{split}.tsv", f"{split}_matched.tsv", f"msr_paraphrase_{split}.txt"]
    for name in names:
        file = os.path.join(path, name)
        if os.path.isfile(file):
            return file
    raise FileNotFoundError(
        f"There is no file {os.path.join(path, names[0])}. Give the folder of {task}, or its file."
    )


def _cells(path):
    lines = (line.rstrip("\n") for line in read_lines(path))
    rows = [[cell.strip() for cell in line.split("\t")] for line in lines if line.strip()]
    if not rows:
        raise ValueError(f"{path} is empty. Give a file of GLUE. Received: {path}")
    return rows
