"""Readers of questions on texts that hold the answers: SQuAD's JSON and tables."""

import json
import os
import re
from typing import NamedTuple

from absl import logging

from keras_bert_lib.data.files import expand_paths, is_json_lines, read_checked_lines
from keras_bert_lib.data.labelled_texts import as_str, split_cell
from keras_bert_lib.data.tables import describe, is_table, items, table_rows

_ARGUMENTS = ("question_column", "context_column", "answer_column", "answer_start_column")


class Questions(NamedTuple):
    """Questions, the texts that hold the answers, and the answers, in the order of the source."""

    ids: list[str]  # [n]
    questions: list[str]  # [n]
    contexts: list[str]  # [n]
    answers: list[list[str]]  # [n][answers], none where there is no answer
    answer_starts: list[list[int]]  # [n][answers], characters of the context before each


def read_questions(
    source,
    question_column="question",
    context_column="context",
    answer_column="answers",
    answer_start_column=None,
    id_column=None,
):
    """Reads questions and their answers into memory.

    Where an answer does not stand at its start, or no start is told, it is looked for: if it stands
    in the context once, it is there. How many starts were wrong is logged.

    Args:
        source: one of
            - a path, a glob or a list of them: `.json` in the format of SQuAD 1.1 or 2.0; tables
              `.csv`, `.tsv`, `.jsonl` or `.parquet`; each also with `.gz`, but for Parquet;
            - a pandas data frame, or a `Dataset` of Hugging Face's `datasets`;
            - a list, or a `tf.data.Dataset`, of dicts with "question", "context", "answers", and,
              where they are known, "answer_start" and "id".
        question_column: the column of the questions.
        context_column: the column of the texts that hold the answers.
        answer_column: the column of the answers: a text, empty where there is no answer; a list of
            texts; or what Hugging Face has, `{"text": [...], "answer_start": [...]}`.
        answer_start_column: the column of numbers that tell where each answer starts in its
            context, in characters; None where there is none.
        id_column: the column of the questions' ids; None numbers them from 0 on.

    Returns:
        `Questions(ids, questions, contexts, answers, answer_starts)`, lists; the last two of lists,
        which are empty for questions that have no answer.

    Raises:
        FileNotFoundError: a path does not exist, or a glob matches nothing.
        ValueError: a file is not in the format, a column is missing, or an answer is not in its
            context, or there several times and not at its start. The message names the question.

    Example:
        >>> import keras_bert_lib as kbl
        >>> row = {"question": "Who sings?", "context": "Ann sings.", "answers": "Ann"}
        >>> kbl.data.read_questions([row])
        Questions(ids=['0'], questions=['Who sings?'], contexts=['Ann sings.'], answers=[['Ann']],
            answer_starts=[[0]])

    References:
        - [Rajpurkar et al., 2016](https://arxiv.org/abs/1606.05250)
        - [Rajpurkar et al., 2018](https://arxiv.org/abs/1806.03822)
    """
    columns = (question_column, context_column, answer_column, answer_start_column, id_column)
    rows = list(question_rows(source, *columns))
    if not rows:
        raise ValueError(f"There are no questions to read. Received: {describe(source)}")
    found = sum(row[-1] for row in rows)
    if found:
        logging.warning(
            "%d answers did not stand where their start says, but once in the context: they are "
            "taken from there.",
            found,
        )
    return gather_questions(rows)


def question_rows(
    source, question_column, context_column, answer_column, answer_start_column, id_column
):
    """Reads questions one by one; see `read_questions`.

    Yields:
        `(id, question, context, answers, starts, found)`: the last tells how many answers did not
        stand where their start says.
    """
    columns = (question_column, context_column, answer_column, answer_start_column, id_column)
    for number, (where, name, question, context, answers, starts) in enumerate(
        _raw_rows(source, columns)
    ):
        if name is not None:
            name = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
            where = f"{where}, question {name}"
        question = as_str(question, where, "a question")
        # Offsets count the characters of what UTF-8 can hold.
        context = re.sub("[\ud800-\udfff]", "\ufffd", as_str(context, where, "a context"))
        answers, starts = _answers(answers, starts, where)
        found = 0
        for i, (answer, start) in enumerate(zip(answers, starts)):
            if start is None or start < 0 or not context.startswith(answer, start):
                starts[i] = _find(answer, context, where, start)
                found += start is not None
        yield str(number) if name is None else name, question, context, answers, starts, found


def gather_questions(rows):
    """Makes `Questions` of rows that `question_rows` yields."""
    *columns, _ = zip(*rows)
    return Questions(*(list(column) for column in columns))


def _raw_rows(source, columns):
    """Yields (where, id or None, question, context, answers, starts or None), as they stand."""
    if not is_table(source):
        yield from _dict_rows(source)
    elif not isinstance(source, (str, os.PathLike, list, tuple)):
        yield from _table_rows(source, columns)
    else:
        for path in expand_paths(source):
            if path.removesuffix(".gz").lower().endswith(".json") and not is_json_lines(path):
                yield from _squad_rows(path)
            else:
                yield from _table_rows(path, columns)


def _table_rows(source, columns):
    rows = table_rows(source, columns, (*_ARGUMENTS, "id_column"), may_be_empty=(columns[2:4]))
    for where, question, context, answers, starts, name in rows:
        yield where, name, question, context, answers, starts


def _dict_rows(source):
    for where, item in items(source):
        if not isinstance(item, dict) or not {"question", "context"} <= set(item):
            raise ValueError(
                f'{where} is no dict with "question" and "context". Received: {item!r:.80}'
            )
        yield (
            where,
            item.get("id"),
            item["question"],
            item["context"],
            item.get("answers"),
            item.get("answer_start"),
        )


def _squad_rows(path):
    try:
        articles = json.loads("".join(read_checked_lines(path)))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}.") from None
    try:
        rows = [
            (item, paragraph["context"])
            for article in articles["data"]
            for paragraph in article["paragraphs"]
            for item in paragraph["qas"]
        ]
        for item, context in rows:
            answers = [] if item.get("is_impossible") else item["answers"]
            texts = [answer["text"] for answer in answers]
            starts = [answer["answer_start"] for answer in answers]
            yield path, item["id"], item["question"], context, texts, starts
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is not in the format of SQuAD: an object with "data", a list of articles with '
            f'"paragraphs", each with "context" and "qas". Received: {type(error).__name__} {error}'
        ) from None


def _answers(answers, starts, where):
    """Returns lists of the answers and of where they start, None where that is not known."""
    if isinstance(answers, dict):
        starts = answers.get("answer_start") if starts is None else starts
        answers = answers.get("text")
    if isinstance(answers, str):
        # A text is an answer, whatever is in it, unless it is a list.
        answers = split_cell(answers) if answers.lstrip().startswith("[") else [answers]
    answers = [as_str(answer, where, "an answer") for answer in split_cell(answers)]
    answers = [answer for answer in answers if answer.strip()]
    if isinstance(starts, str) and not starts.lstrip().startswith("["):
        starts = [starts]
    starts = [] if starts is None else split_cell(starts)
    try:
        starts = [int(start) for start in starts]
    except (TypeError, ValueError):
        raise ValueError(
            f"{where} has an answer's start that is no number. Received: {starts!r:.80}"
        ) from None
    if answers and starts and len(starts) != len(answers):
        raise ValueError(
            f"{where} has {len(answers)} answers and {len(starts)} starts. Give each answer one."
        )
    if not answers:
        return [], []
    return answers, starts or [None] * len(answers)


def _find(answer, context, where, start):
    """Where the answer stands in the context, if only once."""
    count = context.count(answer)
    if count == 1:
        return context.index(answer)
    said = "" if start is None else f", and not at character {start}"
    problem = "not in its context" if count == 0 else f"{count} times in its context{said}"
    raise ValueError(
        f"{where} has an answer that is {problem}. Copy it from there, and tell its start. "
        f"Received: {answer!r:.80}"
    )
