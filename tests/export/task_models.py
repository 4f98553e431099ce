"""A tiny model of each task, and texts of every kind, for the tests of exported files."""

import keras
import numpy as np

import keras_bert_lib as kbl

MAX_BYTES = 160
MAX_LENGTH = 32
CHOICES = 3

# Pieces are short, so that graphs are small.
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,!?'-", *"abcdefghijklmnopqrstuvwxyz"]
PIECES += [*(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"), "the", "film", "was", "fine", "dull"]
PIECES += [*"東京한ßあ", "##ly", "##ing", "caf", "##ss"]


def tiny_encoder(use_pooler=True, **options):
    config = kbl.BertConfig(
        vocab_size=len(PIECES) + 3,  # embeddings without a piece, as published models have
        hidden_size=16,
        num_layers=1,
        num_heads=2,
        intermediate_size=24,
        max_position_embeddings=MAX_LENGTH,
        initializer_range=0.6,  # texts get different answers without training
    )
    return kbl.BertEncoder(config, use_pooler=use_pooler, **options)


def tiny_tokenizer(**options):
    return kbl.BertTokenizer(PIECES, max_length=MAX_LENGTH, max_chars_per_word=20, **options)


def make_model(task, **encoder_options):
    """The same random model at each call."""
    keras.utils.set_random_seed(7)
    tokenizer, labels = tiny_tokenizer(), ["joy", "anger", "käse"]
    use_pooler = task not in ("embedder", "masked", "tagger", "answerer")
    encoder = tiny_encoder(use_pooler, **encoder_options)
    if task == "label":
        return kbl.BertClassifier(encoder, tokenizer=tokenizer, labels=labels)
    if task == "multi_label":
        problem_type = "multi_label_classification"
        return kbl.BertClassifier(
            encoder, tokenizer=tokenizer, labels=labels, problem_type=problem_type
        )
    if task == "regression":
        return kbl.BertClassifier(
            encoder, tokenizer=tokenizer, num_classes=2, problem_type="regression"
        )
    if task == "embedder":
        return kbl.BertTextEmbedder(encoder, tokenizer=tokenizer)
    if task == "choice":
        return kbl.BertMultipleChoice(encoder, tokenizer=tokenizer)
    if task == "masked":
        return kbl.BertMaskedLM(encoder, tokenizer=tokenizer)
    if task == "tagger":
        tags = ["O", "B-place", "I-place", "B-name", "I-name"]
        return kbl.BertTokenClassifier(encoder, tokenizer=tokenizer, labels=tags)
    return kbl.BertQuestionAnswerer(encoder, tokenizer=tokenizer)


def make_texts(count, seed=0):
    """Texts of words, accents, CJK, emoji, masks and bad bytes, some too long, some empty."""
    rng = np.random.default_rng(seed)
    words = ["the", "film", "Was", "fine", "dullish", "Café", "naïveté", "東京", "한", "ßß", "😀"]
    words += [
        "👩‍👩‍👧",
        "e\u0301",
        "[MASK]",
        "x-ray",
        "it's",
        "¿",
        "\u200b",
        "\u00ad",
        "q" * 25,
        "あい",
    ]
    texts = ["", " \t\n", "[MASK]", "[MASK]" * 11, "a b c d " * 60, "東京 " * 80, "😀" * 50]
    texts += ["the\x00film", "[SEP] a [CLS] b [PAD]", "ÀÉÎ", "q" * 300]
    texts = [text.encode() for text in texts]
    texts += [b"the \xff\xfe film \xc3 was \xed\xa0\x80 fine", b"\x80\x80", b"fine \xf0\x9f\x98"]
    while len(texts) < count:
        words_of_text = rng.choice(words, rng.integers(1, 24))
        texts.append((" ".join(words_of_text) + rng.choice(["", ".", "!?"])).encode())
    return texts[:count]


def fitting(texts):
    """What of each text fits the bytes of a TFLite file."""
    return [text[:MAX_BYTES] for text in texts]
