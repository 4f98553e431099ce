import keras
import numpy as np
import tensorflow as tf

from keras_bert_lib.models import BertPretrainer
from tests.models.small_models import pretraining_batch, small_encoder


def of_unknown_length(batches):
    """Returns a dataset that tells the sizes of its batches but not how many there are."""
    signature = {name: tf.TensorSpec(x.shape, x.dtype) for name, x in batches[0].items()}
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)


def test_no_batch_is_counted_at_the_end_of_a_dataset_of_unknown_length():
    # Keras draws one batch more, to find that there is none.
    pretrainer = BertPretrainer(small_encoder(hidden_dropout=0.0, attention_dropout=0.0))
    pretrainer.compile(keras.optimizers.SGD(0.0))
    batches = [pretraining_batch(seed=seed) for seed in range(3)]
    each = [pretrainer.evaluate(batch, verbose=0, return_dict=True) for batch in batches]
    expected = {name: np.mean([metrics[name] for metrics in each]) for name in each[0]}
    dataset = of_unknown_length(batches)
    evaluated = pretrainer.evaluate(dataset, verbose=0, return_dict=True)
    fitted = pretrainer.fit(dataset, verbose=0).history
    for name in ("loss", "nsp_loss", "nsp_accuracy"):
        np.testing.assert_allclose(evaluated[name], expected[name], rtol=1e-5)
        np.testing.assert_allclose(fitted[name][0], expected[name], rtol=1e-5)
