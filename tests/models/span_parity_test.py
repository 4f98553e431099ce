"""Live comparison of entities and answers with the pipelines of `transformers`."""

import random

import keras
import numpy as np
import pytest

import keras_bert_lib as kbl

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["the", "tea", "is", "ann", "##na", "##ing", "oslo", "paris", "caf", "who", "went"]
SINGLES = ".,!?'-()東京北"
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *(*LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS, *SINGLES),
]
# Without letters in two code points: words that end in one end after the accent here.
TEXT_WORDS = ["the", "Tea", "is", "Anna", "drinking", "Oslo.", "Paris", "café", "naïve", "who?"]
TEXT_WORDS += ["went", "東京", "北", "😀", "x-ray", "(O'Neil)", "Ωmega", "ﬁne", "ǅ", "¿", "Åsa's"]
LABELS = ["O", "B-person", "I-person", "B-geo-loc", "I-geo-loc"]


def make_text(rng, most=20):
    words = rng.choices(TEXT_WORDS, k=rng.randint(0, most))
    return "".join(word + rng.choice([" ", " ", "  ", "\n", "\u00a0"]) for word in words)


def make_model(model_class, positions, **arguments):
    keras.utils.set_random_seed(1)
    config = kbl.BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_layers=2,
        num_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
        initializer_range=0.3,
    )
    tokenizer = kbl.BertTokenizer(VOCABULARY, max_length=positions)
    encoder = kbl.BertEncoder(config, use_pooler=False)
    return model_class(encoder, tokenizer=tokenizer, **arguments)


@pytest.mark.parametrize("labels", [LABELS, ["person", "O", "place"]], ids=["bio", "plain"])
def test_entities_are_those_of_the_pipeline(tmp_path, labels):
    tagger = make_model(kbl.BertTokenClassifier, 128, labels=labels)
    tagger.save_pretrained(tmp_path)
    pipeline = transformers.pipeline(
        "token-classification", str(tmp_path), aggregation_strategy="first"
    )
    rng = random.Random(0)
    texts = [text for text in (make_text(rng) for _ in range(60)) if text.strip()]
    count = 0
    for text, found in zip(texts, tagger.predict_text(texts)):
        expected = pipeline(text)
        assert [(e["start"], e["end"], e["label"]) for e in found] == [
            (e["start"], e["end"], e["entity_group"]) for e in expected
        ]
        np.testing.assert_allclose(
            [e["score"] for e in found], [e["score"] for e in expected], atol=2e-5
        )
        assert all(e["text"] == text[e["start"] : e["end"]] for e in found)
        count += len(found)
    assert count > len(texts)


@pytest.mark.parametrize("may_have_no_answer", [False, True])
@pytest.mark.parametrize("positions", [200, 40], ids=["one window", "windows"])
def test_answers_are_those_of_the_pipeline(tmp_path, positions, may_have_no_answer):
    """Version 5 has no pipeline for questions any more, but still its decoding."""
    decoding = pytest.importorskip("transformers.pipelines.document_question_answering")
    answerer = make_model(
        kbl.BertQuestionAnswerer, positions, stride=12, max_answer_tokens=9,
        may_have_no_answer=may_have_no_answer,
    )  # fmt: skip
    # So that [CLS] wins here and there.
    answerer.qa_outputs.kernel.assign(answerer.qa_outputs.kernel * -2)
    answerer.save_pretrained(tmp_path)
    assert kbl.BertQuestionAnswerer.from_pretrained(tmp_path).stride == 12
    model = transformers.BertForQuestionAnswering.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    rng = random.Random(1)
    rows = [(make_text(rng, 4), make_text(rng, 30)) for _ in range(60)]
    rows = [row for row in rows if row[1].strip()]
    without = windows = 0
    for row, found in zip(rows, answerer.predict_text(*zip(*rows))):
        encoded = tokenizer(
            *row, truncation="only_second", max_length=positions, stride=12,
            return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        no_answer, best = 1e6, (0.0, 0, 0)
        for window in encoded.encodings:
            with torch.no_grad():
                logits = model(
                    torch.tensor([window.ids]), token_type_ids=torch.tensor([window.type_ids])
                )
            outside = [[x != 1 for x in window.sequence_ids]]
            outside[0][0] = False  # [CLS]
            starts, ends, scores, no_answer = decoding.select_starts_ends(
                logits.start_logits.numpy(), logits.end_logits.numpy(), outside, None, no_answer,
                handle_impossible_answer=may_have_no_answer, max_answer_len=9,
            )  # fmt: skip
            if len(scores) and scores[0] > best[0]:
                first, last = (window.token_to_word(int(x[0])) for x in (starts, ends))
                place = (window.word_to_chars(word, 1)[k] for k, word in enumerate((first, last)))
                best = (float(scores[0]), *place)
        if may_have_no_answer and no_answer > best[0]:
            best = (no_answer, 0, 0)
        assert (found["start"], found["end"]) == best[1:]
        assert found["score"] == pytest.approx(best[0], rel=1e-3)
        without += found["end"] == 0
        windows += len(encoded.encodings) - 1
    assert (without > 5) == may_have_no_answer
    assert (windows > 30) == (positions == 40)
