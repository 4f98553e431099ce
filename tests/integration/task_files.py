"""A small file of examples for each task, that a small model can learn, and such a model."""

import csv
import json
import random

import keras_bert_lib as kbl

PEOPLE, PLACES = ["anna", "bo", "carl", "dora"], ["oslo", "rome", "paris", "cairo"]
OTHER = ["the", "cat", "dog", "sat", "ran", "film", "was", "it", "and", "in"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "fine", "dull", "who", "where"]
PIECES += PEOPLE + PLACES + OTHER


def make_pretrained(directory):
    """Writes an encoder with random weights, and its tokenizer; returns the directory as str."""
    tokenizer = kbl.BertTokenizer(PIECES, max_length=32)
    config = kbl.BertConfig(
        vocab_size=len(PIECES),
        hidden_size=32,
        num_layers=1,
        num_heads=2,
        intermediate_size=48,
        max_position_embeddings=32,
        initializer_range=0.1,
    )
    kbl.BertEncoder(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)


def words_with(rng, *words):
    """Some words in any order, the given ones among them."""
    row = [*rng.choices(OTHER, k=rng.randint(3, 6)), *words]
    rng.shuffle(row)
    return row


def write_task(folder, task, count, seed=0):
    """Writes `count` examples of a task; returns the path as str.

    The tasks are "label", "multi_label", "regression", "tagger", "answerer", "choice", "embedder",
    "masked".
    """
    rng = random.Random(seed)
    rows = [_ROWS[task](rng) for _ in range(count)]
    path = folder / f"{task}-{seed}"
    if task == "tagger":
        path = path.with_suffix(".conll")
        sentences = ["".join(f"{word}\t{tag}\n" for word, tag in row) for row in rows]
        path.write_text("\n".join(sentences), "utf-8")
    elif task == "masked":
        path = path.with_suffix(".txt")
        path.write_text("\n".join(rows), "utf-8")
    elif task == "answerer":
        path = path.with_suffix(".json")
        paragraphs = [
            {"context": context, "qas": [{"id": f"{seed}-{i}", **question}]}
            for i, (context, question) in enumerate(rows)
        ]
        squad = {"version": "2.0", "data": [{"title": "all", "paragraphs": paragraphs}]}
        path.write_text(json.dumps(squad), "utf-8")
    elif task == "choice":
        path = path.with_suffix(".jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        path = path.with_suffix(".csv")
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["anchor", "positive"] if task == "embedder" else ["text", "label"])
            writer.writerows(rows)
    return str(path)


def _label(rng):
    label = rng.choice(["fine", "dull", "dull"])
    return " ".join(words_with(rng, label)), {"fine": "pos", "dull": "neg"}[label]


def _multi_label(rng):
    kinds = rng.sample([("person", PEOPLE), ("place", PLACES)], rng.randint(0, 2))
    text = " ".join(words_with(rng, *(rng.choice(names) for _, names in kinds)))
    return text, "|".join(kind for kind, _ in kinds)


def _regression(rng):
    fine = rng.randint(0, 3)
    return " ".join(words_with(rng, *["fine"] * fine, *["dull"] * (3 - fine))), fine / 4


def _tagger(rng):
    words = words_with(rng, rng.choice(PEOPLE), rng.choice(PLACES))
    tags = {**dict.fromkeys(PEOPLE, "B-person"), **dict.fromkeys(PLACES, "B-place")}
    return [(word, tags.get(word, "O")) for word in words]


def _answerer(rng):
    answer = {"who": rng.choice(PEOPLE), "where": rng.choice(PLACES)}
    word = rng.choice(["who", "where"])
    if rng.random() < 0.2:
        del answer[word]
    context = " ".join(words_with(rng, *answer.values()))
    text = answer.get(word)
    answers = [{"text": text, "answer_start": context.index(text)}] if text else []
    return context, {"question": f"{word}?", "answers": answers, "is_impossible": not answers}


def _choice(rng):
    word, right, others = rng.choice([("who", PEOPLE, PLACES), ("where", PLACES, PEOPLE)])
    label = rng.randrange(3)
    choices = rng.sample(others, 2)
    choices.insert(label, rng.choice(right))
    return {"text": f"{word}?", "choices": choices, "label": label}


def _embedder(rng):
    name = rng.choice(PEOPLE + PLACES)
    return " ".join(words_with(rng, name)), " ".join(words_with(rng, name))


def _masked(rng):
    name = rng.choice(PEOPLE + PLACES)
    # Who is somewhere, and where is someone: the first word tells what kind the last one is of.
    return " ".join(["who" if name in PEOPLE else "where", "was", "it", "?", name])


_ROWS = {
    "label": _label,
    "multi_label": _multi_label,
    "regression": _regression,
    "tagger": _tagger,
    "answerer": _answerer,
    "choice": _choice,
    "embedder": _embedder,
    "masked": _masked,
}
