import json
import random

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from absl.testing import parameterized
from ai_edge_litert.interpreter import Interpreter
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

import keras_bert_lib as kbl
from keras_bert_lib.text.packing import truncate_pair

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
VOCABULARY = [
    *SPECIALS,
    *"!\"#'(),-.:;?[]_`~¿。、،",
    *LETTERS,
    *(f"##{c}" for c in LETTERS),
    *("the", "film", "##ing", "un", "##aff", "##able", "cafe", "caf", "strasse", "##ss", "##σ"),
    *("Café", "É", "##é", "é", "ß", "##ß", "σ", "ς", "i̇", "##n't", "##"),
    *("東", "京", "タ", "##ワ", "##ー", "한", "ᄒ", "##ᅡ", "##ᆫ", "й", "##и", "है", "ह", "##ी"),
    *("😀", "##😀", "a" * 17, "##" + "b" * 13),
]
HOSTILE = [
    "",
    " ",
    " \t\r\n\u00a0\u2028\u3000",
    "😀😀 😀",
    "a" * 10_000,
    "ab" * 50,  # a word of 100 characters, and one of 101
    "ab" * 50 + "a",
    "a\x00b\ufffdc\u200bd\u00ade",
    "Café crème. STRASSE straße Straẞe",
    "ΣΑΣ İI ıi ﬁne ǅ",
    "한국어 한 東京タワー 東a京",
    "e\u0301\u0327\u0301 \u0301 a\u0301\u0301\u0301b",
    "हिन्दी ही है",
    "[MASK] [mask]x[SEP]y[CLS [PAD]][UNK][[MASK]",
    "\u202eright to left\u202c \u200f",
    "don't (stop)... ?! ~`_-",
]
INVALID = [
    b"\xff",
    b"a\xc3",
    b"\xc3(b",
    b"\xe2\x82a",
    b"\xed\xa0\x80a",  # a surrogate
    b"\xc0\xaf\xe0\x80\xafx",  # overlong
    b"\xf4\x90\x80\x80y",  # past U+10FFFF
    b"\xf0\x9f\x98a\xf0\x9f\x98\x80",
    b"th\x80e fi\xbflm",
]


@pytest.fixture(scope="module")
def vocabulary_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    kbl.text.save_vocabulary(VOCABULARY, path)
    return str(path)


def make_pair(path, lowercase=True, strip_accents=None, split_on_cjk=True):
    """Ours and Hugging Face's tokenizer of one vocabulary."""
    ours = kbl.BertTokenizer(
        path, lowercase=lowercase, strip_accents=strip_accents, split_on_cjk=split_on_cjk
    )
    theirs = BertWordPieceTokenizer(
        path,
        lowercase=lowercase,
        strip_accents=lowercase if strip_accents is None else strip_accents,
        handle_chinese_chars=split_on_cjk,
    )
    return ours, theirs


def ids_of(theirs, texts):
    return [row.ids for row in theirs.encode_batch(texts, add_special_tokens=False)]


@pytest.mark.parametrize("split_on_cjk", [True, False])
@pytest.mark.parametrize("strip_accents", [None, True, False])
@pytest.mark.parametrize("lowercase", [True, False])
def test_hostile_texts_equal_huggingface(vocabulary_file, lowercase, strip_accents, split_on_cjk):
    ours, theirs = make_pair(vocabulary_file, lowercase, strip_accents, split_on_cjk)
    assert ours.tokenize_ragged(HOSTILE).to_list() == ids_of(theirs, HOSTILE)


def test_invalid_utf8_is_what_python_replaces(vocabulary_file):
    ours, theirs = make_pair(vocabulary_file)
    replaced = [text.decode("utf-8", errors="replace") for text in INVALID]
    assert ours.tokenize_ragged(INVALID).to_list() == ids_of(theirs, replaced)


# Property tests, a hundred texts an example: a call costs more than a text.
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
likely_text = st.text(
    st.sampled_from("aabbcéÉe\u0301ßΣσİı \t.'[]-東京한타ワ\u200d\u200f😀\u00ad")
    | st.sampled_from(LETTERS),
    max_size=60,
)


@hypothesis.given(texts=st.lists(any_text | likely_text, min_size=1, max_size=100))
@hypothesis.settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("lowercase", [True, False])
def test_any_text_equals_huggingface(tokenizer_pairs, lowercase, texts):
    ours, theirs = tokenizer_pairs[lowercase]
    assert ours.tokenize_ragged(texts).to_list() == ids_of(theirs, texts)


@hypothesis.given(texts=st.lists(st.binary(max_size=60), min_size=1, max_size=100))
@hypothesis.settings(deadline=None, max_examples=60)
def test_any_bytes_equal_huggingface(tokenizer_pairs, texts):
    ours, theirs = tokenizer_pairs[True]
    replaced = [text.decode("utf-8", errors="replace") for text in texts]
    assert ours.tokenize_ragged(texts).to_list() == ids_of(theirs, replaced)


@hypothesis.given(
    pairs=st.lists(st.tuples(likely_text, likely_text), min_size=1, max_size=20),
    max_length=st.integers(5, 40),
)
@hypothesis.settings(deadline=None, max_examples=60)
def test_packing_equals_huggingface(tokenizer_pairs, pairs, max_length):
    ours, theirs = tokenizer_pairs[True]
    theirs.enable_truncation(max_length, strategy="longest_first")
    theirs.enable_padding()
    for encoded, inputs in (
        (theirs.encode_batch(pairs), [list(column) for column in zip(*pairs)]),
        (theirs.encode_batch([first for first, _ in pairs]), [[first for first, _ in pairs]]),
    ):
        outputs = ours(*inputs, max_length=max_length)
        np.testing.assert_array_equal(outputs["token_ids"], [row.ids for row in encoded])
        np.testing.assert_array_equal(outputs["segment_ids"], [row.type_ids for row in encoded])
        mask = [row.attention_mask for row in encoded]
        np.testing.assert_array_equal(outputs["padding_mask"], mask)
    theirs.no_truncation()
    theirs.no_padding()


@pytest.mark.parametrize("truncation", ["only_first", "only_second"])
def test_truncating_one_text_equals_huggingface(tokenizer_pairs, truncation):
    ours, theirs = tokenizer_pairs[True]
    first = ["the film " * n for n in (1, 3, 9, 4)]
    second = ["cafe unaffable " * n for n in (1, 2, 1, 3)]
    for max_length in (20, 22, 40):
        theirs.enable_truncation(max_length, strategy=truncation)
        outputs = ours(
            first, second, max_length=max_length, truncation=truncation, padding="do_not_pad"
        )
        found = outputs["token_ids"].to_list()
        compared = 0
        theirs.no_truncation()
        sizes = [[len(row) for row in ids_of(theirs, texts)] for texts in (first, second)]
        theirs.enable_truncation(max_length, strategy=truncation)
        for row, *pair, first_size, second_size in zip(found, first, second, *sizes):
            assert len(row) <= max_length
            excess = first_size + second_size + 3 - max_length
            if excess >= (first_size if truncation == "only_first" else second_size):
                with pytest.raises(Exception, match="too short"):
                    theirs.encode(*pair)
            else:
                assert row == theirs.encode(*pair).ids
                compared += 1
        assert compared >= 2
    theirs.no_truncation()
    # Where the other text alone is too long, it is cut, too.
    outputs = ours(["the " * 9], ["film " * 9], max_length=8, truncation=truncation)
    kept = (0, 5) if truncation == "only_first" else (5, 0)
    segments = outputs["segment_ids"][0].numpy().tolist()
    assert (segments.count(0) - 2, segments.count(1) - 1) == kept


@hypothesis.given(
    lengths=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=50),
    budget=st.integers(2, 40),
)
@hypothesis.settings(deadline=None)
def test_round_robin_takes_a_piece_of_each_in_turn(lengths, budget):
    expected = []
    for first, second in lengths:
        taken = [0, 0]
        while sum(taken) < min(budget, first + second):
            for text, length in enumerate((first, second)):
                if taken[text] < length and sum(taken) < budget:
                    taken[text] += 1
        expected.append(taken)
    columns = [np.array(column, np.int32) for column in zip(*lengths)]
    found = truncate_pair(*columns, budget, "round_robin")
    assert np.stack(found, axis=1).tolist() == expected


@pytest.mark.parametrize(("max_length", "head", "tail"), [(512, 128, 382), (20, 5, 13), (3, 0, 1)])
def test_head_and_tail(tokenizer_pairs, max_length, head, tail):
    tokenizer = tokenizer_pairs[True][0]
    words = ["the", "film", "cafe"]
    texts = [" ".join(words[i * i % 3] for i in range(n)) for n in (600, 21, 2, 0)]
    whole = tokenizer.tokenize_ragged(texts).to_list()
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    expected = [
        ids if len(ids) <= max_length - 2 else ids[:head] + ids[len(ids) - tail :] for ids in whole
    ]
    options = {"max_length": max_length, "padding": "do_not_pad", "return_offsets": True}
    data = np.zeros([4, 4000], np.int32)  # as TFLite clients send texts
    for row, text in zip(data, texts):
        row[: len(text)] = list(text.encode())
    for given in (texts, data):
        outputs = tokenizer(given, truncation="head_and_tail", return_truncated=True, **options)
        assert outputs["token_ids"].to_list() == [[cls, *ids, sep] for ids in expected]
        assert outputs["truncated"].numpy().tolist() == [
            int(len(ids) > max_length - 2) for ids in whole
        ]
        last = outputs["char_offsets"].to_list()[0][-2]
        assert last == [len(texts[0]) - len(texts[0].split()[-1]), len(texts[0])]


def test_head_and_tail_of_pairs(tokenizer_pairs):
    tokenizer = tokenizer_pairs[True][0]
    first, second = "the film cafe the film cafe the film cafe the", "the film cafe"
    a, b = tokenizer.tokenize_ragged([first, second]).to_list()
    for max_length in range(5, 18):
        options = {"max_length": max_length, "padding": "do_not_pad"}
        plain = tokenizer([first], [second], **options)["segment_ids"].to_list()[0]
        outputs = tokenizer([first], [second], truncation="head_and_tail", **options)
        kept = [plain.count(0) - 2, plain.count(1) - 1]
        expected = []
        for ids, count in zip((a, b), kept):
            head = (count + 2) // 4 if count < len(ids) else count
            expected.append(ids[:head] + ids[len(ids) - (count - head) :])
        cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        assert outputs["token_ids"].to_list() == [[cls, *expected[0], sep, *expected[1], sep]]
        assert outputs["segment_ids"].to_list() == [plain]


@pytest.mark.parametrize(
    ("pairs", "truncation"),
    [(False, "longest_first"), (True, "only_first"), (True, "only_second")],
)
def test_windows_equal_huggingface(tokenizer_pairs, pairs, truncation):
    ours, theirs = tokenizer_pairs[True]
    r = random.Random(0)
    texts = ["".join(r.choices("the film. Café 京 ", k=k)) for k in (0, 5, 40, 90, 200, 44)]
    others = ["the film", "", "cafe", "the", "the film cafe", "a"]
    columns = [texts] if not pairs else [texts, others]
    if truncation == "only_second":
        columns = columns[::-1]
    for max_length, stride in ((20, 0), (24, 5), (30, 12), (300, 7)):
        theirs.enable_truncation(max_length, stride=stride, strategy=truncation)
        expected = []
        for i, row in enumerate(zip(*columns)):
            encoding = theirs.encode(*row)
            expected += [(i, e) for e in (encoding, *encoding.overflowing)]
        outputs = ours(
            *columns,
            max_length=max_length,
            truncation=truncation,
            stride=stride,
            padding="do_not_pad",
            return_offsets=True,
            return_word_ids=True,
        )
        assert outputs["text_index"].numpy().tolist() == [i for i, _ in expected]
        rows = [outputs[name].to_list() for name in ("token_ids", "segment_ids")]
        assert rows == [[e.ids for _, e in expected], [e.type_ids for _, e in expected]]
        word_ids = [[-1 if w is None else w for w in e.word_ids] for _, e in expected]
        assert outputs["word_ids"].to_list() == word_ids
        offsets = [[list(pair) for pair in e.offsets] for _, e in expected]
        assert outputs["char_offsets"].to_list() == offsets
    theirs.no_truncation()


def test_a_fixed_text_leaves_room_for_windows(vocabulary_file):
    tokenizer = kbl.BertTokenizer(vocabulary_file)
    outputs = tokenizer(
        ["the " * 30],
        ["a b c d e"],
        max_length=10,
        truncation="only_second",
        stride=2,
        return_truncated=True,
    )
    # Seven pieces go into a row; the first text leaves three of them to the windows.
    assert outputs["padding_mask"].numpy().sum(axis=1).tolist() == [10, 10, 10]
    assert outputs["segment_ids"].numpy().sum(axis=1).tolist() == [4, 4, 4]
    assert outputs["text_index"].numpy().tolist() == [0, 0, 0]
    assert outputs["truncated"].numpy().tolist() == [1, 1, 1]


@pytest.mark.parametrize("max_chars_per_word", [1, 3, 100])
@pytest.mark.parametrize("clean_text", [True, False])
@pytest.mark.parametrize("lowercase", [True, False])
def test_other_rules_equal_huggingface(lowercase, clean_text, max_chars_per_word):
    ours = kbl.BertTokenizer(
        [*VOCABULARY, "##\x01", "\ufffd", "##\ufffd", "\u200b", "##\u200b"],
        lowercase=lowercase,
        clean_text=clean_text,
        max_chars_per_word=max_chars_per_word,
    )
    theirs = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(
            {token: i for i, token in enumerate(ours.vocabulary)},
            unk_token="[UNK]",
            max_input_chars_per_word=max_chars_per_word,
        )
    )
    theirs.normalizer = tokenizers.normalizers.BertNormalizer(
        clean_text=clean_text, lowercase=lowercase
    )
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    theirs.add_special_tokens(SPECIALS)
    kept = [*HOSTILE, "a\x01b\x0bc\x85d", "\x00", *(t.decode(errors="replace") for t in INVALID)]
    outputs = ours(kept, padding="do_not_pad", max_length=20_000, return_offsets=True)
    assert ours.tokenize_ragged(kept).to_list() == ids_of(theirs, kept)
    for ids, offsets, expected in zip(
        outputs["token_ids"].to_list(),
        outputs["char_offsets"].to_list(),
        theirs.encode_batch(kept, add_special_tokens=False),
    ):
        assert ids[1:-1] == expected.ids
        assert [tuple(pair) for pair in offsets[1:-1]] == expected.offsets
    # Bytes that are not UTF-8 are what Python makes of them, and pad as NUL in rows of bytes.
    from_bytes = ours(INVALID, return_offsets=True)
    decoded = ours([text.decode(errors="replace") for text in INVALID], return_offsets=True)
    rows = ours(bytes_of(INVALID, 24), return_offsets=True)
    for name in ("token_ids", "char_offsets"):
        np.testing.assert_array_equal(from_bytes[name], decoded[name])
        np.testing.assert_array_equal(rows[name], decoded[name])
    np.testing.assert_array_equal(rows["byte_offsets"], from_bytes["byte_offsets"])


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Re\u0301ne\u0301\u0327. e\u0301", ["Re\u0301ne\u0301\u0327", ".", "e\u0301"]),
        ("❤\ufe0f \u0301a\u200d b\u00ad", ["❤\ufe0f", "a\u200d", "b"]),
        ("हिन्दी ที่", ["हिन्दी", "ที่"]),
        ("a\x00\ufffd c\u0300", ["a", "c\u0300"]),
        ("\u0301", []),
    ],
)
def test_offsets_can_take_in_the_marks_that_follow(text, cut):
    tokenizer = kbl.BertTokenizer([*SPECIALS, "a", "b", "c", "e", "."])
    options = {"return_offsets": True, "offsets_with_marks": True, "return_word_ids": True}
    for given in ([text], bytes_of([text.encode()], 40)):
        outputs = tokenizer(given, **options)
        starts, ends = outputs["char_offsets"].numpy()[0, 1:-1].T
        assert [text[start:end] for start, end in zip(starts, ends)] == cut
        starts, ends = outputs["byte_offsets"].numpy()[0, 1:-1].T
        assert [text.encode()[start:end].decode() for start, end in zip(starts, ends)] == cut


@hypothesis.given(texts=st.lists(likely_text | any_text, min_size=1, max_size=50))
@hypothesis.settings(deadline=None, max_examples=30)
def test_what_offsets_cut_out_is_the_piece(tokenizer_pairs, texts):
    ours, theirs = tokenizer_pairs[True]
    outputs = ours(texts, return_offsets=True, padding="do_not_pad", max_length=1000)
    rows = (outputs[name].to_list() for name in ("token_ids", "char_offsets", "byte_offsets"))
    for text, ids, chars, in_bytes in zip(texts, *rows):
        for i in range(1, len(ids) - 1):
            (start, end), (first, last) = chars[i], in_bytes[i]
            assert text[start:end] == text.encode()[first:last].decode()
            piece = ours.id_to_token(ids[i])
            if piece in SPECIALS:
                assert text[start:end] == piece or piece == "[UNK]"
                continue
            # Spaces are put around ideographs.
            normalized = theirs.normalizer.normalize_str(text[start:end]).strip()
            piece = piece[2:] if piece.startswith("##") and len(piece) > 2 else piece
            # A character that becomes several may be shared with the piece before or after.
            if chars[i - 1][1] > start or (i + 2 < len(ids) and chars[i + 1][0] < end):
                assert piece in normalized
            else:
                assert piece == normalized


@pytest.fixture(scope="module")
def tokenizer_pairs(vocabulary_file):
    return {lowercase: make_pair(vocabulary_file, lowercase) for lowercase in (True, False)}


def bytes_of(texts, size):
    rows = np.zeros([len(texts), size], np.int32)
    for row, text in zip(rows, texts):
        data = text if isinstance(text, bytes) else text.encode()
        row[: len(data)] = np.frombuffer(data, np.uint8)
    return rows


def test_same_ids_everywhere(vocabulary_file, tmp_path):
    """Eager, `tf.data`, byte rows, SavedModel, XLA and TFLite."""
    tokenizer = kbl.BertTokenizer(vocabulary_file)
    texts = [text for text in HOSTILE + INVALID if len(text) < 200]
    eager = tokenizer(texts, max_length=64)

    data = tf.data.Dataset.from_tensor_slices(
        [t if isinstance(t, bytes) else t.encode() for t in texts]
    )
    batched = next(iter(data.batch(len(texts)).map(lambda t: tokenizer(t, max_length=64))))
    from_bytes = tokenizer(bytes_of(texts, 256), max_length=64)
    signed = tokenizer(bytes_of(texts, 256).astype(np.uint8).astype(np.int8), max_length=64)
    compiled = tf.function(
        lambda x: tokenizer(x, max_length=64, padding="max_length"), jit_compile=True
    )(tf.constant(bytes_of(texts, 256)))
    compiled = {name: x[:, : eager["token_ids"].shape[1]] for name, x in compiled.items()}

    module = tf.Module()
    module.of_text = tf.function(
        lambda text: tokenizer(text, max_length=64),
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    module.of_bytes = tf.function(
        lambda text: tokenizer(text, max_length=64),
        input_signature=[tf.TensorSpec([1, 256], tf.int32, name="text")],
    )
    signatures = {"serving_default": module.of_text, "bytes": module.of_bytes}
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=signatures)
    loaded = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    reloaded = loaded(text=tf.constant([t if isinstance(t, bytes) else t.encode() for t in texts]))
    for other in (batched, from_bytes, signed, compiled, reloaded):
        for name, expected in eager.items():
            np.testing.assert_array_equal(other[name], expected, name)

    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(tmp_path / "saved"), signature_keys=["bytes"]
    )
    runner = Interpreter(model_content=converter.convert()).get_signature_runner("bytes")
    for i, text in enumerate(texts):
        output = runner(text=bytes_of([text], 256))
        count = int(eager["padding_mask"][i].numpy().sum())
        for name, expected in eager.items():
            np.testing.assert_array_equal(output[name][0], expected[i, :count], f"{name} {text!r}")


EXTRAS = {"return_offsets": True, "return_word_ids": True, "return_truncated": True}


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 40, "padding": "max_length", **EXTRAS},
        {"max_length": 24, "padding": "longest", "stride": 5, "pad_to_multiple_of": 8, **EXTRAS},
    ],
)
def test_everything_works_everywhere(vocabulary_file, tmp_path, options):
    """What the tokenizer can tell besides ids, of pairs, with added and special tokens."""
    tokenizer = kbl.BertTokenizer(
        vocabulary_file,
        added_tokens=["film club", "東京", "a.b"],
        additional_special_tokens=["[E1]", "<Ü>"],
    )
    first = [text for text in HOSTILE + INVALID if len(text) < 200]
    second = [*first[5:], *first[:5]]
    first[0] = b"the Film\tclub's a.b.a.b xa.b \xe6\x9d\xb1\xe4\xba\xactower"
    first[1] = b"[E1]film[E1][e1]club <\xc3\x9c>s<\xc3\xbc> \xe6[E1\xc3<\xc3\x9c>"
    markers = [tokenizer.token_to_id(token) for token in ("[E1]", "<Ü>")]
    assert tokenizer.vocabulary[-5:-3] == ["[E1]", "<Ü>"]
    assert [i for i in tokenizer(first[1])["token_ids"] if i in markers] == [
        *[markers[0]] * 2,
        *[markers[1]] * 2,
    ]
    options = {"truncation": "only_second", **options}
    eager = tokenizer(first, second, **options)
    columns = [bytes_of(texts, 512) for texts in (first, second)]
    others = [tokenizer(*columns, **options)]
    if "stride" not in options:  # the number of rows depends on values, which XLA forbids
        compiled = tf.function(lambda *x: tokenizer(*x, **options), jit_compile=True)
        others.append(compiled(*map(tf.constant, columns)))

    module = tf.Module()
    signature = [tf.TensorSpec([None], tf.string, name=n) for n in ("text", "text_pair")]
    module.of_text = tf.function(lambda a, b: tokenizer(a, b, **options), signature)
    signature = [tf.TensorSpec([1, 512], tf.int32, name=n) for n in ("text", "text_pair")]
    module.of_bytes = tf.function(lambda a, b: tokenizer(a, b, **options), signature)
    signatures = {"serving_default": module.of_text, "bytes": module.of_bytes}
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=signatures)
    loaded = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    strings = [[t if isinstance(t, bytes) else t.encode() for t in x] for x in (first, second)]
    others.append(loaded(text=tf.constant(strings[0]), text_pair=tf.constant(strings[1])))
    for other in others:
        assert set(other) == set(eager)
        for name, expected in eager.items():
            np.testing.assert_array_equal(other[name], expected, name)

    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(tmp_path / "saved"), signature_keys=["bytes"]
    )
    interpreter = Interpreter(model_content=converter.convert())
    runner = interpreter.get_signature_runner("bytes")
    for row in range(len(first)):
        expected = tokenizer(first[row : row + 1], second[row : row + 1], **options)
        found = runner(text=columns[0][row : row + 1], text_pair=columns[1][row : row + 1])
        for name, x in expected.items():
            np.testing.assert_array_equal(found[name], x, f"{name} {first[row]!r}")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("bert-base-uncased", 1.0e6),
        pytest.param("bert-base-multilingual-cased", 4.0e6, marks=pytest.mark.slow),
    ],
)
def test_tables_are_small_and_stored_once(shared_data, tmp_path, name, most):
    tokenizer = kbl.BertTokenizer(
        shared_data / "vocab" / name / "vocab.txt", lowercase="uncased" in name
    )
    module = tf.Module()
    sizes = []
    for signatures in (["128"], ["128", "256", "512"]):
        for size in signatures:
            spec = tf.TensorSpec([1, int(size)], tf.int32, name="text")
            setattr(module, f"of_{size}", tf.function(lambda text: tokenizer(text), [spec]))
        saved = {size: getattr(module, f"of_{size}") for size in signatures}
        tf.saved_model.save(module, str(tmp_path / "saved"), signatures=saved)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(tmp_path / "saved"), signature_keys=signatures
        )
        sizes.append(len(converter.convert()))
    assert sizes[0] < most
    assert sizes[1] < sizes[0] + 0.2e6  # graphs, no tables


@pytest.mark.parity
@pytest.mark.parametrize("special_tokens_in_text", [True, False])
@pytest.mark.parametrize("lowercase", [True, False])
def test_tf_text_gives_the_same_ids(vocabulary_file, lowercase, special_tokens_in_text):
    pytest.importorskip("tensorflow_text")
    tokenizer = kbl.BertTokenizer(
        vocabulary_file, lowercase=lowercase, special_tokens_in_text=special_tokens_in_text
    )
    r = random.Random(0)
    texts = HOSTILE + INVALID + [chr(i) + "film" + chr(i) for i in range(256)]
    texts += ["".join(r.choices("the film's\tUNaffable[MASK] é", k=60)) for _ in range(500)]
    expected = tokenizer.tokenize_ragged(texts).to_list()
    assert tokenizer.tokenize_ragged(texts, use_tf_text=True).to_list() == expected
    batches = tf.data.Dataset.from_tensor_slices(texts[-500:]).batch(100)
    batches = batches.map(lambda x: tokenizer(x, use_tf_text=True)["token_ids"])
    found = np.concatenate([row[row > 0] for batch in batches for row in batch.numpy()])
    outputs = tokenizer(texts[-500:])["token_ids"].numpy()
    np.testing.assert_array_equal(found, outputs[outputs > 0])


def test_ascii_by_hand():
    tokenizer = kbl.BertTokenizer([*SPECIALS, "un", "##aff", "##able", "!", "hello"])
    assert tokenizer.tokenize("Hello UNAFFABLE! xyz") == [
        "hello",
        "un",
        "##aff",
        "##able",
        "!",
        "[UNK]",
    ]
    outputs = tokenizer(["hello!", "hello unaffable"], ["unaffable", "!"])
    assert outputs["token_ids"].numpy().tolist() == [
        [2, 9, 8, 3, 5, 6, 7, 3],
        [2, 9, 5, 6, 7, 3, 8, 3],
    ]
    assert outputs["segment_ids"].numpy().tolist() == [[0, 0, 0, 0, 1, 1, 1, 1], [0] * 6 + [1, 1]]


def test_padding_single_text_and_empty_batch(vocabulary_file):
    tokenizer = kbl.BertTokenizer(vocabulary_file, max_length=16)
    outputs = tokenizer(["the film", ""])
    assert outputs["padding_mask"].numpy().tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert tokenizer(["the film"], padding="max_length")["token_ids"].shape == (1, 16)
    single = tokenizer("the film")["token_ids"]
    assert single.shape == (4,)
    np.testing.assert_array_equal(single, outputs["token_ids"][0])
    nothing = tokenizer([], return_offsets=True, return_word_ids=True, return_truncated=True)
    assert {name: x.shape[0] for name, x in nothing.items()} == dict.fromkeys(nothing, 0)
    assert len(nothing) == 7
    assert tokenizer([])["token_ids"].shape[0] == 0
    assert tokenizer([], stride=3)["text_index"].shape == (0,)
    assert tokenizer(["film " * 100])["token_ids"].shape == (1, 16)


def test_padding(vocabulary_file):
    tokenizer = kbl.BertTokenizer(vocabulary_file, max_length=16)
    texts = ["the film", ""]
    shapes = {
        (): 4,
        (("pad_to_multiple_of", 8),): 8,
        (("padding", "max_length"),): 16,
        (("padding", "max_length"), ("pad_to_multiple_of", 24)): 24,
    }
    ragged = tokenizer(texts, padding="do_not_pad", return_offsets=True)
    assert ragged["token_ids"].to_list() == [[2, *tokenizer(texts)["token_ids"][0][1:3], 3], [2, 3]]
    assert ragged["byte_offsets"].to_list()[1] == [[0, 0], [0, 0]]
    for options, columns in shapes.items():
        outputs = tokenizer(texts, **dict(options))
        assert outputs["token_ids"].shape == (2, columns)
        assert outputs["padding_mask"].numpy().sum(axis=1).tolist() == [4, 2]
        assert not outputs["token_ids"][1, 2:].numpy().any()


def test_added_tokens(vocabulary_file):
    """`tokenizer_files_test.py` compares them with Hugging Face."""
    tokenizer = kbl.BertTokenizer(vocabulary_file)
    before = tokenizer.vocabulary_size
    assert tokenizer.add_tokens(["COVID-19", "film", "COVID-19"]) == 2
    assert tokenizer.add_tokens(["film"]) == 0
    assert tokenizer.vocabulary_size == before + 1
    assert tokenizer.vocabulary[-1] == tokenizer.id_to_token(before) == "COVID-19"
    pieces = tokenizer.tokenize("xCovid-19y films")
    assert pieces == ["x", "COVID-19", "y", "film", "s"]
    assert (
        tokenizer.decode(tokenizer("the covid-19 film")["token_ids"], True) == "the COVID-19 film"
    )
    copy = kbl.BertTokenizer.from_config(tokenizer.get_config())
    assert copy.tokenize("xCovid-19y films") == pieces


def test_special_tokens_in_text(vocabulary_file):
    trusted = kbl.BertTokenizer(vocabulary_file)
    untrusted = kbl.BertTokenizer(vocabulary_file, special_tokens_in_text=False)
    assert trusted.tokenize("the[MASK]film [mask]")[:3] == ["the", "[MASK]", "film"]
    pieces = untrusted.tokenize("the [MASK]")
    assert pieces == ["the", "[", "m", "##a", "##s", "##k", "]"]
    assert not set(untrusted.special_token_ids[2:]) & set(
        untrusted.tokenize_ragged(["[CLS][SEP][MASK]"]).to_list()[0]
    )


def test_one_megabyte(vocabulary_file):
    tokenizer = kbl.BertTokenizer(vocabulary_file)
    text = "the café films 😀 " * 50_000
    ids = tokenizer([text], max_length=128)["token_ids"][0].numpy()
    once = tokenizer.tokenize_ragged(["the café films 😀 "]).to_list()[0]
    assert ids[1:-1].tolist() == (once * 50)[:126]
    # A megabyte without a space is one word, hence one [UNK].
    assert tokenizer.tokenize("x" * 1_000_000) == ["[UNK]"]


def test_round_trips(vocabulary_file, tmp_path):
    tokenizer = kbl.BertTokenizer(
        vocabulary_file, lowercase=False, split_on_cjk=False, max_length=99
    )
    texts = ["Café 東京", "the FILM [MASK]"]
    expected = tokenizer(texts)["token_ids"]
    tokenizer.save_pretrained(tmp_path / "saved")
    for other in (
        kbl.BertTokenizer.from_config(tokenizer.get_config()),
        kbl.BertTokenizer.from_pretrained(tmp_path / "saved"),
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(tokenizer)),
    ):
        np.testing.assert_array_equal(other(texts)["token_ids"], expected)
        assert {**other.get_config(), "name": ""} == {**tokenizer.get_config(), "name": ""}


def test_functional_model(vocabulary_file, tmp_path):
    tokenizer = kbl.BertTokenizer(vocabulary_file)
    text = keras.Input([], dtype="string")
    model = keras.Model(text, tokenizer(text)["token_ids"])
    texts = tf.constant(["the café", "film"])
    np.testing.assert_array_equal(model(texts), tokenizer(texts)["token_ids"])
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(reloaded(texts), tokenizer(texts)["token_ids"])


def test_decode_and_lookup(vocabulary_file):
    tokenizer = kbl.BertTokenizer(vocabulary_file)
    ids = tokenizer(["The film's cafés, ok?"])["token_ids"][0]
    assert tokenizer.decode(ids) == "[CLS] the film's cafes, ok? [SEP]"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "the film's cafes, ok?"
    assert tokenizer.token_to_id("film") == VOCABULARY.index("film")
    assert tokenizer.token_to_id("nowhere") == tokenizer.unk_token_id
    assert tokenizer.id_to_token(4) == "[MASK]"
    assert tokenizer.vocabulary_size == len(VOCABULARY)


class ErrorsTest(parameterized.TestCase):
    @parameterized.parameters(
        (["[PAD]", "[CLS]", "[SEP]", "a"], r"\[UNK\]"),
        ([*SPECIALS, "a", "a"], "'a'"),
        ([], "empty"),
    )
    def test_vocabulary(self, vocabulary, message):
        with self.assertRaisesRegex(ValueError, message):
            kbl.BertTokenizer(vocabulary)

    def test_arguments(self):
        tokenizer = kbl.BertTokenizer([*SPECIALS, "a"])
        with self.assertRaisesRegex(ValueError, "at least 3.*Received: 2"):
            tokenizer(["a"], max_length=2)
        with self.assertRaisesRegex(ValueError, "at least 3.*Received: 0"):
            tokenizer(["a"], max_length=0)
        with self.assertRaisesRegex(ValueError, "at least 5.*Received: 4"):
            tokenizer(["a"], ["a"], max_length=4)
        with self.assertRaisesRegex(ValueError, "index 1: nan"):
            tokenizer(["a", float("nan")])
        with self.assertRaisesRegex(ValueError, "Received: 3"):
            tokenizer(3)
        with self.assertRaisesRegex(ValueError, "Received: 1 and 2"):
            tokenizer(["a"], ["a", "a"])
        with self.assertRaisesRegex(ValueError, "Received: 6"):
            tokenizer.id_to_token(6)

    @parameterized.parameters(
        ({"truncation": "longest"}, "`truncation` must be one of.*Received: 'longest'"),
        ({"padding": True}, "`padding` must be one of.*Received: True"),
        ({"pad_to_multiple_of": 0}, "at least 1. Received: 0"),
        ({"stride": 6, "max_length": 8}, "between 0 and 5.*Received: 6"),
        ({"stride": -1}, "between 0 and.*Received: -1"),
        ({"stride": 2, "text_pairs": ["a"]}, "only_first.*Received: 'longest_first'"),
    )
    def test_options(self, options, message):
        tokenizer = kbl.BertTokenizer([*SPECIALS, "a"])
        with self.assertRaisesRegex(ValueError, message):
            tokenizer(["a"], **options)

    @parameterized.parameters(
        ("film", "a list of str. Received: 'film'"),
        ([b"film"], "must be str. Received: b'film'"),
        (["[MASK]"], "special token"),
        ([" film"], "white space"),
        (["\u200b"], "text rules keep"),
        ([""], "text rules keep"),
        (["Film", "film"], "the same text, 'film'"),
    )
    def test_added_tokens(self, tokens, message):
        with self.assertRaisesRegex(ValueError, message):
            kbl.BertTokenizer([*SPECIALS, "a"], added_tokens=tokens)
        tokenizer = kbl.BertTokenizer([*SPECIALS, "a"])
        with self.assertRaisesRegex(ValueError, message):
            tokenizer.add_tokens(tokens)
        assert tokenizer.vocabulary_size == 6

    @parameterized.parameters(
        (["[A]", "[A]b"], r"may overlap.*Received: '\[A\]' and '\[A\]b'"),
        (["<ab", "ab>"], "may overlap"),
        (["[MASK]s"], "may overlap"),
        (["x-x"], "not end as it begins. Received: 'x-x'"),
        (["é"], "three bytes"),
        (["[A 1]"], "white space"),
        (["[A\n]"], "white space"),
        ([b"[A]"], "must be a str"),
    )
    def test_special_tokens(self, tokens, message):
        with self.assertRaisesRegex(ValueError, message):
            kbl.BertTokenizer([*SPECIALS, "a"], additional_special_tokens=tokens)

    def test_files(self):
        with self.assertRaisesRegex(FileNotFoundError, "nowhere"):
            kbl.BertTokenizer("nowhere/vocab.txt")


@pytest.mark.shared_data
def test_verified_cases(shared_data):
    cases = json.loads((shared_data / "tokenization/verified_cases.json").read_text("utf-8"))
    tokenizers = {}
    for case in cases:
        key = case["vocab"], case["lower"]
        if key not in tokenizers:
            path = shared_data / "vocab" / case["vocab"] / "vocab.txt"
            tokenizers[key] = kbl.BertTokenizer(path, lowercase=case["lower"])
        pair = None if case["text_pair"] is None else [case["text_pair"]]
        ids = tokenizers[key]([case["text"]], pair)["token_ids"][0].numpy().tolist()
        assert ids == case["ids"], case["text"]
        if case["decoded"] is not None:
            assert tokenizers[key].decode(ids) == case["decoded"]
    assert len(cases) == 205


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "name",
    [
        "bert-base-uncased",
        "bert-base-cased",
        "bert-base-chinese",
        "bert-base-multilingual-cased",
        "bert-base-multilingual-uncased",
    ],
)
def test_golden_strings(shared_data, name):
    golden = json.loads((shared_data / "tokenization/golden_hf_tokenizers.json").read_text("utf-8"))
    path = shared_data / "vocab" / name / "vocab.txt"
    tokenizer = kbl.BertTokenizer(path, lowercase=not name.endswith("-cased"))
    texts = [case["text"] for case in golden["cases"]]
    ids = tokenizer.tokenize_ragged(texts).to_list()
    outputs = tokenizer(texts, max_length=20_000, padding="do_not_pad", return_offsets=True)
    assert len(ids) == 1633
    columns = (ids, outputs["token_ids"].to_list(), outputs["char_offsets"].to_list())
    with_offsets = 0
    for case, row, special_row, offsets in zip(golden["cases"], *columns):
        assert row == special_row[1:-1] == case[name]["ids"], case["text"]
        if "offsets" in case[name]:
            assert offsets[1:-1] == case[name]["offsets"], case["text"]
            with_offsets += 1
    assert with_offsets == 515


@pytest.mark.shared_data
def test_real_lines(shared_data):
    """20,000 lines each of SST-2 and of novels."""
    lines = (shared_data / "glue/SST-2/train.tsv").read_text("utf-8").split("\n")[1:20_001]
    sentences = [line.split("\t")[0] for line in lines]
    novels = "".join(
        p.read_text("utf-8") for p in sorted((shared_data / "gutenberg").glob("*.txt"))
    )
    lines = random.Random(0).sample([line for line in novels.split("\n") if line], 20_000)
    path = str(shared_data / "vocab/bert-base-uncased/vocab.txt")
    ours, theirs = make_pair(path)
    for texts in (sentences, lines):
        assert len(texts) == 20_000
        assert ours.tokenize_ragged(texts).to_list() == ids_of(theirs, texts)


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "lowercase"), [("bert-base-uncased", True), ("bert-base-cased", False)]
)
def test_every_code_point(shared_data, name, lowercase):
    """Alone, and between letters."""
    ours, theirs = make_pair(str(shared_data / "vocab" / name / "vocab.txt"), lowercase)
    characters = [chr(cp) for cp in range(0x110000) if not 0xD800 <= cp <= 0xDFFF]
    for start in range(0, len(characters), 20_000):
        alone = characters[start : start + 20_000]
        for texts in (alone, [f"ab{c}cd" for c in alone]):
            assert ours.tokenize_ragged(texts).to_list() == ids_of(theirs, texts)


@pytest.mark.parity
def test_transformers_reads_what_we_write(vocabulary_file, tmp_path):
    import transformers

    ours = kbl.BertTokenizer(vocabulary_file, lowercase=False)
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [text for text in HOSTILE if len(text) < 200]
    assert (
        theirs(texts, add_special_tokens=False)["input_ids"]
        == ours.tokenize_ragged(texts).to_list()
    )
