import os
import tempfile

import keras
import numpy as np
import pytest
from absl.testing import parameterized

from keras_bert_lib.checkpoints.tensor_names import weights_by_name
from keras_bert_lib.models import (
    BertClassifier,
    BertEncoder,
    BertMaskedLM,
    BertMultipleChoice,
    BertPretrainer,
    BertQuestionAnswerer,
    BertTextEmbedder,
    BertTokenClassifier,
    surgery,
)
from keras_bert_lib.text import BertTokenizer
from tests.models.small_models import pretraining_batch, small_config, small_encoder

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fine", "film", "bad", "plot"]
KEYS = ("token_ids", "segment_ids", "padding_mask")
INPUTS = {name: x for name, x in pretraining_batch(vocab_size=30).items() if name in KEYS}


def classifier(**changes):
    tokenizer = BertTokenizer(VOCABULARY, max_length=16)
    return BertClassifier(
        small_encoder(**changes), tokenizer=tokenizer, labels=["neg", "pos"], dropout=0.3
    )


def on_encoder(model_class, **arguments):
    return lambda **changes: model_class(small_encoder(**changes), **arguments)


EVERY_MODEL = {
    "encoder": small_encoder,
    "pretrainer": on_encoder(BertPretrainer),
    "masked_lm": lambda **changes: BertMaskedLM(
        BertEncoder(small_config(**changes), use_pooler=False)
    ),
    "classifier": classifier,
    "token_classifier": on_encoder(BertTokenClassifier, labels=["O", "NAME"]),
    "question_answerer": on_encoder(BertQuestionAnswerer),
    "multiple_choice": on_encoder(BertMultipleChoice),
    "embedder": on_encoder(BertTextEmbedder, pooling="cls"),
}
EVERY_MODEL = list(EVERY_MODEL.items())
# With and without a head that has a row a piece, a tokenizer and a pooler.
DISTINCT_MODELS = [
    (name, make) for name, make in EVERY_MODEL if name in ("masked_lm", "classifier")
]


def randomized(model):
    """Biases and scales begin as zeros and ones, which would hide a mix-up."""
    rng = np.random.default_rng(5)
    for weight in weights_by_name(model).values():
        weight.assign(rng.normal(0, 0.3, weight.shape))
    return model


def arrays(model):
    return {name: np.array(weight) for name, weight in weights_by_name(model).items()}


def first_output(model):
    inputs = INPUTS
    if isinstance(model, BertMultipleChoice):
        inputs = {name: x.reshape(3, 2, -1) for name, x in INPUTS.items()}  # [b, c, s]
    outputs = model(inputs)
    return np.asarray(next(iter(outputs.values())) if isinstance(outputs, dict) else outputs)


class SurgeryTest(parameterized.TestCase):
    @pytest.fixture(autouse=True)
    def _capture(self, capsys):
        self.capsys = capsys

    def operate(self, function, model, *args, **kwargs):
        """Returns the new model; checks what all functions have in common."""
        before, config = arrays(model), model.get_config()
        self.capsys.readouterr()
        new_model = function(model, *args, **kwargs)
        printed = self.capsys.readouterr().out
        self.assertEqual(printed.count("\n"), 1)
        self.assertStartsWith(printed, f"{function.__name__}: ")
        self.said = printed
        # The given model is as it was.
        self.assertEqual(model.get_config(), config)
        for name, array in arrays(model).items():
            np.testing.assert_array_equal(array, before[name])
        self.assertIs(type(new_model), type(model))
        self.assertEqual(new_model.name, model.name)
        return new_model

    @parameterized.named_parameters(EVERY_MODEL)
    def test_results_save_and_load(self, make):
        model = randomized(make(num_layers=2))
        model = self.operate(surgery.resize_token_embeddings, model, 45)
        model = self.operate(surgery.extend_positions, model, 20)
        model = self.operate(surgery.drop_layers, model, 1)
        model = self.operate(surgery.reinitialize_top_layers, model, 1)
        directory = tempfile.mkdtemp()
        model.save_pretrained(directory)
        arguments = {} if hasattr(model, "encoder") else {"use_pooler": model.use_pooler}
        loaded = type(model).from_pretrained(directory, **arguments)
        self.assertEqual(loaded.config, model.config)
        np.testing.assert_array_equal(first_output(loaded), first_output(model))
        model.save(os.path.join(directory, "model.keras"))
        loaded = keras.models.load_model(os.path.join(directory, "model.keras"))
        self.assertEqual(loaded.get_config(), model.get_config())
        np.testing.assert_array_equal(first_output(loaded), first_output(model))

    def assert_kept(self, new_model, model, but=()):
        """Asserts that all weights but those that are named are the same in both."""
        old, new = arrays(model), arrays(new_model)
        self.assertEqual(set(old), set(new))
        for name, array in old.items():
            if not name.startswith(tuple(but)):
                np.testing.assert_array_equal(new[name], array, err_msg=name)

    @parameterized.named_parameters(DISTINCT_MODELS)
    def test_more_pieces(self, make):
        model = randomized(make())
        larger = self.operate(surgery.resize_token_embeddings, model, 45)
        self.assertIn("from 40 to 45 rows. The 5 new rows", self.said)
        self.assert_kept(larger, model, but=["embeddings/token_embedding", "mlm_head/bias"])
        for name in {"embeddings/token_embedding", "mlm_head/bias"} & set(arrays(model)):
            old, new = arrays(model)[name], arrays(larger)[name]
            np.testing.assert_array_equal(new[:40], old)
            for row in new[40:]:
                np.testing.assert_allclose(row, old.mean(0), atol=1e-6)
        self.assertEqual(larger.config.vocab_size, 45)
        getattr(larger, "encoder", larger)({"token_ids": np.full([1, 4], 44, "int32")})

    def test_added_tokens(self):
        for model_class, arguments in [(BertMaskedLM, {}), (BertClassifier, {"num_classes": 2})]:
            tokenizer = BertTokenizer(VOCABULARY)
            encoder = small_encoder(vocab_size=len(VOCABULARY) + 1)  # one row without a piece
            model = randomized(model_class(encoder, tokenizer=tokenizer, **arguments))
            text = "a COVID-19 film, bad plot line"
            taught = self.operate(surgery.add_tokens, model, ["COVID-19", "plot line", "film"])
            self.assertIn("2 of 3 tokens have new ids", self.said)
            self.assertIn("from 10 to 12 pieces, the embedding from 11 to 12 rows", self.said)
            self.assertNotIn("COVID-19", model.tokenizer.tokenize(text))
            self.assertEqual(
                taught.tokenizer.tokenize(text),
                ["a", "COVID-19", "film", "[UNK]", "bad", "plot line"],
            )
            self.assertEqual(taught.tokenizer.token_to_id("plot line"), 11)
            changed = ["embeddings/token_embedding", "mlm_head/bias"]
            self.assert_kept(taught, model, but=changed)
            for name in set(changed) & set(arrays(model)):
                old, new = arrays(model)[name][:10], arrays(taught)[name]
                np.testing.assert_array_equal(new[:10], old)
                np.testing.assert_allclose(new[10], old.mean(0), atol=1e-6)
                np.testing.assert_array_equal(new[11], new[10])
            # A row that no new token needs stays as it was, and so does a model with nothing new.
            again = self.operate(surgery.add_tokens, model, ["film"])
            self.assertIn("0 of 1 tokens have new ids", self.said)
            self.assert_kept(again, model)
            directory = tempfile.mkdtemp()
            taught.save_pretrained(directory)
            loaded = model_class.from_pretrained(directory)
            inputs = loaded.tokenizer([text])
            self.assertIn(11, np.asarray(inputs["token_ids"]))
            np.testing.assert_array_equal(loaded(inputs), taught(taught.tokenizer([text])))

    def test_fewer_pieces(self):
        model = randomized(BertPretrainer(small_encoder()))
        smaller = self.operate(surgery.resize_token_embeddings, model, 30)
        self.assertIn("10 rows at the end were cut off", self.said)
        np.testing.assert_allclose(first_output(smaller), first_output(model)[..., :30], atol=1e-5)

    @parameterized.named_parameters(DISTINCT_MODELS)
    def test_tiled_positions(self, make):
        model = randomized(make())
        longer = self.operate(surgery.extend_positions, model, 40, method="tile")
        self.assertIn("from 16 to 40 positions, the 16 rows are repeated", self.said)
        self.assert_kept(longer, model, but=["embeddings/position_embedding"])
        np.testing.assert_array_equal(first_output(longer), first_output(model))
        table = arrays(longer)["embeddings/position_embedding"]
        np.testing.assert_array_equal(table[16:32], table[:16])
        np.testing.assert_array_equal(table[32:], table[:8])

    def test_interpolated_positions(self):
        model = randomized(BertPretrainer(small_encoder()))
        longer = self.operate(surgery.extend_positions, model, 31)
        self.assert_kept(longer, model, but=["embeddings/position_embedding"])
        old, new = (arrays(m)["embeddings/position_embedding"] for m in (model, longer))
        # 30 steps over 15: each second row is an old one, the others lie midway.
        np.testing.assert_allclose(new[::2], old, atol=1e-6)
        np.testing.assert_allclose(new[1::2], (old[1:] + old[:-1]) / 2, atol=1e-6)
        uneven = surgery.extend_positions(model, 50)
        for column, expected in zip(arrays(uneven)["embeddings/position_embedding"].T, old.T):
            np.testing.assert_allclose(
                column, np.interp(np.linspace(0, 15, 50), np.arange(16), expected), atol=1e-6
            )

    @parameterized.parameters("interpolate", "tile")
    def test_a_single_position(self, method):
        model = small_encoder(max_position_embeddings=1)
        table = arrays(surgery.extend_positions(model, 3, method))["embeddings/position_embedding"]
        np.testing.assert_array_equal(table, table[[0, 0, 0]])

    def test_sinusoidal_positions_go_on(self):
        model = small_encoder(position_embedding_type="sinusoidal")
        longer = self.operate(surgery.extend_positions, model, 40)
        self.assertIn("sinusoids go on", self.said)
        expected = small_encoder(position_embedding_type="sinusoidal", max_position_embeddings=40)
        np.testing.assert_array_equal(
            arrays(longer)["embeddings/position_embedding"],
            arrays(expected)["embeddings/position_embedding"],
        )
        np.testing.assert_array_equal(first_output(longer), first_output(model))

    def test_the_tokenizer_follows_longer_positions(self):
        model = classifier()
        self.assertEqual(surgery.extend_positions(model, 24).tokenizer.max_length, 24)
        self.assertEqual(model.tokenizer.max_length, 16)
        model.tokenizer.max_length = 8  # the caller's own choice
        self.assertEqual(surgery.extend_positions(model, 24).tokenizer.max_length, 8)

    @parameterized.named_parameters(DISTINCT_MODELS)
    def test_fewer_layers(self, make):
        model = randomized(make(num_layers=4))
        smaller = self.operate(surgery.drop_layers, model, [0, -2])
        self.assertIn("2 of 4 blocks stay (1, 3)", self.said)
        self.assertIn(f"{smaller.count_params():,} of {model.count_params():,}", self.said)
        old, new = arrays(model), arrays(smaller)
        self.assertLen(new, len(old) - 2 * 12)
        for name, array in new.items():
            name = name.replace("block_1", "block_3").replace("block_0", "block_1")
            np.testing.assert_array_equal(array, old[name], err_msg=name)

    def test_other_labels(self):
        model = randomized(classifier())
        changed = self.operate(surgery.change_labels, model, ["neg", "neutral", "pos"])
        self.assertIn("from 2 to 3 classes (single label classification)", self.said)
        self.assertIn("classifier/bias, classifier/kernel", self.said)
        self.assertIn("newly initialized", self.said)
        self.assertEqual(changed.labels, ["neg", "neutral", "pos"])
        self.assertEqual(changed.dropout, 0.3)
        self.assertIs(changed.tokenizer, model.tokenizer)
        self.assert_kept(changed, model, but=["classifier/"])
        self.assertEqual(tuple(changed(INPUTS).shape), (6, 3))
        number = surgery.change_labels(model, num_classes=1)
        self.assertEqual((number.labels, number.problem_type), (["LABEL_0"], "regression"))
        back = surgery.change_labels(number, ["neg", "pos"])
        self.assertEqual(back.problem_type, "single_label_classification")

    def test_labels_of_another_type(self):
        kind = "multi_label_classification"
        model = BertClassifier(small_encoder(), labels=["a", "b"], problem_type=kind)
        self.assertEqual(surgery.change_labels(model, num_classes=1).problem_type, kind)
        tagger = BertTokenClassifier(small_encoder(), labels=["O", "NAME"])
        changed = self.operate(surgery.change_labels, tagger, ["O", "B-PER", "I-PER"])
        self.assertIn("from 2 to 3 classes (token classification)", self.said)
        self.assertEqual(tuple(changed(INPUTS).shape), (6, 12, 3))

    @parameterized.named_parameters(DISTINCT_MODELS)
    def test_new_top_layers(self, make):
        model = randomized(make(num_layers=3, hidden_size=32, initializer_range=0.1))
        new = self.operate(surgery.reinitialize_top_layers, model, 2, seed=4)
        self.assertIn("top 2 of 3 blocks", self.said)
        has_pooler = "pooler/dense/kernel" in arrays(model)
        self.assertEqual("the pooler and the top" in self.said, has_pooler)
        self.assert_kept(new, model, but=["block_1/", "block_2/", "pooler/"])
        kernels = []
        for name, array in arrays(new).items():
            if not name.startswith(("block_1/", "block_2/", "pooler/")):
                continue
            if name.endswith("/kernel"):
                kernels.append(array.ravel()[:10].tolist())
                self.assertBetween(array.std(), 0.08, 0.096)  # truncated: 0.088
            else:
                np.testing.assert_array_equal(array, float(name.endswith("/gamma")))
        self.assertLen({tuple(kernel) for kernel in kernels}, 8 + has_pooler)
        again = surgery.reinitialize_top_layers(model, 2, seed=4)
        self.assert_kept(again, new)
        other = surgery.reinitialize_top_layers(model, 2)
        self.assertGreater(np.abs(first_output(other) - first_output(new)).max(), 1e-3)

    def test_the_pooler_alone(self):
        model = randomized(small_encoder())
        self.assert_kept(surgery.reinitialize_top_layers(model, 0), model, but=["pooler/"])

    def test_dtype_and_outputs_are_kept(self):
        model = BertEncoder(
            small_encoder().config, output_attentions=True, dtype="mixed_bfloat16", name="mine"
        )
        smaller = surgery.drop_layers(model, -1)
        self.assertEqual(smaller.dtype_policy.name, "mixed_bfloat16")
        self.assertLen(smaller(INPUTS)["attentions"], 1)
        self.assertEqual(smaller.name, "mine")

    def test_the_result_trains(self):
        model = surgery.drop_layers(surgery.resize_token_embeddings(classifier(), 50), 0)
        model.compile(keras.optimizers.Adam(1e-2))
        losses = model.fit(INPUTS, np.arange(6) % 2, epochs=15, verbose=0).history["loss"]
        self.assertLess(losses[-1], losses[0] / 2)

    def test_bad_arguments(self):
        model = classifier()
        for function, args, message in [
            (surgery.drop_layers, [2], r"from 0 to 1. Received: layers=\[2\]"),
            (surgery.drop_layers, [[0, 1]], "leave at least one block"),
            (surgery.drop_layers, [[]], "drop at least one"),
            (surgery.extend_positions, [16], "integer of at least 17. Received"),
            (surgery.extend_positions, [32, "stretch"], "Received: method='stretch'"),
            (surgery.resize_token_embeddings, [9], "has 10 pieces.*Received: vocab_size=9"),
            (surgery.resize_token_embeddings, [4.5], "Received: vocab_size=4.5"),
            (surgery.reinitialize_top_layers, [3], "at most the 2 blocks.*Received: n=3"),
            (surgery.reinitialize_top_layers, [-1], "Received: n=-1"),
            (surgery.change_labels, [], "Received: labels=None"),
            (surgery.change_labels, [["a", "a"]], "must be unique"),
            (surgery.add_tokens, ["word"], "Received: 'word'"),
        ]:
            with self.assertRaisesRegex(ValueError, message):
                function(model, *args)
        with self.assertRaisesRegex(ValueError, "no labels to change.*Received: BertEncoder"):
            surgery.change_labels(model.encoder, ["a"])
        with self.assertRaisesRegex(ValueError, "no tokenizer.*Received: BertEncoder"):
            surgery.add_tokens(model.encoder, ["a"])
        with self.assertRaisesRegex(ValueError, "Received: model=<Dense"):
            surgery.drop_layers(keras.layers.Dense(2), 1)
