"""Training of embedders: losses by hand and beside sentence-transformers, and `fit`."""

import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from keras_bert_lib.models import BertEncoder, BertTextEmbedder, embedding_losses
from tests.models.small_models import pretraining_batch, small_config

KEYS = ("token_ids", "segment_ids", "padding_mask")


def inputs_of(seed, batch=6):
    return {name: x for name, x in pretraining_batch(batch, seed=seed).items() if name in KEYS}


def small_embedder(dtype=None, **arguments):
    keras.utils.set_random_seed(3)
    config = small_config(
        num_layers=1, initializer_range=0.5, hidden_dropout=0.0, attention_dropout=0.0
    )
    return BertTextEmbedder(BertEncoder(config, use_pooler=False, dtype=dtype), **arguments)


def triples(batch=6):
    return {
        name: inputs_of(seed, batch) for seed, name in enumerate(("anchor", "positive", "negative"))
    }


def pairs(batch=6):
    return {name: x for name, x in triples(batch).items() if name != "negative"}


def vectors(seed=0):
    x = np.random.default_rng(seed).normal(size=(3, 5, 8)).astype("float32")
    return dict(zip(("anchor", "positive", "negative"), x))


class EmbeddingLossesTest(parameterized.TestCase):
    def test_in_batch_negatives(self):
        anchor = np.array([[2, 0], [0, 1.0]], "float32")  # cosines 1, 0.6; 0, 0.8
        positive = np.array([[5, 0], [3, 4.0]], "float32")
        given = {"anchor": anchor, "positive": positive}
        losses, hits = embedding_losses.in_batch_negatives(given, 0.5)
        e = np.exp
        expected = [-np.log(e(2) / (e(2) + e(1.2))), -np.log(e(1.6) / (1 + e(1.6)))]
        np.testing.assert_allclose(losses, expected, rtol=1e-5)
        np.testing.assert_array_equal(hits, [1, 1])
        # With two wrong answers more: cosines -1, 1 and 0, 0.
        given["negative"] = np.array([[-1, 0], [9, 0.0]], "float32")
        losses, hits = embedding_losses.in_batch_negatives(given, 0.5)
        expected[0] = -np.log(e(2) / (e(2) + e(1.2) + e(-2) + e(2)))
        expected[1] = -np.log(e(1.6) / (1 + e(1.6) + 2))
        np.testing.assert_allclose(losses, expected, rtol=1e-5)
        given["anchor"] = anchor[::-1]
        np.testing.assert_array_equal(embedding_losses.in_batch_negatives(given, 0.5)[1], [0, 0])

    def test_cosine(self):
        given = {"anchor": [[2.0, 0], [0, 1]], "positive": [[3.0, 4], [0, -2]]}
        given = {name: np.array(x, "float32") for name, x in given.items()}
        for scores in ([0.5, 0], [[0.5], [0]]):
            losses, hits = embedding_losses.cosine(given, np.array(scores))
            np.testing.assert_allclose(losses, [0.01, 1], rtol=1e-5)
            assert hits is None

    def test_triplet(self):
        given = {"anchor": [[0.0, 0], [0, 0]], "positive": [[3.0, 4], [0, 1]]}
        given["negative"] = [[0.0, 3], [0, 1.5]]
        given = {name: np.array(x, "float32") for name, x in given.items()}
        losses, hits = embedding_losses.triplet(given, 1.0)
        np.testing.assert_allclose(losses, [3, 0.5], rtol=1e-5)
        np.testing.assert_array_equal(hits, [0, 1])
        # Equal texts have a gradient, too: none.
        x = tf.Variable([[1.0, 2]])
        with tf.GradientTape() as tape:
            loss = embedding_losses.triplet(dict.fromkeys(given, x), 1.0)[0]
        np.testing.assert_array_equal(tape.gradient(loss, x), [[0, 0]])

    def test_fit(self):
        self.check_fit("in_batch_negatives")

    @parameterized.parameters("cosine", "triplet")
    @pytest.mark.slow
    def test_fit_by_other_losses(self, loss):
        self.check_fit(loss)

    def check_fit(self, loss):
        embedder = small_embedder()
        embedder.compile(keras.optimizers.Adam(1e-2), loss=loss)
        x = triples() if loss != "cosine" else pairs()
        y = np.linspace(-1, 1, 6, dtype="float32") if loss == "cosine" else None
        # What `evaluate` says is the loss of the embeddings, whatever their batches.
        embeddings = {name: embedder(part) for name, part in x.items()}
        function = getattr(embedding_losses, loss)
        losses, hits = function(embeddings, {"cosine": y, "triplet": 1.0}.get(loss, 0.05))
        found = embedder.evaluate(x, y, batch_size=6, verbose=0, return_dict=True)
        np.testing.assert_allclose(found["loss"], np.mean(losses), rtol=1e-4)
        assert sorted(found) == (["loss"] if loss == "cosine" else ["accuracy", "loss"])
        if hits is not None:
            np.testing.assert_allclose(found["accuracy"], np.mean(hits), rtol=1e-5)
        history = embedder.fit(x, y, batch_size=6, epochs=12, verbose=0).history
        assert history["loss"][-1] < 0.5 * history["loss"][0]
        # As it was, from a file.
        path = tempfile.mkdtemp() + "/e.keras"
        embedder.save(path)
        loaded = keras.models.load_model(path)
        again = loaded.evaluate(x, y, batch_size=6, verbose=0, return_dict=True)
        before = embedder.evaluate(x, y, batch_size=6, verbose=0, return_dict=True)
        assert again == pytest.approx(before, rel=1e-5)

    def test_options_and_weights(self):
        x, weights = pairs(), np.array([1, 0, 2, 1, 0, 0], "float32")
        embedder = small_embedder(normalize=False)
        embeddings = {name: embedder(part) for name, part in x.items()}
        for temperature in (0.1, 1.0):
            embedder.compile("sgd", temperature=temperature)
            losses, _ = embedding_losses.in_batch_negatives(embeddings, temperature)
            # Keras has no weights without `y`, which says nothing here.
            y = np.zeros(6)
            found = embedder.evaluate(x, y, 6, sample_weight=weights, verbose=0)[0]
            expected = np.average(losses, weights=weights)
            np.testing.assert_allclose(found, expected, rtol=1e-4)

    @pytest.mark.slow
    def test_mixed_precision(self):
        x = pairs()
        exact = small_embedder()
        embeddings = {name: exact(part) for name, part in x.items()}
        expected = np.mean(embedding_losses.in_batch_negatives(embeddings, 0.05)[0])
        embedder = small_embedder("mixed_float16")
        embedder.compile(keras.optimizers.Adam(1e-2))
        losses = embedder.fit(x, batch_size=6, epochs=8, verbose=0).history["loss"]
        np.testing.assert_allclose(losses[0], expected, rtol=0.1)
        assert losses[-1] < 0.5 * losses[0]

    @pytest.mark.slow
    def test_two_devices_learn_from_the_texts_of_each(self):
        x = pairs(8)
        halves = [
            {name: {k: v[i : i + 4] for k, v in part.items()} for name, part in x.items()}
            for i in (0, 4)
        ]
        embedder = small_embedder()
        losses = []
        for half in halves:
            embeddings = {name: embedder(part) for name, part in half.items()}
            losses.append(np.mean(embedding_losses.in_batch_negatives(embeddings, 0.05)[0]))
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            embedder = small_embedder()
            embedder.compile(keras.optimizers.Adam(1e-2))
        data = tf.data.Dataset.from_tensor_slices(x).batch(8)
        history = embedder.fit(data, epochs=8, verbose=0).history
        np.testing.assert_allclose(history["loss"][0], np.mean(losses), rtol=1e-4)
        assert history["loss"][-1] < 0.5 * history["loss"][0]

    def test_mistakes(self):
        embedder = small_embedder()
        with self.assertRaisesRegex(ValueError, "must be positive.*temperature=0"):
            embedder.compile("sgd", temperature=0)
        with self.assertRaisesRegex(ValueError, r"Leave `metrics` out. Received.*\['mse'\]"):
            embedder.compile("sgd", metrics=["mse"])
        embedder.compile("sgd", loss="triplet", run_eagerly=True)
        with self.assertRaisesRegex(ValueError, "there is no negative. Received: x of anchor, pos"):
            embedder.fit(pairs(), verbose=0)
        embedder.compile("sgd", run_eagerly=True)
        with self.assertRaisesRegex(ValueError, "there is no anchor. Received: x of token_ids"):
            embedder.fit(inputs_of(0), verbose=0)
        embedder.compile("sgd", loss="cosine", run_eagerly=True)
        with self.assertRaisesRegex(ValueError, "learns from scores.*y=None"):
            embedder.fit(pairs(), verbose=0)


@pytest.mark.parity
def test_losses_are_those_of_sentence_transformers():
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    torch = pytest.importorskip("torch")

    given = vectors()
    rows = [torch.tensor(given[name]) for name in ("anchor", "positive", "negative")]

    class Given(torch.nn.Module):
        def __call__(self, features):
            return {"sentence_embedding": features["sentence_embedding"]}

    def of(loss, embeddings, labels=None):
        features = [{"sentence_embedding": x} for x in embeddings]
        return float(loss(features, labels))

    for scale in (20.0, 3.0):
        for count in (2, 3):
            loss = losses.MultipleNegativesRankingLoss(Given(), scale=scale)
            part = dict(list(given.items())[:count])
            found, _ = embedding_losses.in_batch_negatives(part, 1 / scale)
            assert np.mean(found) == pytest.approx(of(loss, rows[:count]), rel=1e-5)
    scores = np.array([0.1, 0.9, -0.3, 0.5, 1.0], "float32")
    expected = of(losses.CosineSimilarityLoss(Given()), rows[:2], torch.tensor(scores))
    assert np.mean(embedding_losses.cosine(given, scores)[0]) == pytest.approx(expected, rel=1e-5)
    for margin in (1.0, 5.0):
        expected = of(losses.TripletLoss(Given(), triplet_margin=margin), rows)
        found = np.mean(embedding_losses.triplet(given, margin)[0])
        assert found == pytest.approx(expected, rel=1e-5)
