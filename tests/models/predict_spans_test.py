"""`predict_text` of taggers and answerers: options, files, and bad input."""

import keras
import pytest

import keras_bert_lib as kbl

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ann", "bob", "sings", "who", "##ny", "."]


def make(model_class, positions=16, **arguments):
    config = kbl.BertConfig(
        vocab_size=len(PIECES),
        hidden_size=8,
        num_layers=1,
        num_heads=2,
        intermediate_size=8,
        max_position_embeddings=positions,
        initializer_range=0.5,
    )
    encoder = kbl.BertEncoder(config, use_pooler=False)
    return model_class(encoder, tokenizer=kbl.BertTokenizer(PIECES), **arguments)


def test_options_are_saved(tmp_path):
    answerer = make(
        kbl.BertQuestionAnswerer, max_answer_tokens=2, stride=3, may_have_no_answer=True
    )
    answerer.save_pretrained(tmp_path / "answerer")
    answerer.save(tmp_path / "answerer.keras")
    for loaded in (
        kbl.BertQuestionAnswerer.from_pretrained(tmp_path / "answerer"),
        keras.models.load_model(tmp_path / "answerer.keras"),
    ):
        assert (loaded.max_answer_tokens, loaded.stride, loaded.may_have_no_answer) == (2, 3, True)
        texts = ["Ann sings. Bob sings. " * 5, "Bob"]
        assert loaded.predict_text(["who"] * 2, texts) == answerer.predict_text(["who"] * 2, texts)
    other = kbl.BertQuestionAnswerer.from_pretrained(tmp_path / "answerer", stride=5)
    assert (other.max_answer_tokens, other.stride) == (2, 5)


def test_answers_have_so_many_pieces_at_most():
    context = "Ann sings Bob sings " * 8
    for most in (1, 2, 5):
        keras.utils.set_random_seed(3)
        answerer = make(kbl.BertQuestionAnswerer, max_answer_tokens=most)
        answer = answerer.predict_text(["who"], [context])[0]["answer"]
        assert 1 <= len(answer.split()) <= most


def test_neither_batches_nor_bytes_change_answers():
    tagger = make(kbl.BertTokenClassifier, labels=["O", "B-person", "I-person"])
    answerer = make(kbl.BertQuestionAnswerer)
    texts = ["Ann sings.", "", "Anny 😀 Bob. " * 9, "\udc80Bob", "Bob"]
    questions = ["who", "who sings", "", "who", "who"]
    entities, answers = tagger.predict_text(texts), answerer.predict_text(questions, texts)
    assert [len(x) > 0 for x in entities] == [True, False, True, True, True]
    for batch_size in (1, 2):
        again = tagger.predict_text(texts, batch_size=batch_size)
        for found, expected in zip(again, entities):
            assert [{**e, "score": 0} for e in found] == [{**e, "score": 0} for e in expected]
        again = answerer.predict_text(questions, texts, batch_size=batch_size)
        assert [x["answer"] for x in again] == [x["answer"] for x in answers]
    assert tagger.predict_text([b"Ann sings."])[0][0]["text"] == entities[0][0]["text"]
    cut = tagger.predict_text([b"Ann\xff Bob"])[0]
    assert all(e["text"] == "Ann\ufffd Bob"[e["start"] : e["end"]] for e in cut)


def test_entity_types():
    tagger = make(kbl.BertTokenClassifier, labels=["B-place", "O", "I-place", "B-name"])
    assert tagger.entity_types == ["place", "name"]


def test_bad_input():
    with pytest.raises(ValueError, match=r"`max_answer_tokens` must be a positive.*Received: .*=0"):
        make(kbl.BertQuestionAnswerer, max_answer_tokens=0)
    with pytest.raises(ValueError, match=r"`stride` must be an integer.*Received: stride=-1"):
        make(kbl.BertQuestionAnswerer, stride=-1)
    with pytest.raises(ValueError, match=r"`stride` must lie between 0 and 12.*Received: 13"):
        make(kbl.BertQuestionAnswerer, stride=13).predict_text(["who"], ["Ann"])
    answerer, tagger = make(kbl.BertQuestionAnswerer), make(kbl.BertTokenClassifier, num_classes=2)
    with pytest.raises(ValueError, match=r"`contexts` must be as long.*2 texts, 1 contexts"):
        answerer.predict_text(["who", "who"], ["Ann"])
    with pytest.raises(ValueError, match=r"`questions` must be a list.*Received: questions='who'"):
        answerer.predict_text("who", ["Ann"])
    with pytest.raises(ValueError, match=r"`texts` must hold strings only.*index 1: 5"):
        tagger.predict_text(["Ann", 5])
    for model, texts in ((answerer, (["who"], ["Ann"])), (tagger, (["Ann"],))):
        for length in (1, 17):
            with pytest.raises(ValueError, match=f"`max_length` must lie between.*{length}"):
                model.predict_text(*texts, max_length=length)
        model.tokenizer = None
        with pytest.raises(ValueError, match=r"`predict_text` needs a tokenizer"):
            model.predict_text(*texts)
