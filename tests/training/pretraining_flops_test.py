"""What a step has to compute, and what the device at hand can."""

import tensorflow as tf

from keras_bert_lib.models import BertConfig, BertEncoder, BertPretrainer
from keras_bert_lib.training import matmul_rate, pretraining_flops


def test_flops_are_those_of_the_graph():
    config = BertConfig(vocab_size=512, hidden_size=64, num_layers=2, num_heads=2)
    model = BertPretrainer(BertEncoder(config))
    b, s, p = 2, 32, 5
    inputs = {
        name: tf.TensorSpec([b, s], tf.int32)
        for name in ("token_ids", "segment_ids", "padding_mask")
    }
    inputs["masked_positions"] = tf.TensorSpec([b, p], tf.int32)
    call = tf.function(lambda x: model(x, training=True))
    options = tf.compat.v1.profiler.ProfileOptionBuilder
    counts = tf.compat.v1.profiler.profile(
        call.get_concrete_function(inputs).graph,
        cmd="op",
        options=options(options.float_operation()).with_empty_output().build(),
    )
    flops = {op.name: op.float_ops for op in counts.children}
    # TensorFlow does not count the products of attention; we do not those of the pooler and of
    # next sentences.
    scores = config.num_layers * 2 * 2 * b * s * s * 64
    small = 2 * b * 64 * (64 + 2)
    assert pretraining_flops(config, b, s, p) == 3 * (flops["MatMul"] + scores - small)


def test_rate_is_that_of_a_product():
    assert 1e8 < matmul_rate("mixed_bfloat16", seconds=0.05) < 1e16
    assert matmul_rate(seconds=0.05) > 1e8
