"""Files of texts, and of right answers of whichever task, for export and verification."""

from typing import NamedTuple

from keras_bert_lib.cli.arguments import check_readable


class TaskRows(NamedTuple):
    """The rows of a file, in its order."""

    path: str
    texts: list  # of str, [n]
    text_pairs: list | None  # of str, or of lists of choices, [n]
    labels: list | None  # as they stand in the file, [n]


def add_column_arguments(parser):
    """Adds the arguments that name the columns."""
    parser.add_argument("--text-column", default="text", help="column of the texts in these files")
    parser.add_argument(
        "--label-column",
        help="column of the right answers; by default label, where there is such a column",
    )
    parser.add_argument(
        "--text-pair-column",
        help="column of second texts, contexts or choices; by default text_pair, where there is "
        "such a column",
    )


def read_rows(path, args, flag, with_labels=True):
    """Reads a .csv, .tsv or .jsonl file, or a .txt file with a text in each line.

    Args:
        path: str.
        args: the command's arguments, which name the columns.
        flag: the argument that names the file, for messages.
        with_labels: bool, whether right answers are looked for.

    Returns:
        `TaskRows`.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, no text in it, or it has not the
            columns.
    """
    from keras_bert_lib.data import files, tables

    check_readable(path, flag)
    pair_column = label_column = None
    if path.removesuffix(".gz").lower().endswith(".txt"):
        lines = (line.rstrip("\n") for line in files.read_lines(path))
        rows = [(f"{path} line", line, None, None) for line in lines if line.strip()]
    else:
        names = tables.column_names(path)
        pair_column = args.text_pair_column or ("text_pair" if "text_pair" in names else None)
        if with_labels:
            label_column = args.label_column or ("label" if "label" in names else None)
        columns = (args.text_column, pair_column, label_column)
        rows = list(tables.table_rows(path, columns))
    if not rows:
        raise ValueError(f"{flag}: there is no text in {path}.")
    for where, text, *_ in rows:
        if not isinstance(text, str):
            raise ValueError(f"{where} has a text that is no string. Received: {text!r:.80}")
    _, texts, text_pairs, labels = (list(column) for column in zip(*rows))
    return TaskRows(
        path, texts, text_pairs if pair_column else None, labels if label_column else None
    )


def fitted(rows, model, pairs):
    """Returns rows with second texts and right answers in the form that `verify` wants.

    Args:
        rows: `TaskRows`.
        model: the model of a task.
        pairs: bool, whether a classifier takes pairs.

    Raises:
        ValueError: if the rows have no second texts and the model takes some, or a label is none
            of the model's task.
    """
    from keras_bert_lib.export import comparison

    task = comparison.task_of(model)
    text_pairs, labels = rows.text_pairs, rows.labels
    takes_pairs = pairs or task in (comparison.ANSWERS, comparison.CHOICE)
    if takes_pairs and text_pairs is None:
        raise ValueError(
            f"{rows.path} has no second texts, and the model takes pairs. Name their column with "
            "--text-pair-column."
        )
    if not takes_pairs and not (task == comparison.EMBEDDING and labels is not None):
        text_pairs = None
    if labels is not None:
        convert = {
            comparison.MULTI_LABEL: _several,
            comparison.REGRESSION: _numbers,
            comparison.EMBEDDING: float,
            comparison.CHOICE: int,
            comparison.ENTITIES: _entities,
            comparison.ANSWERS: _several,
            comparison.MASKED_LM: _several,
        }.get(task, _name)
        labels = [_converted(rows.path, i, label, convert) for i, label in enumerate(labels)]
    if task in (comparison.SINGLE_LABEL, comparison.MULTI_LABEL) and labels is not None:
        labels = _known(rows.path, labels, model.labels)
    return rows._replace(text_pairs=text_pairs, labels=labels)


def _known(path, labels, known):
    """The labels, which may be given by their numbers, as names that the model knows."""
    found = {name for row in labels for name in (row if isinstance(row, list) else [row])}
    unknown = sorted(found - set(known))
    numbers = {str(i): name for i, name in enumerate(known)}
    if unknown and found <= set(numbers):
        return [
            [numbers[i] for i in row] if isinstance(row, list) else numbers[row] for row in labels
        ]
    if unknown:
        raise ValueError(
            f"{path} has labels that the model has not, whose labels are "
            f"{', '.join(known[:20])}. Received: {', '.join(unknown[:20])}"
        )
    return labels


def _converted(path, i, label, convert):
    try:
        return convert(label)
    except (TypeError, ValueError, KeyError):
        raise ValueError(
            f"{path} row {i + 1} has a label that is none of this task. Received: {label!r:.80}"
        ) from None


def _name(label):
    """A label as str; 1.0 is 1."""
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if not isinstance(label, (str, int)):
        raise ValueError
    return str(label).strip()


def _several(label):
    """A list of names: as it stands, or of what a cell parts with bars."""
    if isinstance(label, list):
        return [_name(name) for name in label]
    return [name.strip() for name in str(label).split("|") if name.strip()]


def _numbers(label):
    return [float(number) for number in label] if isinstance(label, list) else float(label)


def _entities(label):
    keys = ("start", "end", "label")
    rows = [[e[key] for key in keys] if isinstance(e, dict) else e for e in label]
    return [(int(start), int(end), str(name)) for start, end, name in rows]
