"""A small tagger and a small answerer that have learned something, and texts for them.

Names of people and of places stand between other words, accents, ideographs and emoji.
"""

import random

import keras
import numpy as np

import keras_bert_lib as kbl
from keras_bert_lib.models.bert_token_classifier import NO_LABEL

PEOPLE = ["Anna", "Zoë", "Łukasz", "Rene\u0301", "Bo Ek", "Iñaki", "山本", "Ann-Marie"]
PLACES = ["Oslo", "São Paulo", "東京", "Malmö", "Åre", "Hà Nội", "Ri\u0301o", "Baden-Baden"]
OTHER = ["the", "tea", "is", "naïve", "北", "😀", "👩‍👧", "e\u0301", "ﬁne", "“so”", "❤\ufe0f", "µ"]
LABELS = ["O", "B-person", "I-person", "B-place", "I-place"]
WINDOW = 40

_LETTERS = "abcdefghijklmnopqrstuvwxyzłµ"
_WORDS = ["the", "tea", "is", "who", "where", "anna", "zoe", "łuk", "##asz", "rene", "bo", "ek"]
_WORDS += ["ina", "##ki", "ann", "marie", "oslo", "sao", "paulo", "mal", "##mo", "are", "ha"]
_WORDS += ["noi", "rio", "baden"]
_SINGLES = ".,!?'-“”?北東京山本"
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *_LETTERS,
    *(f"##{letter}" for letter in _LETTERS),
    *_WORDS,
    *dict.fromkeys(_SINGLES),
]


def make_text(rng, length, mentions):
    """Returns a text of about `length` words with these mentions, and where each one stands.

    Args:
        rng: `random.Random`.
        length: int.
        mentions: list of `(name, type)`.
    """
    words = [(word, None) for word in rng.choices(OTHER, k=length)]
    for mention in mentions:
        words.insert(rng.randint(0, len(words)), mention)
    text, spans = "", []
    for word, kind in words:
        if kind:
            spans.append((len(text), len(text) + len(word), kind))
        text += word + rng.choice([" ", " ", " ", "  ", "\n"])
    return text, spans


def make_tagged(seed):
    """Returns a text and its entities `(start, end, type)`, in characters."""
    rng = random.Random(seed)
    mentions = [
        rng.choice([(rng.choice(PEOPLE), "person"), (rng.choice(PLACES), "place")])
        for _ in range(rng.randint(0, 5))
    ]
    return make_text(rng, rng.randint(1, 12), mentions)


def make_question(seed, length=None):
    """Returns a question, a text, and where the answer stands in it, in characters, or None."""
    rng = random.Random(seed)
    mentions = {"who": (rng.choice(PEOPLE), "person"), "where": (rng.choice(PLACES), "place")}
    question = rng.choice(["who", "where"])
    if rng.random() < 0.2:
        mentions.pop(question)
    text, spans = make_text(rng, length or rng.randint(2, 14), list(mentions.values()))
    wanted = {"who": "person", "where": "place"}[question]
    answer = [(start, end) for start, end, kind in spans if kind == wanted]
    return f"{question}?", text, answer[0] if answer else None


def _encoder(tokenizer):
    config = kbl.BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=48,
        num_layers=2,
        num_heads=2,
        intermediate_size=96,
        max_position_embeddings=WINDOW,
        hidden_dropout=0.0,
        attention_dropout=0.0,
    )
    return kbl.BertEncoder(config, use_pooler=False)


def _inputs(windows):
    return {name: windows[name] for name in ("token_ids", "segment_ids", "padding_mask")}


def train_tagger(texts=600, epochs=4):
    """Returns a `BertTokenClassifier` with `LABELS`."""
    keras.utils.set_random_seed(0)
    tokenizer = kbl.BertTokenizer(VOCABULARY, max_length=WINDOW)
    tagger = kbl.BertTokenClassifier(_encoder(tokenizer), tokenizer=tokenizer, labels=LABELS)
    rows = [make_tagged(seed) for seed in range(texts)]
    windows = {k: x.numpy() for k, x in tagger.windows([text for text, _ in rows], WINDOW).items()}
    labels = np.full(windows["token_ids"].shape, NO_LABEL)
    for row, text in enumerate(windows["text_index"]):
        words = windows["word_ids"][row]
        first = np.flatnonzero((words >= 0) & (words != np.roll(words, 1)))
        labels[row, first] = 0
        for column in first:
            at = windows["char_offsets"][row, column, 0]
            for start, end, kind in rows[text][1]:
                if start <= at < end:
                    labels[row, column] = LABELS.index(f"{'B' if at == start else 'I'}-{kind}")
    tagger.compile(keras.optimizers.Adam(3e-3))
    tagger.fit(_inputs(windows), labels, batch_size=32, epochs=epochs, verbose=0)
    return tagger


def train_answerer(texts=900, epochs=7):
    """Returns a `BertQuestionAnswerer` for questions that may have no answer."""
    keras.utils.set_random_seed(0)
    tokenizer = kbl.BertTokenizer(VOCABULARY, max_length=WINDOW)
    answerer = kbl.BertQuestionAnswerer(
        _encoder(tokenizer), tokenizer=tokenizer, stride=16, may_have_no_answer=True
    )
    questions, contexts, answers = zip(*(make_question(seed) for seed in range(texts)))
    windows = answerer.windows(list(questions), list(contexts), WINDOW)
    windows = {name: x.numpy() for name, x in windows.items()}
    targets = np.zeros((2, len(windows["token_ids"])), "int32")  # [CLS], where there is none
    is_context = (windows["segment_ids"] > 0) & (windows["word_ids"] >= 0)
    for row, text in enumerate(windows["text_index"]):
        if answers[text] is None:
            continue
        fits = windows["char_offsets"][row] == answers[text]  # [s, 2]
        starts, ends = (np.flatnonzero(is_context[row] & column) for column in fits.T)
        if len(starts) and len(ends):
            targets[:, row] = starts[0], ends[0]
    answerer.compile(keras.optimizers.Adam(3e-3))
    answerer.fit(
        _inputs(windows),
        dict(zip(("start_logits", "end_logits"), targets)),
        batch_size=32,
        epochs=epochs,
        verbose=0,
    )
    return answerer
