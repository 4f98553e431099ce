import os
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from ai_edge_litert.interpreter import Interpreter

from keras_bert_lib.models import BertConfig, BertEncoder, BertPretrainer
from keras_bert_lib.training import create_optimizer, create_strategy
from tests.models.small_models import pretraining_batch, small_config, small_encoder

KEYS = ("token_ids", "segment_ids", "padding_mask")
INPUTS = {name: x for name, x in pretraining_batch().items() if name in KEYS}


class BertEncoderTest(parameterized.TestCase):
    def test_all_weights_exist_from_the_start(self):
        config = BertConfig.from_size("tiny", vocab_size=30522)
        encoder = BertEncoder(config)
        self.assertTrue(encoder.built)
        # BERT-tiny with its pooler, as published: 4.4 M parameters.
        self.assertEqual(encoder.count_params(), 4_385_920)

    def test_initial_weights(self):
        encoder = small_encoder(hidden_size=64, initializer_range=0.05)
        kernels = [w.numpy() for w in encoder.weights if w.name == "kernel"]
        for kernel in kernels:
            self.assertBetween(kernel.std(), 0.03, 0.06)
        # An initializer that is used twice would give these two the same numbers.
        self.assertGreater(np.abs(kernels[0] - kernels[4]).max(), 0)

    def test_outputs(self):
        outputs = small_encoder()(INPUTS)
        self.assertEqual(set(outputs), {"sequence_output", "pooled_output"})
        self.assertEqual(tuple(outputs["sequence_output"].shape), (6, 12, 16))
        self.assertEqual(tuple(outputs["pooled_output"].shape), (6, 16))

    @parameterized.parameters(False, True)
    def test_outputs_on_request(self, norm_first):
        encoder = BertEncoder(
            small_config(norm_first=norm_first), output_hidden_states=True, output_attentions=True
        )
        outputs = encoder(INPUTS)
        self.assertLen(outputs["hidden_states"], 3)
        embeddings = encoder.embeddings(INPUTS["token_ids"], INPUTS["segment_ids"])
        np.testing.assert_allclose(outputs["hidden_states"][0], embeddings, atol=1e-6)
        np.testing.assert_array_equal(outputs["hidden_states"][-1], outputs["sequence_output"])
        self.assertEqual([tuple(a.shape) for a in outputs["attentions"]], [(6, 2, 12, 12)] * 2)

    @parameterized.parameters(False, True)
    def test_skipping_padding_changes_no_token(self, norm_first):
        config = small_config(norm_first=norm_first, initializer_range=0.3)
        encoder = BertEncoder(config, output_hidden_states=True)
        expected = encoder(INPUTS)
        with encoder.skipping_padding():
            outputs = encoder(INPUTS)
        np.testing.assert_allclose(outputs["pooled_output"], expected["pooled_output"], atol=1e-5)
        is_token = INPUTS["padding_mask"] == 1
        for x, other in zip(outputs["hidden_states"], expected["hidden_states"]):
            np.testing.assert_allclose(
                np.asarray(x)[is_token], np.asarray(other)[is_token], atol=1e-5
            )
        # Afterwards padding is computed as before.
        again = encoder(INPUTS)["sequence_output"]
        np.testing.assert_array_equal(again, expected["sequence_output"])

    @parameterized.product(
        norm_first=[False, True], position_embedding_type=["learned", "sinusoidal"]
    )
    def test_padding_changes_nothing(self, **changes):
        encoder = small_encoder(initializer_range=0.3, **changes)
        outputs = encoder(INPUTS)
        for row, length in enumerate(INPUTS["padding_mask"].sum(-1)):
            alone = {name: INPUTS[name][row : row + 1, :length] for name in KEYS[:2]}
            expected = encoder(alone)
            np.testing.assert_allclose(
                outputs["sequence_output"][row, :length], expected["sequence_output"][0], atol=1e-5
            )
            np.testing.assert_allclose(
                outputs["pooled_output"][row], expected["pooled_output"][0], atol=1e-5
            )

    def test_a_pre_ln_encoder_ends_normalized(self):
        x = np.asarray(small_encoder(norm_first=True)(INPUTS)["sequence_output"])
        np.testing.assert_allclose(x.mean(-1), 0, atol=1e-5)
        np.testing.assert_allclose(x.std(-1), 1, atol=1e-3)

    def test_unknown_dimensions(self):
        encoder = small_encoder()
        spec = {name: tf.TensorSpec([None, None], tf.int32) for name in KEYS}
        call = tf.function(lambda x: encoder(x), input_signature=[spec])
        for size in (1, 6):
            batch = {name: x[:size, : 6 + size] for name, x in INPUTS.items()}
            for name, x in encoder(batch).items():
                np.testing.assert_allclose(call(batch)[name], x, atol=1e-5)

    def test_xla(self):
        encoder = small_encoder()
        call = tf.function(lambda x: encoder(x), jit_compile=True)
        np.testing.assert_allclose(
            call(INPUTS)["sequence_output"], encoder(INPUTS)["sequence_output"], atol=1e-5
        )

    def test_tflite_needs_only_builtin_ops(self):
        encoder = small_encoder()
        module = tf.Module()
        module.weights = [variable.value for variable in encoder.variables]
        module.serve = tf.function(
            lambda token_ids, padding_mask: encoder(
                {"token_ids": token_ids, "padding_mask": padding_mask}
            ),
            input_signature=[tf.TensorSpec([1, None], tf.int32, name=n) for n in KEYS[::2]],
        )
        path = tempfile.mkdtemp()
        tf.saved_model.save(module, path, signatures=module.serve)
        file = tf.lite.TFLiteConverter.from_saved_model(path).convert()
        interpreter = Interpreter(model_content=file)
        operations = [op["op_name"] for op in interpreter._get_ops_details()]
        # One a dense layer, none lost to batched products.
        self.assertEqual(operations.count("FULLY_CONNECTED"), 2 * 4 + 1)
        self.assertEqual(operations.count("BATCH_MATMUL"), 2 * 2)
        inputs = {name: INPUTS[name][:1, :7] for name in KEYS[::2]}
        for detail in interpreter.get_input_details():
            interpreter.resize_tensor_input(detail["index"], [1, 7])
        outputs = interpreter.get_signature_runner()(**inputs)
        np.testing.assert_allclose(
            outputs["sequence_output"], encoder(inputs)["sequence_output"], atol=1e-5
        )

    @parameterized.parameters("mixed_bfloat16", "mixed_float16")
    def test_mixed_precision(self, policy):
        encoder = small_encoder(num_layers=1)
        mixed = BertEncoder(encoder.config, dtype=policy)
        self.assertEqual({w.dtype for w in mixed.weights}, {"float32"})
        mixed.set_weights(encoder.get_weights())
        outputs = mixed(INPUTS)["sequence_output"]
        self.assertEqual(keras.backend.standardize_dtype(outputs.dtype), policy[6:])
        np.testing.assert_allclose(
            tf.cast(outputs, "float32"), encoder(INPUTS)["sequence_output"], atol=0.1
        )
        keras.config.set_dtype_policy(policy)
        self.assertEqual(small_encoder().blocks[0].attention.qkv.compute_dtype, policy[6:])

    @parameterized.product(
        norm_first=[False, True], position_embedding_type=["learned", "sinusoidal"]
    )
    def test_files(self, **changes):
        encoder = BertEncoder(small_config(**changes), output_hidden_states=True, name="my_encoder")
        expected = encoder(INPUTS)["sequence_output"]
        directory = tempfile.mkdtemp()
        path = os.path.join(directory, "encoder.keras")
        encoder.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(loaded.get_config(), encoder.get_config())
        np.testing.assert_array_equal(loaded(INPUTS)["sequence_output"], expected)
        encoder.save_pretrained(directory, overwrite=True)
        loaded = BertEncoder.from_pretrained(directory, output_hidden_states=True)
        self.assertEqual(loaded.config, encoder.config)
        np.testing.assert_array_equal(loaded(INPUTS)["sequence_output"], expected)
        self.assertLen(loaded(INPUTS)["hidden_states"], 3)

    @parameterized.parameters(False, True)
    def test_remat_changes_no_gradient(self, norm_first):
        config = small_config(norm_first=norm_first, initializer_range=0.3)
        gradients = []
        for remat in (False, True):
            keras.utils.set_random_seed(3)  # dropout is on
            encoder = BertEncoder(config, remat=remat)

            @tf.function
            def step(encoder=encoder):
                with tf.GradientTape() as tape:
                    outputs = encoder(INPUTS, training=True)["pooled_output"]
                    loss = tf.reduce_sum(outputs**2)
                return loss, tape.gradient(loss, encoder.trainable_weights)

            gradients.append([step(), step()])
        for one, other in zip(tf.nest.flatten(gradients[0]), tf.nest.flatten(gradients[1])):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        # Each step drops something else.
        self.assertNotAlmostEqual(float(gradients[0][0][0]), float(gradients[0][1][0]))
        self.assertTrue(BertEncoder.from_config(encoder.get_config()).remat)
        with self.assertRaisesRegex(ValueError, "leave out `remat`.*Received: remat=True"):
            BertEncoder(config, remat=True, output_attentions=True)

    @parameterized.product(strategy=["one_device", "mirrored"], jit_compile=[False, True])
    @pytest.mark.slow
    def test_fit_with_remat(self, strategy, jit_compile):
        if strategy == "mirrored" and jit_compile:
            self.skipTest("XLA does not compile the step of a strategy.")
        losses = []
        for remat in (False, True):
            keras.utils.set_random_seed(3)
            with create_strategy(strategy).scope():
                encoder = BertEncoder(small_config(initializer_range=0.3), remat=remat)
                pretrainer = BertPretrainer(encoder)
                pretrainer.compile(create_optimizer(1e-2, 10), jit_compile=jit_compile)
            dataset = tf.data.Dataset.from_tensors(pretraining_batch()).repeat(3)
            losses.append(pretrainer.fit(dataset, verbose=0).history["loss"])
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)

    def test_in_a_functional_model(self):
        encoder = small_encoder()
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in KEYS}
        scores = keras.layers.Dense(1)(encoder(inputs)["pooled_output"])
        model = keras.Model(inputs, scores)
        model.compile("sgd", "mse")
        model.fit(INPUTS, np.ones([6, 1], "float32"), verbose=0)
        path = os.path.join(tempfile.mkdtemp(), "model.keras")
        model.save(path)
        np.testing.assert_array_equal(keras.models.load_model(path)(INPUTS), model(INPUTS))

    def test_bad_arguments(self):
        with self.assertRaisesRegex(ValueError, "`config` must be a BertConfig.*Received"):
            BertEncoder({"vocab_size": 3})
        with self.assertRaisesRegex(ValueError, r"`token_ids`.*Received: \['ids'\]"):
            small_encoder()({"ids": INPUTS["token_ids"]})
        with self.assertRaisesRegex(ValueError, "16 positions"):
            small_encoder()({"token_ids": np.ones([1, 17], "int32")})
