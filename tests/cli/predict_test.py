import gzip
import io
import json
import re
import shutil
import sys
from types import SimpleNamespace

import pytest

import keras_bert_lib as kbl
from tests.export.task_models import MAX_BYTES, make_model

KINDS = ["model", "saved_model", "tflite", "keras"]
TEXTS = ["the film was fine", "it was dull", "", "   ", "🙂", "rain and sun and rain", "cat"]


def rows(out):
    return [line.split("\t") for line in out.splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_answers_of_the_model(run_command, artifacts, kind):
    model = kbl.BertClassifier.from_pretrained(artifacts["model"])
    expected = model.predict_text(TEXTS)
    assert len({answer["label"] for answer in expected}) == 2
    code, out, error = run_command("predict", artifacts[kind], *TEXTS)
    assert (code, error) == (0, "")
    assert [row[0] for row in rows(out)] == [answer["label"] for answer in expected]
    for row, answer in zip(rows(out), expected):
        assert float(row[1]) == pytest.approx(answer["score"], abs=1e-3)
    assert [row[2] for row in rows(out)] == TEXTS


def test_numbered_versions_of_a_saved_model_are_found(run_command, artifacts):
    code, out, _ = run_command("predict", artifacts["saved_model"].removesuffix("/1"), "cat")
    assert code == 0
    assert out == run_command("predict", artifacts["saved_model"], "cat")[1]


def test_json_lines(run_command, artifacts):
    _, out, _ = run_command("predict", artifacts["tflite"], "--json", *TEXTS)
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["text"] for answer in answers] == TEXTS
    assert all(0.5 <= answer["score"] <= 1 for answer in answers)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_of_any_kind_on_standard_input_are_answered(
    run_command, artifacts, kind, monkeypatch
):
    data = b"the cat\r\n\nfilm \xff\xfe was\n\x00\n" + b"sun " * 5000 + b"\n" + b"x" * 10_000
    stdin = SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    code, out, _ = run_command("predict", artifacts[kind], "--json")
    assert code == 0
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["text"][:4] for answer in answers] == ["the ", "", "film", "\0", "sun ", "xxxx"]
    # What is not UTF-8 changes no answer.
    assert answers[2]["label"] == rows(run_command("predict", artifacts[kind], "film was")[1])[0][0]


def test_file_gives_the_same_in_every_batch_size(run_command, artifacts, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    outs = {
        run_command(
            "predict", artifacts["saved_model"], "--file", tmp_path / "texts.txt", *options
        )[1]
        for options in [(), ("--batch-size", "2")]
    }
    assert len(outs) == 1
    assert len(outs.pop().splitlines()) == len(TEXTS)


def test_model_that_was_not_fine_tuned_says_so(run_command, artifacts, tmp_path):
    kbl.BertEncoder.from_pretrained(artifacts["model"]).save_pretrained(tmp_path / "encoder")
    shutil.copytree(artifacts["model"], tmp_path / "no_vocab")
    for file in ("vocab.txt", "tokenizer.json"):
        (tmp_path / "no_vocab" / file).unlink()
    for name, part in [("encoder", "Fine-tune it first"), ("no_vocab", "no vocab.txt")]:
        code, _, error = run_command("predict", tmp_path / name, "text")
        assert code == 2
        assert str(tmp_path / name) in error
        assert part in error


LINES = {
    "multi_label": ["the film was fine", "dull"],
    "regression": ["the film was fine", "dull"],
    "embedder": ["the film was fine", "dull"],
    "tagger": ["😀 the film was fine in 東京", "ÀÉÎ dull"],
    "answerer": ["was it fine\t😀 naïveté, the film was fine", "what\tdull"],
    "choice": ["the film was\tfine\tdull\t東京", "dull\tthe\twas\tfilm"],
    "masked": ["the [MASK] was [MASK]", "fine"],
}


def answers_of(model, lines):
    """What Python's methods answer to lines of texts, or of texts and second texts."""
    if isinstance(model, kbl.BertTextEmbedder):
        return model.encode(lines)
    parts = [line.split("\t") for line in lines]
    columns = [[part[0] for part in parts]]
    if isinstance(model, kbl.BertMultipleChoice):
        columns.append([part[1:] for part in parts])
    elif isinstance(model, kbl.BertQuestionAnswerer):
        columns.append([part[1] for part in parts])
    return model.predict_text(*columns)


def same(found, expected):
    """Whether two answers are alike, but for the last digits of numbers."""
    if isinstance(expected, dict):
        # What a file cannot say of a mask is the whole text with it filled in.
        assert set(expected) - set(found) <= {"sequence"}
        return all(same(found[key], expected[key]) for key in found)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return found == pytest.approx(expected, abs=1e-4)
    return found == expected


QUICK = [("answerer", "model"), ("choice", "model"), ("embedder", "model"), ("tagger", "tflite")]


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        pytest.param(task, kind, marks=[] if (task, kind) in QUICK else pytest.mark.slow)
        for task in LINES
        for kind in ("model", "saved_model", "tflite")
    ],
)
def test_every_task_is_answered(run_command, tmp_path, task, kind):
    model, path = make_model(task), tmp_path / "answers.tflite"
    if kind == "model":
        model.save_pretrained(path)
    elif kind == "saved_model":
        kbl.export.saved_model(model, path)
    else:
        choices = 3 if task == "choice" else None
        kbl.export.tflite(model, path, "none", max_bytes=MAX_BYTES, choices=choices)
    code, out, error = run_command("predict", path, "--json", *LINES[task])
    assert (code, error) == (0, "")
    found = [json.loads(line) for line in out.splitlines()]
    assert [answer.pop("text") for answer in found] == LINES[task]
    expected = answers_of(model, LINES[task])
    if task == "embedder":
        expected = [{"embedding": row.tolist()} for row in expected]
    elif not isinstance(expected[0], dict):
        name = {"regression": "values", "masked": "masks"}.get(task, "answers")
        assert list(found[0]) == [name]
        found = [next(iter(answer.values())) for answer in found]
    assert all(map(same, found, expected)), (found, expected)
    code, out, _ = run_command("predict", path, *LINES[task])
    assert code == 0
    assert all(line.endswith(text) for line, text in zip(out.splitlines(), LINES[task]))
    if task == "tagger":
        assert found[0]  # there is something to cut out
        assert found[0][0]["text"] in out


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["absent", "text"], "absent: No such file or directory."),
        (["{tmp}", "text"], "neither a model directory"),
        (["{tmp}/other.bin", "text"], "neither a .tflite nor a .keras file"),
        (["{model}", "text", "--file", "f"], "not both"),
        (["{model}", "--file", "absent.txt"], "absent.txt: No such file or directory."),
        (["{saved_model}", "a\tb", "--pairs"], "takes single texts"),
        (["{tflite}", "a\tb", "--pairs"], "takes single texts"),
        (["{model}", "text", "--text-column", "a"], "give --file, too"),
        (["{model}", "--file", "{tmp}/c.csv"], 'Received columns: "a", "b", "c"'),
        (["{model}", "--file", "{tmp}/c.csv", "--text-column", "d"], 'no column "d"'),
        (["{model}", "--file", "{tmp}/c.tsv"], "Or add --pairs, if each line is a text and its"),
        (["{model}", "--file", "{tmp}/a.csv", "--pairs"], "Name their column with --text-pair-col"),
        (["{model}", "--file", "{tmp}/a.json"], "The name of a file tells its format"),
        (["{model}", "x", "--task", "fill-mask"], "is for text-classification: leave --task out"),
        (["{tflite}", "x", "--task", "fill-mask"], "is for text-classification: leave --task out"),
        (["{model}", "x", "--task", "sing"], "invalid choice"),
        (["{model}", "x", "--top-k", "0"], "a whole number above 0"),
    ],
)
def test_bad_input_gives_one_line(run_command, artifacts, tmp_path, argv, part):
    (tmp_path / "other.bin").write_bytes(b"something else")
    (tmp_path / "c.csv").write_text("a,b,c\n1,2,3\n")
    (tmp_path / "c.tsv").write_text("it was\tdull\n")
    (tmp_path / "a.csv").write_text("text\nit was\n")
    (tmp_path / "a.json").write_text("{}")
    argv = [argument.format(tmp=tmp_path, **artifacts) for argument in argv]
    code, _, error = run_command("predict", *argv)
    assert code == 2
    assert part in error
    assert error.count("\n") == 1


def save(model, path, kind):
    """Writes a model as what `predict` takes, and returns its path."""
    if kind == "model":
        model.save_pretrained(path)
    else:
        kbl.export.saved_model(model, path)
    return path


SQUAD = {"paragraphs": [{"context": "it was dull", "qas": [{"id": "1", "question": "was it"}]}]}
# Of each task files that tell its texts, without right answers and with some, and the lines that
# are the same.
TABLES = {
    "label": [
        ("a.csv", 'text,label\nthe film,joy\n,anger\n"a\nb",joy\n', ["the film", "", "a\nb"]),
        ("a.tsv", "Sentence\tid\nthe film\t1\n", ["the film"]),
        ("a.jsonl", '{"review": "the film"}\n{"review": "dull"}\n', ["the film", "dull"]),
        ("a.csv", "sentence1,sentence2,label\nit,was,joy\n", ["it\twas"]),
        ("b.tsv", "the film\ndull\n", ["the film", "dull"]),  # no header
    ],
    "tagger": [
        ("a.conll", "the O\nfilm B-name\n\ndull O\n", ["the film", "dull"]),
        ("b.conll", "the\nfilm\n\ndull\n", ["the film", "dull"]),
        ("a.tsv", "tokens\ttags\nthe\tO\nfilm\tB-name\n", ["the film"]),
        ("a.jsonl", '{"tokens": ["the", "film"]}\n', ["the film"]),
        ("a.csv", "text\nthe film was fine\n", ["the film was fine"]),
    ],
    "answerer": [
        ("a.json", json.dumps({"data": [SQUAD]}), ["was it\tit was dull"]),
        ("a.csv", "question,context\nwas it,it was dull\n", ["was it\tit was dull"]),
        ("b.tsv", "was it\tit was dull\n", ["was it\tit was dull"]),  # no header
    ],
    "choice": [
        ("a.jsonl", '{"text": "it", "choices": ["was", "is"], "label": 0}\n', ["it\twas\tis"]),
        ("a.csv", "sent1,ending0,ending1\nit,was,is\n", ["it\twas\tis"]),
        ("b.tsv", "it\twas\tis\n", ["it\twas\tis"]),  # no header
    ],
    "embedder": [("a.csv", "anchor,positive\nthe film,a film\n", ["the film"])],
    "masked": [
        ("a.csv", "text\nthe [MASK] was\n", ["the [MASK] was"]),
        ("b.tsv", "the [MASK] was\na [MASK]\n", ["the [MASK] was", "a [MASK]"]),
    ],
}


@pytest.mark.parametrize("task", TABLES)
def test_the_texts_of_a_table_are_answered(run_command, tmp_path, task):
    path = save(make_model(task), tmp_path / "model", "model")
    for name, content, lines in TABLES[task]:
        (tmp_path / name).write_text(content)
        pairs = ["--pairs"] if task == "label" and "\t" in lines[0] else []
        expected = run_command("predict", path, "--json", *pairs, *lines)
        assert expected[0] == 0
        found = run_command("predict", path, "--json", "--file", tmp_path / name)
        assert found == expected, name
        _, out, _ = run_command("predict", path, "--file", tmp_path / name)
        assert len(out.splitlines()) == len(lines)  # though a cell has several


def test_exported_files_read_tables_too(run_command, artifacts, tmp_path):
    (tmp_path / "a.csv").write_text("sentence,label\nthe film was fine,pos\nrain,neg\n")
    for kind in ("saved_model", "tflite"):
        expected = run_command("predict", artifacts[kind], "the film was fine", "rain")
        assert run_command("predict", artifacts[kind], "--file", tmp_path / "a.csv") == expected


def test_lines_of_other_files_are_texts(run_command, artifacts, tmp_path):
    with gzip.open(tmp_path / "texts.txt.gz", "wt") as file:
        file.write("text,label\nrain\n")
    code, out, _ = run_command("predict", artifacts["model"], "--file", tmp_path / "texts.txt.gz")
    assert code == 0
    assert [row[-1] for row in rows(out)] == ["text,label", "rain"]


def test_pairs_without_a_header_are_still_read(run_command, artifacts, tmp_path):
    (tmp_path / "pairs.tsv").write_text("the film\tit was\nrain\tsun\n")
    arguments = ("predict", artifacts["model"], "--pairs")
    expected = run_command(*arguments, "the film\tit was", "rain\tsun")
    assert expected[0] == 0
    assert run_command(*arguments, "--file", tmp_path / "pairs.tsv") == expected


@pytest.mark.parametrize("kind", ["model", pytest.param("saved_model", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("task", "table", "what"),
    [
        ("answerer", "question,context\nwas it,\n", "context"),
        ("choice", "text,choices\nwas it,\n", "choices"),
    ],
)
def test_second_texts_that_are_needed(run_command, tmp_path, task, table, what, kind):
    path = save(make_model(task), tmp_path / "model", kind)
    (tmp_path / "a.csv").write_text(table)
    for argv, part in [
        (["was it"], f"A line has no {what}. Give it behind the text, parted by a tab"),
        (["--file", tmp_path / "a.csv"], f"a.csv line 2 has no {what}. Fill the cell in."),
    ]:
        code, out, error = run_command("predict", path, *argv)
        assert (code, out) == (2, "")
        assert part in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_labels_in_order(run_command, artifacts, kind):
    model = kbl.BertClassifier.from_pretrained(artifacts["model"])
    for top_k in (1, 9):
        code, out, _ = run_command("predict", artifacts[kind], "--top-k", top_k, "--json", *TEXTS)
        assert code == 0
        found = [json.loads(line)["answers"] for line in out.splitlines()]
        assert all(map(same, found, model.predict_text(TEXTS, top_k=top_k)))
    code, out, _ = run_command("predict", artifacts[kind], "--top-k", "2", "rain")
    assert re.fullmatch(r"(pos|neg) 0\.\d{4}, (pos|neg) 0\.\d{4}\train\n", out)


@pytest.mark.parametrize("kind", ["model", pytest.param("saved_model", marks=pytest.mark.slow)])
def test_the_best_pieces_for_masks(run_command, tmp_path, kind):
    path = save(make_model("masked"), tmp_path / "model", kind)
    _, out, _ = run_command("predict", path, "--json", "the [MASK] was")
    [five] = json.loads(out)["masks"]
    _, out, _ = run_command("predict", path, "--json", "--top-k", "2", "the [MASK] was")
    assert json.loads(out)["masks"] == [five[:2]]


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("multi_label", "model"),
        ("regression", "model"),
        ("tagger", "model"),
        pytest.param("multi_label", "saved_model", marks=pytest.mark.slow),
        pytest.param("embedder", "saved_model", marks=pytest.mark.slow),
    ],
)
def test_best_labels_are_of_one_label_a_text(run_command, tmp_path, task, kind):
    path = save(make_model(task), tmp_path / "model", kind)
    code, out, error = run_command("predict", path, "--top-k", "2", "the film")
    assert (code, out) == (2, "")
    assert error.count("\n") == 1
    assert "top" in error
    assert "eave it out. Received: " in error


def test_models_of_the_hub_are_taken_by_their_names(run_command, artifacts, tmp_path, monkeypatch):
    asked = []

    def snapshot_download(name, **options):
        asked.append(name)
        return artifacts["model"]

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    (tmp_path / "a.csv").write_text("text,label\nrain,pos\nsun,neg\n")
    for argv in [("predict", "{}", "rain"), ("evaluate", "{}", tmp_path / "a.csv")]:
        expected = run_command(*(artifacts["model"] if x == "{}" else x for x in argv))
        assert expected[0] == 0
        for name in ("someone/a-model", "hf://someone/a-model"):
            assert run_command(*(name if x == "{}" else x for x in argv)) == expected
    code, _, _ = run_command(
        "export", "--model", "someone/a-model", "--output", tmp_path / "serving"
    )
    assert code == 0
    assert set(asked) == {"someone/a-model"}
    # What is no such name is a path, of which nothing is asked.
    asked.clear()
    for path in ("absent", "./some/thing", "out/absent.tflite", tmp_path / "absent"):
        code, _, error = run_command("predict", path, "rain")
        assert code == 2
        assert f"{path}: No such file or directory." in error
    assert not asked


def test_the_task_may_be_told(run_command, artifacts, tmp_path):
    expected = run_command("predict", artifacts["tflite"], "rain")
    task = ("--task", "text-classification")
    assert run_command("predict", artifacts["tflite"], "rain", *task) == expected
    path = save(make_model("tagger"), tmp_path / "model", "model")
    code, _, error = run_command("predict", path, "rain", *task)
    assert code == 2
    assert "is for token-classification: leave --task out, or give another model. Receiv" in error
