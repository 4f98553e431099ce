"""The page that tells what a SavedModel is and how to ask it: its model card."""

import json
import math
import shlex
import urllib.parse

from keras_bert_lib.export.answers import EntityAnswers, FillAnswers
from keras_bert_lib.export.metadata import DESCRIPTIONS, OUTPUTS
from keras_bert_lib.models.bert_classifier import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from keras_bert_lib.version import __version__

FILE = "README.md"

_SHOWN_LABELS = 50
_TASKS = {
    SINGLE_LABEL: "text classification, one label a text",
    MULTI_LABEL: "text classification, any number of labels a text",
    REGRESSION: "regression",
    "BertTextEmbedder": "sentence embedding",
    "BertTokenClassifier": "named entities",
    "BertQuestionAnswerer": "extractive question answering",
    "BertMultipleChoice": "multiple choice",
    "BertMaskedLM": "masked language model",
}
# What outputs of SavedModels say that TFLite files have not, or say otherwise.
_SAVED_OUTPUTS = OUTPUTS | {
    "label": "The label that is most probable.",
    "labels": 'The best labels, best first; "" where none is above its threshold.',
    "label_ids": "The lines of these labels in assets.extra/labels.txt, from 0; -1 for none.",
    "label_count": "How many labels are above their threshold.",
    "entity_types": 'The kind of each entity; "" past the last.',
    "entity_labels": "The same, by lines of assets.extra/labels.txt, from 0; -1 past the last.",
}


def model_card(module, name, signatures, weights, training):
    """Describes a SavedModel.

    Args:
        module: `ServingModule`.
        name: str, the model's name.
        signatures: dict of name to `tf.function`.
        weights: str, what the weights are stored as.
        training: dict or None, the model's `training_record`.

    Returns:
        str, Markdown.
    """
    parts = [
        f"# {name}",
        _description(module, weights),
        "## Training",
        _training(training),
        "## Ask it",
        _requests(module, name),
        "## Signatures",
        _signatures(signatures),
        "## Limits",
        _limits(module),
        "## License",
        "Not stated. Write here who may use the model, and what data it was trained on.",
    ]
    return "\n\n".join(parts) + "\n"


def _description(module, weights):
    model, tokenizer, config = (
        module.answers.model,
        module.answers.tokenizer,
        module.answers.model.config,
    )
    kind = type(model).__name__
    task = _TASKS[getattr(model, "problem_type", kind)]
    case = "uncased" if tokenizer.lowercase else "cased"
    count = sum(math.prod(variable.shape) for variable in model.weights)
    labels = module.answers.labels
    lines = [
        f"{DESCRIPTIONS[kind]} A SavedModel of TensorFlow, made by keras_bert_lib {__version__}: "
        "the tokenizer is in it, and it needs nothing but TensorFlow's own ops.",
        "",
        f"- Task: {task}{', of pairs of texts' if module.pairs else ''}",
    ]
    if labels:
        shown = ", ".join(f"`{label}`" for label in labels[:_SHOWN_LABELS])
        more = ", ... (assets.extra/labels.txt)" if len(labels) > _SHOWN_LABELS else ""
        lines.append(f"- Labels ({len(labels)}): {shown}{more}")
    lines += [
        f"- Tokenizer: WordPiece, {tokenizer.vocabulary_size:,} pieces, {case}; at most "
        f"{module.max_length} tokens a row",
        f"- Model: BERT, {config.num_layers} layers, {config.hidden_size} wide, {count:,} weights, "
        f"stored as {weights}",
    ]
    return "\n".join(lines)


def _training(record):
    if not record:
        return "Nothing was recorded."
    rows = [f"| {name} | {value} |" for name, value in _flat(record)]
    return "\n".join(["| | |", "|---|---|", *rows])


def _flat(record, prefix=""):
    """Yields names and values, as text, of nested dicts."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            text = f"{value:.6g}" if isinstance(value, float) else str(value)
            yield f"{prefix}{name}", text.replace("|", "\\|").replace("\n", " ")


def example_row(module):
    """Returns texts that the model takes, dict of input name to str or list of str."""
    if module.answers.has_choices:
        return {"text": "The sun was low.", "text_pair": ["Evening fell.", "It was noon."]}
    if module.answers.pairs:  # questions
        return {"text": "Who found it?", "text_pair": "Ann found the key in the garden."}
    if module.pairs:
        return {"text": "The film was fine.", "text_pair": "It was a good film."}
    if isinstance(module.answers, FillAnswers):
        return {"text": "The [MASK] was fine."}
    return {"text": "The film was fine."}


def _requests(module, name):
    row = example_row(module)
    columns = {key: [value] for key, value in row.items()}
    url = f"http://localhost:8501/v1/models/{urllib.parse.quote(name, safe='')}:predict"

    def curl(body):
        return f"curl -d '{json.dumps(body)}' \\\n  {url}"

    tokenize = {"signature_name": "tokenize", "inputs": columns}
    expressions = ";".join(f"{key}={json.dumps(value)}" for key, value in columns.items())
    return "\n".join(
        [
            "TensorFlow Serving's REST interface, one row a text, and by columns:",
            "",
            "```sh",
            curl({"instances": [row]}),
            curl({"inputs": columns}),
            curl(tokenize),
            "```",
            "",
            "Without a server, in the directory of this file:",
            "",
            "```sh",
            "saved_model_cli run --dir . --tag_set serve --signature_def serving_default \\",
            f"  --input_exprs {shlex.quote(expressions)}",
            "```",
        ]
    )


def _signatures(signatures):
    lines = ["| signature | inputs | outputs |", "|---|---|---|"]
    outputs = {}
    for name, function in signatures.items():
        inputs = {spec.name: spec for spec in function.input_signature}
        given = function.get_concrete_function().structured_outputs
        lines.append(f"| `{name}` | {_specs(inputs)} | {_specs(dict(sorted(given.items())))} |")
        if name != "tokenize":
            outputs |= given
    meanings = [f"- `{name}`: {_SAVED_OUTPUTS[name]}" for name in sorted(outputs)]
    return "\n".join(
        [
            *lines,
            "",
            *meanings,
            "",
            "`serve_examples` takes serialized `tf.train.Example` messages with the inputs of "
            "`serving_default` for features. `tokens` takes what `tokenize` gives.",
        ]
    )


def _specs(specs):
    return ", ".join(
        f"`{name}` {spec.dtype.name} {str(spec.shape.as_list()).replace('None', '?')}"
        for name, spec in specs.items()
    )


def _limits(module):
    answers = module.answers
    lengths = "the longest of their batch"
    if answers.lengths:
        lengths = f"the next of {', '.join(map(str, answers.lengths))} tokens"
    rest = f"are read at most, and {module.max_length} tokens"
    if answers.reads_windows:
        rest = f"are read at most, in windows of {module.max_length} tokens that overlap"
    lines = [
        f"- Of a text {answers.most_bytes:,} bytes {rest}; `truncated` is 1 where there was more.",
        f"- Rows are padded to {lengths}. An answer does not depend on the other texts of a batch.",
        "- Texts are UTF-8; bytes that are not count as the character U+FFFD.",
    ]
    if answers.has_choices:
        lines.append("- All texts of a batch have equally many choices.")
    if isinstance(answers, EntityAnswers):
        lines.append("- 64 entities of a text have room in the answer.")
    if isinstance(answers, FillAnswers):
        lines.append("- 8 masks of a text have room in the answer, with 5 pieces each.")
    return "\n".join(lines)
