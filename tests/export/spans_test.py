"""Entities and answers: Keras, SavedModel and TFLite cut the same words out of the same texts."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import keras_bert_lib as kbl
from keras_bert_lib.export import tflite_file
from tests.models import trained_spans
from tests.models.trained_spans import PEOPLE, WINDOW, make_question, make_tagged

MAX_BYTES = 1024
HELD_OUT = range(10_000, 10_150)
TAGGED = [make_tagged(seed) for seed in HELD_OUT]
QUESTIONS = [make_question(seed) for seed in HELD_OUT]
LONG_QUESTIONS = [make_question(seed, length=70) for seed in HELD_OUT[:60]]
LONG_TEXT = " ".join(text for text, _ in TAGGED[:12])  # several windows
HOSTILE = ["", " \n", "😀", "e\u0301" * 60, "Anna " * 20, "x" * 300, "東京" * 30, "Anna\ud800 Bo"]
NAMES = ("entity_starts", "entity_ends", "entity_labels", "entity_scores")


@pytest.fixture(scope="module")
def models():
    return {"tagger": trained_spans.train_tagger(), "answerer": trained_spans.train_answerer()}


@pytest.fixture(scope="module")
def files(models, tmp_path_factory):
    directory = tmp_path_factory.mktemp("spans")
    for name, model in models.items():
        kbl.export.saved_model(model, directory / name / "1")
        path = directory / f"{name}.tflite"
        kbl.export.tflite(model, path, quantization="none", max_bytes=MAX_BYTES)
    return directory


def encode(text):
    return text.encode("utf-8", "surrogatepass")


def utf8(text):
    data = np.zeros((1, MAX_BYTES), np.int32)
    data[0, : len(encode(text))] = np.frombuffer(encode(text), np.uint8)
    return data


def run(path, *columns):
    """Returns the outputs of a file for each row of texts: list of dicts of arrays."""
    names = ("text", "text_pair")[: len(columns)]
    if path.is_dir():
        serve = tf.saved_model.load(str(path)).signatures["serving_default"]
        outputs = serve(**{name: tf.constant([*map(encode, x)]) for name, x in zip(names, columns)})
        return [{name: x[i].numpy() for name, x in outputs.items()} for i in range(len(columns[0]))]
    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    rows = []
    for row in zip(*columns):
        outputs = runner(**{name: utf8(text) for name, text in zip(names, row)})
        rows.append({name: x[0] for name, x in outputs.items()})
    return rows


def run_compiled(path, *columns):
    """The same by LiteRT's CompiledModel."""
    compiled_model = pytest.importorskip("ai_edge_litert.compiled_model")
    model = compiled_model.CompiledModel.from_file(str(path))
    signature = model.get_signature_list()["serving_default"]
    details = Interpreter(str(path)).get_signature_runner("serving_default").get_output_details()
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    texts = dict(zip(("text", "text_pair"), columns))
    rows = []
    for i in range(len(columns[0])):
        for name, buffer in zip(signature["inputs"], inputs):
            buffer.write(utf8(texts[name][i]))
        model.run_by_index(0, inputs, outputs)
        row = {}
        for name, buffer in zip(signature["outputs"], outputs):
            shape, dtype = details[name]["shape"], details[name]["dtype"]
            row[name] = buffer.read(int(np.prod(shape)), dtype).reshape(shape)[0]
        rows.append(row)
    return rows


def cut(text, start, end, score):
    """Returns the words at these bytes, where they start in characters, and the score."""
    data = encode(text)
    start_in_characters = len(data[:start].decode("utf-8", "surrogatepass"))
    return data[start:end].decode(), start_in_characters, pytest.approx(float(score), abs=2e-5)


def entities_of(text, row, types):
    """Returns the entities that a file found: words, place, score, type."""
    count = int(row["entity_count"])
    return [
        (*cut(text, start, end, score), types[label])
        for start, end, label, score in zip(*(row[name][:count] for name in NAMES))
    ]


def test_entities_are_the_right_words(models):
    found = models["tagger"].predict_text([text for text, _ in TAGGED])
    right = 0
    for (text, expected), entities in zip(TAGGED, found):
        for entity in entities:
            assert text[entity["start"] : entity["end"]] == entity["text"]
            assert entity["label"] in ("person", "place")
            assert 0.2 < entity["score"] <= 1
        right += expected == [(x["start"], x["end"], x["label"]) for x in entities]
    assert right / len(TAGGED) > 0.8  # of whole texts: it has learned
    assert {entity["text"] for entities in found for entity in entities} >= set(PEOPLE)


@pytest.mark.parametrize("rows", [QUESTIONS, LONG_QUESTIONS], ids=["short", "long"])
def test_answers_are_the_right_words(models, rows):
    questions, contexts, expected = zip(*rows)
    found = models["answerer"].predict_text(questions, contexts)
    for context, answer in zip(contexts, found):
        assert context[answer["start"] : answer["end"]] == answer["answer"]
    places = [(answer["start"], answer["end"]) for answer in found]
    right = [place == (span or (0, 0)) for place, span in zip(places, expected)]
    assert np.mean(right) > 0.8
    assert (0, 0) in places


@pytest.mark.parametrize("kind", ["saved_model", "interpreter", "compiled_model"])
def test_files_find_the_entities_of_keras(models, files, kind):
    tagger = models["tagger"]
    texts = [text for text, _ in TAGGED] + HOSTILE + [LONG_TEXT]
    path = files / ("tagger/1" if kind == "saved_model" else "tagger.tflite")
    rows = (run_compiled if kind == "compiled_model" else run)(path, texts)
    for text, row, expected in zip(texts, rows, tagger.predict_text(texts)):
        expected = [(e["text"], e["start"], e["score"], e["label"]) for e in expected]
        assert entities_of(text, row, tagger.entity_types) == expected
        assert row["truncated"] == 0
        if kind == "saved_model":
            types = [name.decode() for name in row["entity_types"][: len(expected)]]
            assert types == [e[3] for e in expected]


@pytest.mark.parametrize("kind", ["saved_model", "interpreter", "compiled_model"])
def test_files_find_the_answers_of_keras(models, files, kind):
    questions, contexts, _ = zip(*QUESTIONS, *LONG_QUESTIONS)
    questions = [*questions, "who?", "", *["where?"] * len(HOSTILE), "who? " * 40]
    contexts = [*contexts, LONG_TEXT, LONG_TEXT, *HOSTILE, LONG_TEXT]
    path = files / ("answerer/1" if kind == "saved_model" else "answerer.tflite")
    rows = (run_compiled if kind == "compiled_model" else run)(path, questions, contexts)
    found = models["answerer"].predict_text(questions, contexts)
    for context, row, answer in zip(contexts, rows, found):
        place = (int(row[name][0]) for name in ("answer_start", "answer_end"))
        expected = answer["answer"], answer["start"], answer["score"]
        assert cut(context, *place, row["score"][0]) == expected
    assert [int(row["truncated"]) for row in rows] == [0] * (len(rows) - 1) + [1]


def test_built_in_operators_and_static_outputs(files):
    sizes = {
        "tagger": {"entity_count": [1], "truncated": [1], **{name: [1, 64] for name in NAMES}},
        "answerer": {
            **{name: [1, 1] for name in ("answer_start", "answer_end", "score")},
            **{name: [1] for name in ("no_answer_score", "truncated")},
        },
    }
    for name, expected in sizes.items():
        path = files / f"{name}.tflite"
        tflite_file.check_builtin_only(path.read_bytes())
        details = Interpreter(str(path)).get_signature_runner("serving_default")
        details = details.get_output_details()
        assert {key: x["shape"].tolist() for key, x in details.items()} == expected


def test_what_there_is_no_room_for(models, files):
    many = "Anna Oslo " * 40
    assert len(models["tagger"].predict_text([many])[0]) > 64
    for kind in ("tagger/1", "tagger.tflite"):
        (row,) = run(files / kind, [many])
        assert int(row["entity_count"]) == 64
        assert int(row["truncated"]) == 1
        assert row["entity_ends"].tolist() == sorted(row["entity_ends"])
    full = ("Anna " * MAX_BYTES)[:MAX_BYTES]
    (row,) = run(files / "tagger.tflite", [full])
    assert int(row["truncated"]) == 1
    (row,) = run(files / "answerer.tflite", ["who?"], [full])
    assert int(row["truncated"]) == 1


def test_windows_give_what_one_long_window_gives_for_short_texts(models):
    tagger = models["tagger"]
    short = [text for text, _ in TAGGED if len(tagger.tokenizer.tokenize(text)) <= WINDOW - 2]
    assert len(short) > 100
    together = tagger.predict_text([" . ".join(short[:20])], max_length=WINDOW)[0]
    narrow = tagger.predict_text([" . ".join(short[:20])], max_length=WINDOW // 2)[0]
    same = {(e["start"], e["end"]) for e in together} & {(e["start"], e["end"]) for e in narrow}
    assert len(same) > 0.7 * len(together)


def test_of_no_texts(models):
    assert models["tagger"].predict_text([]) == []
    assert models["answerer"].predict_text([], []) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["float16", "dynamic_int8", "int8", "int16x8", "int4"])
@pytest.mark.parametrize("task", ["tagger", "answerer"])
def test_every_quantization_cuts_the_same_words(models, files, tmp_path, task, mode):
    if task == "tagger":
        texts = [make_tagged(seed)[0] for seed in range(20_000, 20_100)]
        columns = ([text for text, _ in TAGGED],)
    else:
        texts = [make_question(seed)[:2] for seed in range(20_000, 20_100)]
        columns = tuple(zip(*(row[:2] for row in QUESTIONS)))
    path, exact = tmp_path / "file.tflite", files / f"{task}.tflite"
    kbl.export.tflite(models[task], path, mode, max_bytes=MAX_BYTES, calibration_texts=texts)
    added = set(tflite_file.operators(path.read_bytes()))
    added -= set(tflite_file.operators(exact.read_bytes()))
    assert added <= {"EMBEDDING_LOOKUP", "DEQUANTIZE", "QUANTIZE"}  # built in, all of them
    same = []
    for row, expected in zip(run(path, *columns), run(exact, *columns)):
        places = [name for name, x in expected.items() if x.dtype == np.int32]
        same.append(all(np.array_equal(row[name], expected[name]) for name in places))
    assert np.mean(same) >= (0.8 if mode == "int4" else 0.95)
