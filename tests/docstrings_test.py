"""Every public name has an example in its docstring, and the example runs."""

import doctest
import inspect
import os
import re
import shutil
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bert_lib as kbl

PACKAGES = (kbl.text, kbl.layers, kbl.models, kbl.data, kbl.training, kbl.export)
PACKAGES += (kbl.models.surgery, kbl.evaluation, kbl.evaluation.metrics)
# Made by functions, not by users.
RESULTS = (
    kbl.data.LabelledTexts,
    kbl.data.Texts,
    kbl.export.Verification,
    kbl.export.VerificationError,
)
RESULTS += (kbl.data.LabelledTokens, kbl.data.LabelledChoices, kbl.data.Questions)
RESULTS += (kbl.data.TextPairs,)
RESULTS += (kbl.evaluation.Evaluation,)
PUBLIC = {
    f"{package.__name__.split('.')[-1]}.{name}": getattr(package, name)
    for package in PACKAGES
    for name in package.__all__
    if getattr(package, name) not in RESULTS
}
FENCED = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """What examples take for granted: a small model, and a few files."""
    folder = tmp_path_factory.mktemp("material")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fine", "dull", "film", "one"]
    kbl.text.save_vocabulary(pieces, folder / "vocab.txt")
    (folder / "corpus.txt").write_text("A fine film. It ran.\n\nA dull film. It ended.\n", "utf-8")
    (folder / "train.csv").write_text("text,label\na fine film,pos\na dull one,neg\n", "utf-8")
    config = kbl.BertConfig.from_size(
        "tiny", vocab_size=len(pieces), hidden_size=16, intermediate_size=16, num_layers=1
    )
    tokenizer = kbl.BertTokenizer(pieces)
    classifier = kbl.BertClassifier(
        kbl.BertEncoder(config), tokenizer=tokenizer, labels=["neg", "pos"]
    )
    classifier.compile("adam")
    kbl.export.tflite(classifier, folder / "model.tflite")
    return folder, config, classifier


@pytest.fixture
def namespace(material, tmp_path, monkeypatch):
    """The names that examples use, in a folder with the files that they use."""
    folder, config, classifier = material
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    dataset = kbl.data.text_classification("train.csv", classifier.tokenizer)
    modules = {"kbl": kbl, "keras": keras, "np": np, "os": os, "tf": tf}
    models = {"config": config, "classifier": classifier, "model": classifier}
    return {**modules, **models, "dataset": dataset, "total_steps": 10}


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_example_runs(name, namespace, request):
    docstring = inspect.getdoc(PUBLIC[name])
    namespace[name.split(".")[-1]] = PUBLIC[name]
    test = doctest.DocTestParser().get_doctest(docstring, namespace, name, None, 0)
    blocks = [textwrap.dedent(block) for block in FENCED.findall(docstring)]
    assert test.examples or blocks, f"{name} has no example"
    if test.examples:
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        report = []
        runner.run(test, out=report.append, clear_globs=False)
        assert runner.failures == 0, "".join(report)
    for block in blocks:
        exec(compile(block, f"example of {name}", "exec"), namespace)
