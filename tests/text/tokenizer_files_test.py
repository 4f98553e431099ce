import itertools
import json
import os

import pytest
from tokenizers import BertWordPieceTokenizer, Tokenizer

import keras_bert_lib as kbl
from keras_bert_lib.text import tokenizer_files
from keras_bert_lib.text.tokenizer_files import SPECIAL_TOKENS, read_tokenizer, write_tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
VOCABULARY = [
    *SPECIAL_TOKENS,
    *LETTERS,
    *(f"##{c}" for c in LETTERS),
    *"-!.,#[]()/'東京é",
    *("the", "film", "covid", "##ing", "É", "##é", "C", "O", "##O", "ᄒ", "##ᅡ", "##ᆫ"),
    "[E1]",
]
ADDED = ["COVID-19", "film", "new york", "New York City", "東京", "C++", "##q", "é!", "covid"]
ARGUMENTS = {
    "vocabulary": VOCABULARY,
    "lowercase": True,
    "strip_accents": None,
    "split_on_cjk": True,
    "clean_text": True,
    "max_chars_per_word": 100,
    "special_tokens_in_text": True,
    "max_length": 512,
    "added_tokens": [],
    "additional_special_tokens": [],
}
MARKERS = ["[E1]", "[/E1]", "@é@e"]  # of which the vocabulary has one
TEXTS = [
    "",
    " ",
    "Covid-19 in New  York, new\tyork and NEW YORK CITY",
    "xcovid-19y COVID-19COVID-19 CO\u0301VID\u00ad-1\x009! covid - 19",
    "filming unfilmable film.films",
    "in東京 東 京, 東京京 c++ C++11 c+ +",
    "e\u0301! É! é ! b##q ##q",
    "[MASK] [mask]film[SEP]covid[CLS [PAD]][UNK]",
    "a" * 99 + " " + "a" * 101 + "film",
    "\u3000한 ﬁlm İ ΑΣ Σ\u2028x\ufffdy\u200bz",
    "[E1]COVID-19[/E1] x[E1]film@é@ed[e1] [E1 ] [[E1]] @e\u0301@e @é@é@e[MASK][/E1][E1]\u0301",
]


def arguments_with(**changes):
    return {**ARGUMENTS, **changes}


def name_of(arguments):
    """A short name for a test: what differs from the defaults."""
    changes = (k for k, v in arguments.items() if v != ARGUMENTS[k])
    return "-".join(f"{k}={arguments[k]}" if type(arguments[k]) is not list else k for k in changes)


OPTIONS = [
    arguments_with(
        lowercase=lowercase, strip_accents=strip_accents, split_on_cjk=split, added_tokens=added
    )
    for lowercase, strip_accents, split, added in itertools.product(
        (True, False), (None, True, False), (True, False), ([], ADDED)
    )
] + [
    arguments_with(clean_text=False, added_tokens=["COVID-19", "film", "東京"], max_length=77),
    arguments_with(max_chars_per_word=5, special_tokens_in_text=False),
    arguments_with(special_tokens_in_text=False, added_tokens=["mask", "a[", "[MASK]x"]),
    arguments_with(added_tokens=ADDED, additional_special_tokens=MARKERS),
    arguments_with(special_tokens_in_text=False, additional_special_tokens=MARKERS[:2]),
    arguments_with(vocabulary=[p for p in VOCABULARY if p != "[MASK]"], added_tokens=["[mask]"]),
]

SOME_OPTIONS = [
    arguments_with(added_tokens=ADDED),
    arguments_with(lowercase=False, strip_accents=True, split_on_cjk=False, added_tokens=ADDED),
    *OPTIONS[-6:-1],
]


def in_order_of_ids(arguments):
    """The added tokens that are pieces come first: ids are all that files keep of their order."""
    vocabulary = arguments["vocabulary"]
    pieces = sorted(set(arguments["added_tokens"]) & set(vocabulary), key=vocabulary.index)
    new = [token for token in arguments["added_tokens"] if token not in vocabulary]
    return {**arguments, "added_tokens": pieces + new}


def make_theirs(arguments):
    """The tokenizer of `tokenizers` with the same arguments."""
    theirs = BertWordPieceTokenizer(
        {piece: i for i, piece in enumerate(arguments["vocabulary"])},
        lowercase=arguments["lowercase"],
        strip_accents=arguments["strip_accents"],
        handle_chinese_chars=arguments["split_on_cjk"],
        clean_text=arguments["clean_text"],
    )._tokenizer
    theirs.model.max_input_chars_per_word = arguments["max_chars_per_word"]
    theirs.add_special_tokens(arguments["additional_special_tokens"])
    theirs.add_tokens(arguments["added_tokens"])
    theirs.encode_special_tokens = not arguments["special_tokens_in_text"]
    return theirs


def encode(tokenizer, texts=TEXTS, **kwargs):
    return [(row.ids, row.offsets) for row in tokenizer.encode_batch(texts, **kwargs)]


def encode_with_ours(tokenizer, texts=TEXTS, pairs=None):
    outputs = tokenizer(texts, pairs, padding="do_not_pad", return_offsets=True)
    offsets = [[tuple(x) for x in row] for row in outputs["char_offsets"].to_list()]
    return list(zip(outputs["token_ids"].to_list(), offsets))


def write(directory, **files):
    """Writes files, dicts as JSON; `vocab="..."` is vocab.txt, `config={}` config.json."""
    for name, content in files.items():
        path = directory / ("vocab.txt" if name == "vocab" else f"{name}.json")
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return directory


def tokenizer_json(**changes):
    """What `tokenizers` writes, as a dict."""
    return json.loads(make_theirs(arguments_with(**changes)).to_str())


def lines(vocabulary=VOCABULARY, end="\n"):
    return "".join(piece + end for piece in vocabulary)


@pytest.mark.parametrize("arguments", OPTIONS, ids=name_of)
def test_what_is_written_is_read(arguments, tmp_path):
    write_tokenizer(tmp_path / "new" / "folder", arguments)
    assert read_tokenizer(tmp_path / "new" / "folder") == in_order_of_ids(arguments)
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == [
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]


@pytest.mark.parametrize("arguments", OPTIONS, ids=name_of)
def test_tokenizers_reads_the_same_tokenizer(arguments, tmp_path):
    write_tokenizer(tmp_path, arguments)
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs.encode_special_tokens = not arguments["special_tokens_in_text"]  # not in that file
    expected = make_theirs(arguments)
    assert encode(theirs) == encode(expected)
    pairs = list(zip(TEXTS, reversed(TEXTS)))
    assert encode(theirs, pairs) == encode(expected, pairs)
    assert theirs.get_vocab() == expected.get_vocab()


def check_ours_is_written(arguments, directory):
    kbl.BertTokenizer(**arguments).save_pretrained(directory)
    ours = kbl.BertTokenizer.from_pretrained(directory)
    expected = {**ours.get_config(), **in_order_of_ids(arguments)}
    assert ours.get_config() == expected
    theirs = Tokenizer.from_file(str(directory / "tokenizer.json"))
    theirs.encode_special_tokens = not arguments["special_tokens_in_text"]
    theirs.enable_truncation(arguments["max_length"])
    pairs = list(zip(TEXTS, reversed(TEXTS)))
    assert encode_with_ours(ours) == encode(theirs)
    assert encode_with_ours(ours, TEXTS, TEXTS[::-1]) == encode(theirs, pairs)
    assert ours.vocabulary_size == theirs.get_vocab_size()
    assert {p: ours.token_to_id(p) for p in ours.vocabulary} == theirs.get_vocab()


@pytest.mark.parametrize("arguments", SOME_OPTIONS, ids=name_of)
def test_ours_is_the_tokenizer_that_is_written(arguments, tmp_path):
    check_ours_is_written(arguments, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", OPTIONS, ids=name_of)
def test_ours_is_the_tokenizer_that_is_written_with_any_options(arguments, tmp_path):
    check_ours_is_written(arguments, tmp_path)


@pytest.mark.parametrize("arguments", OPTIONS[:12], ids=name_of)
def test_what_tokenizers_writes_is_read(arguments, tmp_path):
    """A directory with a `tokenizer.json` and nothing else."""
    make_theirs(arguments).save(str(tmp_path / "tokenizer.json"))
    assert read_tokenizer(tmp_path) == in_order_of_ids(arguments)
    write(tmp_path, vocab="\ufeff" + lines(end="\r\n"))
    assert read_tokenizer(tmp_path) == in_order_of_ids(arguments)


def test_pieces_of_white_space(tmp_path):
    """Lines of vocab.txt that `tokenizers` trims, as in BERT's Chinese vocabulary."""
    vocabulary = [*VOCABULARY, "\u2028", "zz\u3000", "last"]
    path = write(tmp_path, vocab=lines(vocabulary)) / "vocab.txt"
    BertWordPieceTokenizer(str(path)).save(str(tmp_path / "tokenizer.json"))
    assert json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"][""] == 104
    assert read_tokenizer(tmp_path) == arguments_with(vocabulary=vocabulary)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_vocabulary_alone(start, end, tmp_path):
    write(tmp_path, vocab=start + lines(end=end))
    assert read_tokenizer(tmp_path) == ARGUMENTS


def test_configuration_wins_in_a_tokenizer_of_bert(tmp_path):
    """As in `AutoTokenizer`: the options of `tokenizer.json` count for other classes only."""
    write(tmp_path, tokenizer=tokenizer_json(lowercase=False, split_on_cjk=False))
    config = {"tokenizer_class": "BertTokenizerFast", "strip_accents": False, "max_len": 64}
    write(tmp_path, tokenizer_config=config)
    assert read_tokenizer(tmp_path) == arguments_with(strip_accents=False, max_length=64)
    for general in ("PreTrainedTokenizerFast", "TokenizersBackend", None):
        write(tmp_path, tokenizer_config={**config, "tokenizer_class": general})
        assert read_tokenizer(tmp_path) == arguments_with(
            lowercase=False, split_on_cjk=False, max_length=64
        )
    write(tmp_path, config={"model_type": "bert"})
    assert read_tokenizer(tmp_path) == arguments_with(strip_accents=False, max_length=64)
    write(tmp_path, config={"tokenizer_class": "PreTrainedTokenizerFast"})
    assert not read_tokenizer(tmp_path)["lowercase"]


@pytest.mark.parametrize(
    ("value", "expected"), [(128, 128), (1e30, 2**20), (int(1e30), 2**20), (None, 2**20)]
)
def test_max_length(value, expected, tmp_path):
    write(tmp_path, vocab=lines(), tokenizer_config={"model_max_length": value})
    assert read_tokenizer(tmp_path)["max_length"] == expected


def test_older_files(tmp_path):
    new = len(VOCABULARY)
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    write(
        tmp_path,
        vocab=lines(),
        tokenizer_config={"do_lower_case": False, "unk_token": {**plain, "content": "[UNK]"}},
        special_tokens_map={"mask_token": {**plain, "content": "[MASK]"}, "cls_token": "[CLS]"},
        added_tokens={"covid-20": new + 1, "covid-19": new, "[CLS]": 2, "film": 92},
    )
    added = ["film", "covid-19", "covid-20"]
    assert read_tokenizer(tmp_path) == arguments_with(lowercase=False, added_tokens=added)
    # tokenizer.json is newer than added_tokens.json, and a configuration with tokens than both.
    write(
        tmp_path,
        tokenizer=tokenizer_json(added_tokens=["corona"]),
        tokenizer_config={"tokenizer_class": "BertTokenizer"},
    )
    assert read_tokenizer(tmp_path)["added_tokens"] == ["film", "corona", "covid-20"]
    write(
        tmp_path,
        tokenizer_config={
            "tokenizer_class": "BertTokenizer",
            "added_tokens_decoder": {str(new): {**plain, "normalized": True, "content": "mine"}},
        },
        special_tokens_map={"mask_token": "<mask>"},  # not looked at, as in `transformers`
    )
    assert read_tokenizer(tmp_path)["added_tokens"] == ["mine"]
    # What is written over older files is what is read.
    write_tokenizer(tmp_path, ARGUMENTS)
    assert read_tokenizer(tmp_path) == ARGUMENTS


def test_post_processor_of_before_2021(tmp_path):
    file = tokenizer_json()
    file["post_processor"] = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    del file["model"]["type"]
    write(tmp_path, tokenizer=file)
    assert read_tokenizer(tmp_path) == ARGUMENTS


def test_special_tokens_that_are_characters(tmp_path):
    """A file whose added tokens are not there: "[MASK]" in a text is six characters."""
    file = tokenizer_json()
    file["added_tokens"] = []
    write(tmp_path, tokenizer=file)
    assert not read_tokenizer(tmp_path)["special_tokens_in_text"]
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("[MASK]").ids[1:2] == [
        VOCABULARY.index("[")
    ]
    write(tmp_path, tokenizer_config={"tokenizer_class": "BertTokenizer"})
    assert read_tokenizer(tmp_path)["special_tokens_in_text"]
    write(tmp_path, tokenizer_config={"split_special_tokens": True}, tokenizer=tokenizer_json())
    assert not read_tokenizer(tmp_path)["special_tokens_in_text"]


def test_a_failure_leaves_each_file_whole(tmp_path, monkeypatch):
    write_tokenizer(tmp_path, ARGUMENTS)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr(tokenizer_files.os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_tokenizer(tmp_path, arguments_with(lowercase=False))
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


def changed(*path, value):
    """A `tokenizer.json` with one field changed, or an entry of a list added."""
    file = tokenizer_json()
    section = file
    for key in path[:-1]:
        section = section[key]
    if isinstance(section, list) and path[-1] == len(section):
        section.append(value)
    else:
        section[path[-1]] = value
    return file


def added_token(**changes):
    new = {"id": len(VOCABULARY), "content": "x-1", "normalized": True, "special": False}
    return changed("added_tokens", 5, value={**new, **changes})


CONFIG = {"tokenizer_class": "BertTokenizer"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer": "{"}, "tokenizer.json is not JSON"),
        ({"tokenizer": "\ud800"}, "tokenizer.json is not JSON"),
        ({"tokenizer": "[]"}, "tokenizer.json must hold a JSON object. Received: a list"),
        ({"vocab": lines(), "tokenizer_config": "no"}, "tokenizer_config.json is not JSON"),
        ({"tokenizer": changed("model", "type", value="BPE")}, "`model.type`.*BPE"),
        ({"tokenizer": {"model": None}}, "`model.type`.*None"),
        ({"tokenizer": changed("model", "unk_token", value="<unk>")}, "`model.unk_token`.*<unk>"),
        (
            {"tokenizer": changed("model", "continuing_subword_prefix", value="@@")},
            "`model.continuing_subword_prefix`.*@@",
        ),
        ({"tokenizer": changed("model", "vocab", value=[])}, "`model.vocab`.*list"),
        ({"tokenizer": changed("model", "vocab", "film", value=200)}, "leaves out ids.*no id 92"),
        ({"tokenizer": changed("model", "vocab", "film", value=3)}, "an id twice.*no id 92"),
        ({"tokenizer": changed("model", "vocab", "[UNK2]", value=-1)}, "no id 1"),
        ({"tokenizer": changed("model", "vocab", "film", value="97")}, "`model.vocab`"),
        (
            {"tokenizer": tokenizer_json(), "vocab": lines([*VOCABULARY, "more"])},
            r"tokenizer.json, `model.vocab`.*vocab.txt.*\d+ and \d+ pieces",
        ),
        (
            {"tokenizer": tokenizer_json(), "vocab": lines().replace("film", "movie")},
            "tokenizer.json, `model.vocab`.*'film' and 'movie' for id 92",
        ),
        ({"tokenizer": changed("normalizer", value=None)}, "`normalizer.type`.*None"),
        ({"tokenizer": changed("normalizer", "type", value="NFC")}, "`normalizer.type`.*NFC"),
        ({"tokenizer": changed("normalizer", "lowercase", value=1)}, "`lowercase`.*bool.*1"),
        (
            {"tokenizer": changed("pre_tokenizer", "type", value="ByteLevel")},
            "`pre_tokenizer.type`.*ByteLevel",
        ),
        ({"tokenizer": changed("decoder", "type", value="BPEDecoder")}, "`decoder.type`"),
        ({"tokenizer": changed("decoder", "prefix", value="@@")}, "`decoder.prefix`"),
        ({"tokenizer": changed("post_processor", value=None)}, "`post_processor`.*None"),
        (
            {"tokenizer": changed("post_processor", value={"type": "ByteLevel"})},
            "`post_processor`.*ByteLevel",
        ),
        ({"tokenizer": changed("padding", value={"direction": "Left"})}, "`padding.direction`"),
        (
            {"tokenizer": changed("normalizer", "clean_text", value=False), "config": CONFIG},
            "`normalizer.clean_text`.*transformers 5.*False",
        ),
        (
            {
                "tokenizer": changed("model", "max_input_chars_per_word", value=50),
                "tokenizer_config": CONFIG,
            },
            "`model.max_input_chars_per_word`.*50",
        ),
        ({"tokenizer": added_token(id=9000)}, r"`added_tokens`.*'x-1' must be \d+.*9000"),
        ({"tokenizer": added_token(id="a")}, "`added_tokens`: ids must be"),
        ({"tokenizer": added_token(content="film")}, "'film' must be 92"),
        ({"tokenizer": added_token(content="")}, "`added_tokens`.*content"),
        ({"tokenizer": added_token(lstrip=True)}, "`lstrip` of 'x-1' must be false"),
        ({"tokenizer": added_token(rstrip=True)}, "`rstrip` of 'x-1' must be false"),
        ({"tokenizer": added_token(single_word=True)}, "`single_word` of 'x-1' must be false"),
        ({"tokenizer": added_token(normalized=False)}, "`normalized` of 'x-1' must be true"),
        ({"tokenizer": added_token(special=True)}, "`normalized` of 'x-1' must be false"),
        (
            {"tokenizer": added_token(special=True, normalized=False, content="xx")},
            "A special token must have three bytes at least. Received: 'xx'",
        ),
        (
            {"tokenizer": added_token(), "tokenizer_config": {"extra_special_tokens": ["[E2]"]}},
            r"`added_tokens`: special tokens must come before others that are new.*\[E2\]",
        ),
        (
            {"tokenizer": changed("added_tokens", 4, "lstrip", value=True)},
            r"`lstrip` of '\[MASK\]' must be false",
        ),
        ({"tokenizer": changed("added_tokens", 5, value=3)}, "`added_tokens`: ids must be"),
        (
            {"vocab": lines(VOCABULARY[:4] + ["x"]), "added_tokens": {"[MASK]": 5}},
            r"added_tokens.json.*special.*\[MASK\]",
        ),
        (
            {"vocab": lines(), "added_tokens": {"a-1": len(VOCABULARY), "a-2": 500}},
            "added_tokens.json.*'a-2' must be.*gaps.*500",
        ),
        ({"vocab": lines(), "added_tokens": {"a-1": 1.5}}, "added_tokens.json.*1.5"),
        (
            {"vocab": lines(), "tokenizer_config": {"added_tokens_decoder": []}},
            "`added_tokens_decoder`.*dict",
        ),
        (
            {
                "tokenizer": added_token(),
                "tokenizer_config": {
                    "added_tokens_decoder": {str(len(VOCABULARY)): {"content": "y-1"}}
                },
            },
            "tokenizer_config.json, `added_tokens_decoder`: id .* is another in tokenizer.json",
        ),
        ({"vocab": lines(), "tokenizer_config": {"mask_token": "<mask>"}}, "`mask_token`.*<mask>"),
        (
            {"vocab": lines(), "special_tokens_map": {"sep_token": "[CLS]"}},
            r"special_tokens_map.json, `sep_token`.*\[CLS\]",
        ),
        (
            {
                "vocab": lines(),
                "tokenizer_config": {"mask_token": {"content": "[MASK]", "lstrip": True}},
            },
            "`mask_token.lstrip`",
        ),
        (
            {"vocab": lines(), "special_tokens_map": {"additional_special_tokens": [1]}},
            r"`additional_special_tokens`: must be texts. Received: 1",
        ),
        (
            {
                "vocab": lines(),
                "special_tokens_map": {"additional_special_tokens": ["[E2]"]},
                "added_tokens": {"[E2]": len(VOCABULARY)},
            },
            r"'\[E2\]' is special in transformers 4, and not in 5. Save the tokenizer anew",
        ),
        ({"vocab": lines(), "tokenizer_config": {"bos_token": "<s>"}}, "`bos_token`.*<s>"),
        (
            {"vocab": lines(), "tokenizer_config": {"mask_token": None}},
            r"`special tokens`.*\['\[MASK\]'\]",
        ),
        (
            {"vocab": lines(), "tokenizer_config": {"tokenizer_class": "RobertaTokenizerFast"}},
            "`tokenizer_class`.*RobertaTokenizer",
        ),
        ({"vocab": lines(), "tokenizer_config": {"do_lower_case": "yes"}}, "`do_lower_case`.*yes"),
        ({"vocab": lines(), "tokenizer_config": {"strip_accents": 0}}, "`strip_accents`.*0"),
        ({"vocab": lines(), "tokenizer_config": {"padding_side": "left"}}, "`padding_side`"),
        ({"vocab": lines(), "tokenizer_config": {"model_max_length": "512"}}, "`model_max_length`"),
        ({"vocab": lines([*VOCABULARY, "film"])}, "vocab.txt.*'film' twice.*93 and 105"),
    ],
)
def test_errors(files, message, tmp_path):
    write(tmp_path, **files)
    with pytest.raises(ValueError, match=message) as error:
        read_tokenizer(tmp_path)
    assert "\n" not in str(error.value)


def test_no_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt"):
        read_tokenizer(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_tokenizer(tmp_path / "nowhere")


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
def test_published_vocabularies(shared_data, name, tmp_path):
    lowercase = not name.endswith("-cased")
    path = shared_data / "vocab" / name / "vocab.txt"
    BertWordPieceTokenizer(str(path), lowercase=lowercase).save(str(tmp_path / "tokenizer.json"))
    from_json = read_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(path.read_bytes())
    both = read_tokenizer(tmp_path)
    assert [p.rstrip() for p in both["vocabulary"]] == from_json["vocabulary"]
    assert {**from_json, "vocabulary": 0} == {**both, "vocabulary": 0}
    write_tokenizer(tmp_path / "written", both)
    assert read_tokenizer(tmp_path / "written") == both
    assert (tmp_path / "written" / "vocab.txt").read_bytes() == path.read_bytes()


def options_of(theirs):
    """The arguments with which BertTokenizer is this tokenizer of `transformers`."""
    file = json.loads(theirs.backend_tokenizer.to_str())
    ids = file["model"]["vocab"]
    normalizer, split = file["normalizer"], theirs.backend_tokenizer.encode_special_tokens
    tokens = [token for token in file["added_tokens"] if not token["special"]]
    special = [token["content"] for token in file["added_tokens"] if token["special"]]
    return {
        "vocabulary": sorted(ids, key=ids.get),
        "lowercase": normalizer["lowercase"],
        "strip_accents": normalizer["strip_accents"],
        "split_on_cjk": normalizer["handle_chinese_chars"],
        "clean_text": normalizer["clean_text"],
        "max_chars_per_word": file["model"]["max_input_chars_per_word"],
        "special_tokens_in_text": len(tokens) < len(file["added_tokens"]) and not split,
        "added_tokens": [token["content"] for token in tokens],
        "additional_special_tokens": [x for x in special if x not in SPECIAL_TOKENS],
    }


DIRECTORIES = [
    {"vocab": lines(), "tokenizer_config": CONFIG},
    {"vocab": lines(), "config": {"model_type": "bert"}},
    {"tokenizer": tokenizer_json(lowercase=False, added_tokens=ADDED)},
    {"tokenizer": tokenizer_json(lowercase=False), "tokenizer_config": {}},
    {"tokenizer": tokenizer_json(lowercase=False), "config": {"model_type": "bert"}},
    {"tokenizer": tokenizer_json(clean_text=False, max_chars_per_word=7)},
    {
        "tokenizer": tokenizer_json(split_on_cjk=False, added_tokens=ADDED),
        "tokenizer_config": {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False},
        "config": {"model_type": "bert"},
        "vocab": lines(),
    },
    {
        "tokenizer": tokenizer_json(split_on_cjk=False, added_tokens=ADDED),
        "tokenizer_config": {
            **CONFIG,
            "do_lower_case": False,
            "strip_accents": True,
            "split_special_tokens": True,
            "model_max_length": 99,
        },
    },
    *(
        {
            "tokenizer": tokenizer_json(lowercase=False),
            "tokenizer_config": {"tokenizer_class": name},
        }
        for name in (
            "BertTokenizerFast",
            "DistilBertTokenizerFast",
            "ElectraTokenizer",
            "MobileBertTokenizerFast",
            "SqueezeBertTokenizer",
            "PreTrainedTokenizerFast",
            "TokenizersBackend",
            "PythonBackend",
        )
    ),
    {"vocab": lines(), "tokenizer_config": CONFIG, "added_tokens": {"b": 6, "x1": 104, "x2": 105}},
    {
        "tokenizer": tokenizer_json(added_tokens=["mine"]),
        "tokenizer_config": CONFIG,
        "added_tokens": {"older": 104, "oldest": 105},
    },
    {
        "tokenizer": tokenizer_json(added_tokens=["mine"]),
        "tokenizer_config": {
            **CONFIG,
            "added_tokens_decoder": {"104": {"content": "other", "special": False}},
        },
        "special_tokens_map": {"mask_token": "<mask>"},
    },
    {"vocab": lines(), "tokenizer_config": {**CONFIG, "extra_special_tokens": ["[E1]", "[E2]"]}},
    {"vocab": lines(), "tokenizer_config": {**CONFIG, "additional_special_tokens": ["[E1]"]}},
    {"vocab": lines(), "tokenizer_config": {**CONFIG, "extra_special_tokens": {"e": "[E1]"}}},
    {
        "vocab": lines(),
        "tokenizer_config": CONFIG,
        "special_tokens_map": {"additional_special_tokens": ["[E2]", "[E1]"]},
        "added_tokens": {"film": VOCABULARY.index("film")},
    },
    {"tokenizer": tokenizer_json(additional_special_tokens=MARKERS, added_tokens=["mine"])},
    {
        "tokenizer": tokenizer_json(additional_special_tokens=MARKERS),
        "tokenizer_config": {**CONFIG, "extra_special_tokens": MARKERS},
    },
    {
        "vocab": lines(),
        "tokenizer_config": {**CONFIG, "do_lower_case": False, "model_max_length": None},
        "special_tokens_map": {
            "do_lower_case": True,
            "mask_token": {"content": "[MASK]", "lstrip": False, "normalized": False},
        },
    },
]


@pytest.mark.parity
@pytest.mark.parametrize("files", DIRECTORIES)
def test_same_files_win_as_in_transformers(files, tmp_path):
    transformers = pytest.importorskip("transformers", minversion="5")
    write(tmp_path, **files)
    ours = read_tokenizer(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    max_length = ours.pop("max_length")
    assert ours == options_of(theirs)
    limit = "model_max_length" in files.get("tokenizer_config", {})
    assert max_length == (min(theirs.model_max_length, 2**20) if limit else 512)


def encode_with_transformers(tokenizer, **kwargs):
    outputs = tokenizer(TEXTS, return_offsets_mapping=True, **kwargs)
    return list(zip(outputs["input_ids"], outputs["offset_mapping"]))


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("arguments", OPTIONS, ids=name_of)
@pytest.mark.parametrize("with_model", [False, True])
def test_transformers_makes_the_same_tokenizer(arguments, with_model, tmp_path):
    transformers = pytest.importorskip("transformers", minversion="5")
    if with_model:
        write(tmp_path, config={"model_type": "bert"})
    write_tokenizer(tmp_path, arguments)
    expected = make_theirs(arguments)
    usual = arguments["clean_text"] and arguments["max_chars_per_word"] == 100
    for cls in (transformers.AutoTokenizer, transformers.BertTokenizerFast)[: 1 + usual]:
        theirs = cls.from_pretrained(tmp_path)
        assert theirs.model_max_length == arguments["max_length"]
        assert theirs.pad_token_id == 0
        assert theirs.get_vocab() == expected.get_vocab()
        assert encode_with_transformers(theirs) == encode(expected)
        theirs.save_pretrained(tmp_path / "theirs")
        assert read_tokenizer(tmp_path / "theirs") == in_order_of_ids(arguments)


@pytest.mark.parity
@pytest.mark.parametrize("arguments", SOME_OPTIONS, ids=name_of)
def test_ours_is_the_tokenizer_of_transformers(arguments, tmp_path):
    transformers = pytest.importorskip("transformers", minversion="5")
    own = {"added_tokens": [], "additional_special_tokens": []}
    kbl.BertTokenizer(**arguments | own).save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    theirs.add_special_tokens({"extra_special_tokens": arguments["additional_special_tokens"]})
    theirs.add_tokens(arguments["added_tokens"])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = kbl.BertTokenizer.from_pretrained(tmp_path / "theirs")
    assert encode_with_ours(ours) == encode_with_transformers(theirs, truncation=True)
