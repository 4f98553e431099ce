import numpy as np
import pytest
import tensorflow as tf

from keras_bert_lib.layers import SelfAttention, TransformerEncoderBlock
from keras_bert_lib.layers.token_rows import TokenRows

RNG = np.random.default_rng(0)
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 1, 0]], "int32")
X = RNG.normal(size=(3, 6, 12)).astype("float32")


def test_places_and_rows():
    token_rows = TokenRows.of_mask(MASK)
    places = np.asarray(token_rows.places)
    np.testing.assert_array_equal(places, np.flatnonzero(MASK))
    np.testing.assert_array_equal(token_rows.pack(X), X[MASK == 1])
    np.testing.assert_array_equal(
        np.asarray(token_rows.unpack(X[MASK == 1]))[MASK == 1], X[MASK == 1]
    )


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (2, 5)])
def test_without_tokens(shape):
    """The rows of no text, and those that fill a batch up, have no token."""
    token_rows = TokenRows.of_mask(np.zeros(shape, "int32"))
    x = RNG.normal(size=(*shape, 4)).astype("float32")
    assert token_rows.unpack(token_rows.pack(x)).shape == x.shape


@pytest.mark.parametrize(
    "layer",
    [
        SelfAttention(3, initializer_range=0.5),
        TransformerEncoderBlock(3, 24, initializer_range=0.5),
        TransformerEncoderBlock(3, 24, initializer_range=0.5, norm_first=True),
    ],
)
def test_layers_give_the_same_for_tokens_end_to_end(layer):
    expected, expected_attention = layer(X, padding_mask=MASK, return_attention=True)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, 12]), tf.TensorSpec([None, None], tf.int32)]
    )
    def packed(x, mask):
        token_rows = TokenRows.of_mask(mask)
        return layer(
            token_rows.pack(x), padding_mask=mask, return_attention=True, token_rows=token_rows
        )

    outputs, attention = packed(X, MASK)
    assert outputs.shape == (MASK.sum(), 12)
    np.testing.assert_allclose(outputs, np.asarray(expected)[MASK == 1], atol=1e-5)
    attention = np.asarray(attention).transpose(0, 2, 1, 3)[MASK == 1]  # of tokens
    expected_attention = np.asarray(expected_attention).transpose(0, 2, 1, 3)[MASK == 1]
    np.testing.assert_allclose(attention, expected_attention, atol=1e-5)
