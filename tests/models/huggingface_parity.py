"""What golden and live tests against `transformers` share."""

import numpy as np
import tensorflow as tf

from keras_bert_lib.checkpoints.tensor_names import merge, tensors_of
from keras_bert_lib.models.pretrained_model import weights_by_name


def check_pretrainer(pretrainer, inputs, outputs, gradients):
    """Compares outputs, loss and gradients with those of a BertForPreTraining.

    Args:
        pretrainer: `BertPretrainer` with the weights of the other model and
            `encoder.output_hidden_states`.
        inputs: dict, a pretraining batch.
        outputs: dict of the other model's arrays: `hidden_states` `[l + 1, b, s, h]`,
            `pooled_output`, `mlm_logits` at every position, `nsp_logits`, `loss`.
        gradients: dict of the gradients of its loss by its names.
    """
    encoded = pretrainer.encoder(inputs)
    close(np.stack(encoded["hidden_states"]), outputs["hidden_states"])
    close(encoded["sequence_output"], outputs["hidden_states"][-1])
    close(encoded["pooled_output"], outputs["pooled_output"])

    everywhere = {name: x for name, x in inputs.items() if name != "masked_positions"}
    close(pretrainer(everywhere)["mlm_logits"], outputs["mlm_logits"])
    with tf.GradientTape() as tape:
        predictions = pretrainer(inputs)
        loss = pretrainer.compute_loss(x=inputs, y_pred=predictions)
    positions = inputs["masked_positions"][..., np.newaxis]
    at_positions = np.take_along_axis(outputs["mlm_logits"], positions, axis=1)
    close(predictions["mlm_logits"], at_positions)
    close(predictions["nsp_logits"], outputs["nsp_logits"])
    np.testing.assert_allclose(loss, outputs["loss"], atol=1e-5)

    variables = weights_by_name(pretrainer)
    computed = tape.gradient(loss, list(variables.values()))
    names = {name.removeprefix("bert."): gradient for name, gradient in gradients.items()}
    for name, gradient in zip(variables, computed):
        expected = merge(name, [names.pop(tensor) for tensor in tensors_of(name)])
        gradient = tf.convert_to_tensor(gradient).numpy()
        scale = np.abs(expected).max()
        assert scale > 0, name
        np.testing.assert_allclose(gradient, expected, atol=1e-4 * scale, rtol=0, err_msg=name)
    assert not names, f"not compared: {sorted(names)}"


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)
