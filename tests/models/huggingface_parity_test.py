"""Live comparison with `transformers`, over several shapes and activations."""

import os
import tempfile

import numpy as np
import pytest
from absl.testing import parameterized

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

    @parameterized.parameters(
        (BertEncoder, "BertModel"),
        (BertPretrainer, "BertForPreTraining"),
        (BertClassifier, "BertForSequenceClassification"),
    )
    def test_there_and_back_to_the_bit(self, ours, theirs):
        torch.manual_seed(3)
        config = golden.CONFIG | {"id2label": {0: "no", 1: "yes", 2: "perhaps"}}
        model_class = getattr(transformers, theirs)
        model = model_class(transformers.BertConfig(**config)).eval()
        first, second = tempfile.mkdtemp(), os.path.join(tempfile.mkdtemp(), "new")
        model.save_pretrained(first)
        keras_model = ours.from_pretrained(first)
        keras_model.save_pretrained(second)
        again, info = model_class.from_pretrained(second, output_loading_info=True)
        for problems in info.values():
            self.assertEmpty(problems)
        state, new_state = model.state_dict(), again.state_dict()
        self.assertEqual(list(state), list(new_state))
        for name, tensor in state.items():
            self.assertTrue(torch.equal(tensor, new_state[name]), name)

        inputs = golden.random_inputs(40, 2, batch=3, seq=9, predictions=2, seed=3)
        with torch.no_grad():
            expected = again(**torch_inputs(inputs))
        everywhere = {name: x for name, x in inputs.items() if name != "masked_positions"}
        if ours is BertEncoder:
            outputs = keras_model(inputs)
            close(outputs["sequence_output"], expected.last_hidden_state.numpy())
            close(outputs["pooled_output"], expected.pooler_output.numpy())
        elif ours is BertPretrainer:
            outputs = keras_model(everywhere)
            close(outputs["mlm_logits"], expected.prediction_logits.numpy())
            close(outputs["nsp_logits"], expected.seq_relationship_logits.numpy())
        else:
            self.assertEqual(keras_model.labels, ["no", "yes", "perhaps"])
            self.assertEqual(again.config.id2label, model.config.id2label)
            self.assertEqual(again.config.label2id, {"no": 0, "yes": 1, "perhaps": 2})
            close(keras_model(inputs), expected.logits.numpy())

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
