"""Take a BERT from one library to another: same weights, same numbers.

Reads a model of Hugging Face, google-research/bert, TensorFlow Model Garden, KerasHub or
sentence-transformers, or one made with this library, and writes it for another of them. What the
source is, and which heads it has, is found out.
"""

import contextlib
import os
import tempfile

from keras_bert_lib.cli import artifact, native_logs
from keras_bert_lib.cli.arguments import check_output, megabytes, next_step, shortened

EXAMPLES = """\
examples:
  keras-bert convert uncased_L-12_H-768_A-12 my-bert --to huggingface
  keras-bert convert google-bert/bert-base-uncased bert-base --to google
  keras-bert convert my-classifier classifier-checkpoint --to model_garden
  keras-bert convert my-bert my-embedder --to sentence_transformers
"""
IF_INTERRUPTED = "Nothing was written; run the same command again."

# What is written for each target, and what reads it there.
_TARGETS = {
    "huggingface": (
        "a model directory in the Hugging Face layout",
        'transformers.{architecture}.from_pretrained("{target}")',
    ),
    "google": (
        "a TensorFlow 1 checkpoint of google-research/bert",
        "python run_classifier.py --init_checkpoint={target}/bert_model.ckpt ...",
    ),
    "model_garden": (
        "a TensorFlow 2 checkpoint of Model Garden",
        'tf.train.Checkpoint(encoder=encoder).restore("{target}/bert_model.ckpt")',
    ),
    "keras_hub": (
        "a preset of KerasHub",
        'keras_hub.models.BertBackbone.from_preset("{target}")',
    ),
    "sentence_transformers": (
        "a model directory of sentence-transformers",
        'sentence_transformers.SentenceTransformer("{target}").encode(["a text"])',
    ),
}


def add_arguments(parser):
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a directory, the prefix of a TensorFlow checkpoint, a .keras file, or the name of a "
        "model on the Hugging Face hub or of a KerasHub preset (those are downloaded)",
    )
    parser.add_argument("target", metavar="TARGET", help="the directory to write")
    parser.add_argument(
        "--to", required=True, choices=_TARGETS, help="the library that shall read it"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the target")


def run(args):
    """Reads, writes, and says what became of it."""
    check_output(args.target, args.overwrite, flag="TARGET")
    if os.path.realpath(args.source) == os.path.realpath(args.target):
        raise ValueError(f"TARGET must be another directory than SOURCE, {args.source}.")
    native_logs.start_tensorflow()
    with native_logs.hidden():
        title, model, tokenizer, unused = read(args.source)
    print(f"Read {args.source}: {title}, as a {type(model).__name__}.")
    if unused:
        print(f"Left out, for such a model has no place for it: {shortened(unused)}.")
    with native_logs.hidden(), written_aside(args.target) as folder:
        written, left_out = _WRITERS[args.to](model, tokenizer, folder)
    if left_out:
        print(f"Left out, for the target has no place for it: {', '.join(left_out)}.")
    if tokenizer is None:
        print("The source has no tokenizer, so the target has none.")
    if args.to == "sentence_transformers" and written is not model:
        print("The source says nothing of pooling: it is the mean of all tokens, of length 1.")
    if args.to == "keras_hub" and encoder_of(model).pooler is None:
        print("The source has no pooler, but a BertBackbone has: it is newly initialized.")
    title, hint = _TARGETS[args.to]
    print(
        f"Wrote {args.target}: {title}, {written.count_params():,} parameters, "
        f"{megabytes(args.target)}."
    )
    hint = hint.format(target=args.target, architecture=written._architecture)
    next_step(f"keras-bert inspect {args.target}", hint)


def read(source):
    """Loads a model with all its heads.

    Returns:
        What the source is, in words; the model; its tokenizer or None; and the names of tensors
        that the model has no place for.

    Raises:
        ValueError: Where the source is damaged, no BERT, or lacks a part that it should have.
    """
    kind, path = "model", source
    if os.path.exists(source) or os.path.exists(f"{source}.index"):
        kind, path = artifact.kind_of(source)
    if kind == "keras":
        with artifact.reading(path):
            model = artifact.load_keras(path)
        return artifact.TITLES[kind], model, getattr(model, "tokenizer", None), []
    if kind != "model":
        raise ValueError(
            f"{path} is {artifact.TITLES[kind]}, and nothing but an answer to texts comes out of "
            "it. Give the model directory that it was exported from."
        )
    from keras_bert_lib.checkpoints import open_checkpoint, tensor_names
    from keras_bert_lib.checkpoints.load_weights import absent_parts
    from keras_bert_lib.models import BertEncoder
    from keras_bert_lib.models.pretrained_model import read_tokenizer

    checkpoint = open_checkpoint(path)
    names = set(checkpoint.source.names)
    model_class = artifact.model_class(checkpoint)
    arguments = {}
    if model_class is BertEncoder:
        arguments["use_pooler"] = "pooler.dense.weight" in names
    model = model_class.from_pretrained(path, **arguments)
    weights = tensor_names.weights_by_name(model)
    absent = absent_parts(checkpoint.source, weights)
    if absent:
        raise ValueError(
            f"{path} lacks parts of a {model_class.__name__}, and random ones are no use to "
            f"anyone. Missing: {', '.join(absent)}"
        )
    used = {tensor for name in weights for tensor in tensor_names.tensors_of(name)}
    unused = sorted(names - used - set(tensor_names.BUFFERS) - set(tensor_names.TIED))
    return artifact.title_of(kind, path), model, read_tokenizer(checkpoint), unused


@contextlib.contextmanager
def written_aside(path):
    """Yields a path beside `path` to write a directory at; then it takes the place of `path`."""
    path = os.path.abspath(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".converting-", dir=os.path.dirname(path)) as folder:
        new, old = os.path.join(folder, "new"), os.path.join(folder, "old")
        yield new
        try:
            if os.path.exists(path):
                os.replace(path, old)
            os.replace(new, path)
        finally:
            if os.path.exists(old) and not os.path.exists(path):
                os.replace(old, path)


def write_huggingface(model, tokenizer, directory):
    """Writes the model, and returns what was written and what was left out, as all writers do."""
    model.save_pretrained(directory)
    save_tokenizer(tokenizer, directory)
    return model, []


def write_google(model, tokenizer, directory):
    """Writes a checkpoint of google-research/bert."""
    from keras_bert_lib import checkpoints

    checkpoints.save_google_bert(model, directory)
    save_tokenizer(tokenizer, directory)
    return model, pooling_of(model)


def write_model_garden(model, tokenizer, directory):
    """Writes a checkpoint of Model Garden."""
    from keras_bert_lib import checkpoints

    checkpoints.save_model_garden(model, directory)
    save_tokenizer(tokenizer, directory)
    return model, pooling_of(model)


def write_keras_hub(model, tokenizer, directory):
    """Writes a preset of a BertBackbone, which has no heads."""
    from keras_bert_lib.checkpoints import keras_hub

    keras_hub.save_keras_hub_preset(model, directory)
    if tokenizer is not None:
        keras_hub.to_keras_hub_tokenizer(tokenizer).save_to_preset(directory)
    return encoder_of(model), heads_of(model) + pooling_of(model)


def write_sentence_transformers(model, tokenizer, directory):
    """Writes an embedder: of the mean of all tokens, where the source says nothing of pooling."""
    from keras_bert_lib.models import BertTextEmbedder

    embedder = model
    if not isinstance(model, BertTextEmbedder):
        embedder = BertTextEmbedder(encoder_of(model), tokenizer=tokenizer)
    embedder.save_pretrained(directory)
    return embedder, heads_of(model)


def save_tokenizer(tokenizer, directory):
    """Writes the tokenizer of a model whose class has none."""
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)


def encoder_of(model):
    """Returns the encoder in a model, or the model itself, which is one."""
    return getattr(model, "encoder", model)


def pooling_of(model):
    """Returns what only the formats of embedders have words for."""
    return [f"pooling ({model.pooling})"] if hasattr(model, "pooling") else []


def heads_of(model):
    """Returns the names of the parts with weights that a model has besides its encoder."""
    from keras_bert_lib.checkpoints.tensor_names import weights_by_name

    names = set(weights_by_name(model)) - set(weights_by_name(encoder_of(model)))
    return sorted({name.split("/")[0] for name in names})


_WRITERS = {
    "huggingface": write_huggingface,
    "google": write_google,
    "model_garden": write_model_garden,
    "keras_hub": write_keras_hub,
    "sentence_transformers": write_sentence_transformers,
}
