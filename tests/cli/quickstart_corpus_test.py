import csv

import pytest

from keras_bert_lib.cli import quickstart_corpus


@pytest.fixture(scope="module")
def corpus():
    return quickstart_corpus.build_corpus()


def test_corpus_is_large_enough_to_train_on(corpus):
    # 8,000 docstrings and 2.2 MB on the Pythons it was made with; distributions leave parts out.
    assert len(corpus.train_rows) > 3000
    assert len(corpus.held_out_rows) > 800
    assert sum(map(len, corpus.train_documents)) > 1_000_000
    share = len(corpus.held_out_rows) / (len(corpus.held_out_rows) + len(corpus.train_rows))
    assert 0.15 < share < 0.25


def test_no_module_and_no_text_is_on_both_sides(corpus):
    train_texts, _, train_modules = map(set, zip(*corpus.train_rows))
    held_out_texts, _, held_out_modules = map(set, zip(*corpus.held_out_rows))
    assert not train_modules & held_out_modules
    assert not train_texts & held_out_texts
    pretraining_text = "\n\n".join(corpus.train_documents)
    long_texts = [text for text in held_out_texts if len(text) > 200]
    assert len(long_texts) > 100
    assert not [text for text in long_texts if text in pretraining_text]


def test_every_area_is_on_both_sides(corpus):
    train_areas = {area for _, area, _ in corpus.train_rows}
    assert train_areas == {area for _, area, _ in corpus.held_out_rows}
    assert len(train_areas) >= 8


def test_corpus_is_the_same_in_every_run(corpus):
    assert quickstart_corpus.build_corpus() == corpus


@pytest.mark.parametrize(
    ("module", "area"),
    [
        ("os", "operating system"),
        ("os.path", "files"),
        ("email.mime.text", "internet data"),
        ("concurrent.futures.thread", "concurrency"),
        ("tkinter.ttk", "graphics"),
        ("emailx", None),
        ("this", None),
    ],
)
def test_area_is_that_of_the_longest_prefix(module, area):
    assert quickstart_corpus.area_of(module) == area


def test_modules_of_an_area_are_named_once():
    names = [name for names in quickstart_corpus.AREAS.values() for name in names.split()]
    assert len(names) == len(set(names))


def test_library_is_read_and_not_imported(tmp_path):
    (tmp_path / "pydoc_data").mkdir()
    (tmp_path / "pydoc_data" / "topics.py").write_text('topics = {"if": "The if statement"}')
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "support.py").write_text('"""Tests are left out."""')
    (tmp_path / "broken.py").write_text('"""Never parsed."""\ndef (')
    (tmp_path / "_pydecimal.py").write_text('"""Decimal numbers."""\nraise SystemExit(1)')
    (tmp_path / "os.py").write_text(
        '"""The system."""\nclass A:\n    """An A."""\n    async def f(self):\n'
        '        """An \\ud800 f."""\n\ndef g():\n    """The system."""\n'
    )
    assert quickstart_corpus.read_docstrings(str(tmp_path)) == [
        ("decimal", "Decimal numbers."),
        ("os", "The system."),
        ("os", "An A."),
        ("os", "An ? f."),
    ]
    assert quickstart_corpus.read_topics(str(tmp_path)) == ["The if statement"]
    with pytest.raises(ValueError, match="4 docstrings in "):
        quickstart_corpus.build_corpus(str(tmp_path))


def test_held_out_modules_do_not_change_when_another_is_added():
    rows = [("text", "files", f"module_{i}") for i in range(50)]
    held_out = quickstart_corpus.held_out_modules(rows, share=0.2)
    assert len(held_out) == 10
    more = quickstart_corpus.held_out_modules([*rows, ("text", "files", "new")], share=0.2)
    assert len(held_out & more) >= 9


def test_written_files_read_back(tmp_path):
    documents = ["First  line\nof a paragraph.\n\nSecond.", "Other document."]
    quickstart_corpus.write_documents(documents, tmp_path / "documents.txt")
    assert (tmp_path / "documents.txt").read_text("utf-8") == (
        "First line of a paragraph.\nSecond.\n\nOther document.\n\n"
    )
    rows = [('a "quoted", text\nof two lines', "files", "glob")]
    quickstart_corpus.write_rows(rows, tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", encoding="utf-8", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [("text", "area", "module"), *rows]
