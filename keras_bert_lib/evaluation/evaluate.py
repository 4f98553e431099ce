"""Metrics of a model on labelled examples."""

import numpy as np

from keras_bert_lib.evaluation import metrics, tasks
from keras_bert_lib.evaluation.evaluation import Evaluation
from keras_bert_lib.evaluation.word_labels import plain_tags, predict_word_labels
from keras_bert_lib.models.bert_classifier import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from keras_bert_lib.models.entity_decoding import read_labels
from keras_bert_lib.models.texts import batches_of_like_length

_TOP = 5  # of answers, where there are more than so many classes
_RECALLS = (1, 5, 10)
_MASK_EVERY = 7  # about the share that is masked in training
_MOST_SCORES = 1 << 24  # of questions and texts that are held at once


def evaluate(model, data, batch_size=32):
    """Counts how often a model is right.

    Which metrics there are is the task's affair:

    - one label a text: accuracy, macro and micro F1 (micro F1 is accuracy where each text has one
      label), Matthews correlation, the share of texts whose label is among the first 5, where there
      are more than 5, and the expected calibration error;
    - several labels: micro and macro F1, the share of texts with all labels right, label ranking
      average precision and ranking loss, and the expected calibration error of all decisions;
    - numbers: Spearman's and Pearson's correlation, the mean over outputs where there are several,
      and mean absolute and root mean squared error;
    - entities: F1, precision and recall, and macro F1 of types as CoNLL's script counts them, and
      the accuracy of words; words are labelled as the data divides them, by their first piece;
    - answers: F1 of words and exact match as the script of SQuAD 2.0 counts them, each also of the
      questions that have an answer and those that have none, where there are both;
    - choices: accuracy and expected calibration error;
    - masked words: one piece in seven of each text is replaced by [MASK], the same ones each time;
      the share that is found first, and among the first 5, and the perplexity of those pieces (e to
      the power of the mean loss). What is longer than the model reads is left out;
    - embeddings: of pairs with scores the correlations of their cosines with the scores; of pairs
      without the mean reciprocal rank and the recall among the first 1, 5 and 10, where each first
      text looks for its second among all second texts.

    Args:
        model: model of a task, with a tokenizer.
        data: what a reader of `kbl.data` gives for the task: `LabelledTexts`, `LabelledTokens`,
            `Questions`, `LabelledChoices`, `TextPairs` or `Texts`. Labels are matched by name, or
            where they are numbers that are no names by place.
        batch_size: int, texts (windows, where they are long) that are computed at once.

    Returns:
        `Evaluation`; print it for a table.

    Raises:
        ValueError: if the data are not of the model's task, are empty, or have labels that the
            model has not.

    Example:
        >>> import keras_bert_lib as kbl
        >>> tokenizer = kbl.BertTokenizer("[PAD] [UNK] [CLS] [SEP] [MASK] fine dull".split())
        >>> encoder = kbl.BertEncoder(kbl.BertConfig.from_size("tiny", vocab_size=7))
        >>> classifier = kbl.BertClassifier(encoder, tokenizer=tokenizer, labels=["neg", "pos"])
        >>> data = kbl.data.read_labelled_texts([("fine", "pos"), ("dull", "neg")])
        >>> evaluation = kbl.evaluation.evaluate(classifier, data)
        >>> list(evaluation.metrics)[:3]
        ['accuracy', 'macro_f1', 'micro_f1']
    """
    task = tasks.task_of(model)
    fields, name, function = _TASKS[task]
    if not set(fields) <= set(getattr(data, "_fields", ())):
        raise ValueError(
            f"A {type(model).__name__} is evaluated on `{name}` that a reader of `kbl.data` gives. "
            f"Received: {type(data).__name__}"
        )
    if not len(data[0]):
        raise ValueError("There is nothing to evaluate on. Received: 0 examples")
    return function(model, data, batch_size)


def _single_label(model, data, batch_size):
    given = _label_ids(data, 1, "one label a text")
    right = _in_model(data, model.labels)[given.astype(int)]  # [n]
    scores = model.predict_scores(data.texts, data.text_pairs, batch_size)  # [n, c]
    found = scores.argmax(axis=-1)
    confidence = scores.max(axis=-1)
    values = {
        "accuracy": metrics.accuracy(found, right),
        "macro_f1": metrics.f1(found, right, "macro"),
        "micro_f1": metrics.f1(found, right, "micro"),
        "matthews_correlation": metrics.matthews_correlation(found, right),
    }
    if model.num_classes > _TOP:
        values[f"top_{_TOP}_accuracy"] = metrics.top_k_accuracy(scores, right, _TOP)
    calibration = _calibration(values, confidence, found == right)
    return Evaluation(
        SINGLE_LABEL,
        len(right),
        values,
        metrics.by_class(found, right, model.labels),
        _confusion(found, right, model.labels),
        calibration,
        {
            "found": [model.labels[i] for i in found],
            "right": [model.labels[i] for i in right],
            "confidence": confidence.tolist(),
        },
    )


def _multi_label(model, data, batch_size):
    given = _label_ids(data, 2, "any number of labels a text")  # [n, labels of the data]
    places = _in_model(data, model.labels)
    right = np.zeros([len(given), model.num_classes], int)  # [n, c]
    right[:, places] = given > 0
    scores = model.predict_scores(data.texts, data.text_pairs, batch_size)
    found = (scores > 0.5).astype(int)
    precision, loss = metrics.label_ranking(scores, right)
    values = {
        "micro_f1": metrics.f1(found, right, "micro"),
        "macro_f1": metrics.f1(found, right, "macro"),
        "exact_match": metrics.accuracy(found.tolist(), right.tolist()),
        "label_ranking_average_precision": precision,
        "label_ranking_loss": loss,
    }
    # That a label is not given is an answer, too.
    confidence = np.maximum(scores, 1 - scores).ravel()
    calibration = _calibration(values, confidence, (found == right).ravel())
    named = [
        [[model.labels[i] for i in np.flatnonzero(row)] for row in rows] for rows in (found, right)
    ]
    return Evaluation(
        MULTI_LABEL,
        len(right),
        values,
        metrics.by_class(found, right, model.labels),
        calibration=calibration,
        cases=dict(zip(("found", "right"), named)),
    )


def _regression(model, data, batch_size):
    found = model.predict_scores(data.texts, data.text_pairs, batch_size)  # [n, c]
    right = np.asarray(data.label_ids, "float64")
    if right.size != found.size:
        raise ValueError(
            f"The model gives {found.shape[1]} numbers a text. "
            f"Received: labels of shape {right.shape}"
        )
    return _of_numbers(REGRESSION, found, right.reshape(found.shape))


def _of_numbers(task, found, right, with_errors=True):
    """The evaluation of numbers, both `[n, c]`."""
    values = {
        name: float(np.mean([function(a, b) for a, b in zip(found.T, right.T)]))
        for name, function in (("spearman", metrics.spearman), ("pearson", metrics.pearson))
    }
    if with_errors:
        values["mean_absolute_error"] = float(np.abs(found - right).mean())
        values["root_mean_squared_error"] = float(np.sqrt(np.square(found - right).mean()))
    found, right = (x[:, 0] if x.shape[1] == 1 else x for x in (found, right))
    return Evaluation(
        task, len(right), values, cases={"found": found.tolist(), "right": right.tolist()}
    )


def _entities(model, data, batch_size):
    words = [list(row) for row in data.words]
    known, given = read_labels(model.labels), read_labels(_tag_names(data))
    if unknown := [name for name in given.types if name not in known.types]:
        _refuse_labels(unknown, known.types)
    ids = {name: i for i, name in enumerate(_tag_names(data))}
    right = [plain_tags(given, [ids[tag] for tag in row]) for row in data.tags]
    labels = predict_word_labels(model, words, batch_size)
    found = [plain_tags(known, row) for row in labels]
    values, rows = metrics.entity_scores(found, right)
    values = {name: values[name] for name in ("f1", "precision", "recall", "macro_f1")}
    flat = [[tag for row in tags for tag in row] for tags in (found, right)]
    values["word_accuracy"] = metrics.accuracy(*flat)
    types = ["O", *known.types]
    of_words = [[types.index(tag[2:] or "O") for tag in tags] for tags in flat]
    return Evaluation(
        tasks.ENTITIES,
        len(right),
        values,
        rows,
        _confusion(*of_words, types),
        cases={"found": found, "right": right},
    )


def _tag_names(data):
    """The labels of the data, and any others that stand at its words."""
    return list(dict.fromkeys([*data.labels, *(tag for row in data.tags for tag in row)]))


def _answers(model, data, batch_size):
    found = model.predict_text(data.questions, data.contexts, batch_size)
    texts = [row["answer"] for row in found]
    right = [[row] if isinstance(row, str) else list(row) for row in data.answers]
    exact = np.array(metrics.exact_matches(texts, right))
    f1s = np.array(metrics.word_f1s(texts, right))
    values = {"f1": float(f1s.mean()), "exact_match": float(exact.mean())}
    has_answer = np.array([bool(row) for row in right])
    if 0 < has_answer.sum() < len(right):
        for name, chosen in (("answered", has_answer), ("unanswerable", ~has_answer)):
            values[f"{name}_f1"] = float(f1s[chosen].mean())
            values[f"{name}_exact_match"] = float(exact[chosen].mean())
    confidence = [row["score"] for row in found]
    calibration = _calibration(values, confidence, exact)
    cases = {"found": texts, "right": right, "confidence": confidence}
    return Evaluation(tasks.ANSWERS, len(right), values, calibration=calibration, cases=cases)


def _choices(model, data, batch_size):
    rows = model.predict_text(data.texts, data.choices, batch_size)
    found = [row["index"] for row in rows]
    right = [int(i) for i in data.label_ids]
    values = {"accuracy": metrics.accuracy(found, right)}
    confidence = [row["score"] for row in rows]
    calibration = _calibration(values, confidence, np.array(found) == np.array(right))
    cases = {"found": found, "right": right, "confidence": confidence}
    return Evaluation(tasks.CHOICE, len(right), values, calibration=calibration, cases=cases)


def _embeddings(model, data, batch_size):
    # A text may stand in many pairs, and is embedded once.
    texts = list(dict.fromkeys([*data.texts, *data.text_pairs]))
    places = {text: i for i, text in enumerate(texts)}
    vectors = model.encode(texts, batch_size)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    first, second = ([places[text] for text in row] for row in (data.texts, data.text_pairs))
    if data.scores is not None:
        cosines = (vectors[first] * vectors[second]).sum(axis=-1, keepdims=True)
        right = np.reshape(np.asarray(data.scores, "float64"), [-1, 1])
        return _of_numbers(tasks.EMBEDDING, cosines, right, with_errors=False)
    ranks = _ranks(vectors, first, second)
    values = {"mean_reciprocal_rank": metrics.mean_reciprocal_rank(ranks)}
    # Among so few texts, all are found.
    recalls = [k for k in _RECALLS if k == 1 or k < len(set(second))]
    values |= {f"recall_at_{k}": metrics.recall_at(ranks, k) for k in recalls}
    return Evaluation(tasks.EMBEDDING, len(ranks), values, cases={"rank": ranks})


def _ranks(vectors, first, second):
    """Ranks the second texts for each first text.

    Args:
        vectors: float32 `[texts, h]`, of length 1.
        first: list of int `[n]`, which is the first text of a pair.
        second: list of int `[n]`, which is the second.

    Returns:
        List of int `[n]`: the rank of the best second text that is any pair's with the same first
        text, 1 the best; texts as near as it stand before it.
    """
    corpus, column = np.unique(second, return_inverse=True)
    right = {}
    for i, j in zip(first, column):
        right.setdefault(i, []).append(j)
    ranks = []
    step = max(_MOST_SCORES // len(corpus), 1)
    for start in range(0, len(first), step):
        rows = first[start : start + step]
        scores = vectors[rows] @ vectors[corpus].T  # [q, corpus]
        for i, row in zip(rows, scores):
            best = row[right[i]].max()
            is_better = row >= best
            is_better[right[i]] = False
            ranks.append(1 + int(is_better.sum()))
    return ranks


def _masked_lm(model, data, batch_size):
    tokenizer = model.tokenizer
    max_length = min(tokenizer.max_length, model.config.max_position_embeddings)
    right, found, losses, is_near = ([None] * len(data.texts) for _ in range(4))
    for batch in batches_of_like_length([len(text) for text in data.texts], batch_size):
        tokens = tokenizer([data.texts[i] for i in batch], max_length=max_length)
        tokens = {name: np.array(x) for name, x in tokens.items()}  # [b, s]
        ids = tokens["token_ids"]
        chosen = [places_to_mask(row, tokenizer, i) for i, row in zip(batch, ids)]
        positions = np.zeros([len(batch), max(1, *map(len, chosen))], "int32")  # [b, p]
        for row, (i, places) in enumerate(zip(batch, chosen)):
            positions[row, : len(places)] = places
            right[i] = ids[row, places]
            ids[row, places] = tokenizer.mask_token_id
        logits = model.predict_on_batch(tokens | {"masked_positions": positions})  # [b, p, v]
        for row, i in enumerate(batch):
            scores = np.asarray(logits[row, : len(chosen[row])], "float64")  # [m, v]
            of_right = np.take_along_axis(scores, right[i][:, None], axis=-1)  # [m, 1]
            losses[i] = np.logaddexp.reduce(scores, axis=-1) - of_right[:, 0]
            found[i] = scores.argmax(axis=-1)
            is_near[i] = (scores > of_right).sum(axis=-1) < _TOP
    if not sum(map(len, right)):
        raise ValueError(f"No text has a piece to mask. Received: {len(right)} empty texts")
    values = {
        "accuracy": metrics.accuracy(np.concatenate(found), np.concatenate(right)),
        f"top_{_TOP}_accuracy": float(np.concatenate(is_near).mean()),
        "perplexity": float(np.exp(np.concatenate(losses).mean())),
    }
    named = [
        [[tokenizer.id_to_token(int(i)) for i in row] for row in rows] for rows in (found, right)
    ]
    cases = dict(zip(("found", "right"), named))
    return Evaluation(tasks.MASKED_LM, len(right), values, cases=cases)


def places_to_mask(token_ids, tokenizer, number):
    """Returns where pieces of a text are masked to be asked for.

    Args:
        token_ids: int array `[s]`; special tokens, padding among them, are not asked for.
        tokenizer: `BertTokenizer`.
        number: int, that of the text. Each begins at another piece, for all places are to be asked.

    Returns:
        Int array `[m]`.
    """
    pieces = np.flatnonzero(~np.isin(token_ids, list(tokenizer.special_token_ids)))
    return pieces[number % min(_MASK_EVERY, len(pieces) or 1) :: _MASK_EVERY]


def _calibration(values, confidence, right):
    """Adds the calibration error to the metrics, and returns the bins it was counted by."""
    values["expected_calibration_error"] = metrics.expected_calibration_error(confidence, right)
    return metrics.reliability(confidence, right)


def _confusion(found, right, labels):
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(right, found, labels=range(len(labels)))
    return {"labels": list(labels), "counts": counts.tolist()}


def _label_ids(data, rank, what):
    label_ids = np.asarray(data.label_ids)
    if label_ids.ndim != rank or (rank == 1 and label_ids.dtype.kind == "f"):
        raise ValueError(
            f"The model gives {what}: read the data with its `problem_type`. Received: labels "
            f"{label_ids.dtype} of shape {label_ids.shape}"
        )
    return label_ids


def _in_model(data, labels):
    """Returns the place among the model's `labels` of each label of the data, int array."""
    if unknown := [name for name in data.labels if name not in labels]:
        numbers = [str(i) for i in range(len(labels))]
        if not set(data.labels) <= set(numbers):
            _refuse_labels(unknown, labels)
        labels = numbers
    return np.array([labels.index(name) for name in data.labels], int)


def _refuse_labels(unknown, known):
    raise ValueError(
        f"The data have labels that the model has not, whose labels are {', '.join(known[:20])}. "
        f"Received: {', '.join(unknown[:20])}"
    )


# Of each task the fields that its data have, what the readers call them, and the function.
_TASKS = {
    SINGLE_LABEL: (("texts", "text_pairs", "label_ids"), "LabelledTexts", _single_label),
    MULTI_LABEL: (("texts", "text_pairs", "label_ids"), "LabelledTexts", _multi_label),
    REGRESSION: (("texts", "text_pairs", "label_ids"), "LabelledTexts", _regression),
    tasks.ENTITIES: (("words", "tags", "labels"), "LabelledTokens", _entities),
    tasks.ANSWERS: (("questions", "contexts", "answers"), "Questions", _answers),
    tasks.CHOICE: (("texts", "choices", "label_ids"), "LabelledChoices", _choices),
    tasks.EMBEDDING: (("texts", "text_pairs", "scores"), "TextPairs", _embeddings),
    tasks.MASKED_LM: (("texts",), "Texts", _masked_lm),
}
