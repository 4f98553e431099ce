"""Live comparison with KerasHub, over several shapes, there and back."""

import inspect
import os
import re
import tempfile
import textwrap
from unittest import mock

import numpy as np
import pytest
from absl.testing import parameterized

from keras_bert_lib import checkpoints
from keras_bert_lib.models import (
    BertClassifier,
    BertEncoder,
    BertMaskedLM,
    BertPretrainer,
    BertTextEmbedder,
)
from keras_bert_lib.text import BertTokenizer
from tests.models.small_models import small_encoder

pytestmark = pytest.mark.parity
keras_hub = pytest.importorskip("keras_hub")

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fine", "film", "##s", "É", "!"]
CONFIG = {
    "vocabulary_size": 40,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 24,
    "max_sequence_length": 16,
}


def randomize(model, seed=0):
    """Gives each weight random values, the biases and LayerNorms too."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape, scale=0.3))
    return model


def random_backbone(**changes):
    return randomize(keras_hub.models.BertBackbone(**(CONFIG | changes)))


def random_inputs(vocab_size=40, type_vocab_size=2, batch=4, seq=11):
    rng = np.random.default_rng(1)
    lengths = rng.integers(seq // 2, seq + 1, batch)
    inputs = {
        "token_ids": rng.integers(0, vocab_size, (batch, seq)),
        "segment_ids": rng.integers(0, type_vocab_size, (batch, seq)),
        "padding_mask": np.arange(seq) < lengths[:, np.newaxis],
    }
    return {name: x.astype("int32") for name, x in inputs.items()}


def random_tokenizer(**arguments):
    return keras_hub.models.BertTokenizer(VOCABULARY, **({"lowercase": True} | arguments))


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)


def check_equal_weights(first, second):
    assert [variable.path for variable in first.weights] == [v.path for v in second.weights]
    for a, b in zip(first.weights, second.weights):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=a.path)


class KerasHubParityTest(parameterized.TestCase):
    @parameterized.parameters(
        {},
        {"num_heads": 3, "hidden_dim": 18, "num_segments": 16},
        {"num_heads": 1, "hidden_dim": 18, "num_layers": 1, "dropout": 0.3},
        {"num_heads": 5, "hidden_dim": 30, "intermediate_dim": 7, "vocabulary_size": 301},
    )
    def test_there_and_back(self, **changes):
        backbone = random_backbone(**changes)
        config = CONFIG | changes
        inputs = random_inputs(config["vocabulary_size"], config.get("num_segments", 2))
        expected = backbone(inputs)
        encoder = BertEncoder.from_pretrained(backbone)
        self.assertEqual(encoder.config.hidden_act, "gelu_tanh")
        self.assertEqual(encoder.config.layer_norm_eps, 1e-12)
        self.assertEqual(encoder.config.hidden_dropout, config.get("dropout", 0.1))
        outputs = encoder(inputs)
        for name in ("sequence_output", "pooled_output"):
            close(outputs[name], expected[name])

        again = checkpoints.to_keras_hub(encoder)
        self.assertEqual(again.get_config() | {"name": ""}, backbone.get_config() | {"name": ""})
        check_equal_weights(again, backbone)

    def test_ours_there_and_back(self):
        encoder = small_encoder(
            hidden_act="gelu_new", num_heads=1, type_vocab_size=16, max_position_embeddings=13
        )
        randomize(encoder)
        backbone = checkpoints.to_keras_hub(encoder)
        inputs = random_inputs(type_vocab_size=16)
        close(backbone(inputs)["sequence_output"], encoder(inputs)["sequence_output"])
        check_equal_weights(BertEncoder.from_pretrained(backbone, name=encoder.name), encoder)

    def test_classifier(self):
        classifier = keras_hub.models.BertTextClassifier(
            random_backbone(), num_classes=3, dropout=0.4
        )
        randomize(classifier)
        inputs = random_inputs()
        ours = BertClassifier.from_pretrained(classifier)
        close(ours(inputs), classifier(inputs))
        self.assertEqual(ours.labels, ["LABEL_0", "LABEL_1", "LABEL_2"])
        self.assertEqual(ours.dropout, 0.4)
        self.assertIsNone(ours.tokenizer)
        labelled = BertClassifier.from_pretrained(classifier, labels=["no", "yes", "perhaps"])
        self.assertEqual(labelled.labels, ["no", "yes", "perhaps"])
        with self.assertRaisesRegex(ValueError, "BertTextClassifier: logits/kernel .*Received: "):
            BertClassifier.from_pretrained(classifier, num_classes=2)

    def test_masked_lm(self):
        masked_lm = randomize(keras_hub.models.BertMaskedLM(random_backbone()))
        inputs = random_inputs()
        positions = np.array([[1, 3]] * 4, "int32")
        expected = masked_lm(inputs | {"mask_positions": positions})
        for ours in (BertMaskedLM, BertPretrainer):
            model = ours.from_pretrained(masked_lm)
            self.assertEqual(model.config.mlm_hidden_act, "gelu")
            self.assertEqual(model.config.mlm_layer_norm_eps, 1e-5)
            outputs = model(inputs | {"masked_positions": positions})
            close(outputs if ours is BertMaskedLM else outputs["mlm_logits"], expected)
            # Our own directory keeps the head's own activation.
            directory = tempfile.mkdtemp()
            with self.assertLogs("absl", "WARNING") as logs:
                model.save_pretrained(directory)
            self.assertIn("its logits will differ", logs.output[0])
            again = ours.from_pretrained(directory)
            self.assertEqual(again.config, model.config)

    def test_embedder(self):
        embedder = keras_hub.models.BertTextEmbedder(
            random_backbone(), pooling_mode="max", normalize=True
        )
        inputs = random_inputs()
        ours = BertTextEmbedder.from_pretrained(embedder)
        self.assertEqual((ours.pooling, ours.normalize), ("max", True))
        close(ours(inputs), embedder(inputs))

    def test_presets(self):
        tokenizer = random_tokenizer()
        preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=9)
        classifier = keras_hub.models.BertTextClassifier(
            random_backbone(), num_classes=3, preprocessor=preprocessor
        )
        randomize(classifier)
        directory = os.path.join(tempfile.mkdtemp(), "preset")
        classifier.save_to_preset(directory)
        inputs = random_inputs()
        ours = BertClassifier.from_pretrained(directory)
        close(ours(inputs), classifier(inputs))
        self.assertEqual(ours.tokenizer.vocabulary, VOCABULARY)
        self.assertTrue(ours.tokenizer.lowercase)
        self.assertEqual(ours.tokenizer.max_length, 9)
        x = ours.tokenizer(["A fine film!"], max_length=9, padding="max_length")
        theirs = preprocessor(["A fine film!"])
        np.testing.assert_array_equal(x["token_ids"], theirs["token_ids"])
        # A preset of a task is one of its backbone too.
        encoder = BertEncoder.from_pretrained(directory)
        close(encoder(inputs)["pooled_output"], classifier.backbone(inputs)["pooled_output"])

        directory = os.path.join(tempfile.mkdtemp(), "masked_lm")
        masked_lm = randomize(keras_hub.models.BertMaskedLM(random_backbone()))
        masked_lm.save_to_preset(directory)
        model = BertMaskedLM.from_pretrained(directory)
        positions = np.zeros([4, 1], "int32")
        close(
            model(inputs | {"masked_positions": positions}),
            masked_lm(inputs | {"mask_positions": positions}),
        )

    def test_names_and_handles(self):
        directory = os.path.join(tempfile.mkdtemp(), "preset")
        random_backbone().save_to_preset(directory)
        for name in ("bert_tiny_en_uncased", "kaggle://keras/bert/keras/bert_tiny_en_uncased/3"):
            with mock.patch("kagglehub.model_download", return_value=directory) as download:
                encoder = BertEncoder.from_pretrained(name)
            handle = download.call_args.args[0]
            self.assertRegex(handle, r"^keras/bert/keras/bert_tiny_en_uncased/\d+$")
            self.assertEqual(encoder.config.hidden_size, 16)
        with self.assertRaisesRegex(FileNotFoundError, "no BERT preset of that name. It has: .*"):
            BertEncoder.from_pretrained("bert_tiny_en_uncaged")
        error = OSError("no network\nand more")
        with mock.patch("kagglehub.model_download", side_effect=error):
            with self.assertRaisesRegex(FileNotFoundError, "Kaggle did not.*: no network$"):
                BertEncoder.from_pretrained("bert_tiny_en_uncased")

    @parameterized.parameters("to_keras_hub", "save_keras_hub_preset")
    def test_examples(self, name):
        docstring = inspect.getdoc(getattr(checkpoints, name))
        example = re.search(r"```python\n(.*?)```", docstring, re.DOTALL)[1]
        folder = os.getcwd()
        self.addCleanup(os.chdir, folder)
        os.chdir(tempfile.mkdtemp())
        exec(textwrap.dedent(example), {})

    def test_preset_of_a_backbone(self):
        backbone = random_backbone(dtype="bfloat16")
        directory = os.path.join(tempfile.mkdtemp(), "preset")
        backbone.save_to_preset(directory)
        encoder = BertEncoder.from_pretrained(directory)
        np.testing.assert_array_equal(
            encoder.embeddings.token_embedding,
            np.asarray(backbone.token_embedding.embeddings).astype("float32"),
        )
        with self.assertLogs("absl", "WARNING") as logs:
            classifier = BertClassifier.from_pretrained(directory, labels=["no", "yes"])
        self.assertIn("has no classifier: newly initialized", logs.output[0])
        self.assertIsNone(classifier.tokenizer)

    def test_saving_a_preset(self):
        # KerasHub's preprocessor pads to 512 tokens.
        encoder = randomize(small_encoder(hidden_act="gelu_tanh", max_position_embeddings=512))
        classifier = BertClassifier(encoder, 2, BertTokenizer(VOCABULARY, lowercase=True))
        directory = os.path.join(tempfile.mkdtemp(), "new", "preset")
        checkpoints.save_keras_hub_preset(classifier, directory)
        backbone = keras_hub.models.Backbone.from_preset(directory)
        inputs = random_inputs()
        close(backbone(inputs)["pooled_output"], encoder(inputs)["pooled_output"])
        tokenizer = keras_hub.models.Tokenizer.from_preset(directory)
        self.assertEqual(tokenizer.get_vocabulary(), VOCABULARY)
        self.assertEqual((tokenizer.lowercase, tokenizer.strip_accents), (True, True))
        # KerasHub makes a task of it.
        task = keras_hub.models.TextClassifier.from_preset(directory, num_classes=2)
        self.assertEqual(tuple(task.predict(["a fine film"], verbose=0).shape), (1, 2))
        again = BertClassifier.from_pretrained(directory, num_classes=2)
        self.assertEqual(again.tokenizer.tokenize("A fine É"), ["a", "fine", "[UNK]"])
        self.assertEqual(os.listdir(os.path.dirname(directory)), ["preset"])

    @parameterized.parameters(
        ({"hidden_act": "gelu"}, "no other activation.*Received: hidden_act='gelu'"),
        ({"hidden_act": "relu"}, "no other activation.*Received: hidden_act='relu'"),
        ({"layer_norm_eps": 1e-5}, "no other epsilon.*1e-12. Received: layer_norm_eps=1e-05"),
        ({"norm_first": True}, "after each sublayer only. Received: norm_first=True"),
    )
    def test_what_a_backbone_cannot_be(self, changes, message):
        encoder = small_encoder(**({"hidden_act": "gelu_tanh"} | changes))
        with self.assertRaisesRegex(ValueError, message):
            checkpoints.to_keras_hub(encoder)

    def test_what_is_left_out_is_said(self):
        encoder = small_encoder(hidden_act="gelu_tanh", attention_dropout=0.3)
        with self.assertLogs("absl", "INFO") as logs:
            checkpoints.to_keras_hub(BertClassifier(encoder, 2))
        said = "\n".join(logs.output)
        self.assertIn("one rate of dropout: 0.1 instead of 0.3", said)
        self.assertIn("no place for: classifier.bias, classifier.weight", said)
        encoder = BertEncoder(encoder.config, use_pooler=False)
        with self.assertLogs("absl", "WARNING") as logs:
            checkpoints.to_keras_hub(encoder)
        self.assertIn("no pooler: that of the BertBackbone is newly", "\n".join(logs.output))

    def test_tokenizers(self):
        def read(**arguments):
            preprocessor = keras_hub.models.BertMaskedLMPreprocessor(random_tokenizer(**arguments))
            masked_lm = keras_hub.models.BertMaskedLM(random_backbone(), preprocessor)
            return BertMaskedLM.from_pretrained(masked_lm).tokenizer

        cased = read(lowercase=False, special_tokens_in_strings=True)
        self.assertEqual(cased.tokenize("A É [MASK]"), ["[UNK]", "É", "[MASK]"])
        self.assertFalse(read().special_tokens_in_text)
        with self.assertLogs("absl", "WARNING") as logs:
            self.assertIsNone(read(split=False))
        self.assertIn("tokenizer is left out: ours needs split=True", "\n".join(logs.output))

    def test_other_models_and_damaged_presets(self):
        roberta = keras_hub.models.RobertaBackbone(40, 1, 2, 16, 24, max_sequence_length=16)
        with self.assertRaisesRegex(ValueError, "BertTextEmbedder.*Received: <RobertaBackbone"):
            BertEncoder.from_pretrained(roberta)
        directory = os.path.join(tempfile.mkdtemp(), "roberta")
        roberta.save_to_preset(directory)
        with self.assertRaisesRegex(ValueError, "could not read the preset .*roberta"):
            BertEncoder.from_pretrained(directory)
        directory = os.path.join(tempfile.mkdtemp(), "damaged")
        random_backbone().save_to_preset(directory)
        path = os.path.join(directory, "model.weights.h5")
        with open(path, "rb+") as file:
            file.truncate(os.path.getsize(path) // 2)
        with self.assertRaisesRegex(ValueError, "could not read the preset .*damaged"):
            BertEncoder.from_pretrained(directory)
        os.remove(path)
        with self.assertRaisesRegex(ValueError, "could not read the preset .*damaged"):
            BertEncoder.from_pretrained(directory)

    def test_weights_that_are_not_berts(self):
        backbone = random_backbone()
        backbone.enable_lora(2)
        with self.assertRaisesRegex(ValueError, "no place for.*lora"):
            BertEncoder.from_pretrained(backbone)
