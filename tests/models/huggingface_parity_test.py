"""Live comparison with `transformers`, over several shapes and activations."""

import os
import tempfile

import numpy as np
import pytest
from absl.testing import parameterized

import keras_bert_lib as kbl
from keras_bert_lib.models import BertClassifier, BertConfig, BertEncoder, BertPretrainer
from tests.models import make_golden_numbers as golden
from tests.models.huggingface_parity import check_pretrainer, close

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


class HuggingfaceParityTest(parameterized.TestCase):
    @parameterized.parameters(
        {"hidden_size": 32, "num_attention_heads": 4, "hidden_act": "gelu"},
        {"hidden_size": 30, "num_attention_heads": 5, "hidden_act": "gelu_new"},
        {"hidden_size": 18, "num_attention_heads": 1, "hidden_act": "gelu_pytorch_tanh"},
        {"type_vocab_size": 16, "hidden_act": "relu", "layer_norm_eps": 1e-5},
        {"num_hidden_layers": 4, "intermediate_size": 7, "vocab_size": 301},
    )
    def test_pretrainer(self, **changes):
        config = golden.CONFIG | changes
        model = golden.random_model(config, seed=1)
        inputs = golden.random_inputs(
            config["vocab_size"], config["type_vocab_size"], batch=4, seq=12, predictions=4, seed=1
        )
        outputs, gradients = golden.run(model, inputs)
        directory = tempfile.mkdtemp()
        model.save_pretrained(directory)
        pretrainer = BertPretrainer.from_pretrained(directory)
        pretrainer.encoder.output_hidden_states = True
        check_pretrainer(pretrainer, inputs, outputs, gradients)

    def test_attentions(self):
        model = golden.random_model(golden.CONFIG, seed=2).bert
        model.set_attn_implementation("eager")
        inputs = golden.random_inputs(40, 2, batch=3, seq=9, predictions=2, seed=2)
        with torch.no_grad():
            expected = model(**torch_inputs(inputs), output_attentions=True)
        directory = tempfile.mkdtemp()
        model.save_pretrained(directory)
        encoder = BertEncoder.from_pretrained(directory, output_attentions=True)
        close(np.stack(encoder(inputs)["attentions"]), torch.stack(expected.attentions).numpy())

    @parameterized.product(
        names=[
            (kbl.BertEncoder, "BertModel"),
            (kbl.BertPretrainer, "BertForPreTraining"),
            (kbl.BertMaskedLM, "BertForMaskedLM"),
            (kbl.BertPretrainer, "BertForNextSentencePrediction"),
            (kbl.BertClassifier, "BertForSequenceClassification"),
            (kbl.BertTokenClassifier, "BertForTokenClassification"),
            (kbl.BertQuestionAnswerer, "BertForQuestionAnswering"),
            (kbl.BertMultipleChoice, "BertForMultipleChoice"),
        ],
        changes=[
            {"hidden_size": 30, "num_attention_heads": 5, "type_vocab_size": 16},
            {"hidden_act": "gelu_new", "num_hidden_layers": 1, "num_attention_heads": 1},
        ],
    )
    def test_there_and_back_to_the_bit(self, names, changes):
        ours, theirs = names
        torch.manual_seed(3)
        config = golden.CONFIG | changes
        if theirs in ("BertForSequenceClassification", "BertForTokenClassification"):
            config |= {"id2label": {0: "no", 1: "yes", 2: "perhaps"}}
        model_class = getattr(transformers, theirs)
        model = model_class(transformers.BertConfig(**config)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)  # biases too
        first, second = tempfile.mkdtemp(), os.path.join(tempfile.mkdtemp(), "new")
        model.save_pretrained(first)
        keras_model = ours.from_pretrained(first)
        keras_model.save_pretrained(second)
        again, info = model_class.from_pretrained(second, output_loading_info=True)
        if theirs == "BertForNextSentencePrediction":
            # BertPretrainer has the other head too.
            unexpected = info.pop("unexpected_keys")
            self.assertTrue(all(name.startswith("cls.predictions.") for name in unexpected))
        for problems in info.values():
            self.assertEmpty(problems)
        state, new_state = model.state_dict(), again.state_dict()
        self.assertEqual(list(state), list(new_state))
        for name, tensor in state.items():
            self.assertTrue(torch.equal(tensor, new_state[name]), name)
        for name in ("id2label", "hidden_act", "type_vocab_size", "hidden_size"):
            self.assertEqual(getattr(again.config, name), getattr(model.config, name))

        types = config["type_vocab_size"]
        inputs = golden.random_inputs(40, types, batch=4, seq=9, predictions=2, seed=3)
        inputs = {name: inputs[name] for name in ("token_ids", "segment_ids", "padding_mask")}
        if ours is kbl.BertMultipleChoice:
            inputs = {name: x.reshape(2, 2, 9) for name, x in inputs.items()}
        with torch.no_grad():
            expected = again(**torch_inputs(inputs))
        outputs = keras_model(inputs)
        if not isinstance(outputs, dict):
            outputs = {"logits": outputs}
        for name, their_name in {
            "sequence_output": "last_hidden_state",
            "pooled_output": "pooler_output",
            "mlm_logits": "prediction_logits",
            "nsp_logits": "seq_relationship_logits" if "PreTraining" in theirs else "logits",
            "logits": "logits",
            "start_logits": "start_logits",
            "end_logits": "end_logits",
        }.items():
            if name in outputs and their_name in expected:
                close(outputs.pop(name), expected[their_name].numpy())
        # All were compared; transformers has no MLM logits in a model for the next sentence alone.
        self.assertEqual(set(outputs), {"mlm_logits"} if "Next" in theirs else set())

    @parameterized.parameters(
        (None, 1, "regression"),
        (None, 3, "single_label_classification"),
        ("regression", 2, "regression"),
        ("multi_label_classification", 3, "multi_label_classification"),
    )
    def test_problem_types(self, given, num_labels, problem_type):
        config = transformers.BertConfig(
            **golden.CONFIG, problem_type=given, num_labels=num_labels, classifier_dropout=0.3
        )
        model = transformers.BertForSequenceClassification(config).eval()
        first, second = tempfile.mkdtemp(), tempfile.mkdtemp()
        model.save_pretrained(first)
        classifier = kbl.BertClassifier.from_pretrained(first)
        self.assertEqual(classifier.problem_type, problem_type)
        self.assertEqual((classifier.dropout, classifier.num_classes), (0.3, num_labels))
        classifier.save_pretrained(second)
        again = transformers.BertForSequenceClassification.from_pretrained(second).eval()
        self.assertEqual(again.config.problem_type, problem_type)
        self.assertEqual(again.config.classifier_dropout, 0.3)

        rng = np.random.default_rng(5)
        inputs = golden.random_inputs(40, 2, batch=4, seq=9, predictions=2, seed=5)
        inputs = {name: inputs[name] for name in ("token_ids", "segment_ids", "padding_mask")}
        labels = {
            "regression": rng.normal(size=(4, num_labels)).astype("float32"),
            "single_label_classification": rng.integers(0, num_labels, 4),
            "multi_label_classification": rng.integers(0, 2, (4, num_labels)).astype("float32"),
        }[problem_type]
        with torch.no_grad():
            expected = again(**torch_inputs(inputs), labels=torch.tensor(labels))
        classifier.compile("sgd")
        losses = classifier.evaluate(inputs, labels, verbose=0, return_dict=True)
        np.testing.assert_allclose(losses["loss"], expected.loss, atol=1e-5)
        close(classifier(inputs), expected.logits.numpy())

    @parameterized.parameters(
        (kbl.BertTokenClassifier, "BertForTokenClassification"),
        (kbl.BertQuestionAnswerer, "BertForQuestionAnswering"),
        (kbl.BertMultipleChoice, "BertForMultipleChoice"),
        (kbl.BertMaskedLM, "BertForMaskedLM"),
    )
    def test_losses(self, ours, theirs):
        torch.manual_seed(6)
        model_class = getattr(transformers, theirs)
        model = model_class(transformers.BertConfig(**golden.CONFIG, num_labels=2)).eval()
        directory = tempfile.mkdtemp()
        model.save_pretrained(directory)
        keras_model = ours.from_pretrained(directory)
        keras_model.compile("sgd")

        inputs = golden.random_inputs(40, 2, batch=4, seq=10, predictions=3, seed=6)
        x = {name: inputs[name] for name in ("token_ids", "segment_ids", "padding_mask")}
        rng = np.random.default_rng(6)
        if ours is kbl.BertTokenClassifier:
            y = rng.integers(0, 2, (4, 10))
            y[rng.random((4, 10)) < 0.4] = -100
            their_labels = {"labels": y}
        elif ours is kbl.BertQuestionAnswerer:
            y = {name: rng.integers(0, 10, 4) for name in ("start_logits", "end_logits")}
            their_labels = {"start_positions": y["start_logits"], "end_positions": y["end_logits"]}
        elif ours is kbl.BertMultipleChoice:
            x = {name: value.reshape(2, 2, 10) for name, value in x.items()}
            y = rng.integers(0, 2, 2)
            their_labels = {"labels": y}
        else:
            x, y = inputs, None
            labels = np.full((4, 10), -100)
            for row, weights in enumerate(inputs["masked_weights"]):
                positions = inputs["masked_positions"][row, weights == 1]
                labels[row, positions] = inputs["masked_ids"][row, weights == 1]
            their_labels = {"labels": labels}
        with torch.no_grad():
            their_labels = {name: torch.tensor(label) for name, label in their_labels.items()}
            expected = model(**torch_inputs(x), **their_labels)
        loss = keras_model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
        np.testing.assert_allclose(loss, expected.loss, atol=1e-5)

    def test_auto_classes_know_the_directory(self):
        config = transformers.BertConfig(**golden.CONFIG)
        first, second = tempfile.mkdtemp(), tempfile.mkdtemp()
        transformers.BertForSequenceClassification(config).save_pretrained(first)
        classifier = BertClassifier.from_pretrained(first)
        classifier.save_pretrained(second)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(second)
        self.assertEqual(type(model).__name__, "BertForSequenceClassification")
        # Labels without names are left out of config.json by `transformers`.
        self.assertEqual(classifier.labels, ["LABEL_0", "LABEL_1"])
        for name in ("layer_norm_eps", "hidden_act", "hidden_size", "type_vocab_size"):
            self.assertEqual(getattr(model.config, name), getattr(config, name))

    def test_sinusoidal_positions_are_read_as_learned_ones(self):
        config = BertConfig(
            vocab_size=40,
            hidden_size=24,
            num_layers=1,
            num_heads=2,
            intermediate_size=30,
            max_position_embeddings=12,
            position_embedding_type="sinusoidal",
        )
        encoder = BertEncoder(config)
        directory = tempfile.mkdtemp()
        encoder.save_pretrained(directory)
        self.assertEqual(BertEncoder.from_pretrained(directory).config, config)
        model = transformers.BertModel.from_pretrained(directory).eval()
        inputs = golden.random_inputs(40, 2, batch=3, seq=9, predictions=2, seed=4)
        with torch.no_grad():
            expected = model(**torch_inputs(inputs))
        close(encoder(inputs)["sequence_output"], expected.last_hidden_state.numpy())


def torch_inputs(inputs):
    return {
        "input_ids": torch.tensor(inputs["token_ids"]).long(),
        "token_type_ids": torch.tensor(inputs["segment_ids"]).long(),
        "attention_mask": torch.tensor(inputs["padding_mask"]).long(),
    }
