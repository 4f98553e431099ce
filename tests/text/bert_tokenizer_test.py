import json
import random

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

import keras_bert_lib as kbl

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

    from ai_edge_litert.interpreter import Interpreter

    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(tmp_path / "saved"), signature_keys=["bytes"]
    )
    runner = Interpreter(model_content=converter.convert()).get_signature_runner("bytes")
    for i, text in enumerate(texts):
        output = runner(text=bytes_of([text], 256))
        count = int(eager["padding_mask"][i].numpy().sum())
        for name, expected in eager.items():
            np.testing.assert_array_equal(output[name][0], expected[i, :count], f"{name} {text!r}")


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
    assert tokenizer([])["token_ids"].shape[0] == 0
    assert tokenizer(["film " * 100])["token_ids"].shape == (1, 16)


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
    ids = tokenizer.tokenize_ragged([case["text"] for case in golden["cases"]]).to_list()
    assert len(ids) == 1633
    for case, row in zip(golden["cases"], ids):
        assert row == case[name]["ids"], case["text"]


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
