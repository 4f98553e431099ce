import dataclasses
import json

import pytest
from absl.testing import parameterized

from keras_bert_lib.models import BertConfig


class BertConfigTest(parameterized.TestCase):
    @parameterized.parameters(
        ("tiny", 2, 128, 2, 512),
        ("mini", 4, 256, 4, 1024),
        ("small", 4, 512, 8, 2048),
        ("medium", 8, 512, 8, 2048),
        ("base", 12, 768, 12, 3072),
        ("large", 24, 1024, 16, 4096),
    )
    def test_published_sizes(self, size, layers, hidden, heads, intermediate):
        config = BertConfig.from_size(size, vocab_size=8000, hidden_dropout=0.0)
        self.assertEqual(
            (config.num_layers, config.hidden_size, config.num_heads, config.intermediate_size),
            (layers, hidden, heads, intermediate),
        )
        self.assertEqual((config.vocab_size, config.hidden_dropout), (8000, 0.0))
        self.assertEqual(BertConfig.from_size(size).vocab_size, 30522)

    def test_defaults_are_bert_base(self):
        self.assertEqual(BertConfig(30522), BertConfig.from_size("base"))

    def test_is_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            BertConfig(10).hidden_size = 5

    def test_dict_round_trip(self):
        config = BertConfig(99, norm_first=True, position_embedding_type="sinusoidal")
        self.assertEqual(BertConfig.from_dict(json.loads(json.dumps(config.to_dict()))), config)

    @parameterized.product(
        hidden_act=["gelu", "gelu_new", "gelu_tanh", "relu"],
        position_embedding_type=["learned", "sinusoidal"],
        norm_first=[False, True],
        mlm_hidden_act=[None, "gelu"],
        mlm_layer_norm_eps=[None, 1e-3],
    )
    def test_huggingface_round_trip(self, **fields):
        config = BertConfig(
            99,
            hidden_size=60,
            num_layers=3,
            num_heads=5,
            intermediate_size=7,
            hidden_dropout=0.3,
            attention_dropout=0.2,
            max_position_embeddings=77,
            type_vocab_size=16,
            layer_norm_eps=1e-5,
            initializer_range=0.1,
            pad_token_id=3,
            **fields,
        )
        huggingface_config = json.loads(json.dumps(config.to_huggingface()))
        self.assertEqual(BertConfig.from_huggingface(huggingface_config), config)
        # A pre-LN model must not pass for BERT.
        self.assertEqual(huggingface_config["model_type"] == "bert", not config.norm_first)

    def test_sparse_config_json_means_the_defaults(self):
        config = BertConfig.from_huggingface({"vocab_size": 30522, "pad_token_id": None})
        self.assertEqual(config, BertConfig.from_size("base"))

    @parameterized.parameters(
        ({"num_heads": 5}, "`num_heads` must divide.*num_heads=5, hidden_size=768"),
        ({"num_layers": 0}, "`num_layers` must be a positive integer. Received: num_layers=0"),
        ({"vocab_size": "30522"}, "`vocab_size`.*Received: vocab_size='30522'"),
        ({"hidden_size": 12.0}, "`hidden_size`.*Received: hidden_size=12.0"),
        ({"hidden_act": "swish"}, "gelu, gelu_new.*Received: hidden_act='swish'"),
        ({"mlm_hidden_act": "swish"}, "`mlm_hidden_act`.*Received: mlm_hidden_act='swish'"),
        ({"hidden_act": None}, "`hidden_act`.*Received: hidden_act=None"),
        ({"mlm_layer_norm_eps": 0}, "`mlm_layer_norm_eps` must be positive"),
        ({"hidden_dropout": 1.0}, r"`hidden_dropout` must be in \[0, 1\)"),
        ({"attention_dropout": -0.1}, r"`attention_dropout` must be in \[0, 1\)"),
        ({"layer_norm_eps": 0}, "`layer_norm_eps` must be positive"),
        ({"pad_token_id": 100}, "Received: pad_token_id=100, vocab_size=100"),
        ({"position_embedding_type": "rotary"}, "Received: position_embedding_type='rotary'"),
        ({"type_vocabulary": 2}, "no field 'type_vocabulary'"),
        (
            {"hidden_size": 9, "num_heads": 3, "position_embedding_type": "sinusoidal"},
            "even for sinusoidal",
        ),
    )
    def test_bad_fields(self, fields, message):
        with self.assertRaisesRegex(ValueError, message):
            BertConfig.from_dict({"vocab_size": 100} | fields)

    def test_bad_size(self):
        with self.assertRaisesRegex(ValueError, "tiny, mini.*Received: size='huge'"):
            BertConfig.from_size("huge")

    @parameterized.parameters(
        ({"model_type": "roberta"}, "Received: model_type='roberta'"),
        ({"is_decoder": True}, "decoder"),
        ({"position_embedding_type": "relative_key"}, "Received: .*'relative_key'"),
        ({"hidden_act": "swish"}, "Received: hidden_act='swish'"),
        ({"vocab_size": None}, "`vocab_size`"),
    )
    def test_bad_huggingface_config(self, changes, message):
        with self.assertRaisesRegex(ValueError, message):
            BertConfig.from_huggingface(BertConfig(100).to_huggingface() | changes)
