"""What the tasks of `finetune` and `evaluate` differ in: their files, models and batches."""

import argparse
import dataclasses
import itertools
import pathlib
import re

# As the command calls them, and as the models do.
PROBLEM_TYPES = {
    "single-label": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}
LONG_TEXTS = {
    "head": "head",
    "head-and-tail": "head_and_tail",
    "mean-of-windows": "mean_of_windows",
    "max-of-windows": "max_of_windows",
}

# What columns are called. Of each list the first that a file has is taken.
_PAIRS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("anchor", "positive"),
)
_TEXTS = ("text", "sentence", "review", "content", "message", "comment", "tweet", "utterance")
_TEXTS += ("question", "document", "description", "body", "title", "context", "prompt")
_LABELS = ("label", "labels", "category", "class", "target", "sentiment", "intent", "topic")
_LABELS += ("score", "similarity", "rating", "stars", "language", "answer")
_CHOICES = ("choices", "endings", "options", "text_pair")
_TOKENS, _TAGS = ("tokens", "words"), ("tags", "ner_tags", "labels", "label")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
# Recipes that are not for all tasks, and what they are for.
RECIPES = {
    "problem_type": "text-classification",
    "long_texts": "text-classification",
    "class_weights": "texts with one label each",
    "label_smoothing": "labels of texts or of words, and choices",
    "pooling": "sentence-embedding",
}

# Which flag names the column that a task has in which field.
_FLAGS = {
    "text_column": "--text-column",
    "question_column": "--text-column",
    "context_column": "--text-pair-column",
    "text_pair_column": "--text-pair-column",
    "choices_column": "--text-pair-column",
    "label_column": "--label-column",
    "answer_column": "--label-column",
    "score_column": "--label-column",
}
# So many labels tell what kind they are of, and so many texts how long they are.
_LOOKED_AT = 10_000
# Where this share of the labels are numbers, the others are taken for slips.
_ALMOST_ALL = 0.8
_TOKENIZED = 1000


def add_column_arguments(parser):
    """Adds the arguments that say what is in a file of examples."""
    parser.add_argument(
        "--text-column",
        metavar="NAME",
        help="column of the texts; of the words, by name or number, for token-classification "
        "(default: text, sentence or the like; the first)",
    )
    parser.add_argument(
        "--text-pair-column",
        metavar="NAME",
        help="column of second texts, for pairs (default: text_pair, sentence2 or the like)",
    )
    parser.add_argument(
        "--label-column",
        metavar="NAME",
        help="column of the labels (default: label, category or the like; of words the last)",
    )


def guess_task(path):
    """Returns the name of the task that a file of examples is for, by its name and its columns.

    Raises:
        ValueError: If it is a spreadsheet.
    """
    if path.lower().endswith((".xlsx", ".xls", ".ods")):
        raise ValueError(f"A spreadsheet is not read. Save its table as .csv. Received: {path}")
    if path.removesuffix(".gz").lower().endswith(".json"):
        return "question-answering"
    if not _is_table(path):
        return "token-classification"
    names = set(_columns(path))
    if {"question", "context"} <= names:
        return "question-answering"
    if "choices" in names:
        return "multiple-choice"
    if {"anchor", "positive"} <= names:
        return "sentence-embedding"
    if names & set(_TOKENS) and names & set(_TAGS):
        return "token-classification"
    return "text-classification"


# Each task says what a user calls its examples (`noun`), the loss to train by, the metric that
# tells how good a model is, what `keras-bert predict` is asked, and whether the encoder needs its
# pooler; and how its columns are found, files read, models and batches made. `recipes` are those
# of `RECIPES` that it takes, `cut_texts` the texts, with their pairs, that are cut if too long.


@dataclasses.dataclass(frozen=True)
class TextClassification:
    """Labels, or numbers, for texts or pairs of texts."""

    text_column: str = "text"
    text_pair_column: str | None = None
    label_column: str = "label"
    problem_type: str = "single-label"

    noun = "texts"
    loss = "auto"
    use_pooler = True

    @property
    def metric(self):
        """The metric of an evaluation that tells how good a model is."""
        metrics = {"single-label": "accuracy", "multi-label": "micro_f1", "regression": "spearman"}
        return metrics[self.problem_type]

    @property
    def recipes(self):
        """Those of `RECIPES` that there are for the labels."""
        recipes = {
            "single-label": ("class_weights", "label_smoothing"),
            "multi-label": ("label_smoothing",),
            "regression": (),
        }
        return ("problem_type", "long_texts", *recipes[self.problem_type])

    @property
    def asked(self):
        """What `keras-bert predict` is asked, beside the model."""
        return "--pairs --file pairs.tsv" if self.text_pair_column else '"your text"'

    @classmethod
    def of_file(cls, path, args, needs_labels=True):
        """Returns the task with the columns that the arguments name, or that the file has."""
        names = _columns(path, args)
        text, pair, label = args.text_column, args.text_pair_column, args.label_column
        if text is None and pair is None:
            text, pair = _first_pair(names)
        label = label or _first(_LABELS, names, {text, pair})
        text = text or _first(_TEXTS, names, {pair, label})
        if len(names) == 2 and pair is None and (text is None) != (label is None):
            [other] = [name for name in names if name not in (text, label)]  # there is one left
            text, label = text or other, label or other
        _check_found(path, names, {"--text-column": text, "--label-column": label}, needs_labels)
        problem_type = getattr(args, "problem_type", None)
        if problem_type is None:
            problem_type = _guess_problem_type(path, label) if needs_labels else "single-label"
        return cls(text, pair, label, problem_type)

    def __str__(self):
        pairs = f' and "{self.text_pair_column}"' if self.text_pair_column else ""
        return (
            f'texts from column "{self.text_column}"{pairs}, labels from "{self.label_column}" '
            f"({self.problem_type})"
        )

    def read(self, path, labels=None):
        """Reads examples, whose labels are `labels` where these are given."""
        from keras_bert_lib.data import read_labelled_texts

        return read_labelled_texts(
            path,
            self.text_column,
            self.label_column,
            self.text_pair_column,
            labels=None if self.problem_type == "regression" else labels,
            problem_type=PROBLEM_TYPES[self.problem_type],
        )

    def max_length(self, rows, tokenizer):
        """The most tokens that are read of a text where the user does not say."""
        some = slice(None, None, len(rows.texts) // _TOKENIZED + 1)
        texts = (rows.texts[some], rows.text_pairs and rows.text_pairs[some])
        return 256 if _is_cut(*texts, tokenizer, 128).mean() > 0.05 else 128

    def cut_texts(self, rows):
        """Returns a list of `(texts, text_pairs)`."""
        return [(rows.texts, rows.text_pairs)]

    def make_model(self, encoder, tokenizer, rows, recipe):
        """Returns a model for labels as those of `rows`."""
        from keras_bert_lib.models import BertClassifier

        is_regression = self.problem_type == "regression"
        numbers = rows.label_ids.shape[1] if rows.label_ids.ndim > 1 else 1
        return BertClassifier(
            encoder,
            num_classes=numbers if is_regression else None,
            labels=None if is_regression else rows.labels,
            tokenizer=tokenizer,
            problem_type=PROBLEM_TYPES[self.problem_type],
            long_texts=LONG_TEXTS[recipe.long_texts],
        )

    def batches(self, rows, model, recipe, **options):
        """Returns the `tf.data.Dataset` for `fit`."""
        from keras_bert_lib.data import text_classification

        # Windows are for answering: what is trained is their first.
        long_texts = LONG_TEXTS[recipe.long_texts]
        return text_classification(
            rows,
            model.tokenizer,
            long_texts=long_texts if long_texts == "head_and_tail" else "head",
            **options,
        )


@dataclasses.dataclass(frozen=True)
class TokenClassification:
    """Labels for words: named entities and the like."""

    text_column: str | int = 0
    label_column: str | int = -1

    noun = "sentences"
    loss = "auto"
    metric = "f1"
    asked = '"your text"'
    use_pooler = False
    recipes = ("label_smoothing",)

    @classmethod
    def of_file(cls, path, args, needs_labels=True):
        """Returns the task with the columns that the arguments name, or that the file has."""
        columns = (args.text_column or "0", args.label_column or "-1")
        are_numbers = any(
            x and isinstance(_place(x), int) for x in (args.text_column, args.label_column)
        )
        is_tsv = path.removesuffix(".gz").lower().endswith(".tsv")
        if not _is_table(path) or (is_tsv and are_numbers):
            return cls(*map(_place, columns))
        names = _columns(path, args)
        words = args.text_column or _first((*_TOKENS, *_TEXTS), names)
        tags = args.label_column or _first(_TAGS, names, {words})
        remedy = " Or give its number, from 0 on, where no line names the columns." * is_tsv
        found = {"--text-column": words, "--label-column": tags}
        _check_found(path, names, found, needs_labels, remedy)
        return cls(words, tags)

    def __str__(self):
        return f"words from column {self.text_column!r}, tags from {self.label_column!r}"

    def read(self, path, labels=None):
        """Reads examples, whose labels are `labels` where these are given."""
        from keras_bert_lib.data import read_labelled_tokens

        return read_labelled_tokens(path, self.text_column, self.label_column, labels)

    def max_length(self, rows, tokenizer):
        """The most tokens that are read at once where the user does not say."""
        return 128

    def cut_texts(self, rows):
        """Returns no texts: long ones are read in parts."""
        return []

    def make_model(self, encoder, tokenizer, rows, recipe):
        """Returns a model for labels as those of `rows`."""
        from keras_bert_lib.models import BertTokenClassifier

        return BertTokenClassifier(encoder, tokenizer=tokenizer, labels=rows.labels)

    def batches(self, rows, model, recipe, **options):
        """Returns the `tf.data.Dataset` for `fit`."""
        from keras_bert_lib.data import token_classification

        return token_classification(rows, model.tokenizer, labels=model.labels, **options)


@dataclasses.dataclass(frozen=True)
class QuestionAnswering:
    """Where in a text the answer to a question stands."""

    question_column: str = "question"
    context_column: str = "context"
    answer_column: str = "answers"
    answer_start_column: str | None = None

    noun = "questions"
    loss = "auto"
    metric = "f1"
    asked = "--file questions-and-contexts.tsv"
    use_pooler = False
    recipes = ()

    @classmethod
    def of_file(cls, path, args, needs_labels=True):
        """Returns the task with the columns that the arguments name, or that the file has."""
        if not _is_table(path):
            return cls()
        names = _columns(path, args)
        question = args.text_column or _first(("question", "text"), names)
        context = args.text_pair_column or _first(("context", "text_pair"), names)
        answers = args.label_column or _first(("answers", "answer", "label"), names)
        found = {"--text-column": question, "--text-pair-column": context}
        _check_found(path, names, {**found, "--label-column": answers}, needs_labels)
        return cls(question, context, answers, _first(("answer_start", "answer_starts"), names))

    def __str__(self):
        return "questions, their contexts, and answers in these"

    def read(self, path, labels=None):
        """Reads examples."""
        from keras_bert_lib.data import read_questions

        return read_questions(
            path,
            self.question_column,
            self.context_column,
            self.answer_column,
            self.answer_start_column,
        )

    def max_length(self, rows, tokenizer):
        """The most tokens of a question and its context, or a part of it, that are read at once."""
        return 384

    def cut_texts(self, rows):
        """Returns no texts: long ones are read in windows."""
        return []

    def make_model(self, encoder, tokenizer, rows, recipe):
        """Returns a model, for questions that may have no answer where some of `rows` have none."""
        from keras_bert_lib.models import BertQuestionAnswerer

        return BertQuestionAnswerer(
            encoder, tokenizer=tokenizer, may_have_no_answer=not all(map(len, rows.answers))
        )

    def batches(self, rows, model, recipe, **options):
        """Returns the `tf.data.Dataset` for `fit`."""
        from keras_bert_lib.data import question_answering
        from keras_bert_lib.models.windows import window_stride

        stride = window_stride(recipe.max_length)  # as the model reads long contexts
        return question_answering(rows, model.tokenizer, stride=stride, **options)


@dataclasses.dataclass(frozen=True)
class MultipleChoice:
    """Which of several texts fits another."""

    text_column: str = "text"
    choices_column: str | list = "choices"
    label_column: str = "label"

    noun = "texts"
    loss = "auto"
    metric = "accuracy"
    asked = "--file texts-and-choices.tsv"
    use_pooler = True
    recipes = ("label_smoothing",)

    @classmethod
    def of_file(cls, path, args, needs_labels=True):
        """Returns the task with the columns that the arguments name, or that the file has."""
        names = _columns(path, args)
        choices = args.text_pair_column or _first(_CHOICES, names)
        if choices is None:  # a column each, as SWAG has them
            choices = [name for name in names if re.fullmatch(r"(ending|choice|option)_?\d", name)]
        label = args.label_column or _first(_LABELS, names)
        text = args.text_column or _first((*_TEXTS, "startphrase", "sent1"), names, {label})
        found = {"--text-column": text, "--text-pair-column": choices, "--label-column": label}
        _check_found(path, names, found, needs_labels)
        return cls(text, choices, label)

    def __str__(self):
        return (
            f'texts from column "{self.text_column}", choices from {self.choices_column!r}, the '
            f'right one from "{self.label_column}"'
        )

    def read(self, path, labels=None):
        """Reads examples."""
        from keras_bert_lib.data import read_labelled_choices

        return read_labelled_choices(path, self.text_column, self.choices_column, self.label_column)

    def max_length(self, rows, tokenizer):
        """The most tokens that are read of a text and a choice where the user does not say."""
        return 128

    def cut_texts(self, rows):
        """Returns a list of `(texts, text_pairs)`."""
        return [(rows.texts, list(choices)) for choices in zip(*rows.choices)]

    def make_model(self, encoder, tokenizer, rows, recipe):
        """Returns a model."""
        from keras_bert_lib.models import BertMultipleChoice

        return BertMultipleChoice(encoder, tokenizer=tokenizer)

    def batches(self, rows, model, recipe, **options):
        """Returns the `tf.data.Dataset` for `fit`."""
        from keras_bert_lib.data import multiple_choice

        return multiple_choice(rows, model.tokenizer, **options)


@dataclasses.dataclass(frozen=True)
class SentenceEmbedding:
    """Vectors that are alike where texts mean the same."""

    text_column: str = "anchor"
    text_pair_column: str = "positive"
    negative_column: str | None = None
    score_column: str | None = None
    max_score: float = 1.0

    noun = "pairs"
    asked = '"your text" --json'
    use_pooler = False
    recipes = ("pooling",)

    @property
    def loss(self):
        """The loss to compile the model with."""
        return "cosine" if self.score_column else "in_batch_negatives"

    @property
    def metric(self):
        """The metric of an evaluation that tells how good a model is."""
        return "spearman" if self.score_column else "mean_reciprocal_rank"

    @classmethod
    def of_file(cls, path, args, needs_labels=True):
        """Returns the task with the columns that the arguments name, or that the file has."""
        names = _columns(path, args)
        text, pair = args.text_column, args.text_pair_column
        if text is None and pair is None:
            text, pair = _first_pair(names)
        found = {"--text-column": text, "--text-pair-column": pair}
        if not needs_labels:  # nor pairs
            text = text or _first((*_TEXTS, "anchor"), names)
            found = {"--text-column": text}
        _check_found(path, names, found)
        score = args.label_column or _first(("score", "similarity", "label"), names, {text, pair})
        negative = None if score else _first(["negative"], names)
        return cls(text, pair, negative, score, _max_score(path, score) if score else 1.0)

    def __str__(self):
        text = f'pairs from columns "{self.text_column}" and "{self.text_pair_column}"'
        if self.negative_column:
            text += f', and what is not like them from "{self.negative_column}"'
        if self.score_column:
            text += f', scores up to {self.max_score:g} from "{self.score_column}"'
        return text

    def read(self, path, labels=None):
        """Reads examples."""
        from keras_bert_lib.data import read_text_pairs

        return read_text_pairs(
            path,
            self.text_column,
            self.text_pair_column,
            self.negative_column,
            self.score_column,
            max_score=self.max_score,
        )

    def max_length(self, rows, tokenizer):
        """The most tokens that are read of a text where the user does not say."""
        return 128

    def cut_texts(self, rows):
        """Returns a list of `(texts, text_pairs)`."""
        texts = (rows.texts, rows.text_pairs, rows.negatives)
        return [(column, None) for column in texts if column is not None]

    def make_model(self, encoder, tokenizer, rows, recipe):
        """Returns a model."""
        from keras_bert_lib.models import BertTextEmbedder

        return BertTextEmbedder(
            encoder, tokenizer=tokenizer, pooling=recipe.pooling, normalize=recipe.normalize
        )

    def batches(self, rows, model, recipe, **options):
        """Returns the `tf.data.Dataset` for `fit`."""
        from keras_bert_lib.data import text_pairs

        return text_pairs(rows, model.tokenizer, **options)


@dataclasses.dataclass(frozen=True)
class FillMask:
    """The pieces that are missing in texts."""

    text_column: str = "text"
    label_column: str | None = None  # the pieces behind masks, where an exported file is verified

    noun = "texts"
    loss = "auto"
    metric = "accuracy"
    asked = '"your text with a [MASK]"'
    use_pooler = False
    recipes = ()

    @classmethod
    def of_file(cls, path, args, needs_labels=True):
        """Returns the task with the column that the arguments name, or that the file has."""
        if not _is_table(path):
            return cls()
        names = _columns(path, args)
        # The first line of a .tsv without right answers may be a text.
        is_header = needs_labels or not path.removesuffix(".gz").lower().endswith(".tsv")
        is_alone = len(names) == 1 and is_header
        text = args.text_column or (names[0] if is_alone else _first(_TEXTS, names))
        _check_found(path, names, {"--text-column": text})
        return cls(text, args.label_column or _first(["label"], names, {text}))

    def __str__(self):
        return "pieces hidden in texts"

    def read(self, path, labels=None):
        """Reads examples."""
        from keras_bert_lib.data import read_texts

        paths = [path] if isinstance(path, str) else path
        return read_texts([pathlib.Path(path) for path in paths], self.text_column)

    def max_length(self, rows, tokenizer):
        """The most tokens that are read of a text where the user does not say."""
        return 128

    def cut_texts(self, rows):
        """Returns no texts: long ones are read in parts."""
        return []

    def make_model(self, encoder, tokenizer, rows, recipe):
        """Returns a model."""
        from keras_bert_lib.models import BertMaskedLM

        return BertMaskedLM(encoder, tokenizer=tokenizer)

    def load_head(self, model, path):
        """Gives a model the head of the directory that its encoder is from."""
        from keras_bert_lib.models import BertMaskedLM

        model.mlm_head.set_weights(BertMaskedLM.from_pretrained(path).mlm_head.get_weights())

    def batches(self, rows, model, recipe, **options):
        """Returns the `tf.data.Dataset` for `fit`."""
        from keras_bert_lib.data import masked_language_modeling

        return masked_language_modeling(rows, model.tokenizer, **options)


def read(task, path, labels=None):
    """Reads examples by a task, whose labels are `labels` where these are given.

    Args:
        task: One of `TASKS`, for a file.
        path: That file, or another one with the same columns; or a list of them.
        labels: List of str, or None.

    Raises:
        ValueError: If a column is not there; the message names the flag that tells which it is.
    """
    from keras_bert_lib.data.missing_column_error import MissingColumnError

    try:
        return task.read(path, labels=labels)
    except MissingColumnError as error:
        named = {field: getattr(task, field, None) for field in _FLAGS}
        named = {field: x if isinstance(x, list) else [x] for field, x in named.items()}
        flag = next((_FLAGS[field] for field in named if error.column in named[field]), None)
        raise _missing(error, flag) from None


def count_cut(task, rows, tokenizer, max_length):
    """Returns how many texts of a task's rows are longer than `max_length` tokens and are cut."""
    texts = task.cut_texts(rows)
    return sum(int(_is_cut(*columns, tokenizer, max_length).sum()) for columns in texts)


def majority_accuracy(train, held_out):
    """The accuracy of always answering the label that is most frequent in the training rows."""
    import numpy as np

    return float((held_out.label_ids == np.bincount(train.label_ids).argmax()).mean())


TASKS = {
    "text-classification": TextClassification,
    "token-classification": TokenClassification,
    "question-answering": QuestionAnswering,
    "multiple-choice": MultipleChoice,
    "sentence-embedding": SentenceEmbedding,
    "fill-mask": FillMask,
}


def name_of(model):
    """Returns which of `TASKS` a model is of.

    Raises:
        ValueError: If it is of none.
    """
    from keras_bert_lib import models

    by_model = {
        models.BertClassifier: "text-classification",
        models.BertTokenClassifier: "token-classification",
        models.BertQuestionAnswerer: "question-answering",
        models.BertMultipleChoice: "multiple-choice",
        models.BertTextEmbedder: "sentence-embedding",
        models.BertMaskedLM: "fill-mask",
    }
    if type(model) not in by_model:
        raise ValueError(
            f"A {type(model).__name__} has no right answers to be measured by. Fine-tune it with "
            "`keras-bert finetune`."
        )
    return by_model[type(model)]


def check_asked(args, path, name):
    """Raises where `--task` is none of `name`, the task of the model or file at `path`."""
    if args.task not in (None, name):
        raise ValueError(
            f"{path} is for {name}: leave --task out, or give another model. "
            f"Received: --task {args.task}"
        )


def of_model(model, path, args, needs_labels=True):
    """Returns the task of a model, with the columns of a file.

    Args:
        model: A fine-tuned model.
        path: The file.
        args: The command's arguments.
        needs_labels: Whether the file must have a column of right answers.

    Raises:
        ValueError: If the model is of none of these tasks.
    """
    task, asked = TASKS[name_of(model)], vars(args)
    if task is TextClassification:
        # Not guessed: what the labels of the file look like may not be what the model learned.
        problem_types = {name: problem_type for problem_type, name in PROBLEM_TYPES.items()}
        asked = asked | {"problem_type": problem_types[model.problem_type]}
    return task.of_file(path, argparse.Namespace(**asked), needs_labels)


def _is_cut(texts, text_pairs, tokenizer, max_length):
    """Returns 1 for each text, or pair of texts, that is longer, and else 0, int32 `[n]`."""
    from keras_bert_lib.data.length_batches import tokenize
    from keras_bert_lib.text import packing

    columns = [texts] if text_pairs is None else [texts, text_pairs]
    lengths = [tokenize(tokenizer, column)[1] for column in columns]
    pair_lengths = lengths[1] if text_pairs is not None else None
    return packing.lay_out(lengths[0], pair_lengths, max_length).truncated.numpy()


def _missing(error, flag):
    """Returns a `MissingColumnError` as one that names the command's flag, where there is one."""
    from keras_bert_lib.data.missing_column_error import MissingColumnError

    remedy = f"Name one that all rows have with {flag}." if flag else "Rename the right one."
    return MissingColumnError(error.where, error.column, error.present, remedy)


def _is_table(path):
    return path.removesuffix(".gz").lower().endswith(TABLES)


def _columns(path, args=None):
    """Returns the names of a table's columns; raises where it has not those that are asked for."""
    from keras_bert_lib.data import tables

    names = tables.column_names(path)
    if not names:
        raise ValueError(f"{path} is empty. Its first line must name the columns.")
    for flag in ("text_column", "text_pair_column", "label_column"):
        name = getattr(args, flag, None)
        if name is not None and name not in names:
            raise ValueError(
                f'{path} has no column "{name}". Name the right one with '
                f"--{flag.replace('_', '-')}. Received columns: {_quoted(names)}"
            )
    return names


def _first(candidates, names, taken=()):
    """Returns the first of the candidates that is the name of a column, in any case, or None."""
    by_name = {name.lower(): name for name in reversed(names)}
    found = (by_name[name] for name in candidates if name in by_name)
    return next((name for name in found if name not in taken), None)


def _first_pair(names):
    """Returns the names of two columns of texts that belong together, or None twice."""
    found = ((_first([a], names), _first([b], names)) for a, b in _PAIRS)
    return next((pair for pair in found if None not in pair), (None, None))


def _check_found(path, names, columns, needs_labels=True, remedy=""):
    for flag, name in columns.items():
        if not name and (needs_labels or flag != "--label-column"):
            raise ValueError(
                f"{path} has no column of a usual name for {flag}. Give it its name.{remedy} "
                f"Received columns: {_quoted(names)}"
            )


def _labels(path, column):
    """Returns the cells of a table's column that are not empty, so many as tell of what kind.

    Each as `(where, cell)`.
    """
    from keras_bert_lib.data import tables
    from keras_bert_lib.data.missing_column_error import MissingColumnError

    rows = tables.table_rows(path, (column,), ("label_column",), may_be_empty=(column,))
    try:
        return [row for row in itertools.islice(rows, _LOOKED_AT) if row[1] is not None]
    except MissingColumnError as error:
        raise _missing(error, "--label-column") from None


def _guess_problem_type(path, label_column):
    """Returns what labels are: numbers if some are fractions, several if lists or parted by |.

    Raises:
        ValueError: If some are fractions and a few are no numbers.
    """
    labels = _labels(path, label_column)
    if any(isinstance(x, list) or (isinstance(x, str) and "|" in x) for _, x in labels):
        return "multi-label"
    numbers = [number for _, label in labels if (number := _number(label)) is not None]
    if not any(number % 1 for number in numbers):
        return "single-label"
    if len(numbers) == len(labels):
        return "regression"
    if len(numbers) < _ALMOST_ALL * len(labels):
        return "single-label"
    where, label = next(row for row in labels if _number(row[1]) is None)
    raise ValueError(
        f"{where} has a label that is no number, where nearly all others are. Mend it, or give "
        f"--problem-type single-label if the numbers are names of classes. Received: {label!r}"
    )


def _max_score(path, score_column):
    """Returns the score of texts that mean the same: the top of the scale that fits."""
    scores = [_number(score) or 0.0 for _, score in _labels(path, score_column)]
    return next((top for top in (1.0, 5.0, 10.0, 100.0) if max(scores, default=0) <= top), 100.0)


def _number(label):
    try:
        return float(label)
    except (TypeError, ValueError):
        return None


def _place(column):
    """The number of a column, or its name."""
    return int(column) if column.lstrip("-").isdigit() else column


def _quoted(names):
    return ", ".join(f'"{name}"' for name in names)
