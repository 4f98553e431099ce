"""The tasks of GLUE, by files like the official ones."""

import pytest
from absl import logging

from keras_bert_lib.data import read_glue

# Task, file, its text, and what is read: texts, second texts, labels and label ids.
FILES = [
    (
        "CoLA",
        "train.tsv",
        'gj04\t1\t\tOne more.\ngj04\t0\t*\tHim "saw" I.\n',
        (["One more.", 'Him "saw" I.'], None, ["0", "1"], [1, 0]),
    ),
    (
        "MRPC",
        "msr_paraphrase_dev.txt",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tHe said \"a\tIt's b\n",
        (['He said "a'], ["It's b"], ["0", "1"], [1]),
    ),
    (
        "QQP",
        "dev.tsv",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\ta?\tb?\t0\n1\t2\n4\t5\t6\t\tb?\t1\n",
        (["a?"], ["b?"], ["0", "1"], [0]),
    ),
    (
        "MNLI",
        "dev_matched.tsv",
        "index\tgenre\tsentence1_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
        "0\tx\t(a)\ta\tb\tneutral\tcontradiction\n1\tx\t(c)\tc\td\tneutral\tneutral\n",
        (["a", "c"], ["b", "d"], ["contradiction", "entailment", "neutral"], [0, 2]),
    ),
    (
        "QNLI",
        "dev.tsv",
        "index\tquestion\tsentence\tlabel\n0\ta?\tb\tnot_entailment\n",
        (["a?"], ["b"], ["entailment", "not_entailment"], [1]),
    ),
    (
        "WNLI",
        "dev.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n",
        (["a"], ["b"], ["0", "1"], [1]),
    ),
    (
        "STS-B",
        "dev.tsv",
        "index\tgenre\tsentence1\tsentence2\tscore\n0\tx\ta\tb\t2.500\n",
        (["a"], ["b"], None, [2.5]),
    ),
]


@pytest.mark.parametrize(("task", "name", "text", "expected"), FILES, ids=[x[0] for x in FILES])
def test_official_columns(tmp_path, task, name, text, expected, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda *args: said.append(args[0] % args[1:]))
    (tmp_path / task).mkdir()
    path = tmp_path / task / name
    path.write_text(text, "utf-8")
    split = "train" if name == "train.tsv" else "dev"
    for source in (tmp_path, tmp_path / task, path):
        read = read_glue(source, task.lower(), split)
        assert (*read[:2], read.labels, read.label_ids.tolist()) == expected
    assert said == [f"{path}: left out 2 rows that lack a cell."] * 3 * (task == "QQP")


def test_errors(tmp_path):
    path = tmp_path / "dev.tsv"
    path.write_text("index\tsentence\n0\ta\n", "utf-8")
    with pytest.raises(ValueError, match=r'no column "label".*test sets have no labels.*"index"'):
        read_glue(path, "SST-2")
    with pytest.raises(ValueError, match=r'no column "question".*no labelled file of QNLI'):
        read_glue(path, "QNLI")
    with pytest.raises(ValueError, match=r"must be one of CoLA, SST-2.*Received: 'SST-3'"):
        read_glue(path, "SST-3")
    with pytest.raises(FileNotFoundError, match=r"no file .*train\.tsv. Give the folder of RTE"):
        read_glue(tmp_path, "RTE")
    path.write_text("sentence\tlabel\na\t2\n", "utf-8")
    with pytest.raises(ValueError, match=r"dev\.tsv is no file of SST-2: .*Received: '2'"):
        read_glue(path, "SST-2")
    path.write_text("", "utf-8")
    with pytest.raises(ValueError, match=r"dev\.tsv is empty"):
        read_glue(path, "SST-2")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("task", "counts"), [("SST-2", (67_349, 872)), ("RTE", (2490, 277)), ("STS-B", (5749, 1500))]
)
def test_real_files(shared_data, task, counts):
    reads = [read_glue(shared_data / "glue", task, split) for split in ("train", "dev")]
    assert tuple(len(read.texts) for read in reads) == counts
    assert reads[0].labels == reads[1].labels
