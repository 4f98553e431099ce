"""Texts of files of whichever task, and their right answers, for prediction and export."""

import json
from typing import NamedTuple

from keras_bert_lib.cli import tasks
from keras_bert_lib.cli.arguments import check_readable

_MOST_MASKS = 8  # that an exported file answers in a text


class TaskRows(NamedTuple):
    """The rows of a file, in its order."""

    path: str
    texts: list  # of str, [n]
    text_pairs: list | None  # of str, or of lists of choices, [n]
    labels: list | None  # as they stand in the file, [n]


class WordTags(NamedTuple):
    """The right answer to a text that is told word by word."""

    places: list  # of (start, end) in characters, one a word
    tags: list  # of str


def has_columns(path):
    """Whether the name of a file says that it is a table or the file of a task.

    A file of another name has a text in each line.
    """
    return path.removesuffix(".gz").lower().endswith((*tasks.TABLES, ".conll", ".json"))


def read_rows(path, task, flag, with_labels=True):
    """Reads a file into memory.

    Args:
        path: str; .txt has a text in each line.
        task: one of `tasks.TASKS`, with the columns of the file.
        flag: the argument that names the file, for messages.
        with_labels: bool, whether right answers are read where the file has some.

    Returns:
        `TaskRows`.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, no text in it, or it has not the
            columns.
    """
    check_readable(path, flag)
    rows = list(text_rows(path, task, with_labels))
    if not rows:
        raise ValueError(f"{flag}: there is no text in {path}.")
    _, texts, text_pairs, labels = (list(column) for column in zip(*rows))
    return TaskRows(
        path,
        texts,
        None if text_pairs[0] is None else text_pairs,
        None if all(label is None for label in labels) else labels,
    )


def text_rows(path, task, with_labels=False, may_be_empty=False):
    """Reads a file row by row.

    Args:
        path: str.
        task: one of `tasks.TASKS`, with the columns of the file.
        with_labels: bool, whether right answers are read where the file has some.
        may_be_empty: bool, whether texts may be; else they are missing.

    Yields:
        `(where, text, second text or list of choices or None, right answer or None)`. `where` opens
        a message that something is wrong with the row.
    """
    from keras_bert_lib.data import files

    name = path.removesuffix(".gz").lower()
    is_table = name.endswith(tasks.TABLES)
    if name.endswith(".txt"):
        lines = (line.rstrip("\n") for line in files.read_checked_lines(path))
        yield from ((f"{path} line", line, None, None) for line in lines if line.strip())
    elif isinstance(task, tasks.QuestionAnswering) and name.endswith(".json"):
        yield from _squad_rows(path)
    elif isinstance(task, tasks.TokenClassification) and (
        not is_table or (name.endswith(".tsv") and task.label_column is not None)
    ):
        yield from _word_rows(path, task, with_labels)
    else:
        yield from _table_rows(path, task, with_labels, may_be_empty)


def _table_rows(path, task, with_labels, may_be_empty):
    from keras_bert_lib.data import labelled_texts, tables

    text, second, label = _columns(task)
    seconds = second if isinstance(second, list) else [second]
    empty = (label, text, *seconds) if may_be_empty else (label,)
    rows = tables.table_rows(
        path,
        (text, label if with_labels else None, *seconds),
        ("text_column", "label_column", *["text_pair_column"] * len(seconds)),
        may_be_empty=empty,
    )
    for where, cell, answer, *cells in rows:
        if isinstance(task, tasks.TokenClassification) and isinstance(cell, list):
            yield where, *_of_words(cell, answer)
            continue
        cell = labelled_texts.as_str("" if cell is None else cell, where)
        if second is None:
            yield where, cell, None, answer
        elif isinstance(task, tasks.MultipleChoice):
            cells = cells if isinstance(second, list) else labelled_texts.split_cell(cells[0])
            choices = [labelled_texts.as_str(x, where, "a choice") for x in cells]
            yield where, cell, choices, answer
        else:
            pair = "" if cells[0] is None else cells[0]
            yield where, cell, labelled_texts.as_str(pair, where), answer


def _columns(task):
    """Returns the columns of the texts, of the second ones, and of the right answers."""
    if isinstance(task, tasks.QuestionAnswering):
        return task.question_column, task.context_column, task.answer_column
    if isinstance(task, tasks.MultipleChoice):
        return task.text_column, task.choices_column, task.label_column
    if isinstance(task, tasks.SentenceEmbedding):
        return task.text_column, task.text_pair_column, task.score_column
    return task.text_column, getattr(task, "text_pair_column", None), task.label_column


def _word_rows(path, task, with_labels):
    """Rows of a file in CoNLL's columns."""
    from keras_bert_lib.data import labelled_tokens

    if with_labels:
        columns = (task.text_column, task.label_column, None)
        rows, _ = labelled_tokens.labelled_token_rows(path, *columns)
    else:
        rows = ((where, x, None) for where, x in labelled_tokens.word_rows(path, task.text_column))
    for where, words, tags in rows:
        yield where, *_of_words(words, tags)


def _of_words(words, tags):
    """Returns the text that words make, no second one, and what their tags say of it."""
    words = [str(word) for word in words]
    if tags is None or not all(isinstance(tag, str) for tag in tags):
        return " ".join(words), None, tags
    places, start = [], 0
    for word in words:
        places.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), None, WordTags(places, list(tags))


def _squad_rows(path):
    """Rows of SQuAD's JSON, which need not have answers."""
    from keras_bert_lib.data import files

    try:
        articles = json.loads("".join(files.read_checked_lines(path)))["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                for item in paragraph["qas"]:
                    answers = [] if item.get("is_impossible") else item.get("answers")
                    if answers is not None:
                        answers = [answer["text"] for answer in answers]
                    yield path, item["question"], paragraph["context"], answers
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f'{path} is not in the format of SQuAD: an object with "data", a list of articles with '
            f'"paragraphs", each with "context" and "qas". Received: {type(error).__name__} {error}'
        ) from None


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
    from keras_bert_lib.models import BertClassifier

    task = comparison.task_of(model)
    text_pairs, labels = rows.text_pairs, rows.labels
    takes_pairs = pairs or task in (comparison.ANSWERS, comparison.CHOICE)
    if takes_pairs and text_pairs is None:
        raise ValueError(
            f"{rows.path} has no second texts, and the model takes pairs. Name their column with "
            "--text-pair-column."
        )
    if not takes_pairs and text_pairs is not None and isinstance(model, BertClassifier):
        raise ValueError(
            f"{rows.path} has pairs of texts, and the file would take single ones. Add --pairs, or "
            "name the column of the single texts with --text-column."
        )
    if not takes_pairs and not (task == comparison.EMBEDDING and labels is not None):
        text_pairs = None
    if labels is not None:
        convert = {
            comparison.MULTI_LABEL: _several,
            comparison.REGRESSION: _numbers,
            comparison.EMBEDDING: float,
            comparison.ENTITIES: _entities,
            comparison.ANSWERS: _answers,
            comparison.MASKED_LM: _several,
        }.get(task, _name)
        if task == comparison.CHOICE:
            labels = [_choice(*row) for row in zip(labels, text_pairs)]
            convert = int
        if task == comparison.ENTITIES:
            labels = _untagged(labels)
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
    from keras_bert_lib.data.labelled_texts import split_cell

    return [_name(name) for name in split_cell(label)]


def _answers(label):
    """Right answers: a text is one, whatever is in it, unless it is a list."""
    if isinstance(label, dict):  # as Hugging Face has them
        label = label["text"]
    if isinstance(label, str) and not label.lstrip().startswith("["):
        return [label]
    return _several(label)


def _choice(label, choices):
    """The place of the right choice, which may be given itself."""
    is_text = isinstance(label, str) and choices.count(label) == 1
    return choices.index(label) if is_text else label


def _numbers(label):
    from keras_bert_lib.data.labelled_texts import split_cell

    numbers = [float(number) for number in split_cell(label)]
    return numbers[0] if len(numbers) == 1 else numbers


def _untagged(labels):
    """Right answers with entities in place of the tags of words."""
    from keras_bert_lib.models.entity_decoding import read_labels

    tags = sorted({tag for row in labels if isinstance(row, WordTags) for tag in row.tags})
    read = read_labels(tags)
    known = {
        tag: (read.types[type_id] if type_id >= 0 else None, begins, ends)
        for tag, type_id, begins, ends in zip(tags, read.type_ids, read.begins, read.ends)
    }
    return [_merged(row, known) if isinstance(row, WordTags) else row for row in labels]


def _merged(row, known):
    """The entities that tags of words tell, as `predict_text` of a model divides them."""
    entities, goes_on = [], None  # the type that the next word may belong to
    for (start, end), tag in zip(row.places, row.tags):
        name, begins, ends = known[tag]
        if name is not None and name == goes_on and not begins:
            entities[-1] = (entities[-1][0], end, name)
        elif name is not None:
            entities.append((start, end, name))
        goes_on = None if ends else name
    return entities


def _entities(label):
    keys = ("start", "end", "label")
    rows = [[e[key] for key in keys] if isinstance(e, dict) else e for e in label]
    return [(int(start), int(end), str(name)) for start, end, name in rows]


def masked(rows, model):
    """Returns rows of a model that fills masks, where they have none, with some and what was there.

    As `kbl.evaluation.evaluate` does; what has no [MASK] has nothing to be compared.
    """
    from keras_bert_lib.evaluation.evaluate import places_to_mask

    tokenizer = model.tokenizer
    mask = tokenizer.id_to_token(tokenizer.mask_token_id)
    if rows.labels is not None or any(mask in text for text in rows.texts):
        return rows
    texts, labels = [], []
    for i, text in enumerate(rows.texts):
        tokens = tokenizer([text], return_offsets=True)
        ids, offsets = (tokens[name][0].numpy() for name in ("token_ids", "char_offsets"))
        chosen = places_to_mask(ids, tokenizer, i)[:_MOST_MASKS]
        for j in reversed(chosen):
            start, end = offsets[j]
            text = text[:start] + mask + text[end:]
        texts.append(text)
        labels.append([tokenizer.id_to_token(int(ids[j])) for j in chosen])
    return rows._replace(texts=texts, labels=labels)
