"""Makes golden_numbers.npz: what BertForPreTraining of `transformers` computes from random weights.

Run it from the root of the repository, in an environment with the [parity] extra:

    python tests/models/make_golden_numbers.py

The file holds the config (a JSON string), `weights/NAME` and `gradients/NAME` under their names in
`transformers`, `inputs/NAME` and `outputs/NAME`.
"""

import json
from pathlib import Path

import numpy as np

CONFIG = {
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def random_inputs(vocab_size, type_vocab_size, batch, seq, predictions, seed):
    """Returns a padded pretraining batch as `BertPretrainer` takes it."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(predictions + 1, seq + 1, batch)
    lengths[0] = seq
    padding_mask = (np.arange(seq) < lengths[:, np.newaxis]).astype("int32")  # [b, s]
    masked_weights = np.ones((batch, predictions), "float32")
    masked_weights[1, 1:] = 0
    inputs = {
        "token_ids": rng.integers(1, vocab_size, (batch, seq)) * padding_mask,
        "segment_ids": rng.integers(0, type_vocab_size, (batch, seq)) * padding_mask,
        "padding_mask": padding_mask,
        "masked_positions": np.stack(
            [np.sort(rng.choice(length, predictions, replace=False)) for length in lengths]
        ),
        "masked_ids": rng.integers(1, vocab_size, (batch, predictions)),
        "masked_weights": masked_weights,
        "next_sentence_labels": rng.integers(0, 2, batch),
    }
    return {
        name: x.astype("float32" if name == "masked_weights" else "int32")
        for name, x in inputs.items()
    }


def random_model(config, seed):
    """Returns a BertForPreTraining whose weights are all random, biases and LayerNorm included."""
    import torch
    import transformers

    torch.manual_seed(seed)
    model = transformers.BertForPreTraining(transformers.BertConfig(**config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            mean = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            parameter.normal_(mean, 0.2)
    return model


def run(model, inputs):
    """Returns outputs and gradients of the pretraining loss, as NumPy arrays by name."""
    import torch

    positions = inputs["masked_positions"]
    labels = np.full(inputs["token_ids"].shape, -100)  # -100: not masked
    for row, weights in enumerate(inputs["masked_weights"]):
        real = weights == 1
        labels[row, positions[row, real]] = inputs["masked_ids"][row, real]
    out = model(
        input_ids=torch.tensor(inputs["token_ids"]).long(),
        token_type_ids=torch.tensor(inputs["segment_ids"]).long(),
        attention_mask=torch.tensor(inputs["padding_mask"]).long(),
        labels=torch.tensor(labels).long(),
        next_sentence_label=torch.tensor(inputs["next_sentence_labels"]).long(),
        output_hidden_states=True,
    )
    out.loss.backward()
    pooled = model.bert.pooler(out.hidden_states[-1])
    outputs = {
        "hidden_states": torch.stack(out.hidden_states),  # [l + 1, b, s, h]
        "pooled_output": pooled,
        "mlm_logits": out.prediction_logits,  # [b, s, v]
        "nsp_logits": out.seq_relationship_logits,
        "loss": out.loss,
    }
    outputs = {name: x.detach().numpy() for name, x in outputs.items()}
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}
    return outputs, gradients


def main():
    """Writes the file beside this script."""
    model = random_model(CONFIG, seed=0)
    inputs = random_inputs(40, 2, batch=3, seq=10, predictions=3, seed=0)
    outputs, gradients = run(model, inputs)
    weights = {name: p.detach().numpy() for name, p in model.named_parameters()}
    arrays = {"config": json.dumps(CONFIG | {"model_type": "bert"})}
    for folder, items in (
        ("weights", weights),
        ("gradients", gradients),
        ("inputs", inputs),
        ("outputs", outputs),
    ):
        arrays |= {f"{folder}/{name}": x for name, x in items.items()}
    path = Path(__file__).with_name("golden_numbers.npz")
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
