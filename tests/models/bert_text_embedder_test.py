import functools
import os
import tempfile
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized

from keras_bert_lib import checkpoints
from keras_bert_lib.checkpoints import sentence_transformers
from keras_bert_lib.models import BertEncoder, BertTextEmbedder, bert_text_embedder
from keras_bert_lib.text import BertTokenizer
from tests.models.small_models import pretraining_batch, small_config, small_encoder

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + (
    ["a", "fine", "film", "bad", "plot", "the", "was", "not", "good", "story", "it", "!", "##s"]
)
TEXTS = ["a fine film", "bad", "the plot was not good, it was a bad, bad film!", "", "a story"]
KEYS = ("token_ids", "segment_ids", "padding_mask")
INPUTS = {name: x for name, x in pretraining_batch().items() if name in KEYS}


def small_embedder(tokenizer=True, **arguments):
    encoder = small_encoder(num_layers=1, initializer_range=0.5)
    tokenizer = BertTokenizer(VOCABULARY) if tokenizer else None
    return BertTextEmbedder(encoder, tokenizer=tokenizer, **arguments)


@functools.cache
def shared_embedder():
    """An embedder for the tests that only look at it: the first `encode` of each takes a second."""
    return small_embedder()


class BertTextEmbedderTest(parameterized.TestCase):
    @parameterized.product(
        pooling=["mean", "cls", "max"], normalize=[True, False], masked=[True, False]
    )
    def test_embeddings(self, pooling, normalize, masked):
        embedder = small_embedder(pooling=pooling, normalize=normalize)
        inputs = INPUTS if masked else {"token_ids": INPUTS["token_ids"]}
        outputs = np.asarray(embedder.encoder(inputs)["sequence_output"])
        lengths = INPUTS["padding_mask"].sum(-1) if masked else [12] * 6
        rows = [row[:length] for row, length in zip(outputs, lengths)]
        pool = {"mean": lambda x: x.mean(0), "cls": lambda x: x[0], "max": lambda x: x.max(0)}
        expected = np.stack([pool[pooling](row) for row in rows])
        if normalize:
            expected = expected / np.linalg.norm(expected, axis=-1, keepdims=True)
        np.testing.assert_allclose(embedder(inputs), expected, atol=1e-6)

    def test_a_row_of_padding_alone_is_no_nan(self):
        inputs = INPUTS | {"padding_mask": INPUTS["padding_mask"] * (np.arange(6) > 0)[:, None]}
        for pooling in ("mean", "cls", "max"):
            embedder = small_embedder(pooling=pooling)
            embeddings = np.asarray(embedder(inputs))
            self.assertTrue(np.isfinite(embeddings).all())
            np.testing.assert_allclose(embeddings[1:], embedder(INPUTS)[1:], atol=1e-6)

    def test_encode(self):
        embedder = shared_embedder()
        embeddings = embedder.encode(TEXTS, batch_size=2)
        alone = embedder.encode(TEXTS[1])
        self.assertEqual(alone.shape, (16,))
        np.testing.assert_allclose(alone, embeddings[1], atol=1e-6)
        np.testing.assert_array_equal(embedder.predict_text(TEXTS, batch_size=2), embeddings)
        self.assertEqual((embeddings.shape, embeddings.dtype), ((5, 16), np.float32))
        for text, embedding in zip(TEXTS, embeddings):
            alone = np.asarray(embedder(embedder.tokenizer([text])))[0]
            np.testing.assert_allclose(embedding, alone, atol=1e-6)
        self.assertGreater(np.abs(embeddings[0] - embeddings[2]).max(), 0.01)

    def test_encode_in_any_order(self):
        embedder = shared_embedder()
        texts = [text + " film" * i for i in range(8) for text in TEXTS]
        embeddings = embedder.encode(texts)
        order = np.random.default_rng(0).permutation(len(texts))
        for batch_size in (1, 7, 100):
            shuffled = embedder.encode([texts[i] for i in order], batch_size=batch_size)
            np.testing.assert_allclose(shuffled, embeddings[order], atol=1e-6)

    def test_encode_tokenizes_in_chunks(self):
        embedder = shared_embedder()
        texts = TEXTS * 3
        expected = embedder.encode(texts)
        call = BertTokenizer.__call__
        with (
            mock.patch.object(bert_text_embedder, "_CHUNK", 200),
            mock.patch.object(BertTokenizer, "__call__", autospec=True, side_effect=call) as calls,
        ):
            np.testing.assert_array_equal(embedder.encode(texts), expected)
        self.assertBetween(calls.call_count, 4, len(texts))

    def test_encode_odd_texts(self):
        embedder = shared_embedder()
        self.assertEqual(embedder.encode([]).shape, (0, 16))
        texts = ["", "\U0001f600", "a \ud83d film", "fine " * 200_000, b"a \xff film", "\x00"]
        embeddings = embedder.encode(texts)
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=-1), np.ones(6), atol=1e-5)
        np.testing.assert_allclose(embeddings[2], embeddings[4], atol=1e-6)
        # What does not fit in is cut off.
        np.testing.assert_allclose(embeddings[3], embedder.encode(["fine " * 14])[0], atol=1e-6)

    def test_max_length(self):
        long, short = "a fine film " * 3, "a fine"
        embedder = small_embedder(max_length=4)
        np.testing.assert_allclose(embedder.encode([long]), embedder.encode([short]), atol=1e-6)
        self.assertEqual(small_embedder().max_length, 16)
        encoder = small_encoder()
        tokenizer = BertTokenizer(VOCABULARY, max_length=9)
        self.assertEqual(BertTextEmbedder(encoder, tokenizer).max_length, 9)

    def test_progress(self):
        embedder = shared_embedder()
        with mock.patch.object(keras.utils, "Progbar") as bar:
            embedder.encode(TEXTS, batch_size=2, show_progress=True)
        self.assertEqual([call.args[0] for call in bar().update.call_args_list], [2, 4, 5])

    def test_similarity(self):
        embedder = shared_embedder()
        a, b = embedder.encode(TEXTS[:2]), embedder.encode(TEXTS)
        similarity = embedder.similarity(a, b)
        self.assertEqual((similarity.shape, similarity.dtype), ((2, 5), np.float32))
        for i in range(2):
            self.assertAlmostEqual(similarity[i, i], 1, places=5)
            cosine = a[i] @ b[4] / np.sqrt(a[i] @ a[i] * (b[4] @ b[4]))
            self.assertAlmostEqual(similarity[i, 4], cosine, places=5)
        np.testing.assert_allclose(embedder.similarity(a[1], b), similarity[1:], atol=1e-6)
        np.testing.assert_array_equal(embedder.similarity(np.zeros([1, 16]), b), np.zeros([1, 5]))
        with self.assertRaisesRegex(ValueError, "one width. Received: a of shape \\(2, 16\\), b"):
            embedder.similarity(a, b[:, :8])
        with self.assertRaisesRegex(ValueError, "`b` must be .* Received: shape \\(1, 5, 16\\)"):
            embedder.similarity(a, b[np.newaxis])

    @parameterized.parameters(
        ({"pooling": "last"}, "`pooling` must be one of mean, cls, max. Received: pooling='last'"),
        ({"max_length": 17}, "at most the encoder's 16 positions. Received: max_length=17"),
        ({"max_length": 2}, "`max_length` must be at least 3.* Received: max_length=2"),
    )
    def test_wrong_arguments(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            small_embedder(**arguments)

    def test_wrong_texts(self):
        embedder = shared_embedder()
        with self.assertRaisesRegex(ValueError, "must hold strings only. Received at index 1: 3"):
            embedder.encode(["a", 3])
        with self.assertRaisesRegex(ValueError, "positive integer. Received: batch_size=0"):
            embedder.encode(["a"], batch_size=0)
        with self.assertRaisesRegex(ValueError, "`encode` needs a tokenizer"):
            small_embedder(tokenizer=False).encode(["a"])
        tokenizer = BertTokenizer(VOCABULARY + [f"##{i}" for i in range(99)])
        with self.assertRaisesRegex(ValueError, "more pieces than the encoder"):
            BertTextEmbedder(small_encoder(), tokenizer)

    def test_embeddings_are_float32_under_mixed_precision(self):
        encoder = BertEncoder(small_config(num_layers=1), dtype="mixed_bfloat16")
        embeddings = BertTextEmbedder(encoder)(INPUTS)
        self.assertEqual(keras.backend.standardize_dtype(embeddings.dtype), "float32")
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=-1), np.ones(6), atol=1e-5)

    def test_trains_with_a_loss_of_the_callers(self):
        encoder = BertEncoder(small_config(num_layers=1), use_pooler=False)
        embedder = BertTextEmbedder(encoder)
        embedder.compile(keras.optimizers.Adam(1e-2), loss="mse")
        targets = np.random.default_rng(0).normal(size=(6, 16)).astype("float32")
        targets /= np.linalg.norm(targets, axis=-1, keepdims=True)
        history = embedder.fit(INPUTS, targets, epochs=10, verbose=0).history
        self.assertLess(history["loss"][-1], history["loss"][0] * 0.8)

    def test_files(self):
        embedder = small_embedder(pooling="max", normalize=False, max_length=7)
        directory = tempfile.mkdtemp()
        embedder.save_pretrained(directory)
        path = os.path.join(tempfile.mkdtemp(), "embedder.keras")
        embedder.save(path)
        for loaded in (
            BertTextEmbedder.from_pretrained(directory),
            keras.models.load_model(path),
        ):
            self.assertEqual(
                (loaded.pooling, loaded.normalize, loaded.max_length), ("max", False, 7)
            )
            np.testing.assert_array_equal(loaded(INPUTS), embedder(INPUTS))
            self.assertEqual(loaded.tokenizer.vocabulary, VOCABULARY)
        # What the caller says wins.
        loaded = BertTextEmbedder.from_pretrained(directory, normalize=True, pooling="cls")
        self.assertEqual((loaded.pooling, loaded.normalize), ("cls", True))

    def test_saving_again_in_place(self):
        directory = tempfile.mkdtemp()
        small_embedder(pooling="max").save_pretrained(directory)
        embedder = small_embedder(pooling="cls")
        embedder.save_pretrained(directory)
        loaded = BertTextEmbedder.from_pretrained(directory)
        self.assertEqual(loaded.pooling, "cls")
        np.testing.assert_array_equal(loaded(INPUTS), embedder(INPUTS))
        self.assertEqual([name for name in os.listdir(directory) if name.startswith(".")], [])

    def test_a_directory_without_modules(self):
        encoder = small_encoder(num_layers=1)
        directory = tempfile.mkdtemp()
        encoder.save_pretrained(directory)
        BertTokenizer(VOCABULARY).save_pretrained(directory)
        with self.assertLogs("absl", "INFO") as logs:
            embedder = BertTextEmbedder.from_pretrained(directory)
        said = [line for line in logs.output if "pooling" in line]
        self.assertLen(said, 1)
        self.assertIn("the mean of all tokens", said[0])
        self.assertEqual((embedder.pooling, embedder.normalize), ("mean", True))
        self.assertEqual(embedder.tokenizer.vocabulary, VOCABULARY)
        np.testing.assert_array_equal(embedder(INPUTS), BertTextEmbedder(encoder)(INPUTS))

    def test_a_checkpoint_of_google_research(self):
        directory = tempfile.mkdtemp()
        encoder = small_encoder(num_layers=1)
        checkpoints.save_google_bert(encoder, directory)
        embedder = BertTextEmbedder.from_pretrained(directory, pooling="cls", max_length=5)
        self.assertEqual((embedder.pooling, embedder.max_length), ("cls", 5))
        expected = BertTextEmbedder(encoder, pooling="cls")(INPUTS)
        np.testing.assert_array_equal(embedder(INPUTS), expected)

    def test_an_encoder_without_pooler(self):
        encoder = small_encoder(num_layers=1)
        bare = BertEncoder(encoder.config, use_pooler=False)
        embedder = BertTextEmbedder(bare, BertTokenizer(VOCABULARY))
        directory = tempfile.mkdtemp()
        embedder.save_pretrained(directory)
        loaded = BertTextEmbedder.from_pretrained(directory)
        self.assertIsNone(loaded.encoder.pooler)
        np.testing.assert_array_equal(loaded(INPUTS), embedder(INPUTS))

    def test_an_encoder_reads_the_directory_too(self):
        embedder = small_embedder()
        directory = tempfile.mkdtemp()
        embedder.save_pretrained(directory)
        self.assertTrue(sentence_transformers.matches(directory))
        encoder = BertEncoder.from_pretrained(directory)
        np.testing.assert_array_equal(
            encoder(INPUTS)["pooled_output"], embedder.encoder(INPUTS)["pooled_output"]
        )
