"""Live comparison of fills and labels with the pipelines of `transformers`."""

import random

import keras
import numpy as np
import pytest

import keras_bert_lib as kbl
from tests.models.span_parity_test import make_model, make_text

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")


def test_fills_are_those_of_the_pipeline(tmp_path):
    model = make_model(kbl.BertMaskedLM, 128)
    model.save_pretrained(tmp_path)
    pipeline = transformers.pipeline("fill-mask", str(tmp_path))
    rng = random.Random(2)
    texts = [" [MASK]".join(make_text(rng, 8) for _ in range(rng.randint(2, 4))) for _ in range(40)]
    for text, masks in zip(texts, model.predict_text(texts, batch_size=7)):
        expected = pipeline(text)
        expected = expected if isinstance(expected[0], list) else [expected]
        assert len(masks) == text.count("[MASK]") == len(expected)
        for found, ranked in zip(masks, expected):
            ids = [model.tokenizer.token_to_id(answer["token"]) for answer in found]
            assert ids == [answer["token"] for answer in ranked]
            np.testing.assert_allclose(
                [answer["score"] for answer in found], [x["score"] for x in ranked], atol=2e-5
            )


def test_labels_are_those_of_the_pipeline(tmp_path):
    keras.utils.set_random_seed(1)
    bare = make_model(kbl.BertMaskedLM, 128)
    model = kbl.BertClassifier(
        kbl.BertEncoder(bare.config),
        tokenizer=bare.tokenizer,
        labels=["joy", "anger", "käse"],
        problem_type="multi_label_classification",
    )
    model.save_pretrained(tmp_path)
    pipeline = transformers.pipeline("text-classification", str(tmp_path), top_k=None)
    rng = random.Random(3)
    texts = [make_text(rng) for _ in range(40)]
    counts = set()
    for text, found in zip(texts, model.predict_text(texts)):
        expected = [answer for answer in pipeline([text])[0] if answer["score"] > 0.5]
        assert [x["label"] for x in found] == [x["label"] for x in expected]
        np.testing.assert_allclose(
            [x["score"] for x in found], [x["score"] for x in expected], atol=2e-5
        )
        counts.add(len(found))
    assert len(counts) > 1
