"""Tokenizers as files, in Hugging Face's layout.

`vocab.txt` holds the pieces, `tokenizer_config.json` the options, and `tokenizer.json` both and the
added tokens. Where they differ, what `transformers.AutoTokenizer` does (5.23) is done here:

- Which class it makes is said by `tokenizer_class`, in `tokenizer_config.json` or `config.json`, or
  else by the model type there. One of BERT's takes its options from `tokenizer_config.json`, the
  default where one is not there, and never from `tokenizer.json`. A class for any tokenizer
  (`PreTrainedTokenizerFast`), or none at all, takes them from `tokenizer.json`.
- Added tokens are those of `tokenizer_config.json` (`added_tokens_decoder`), or else those of
  `tokenizer.json` and of the older `added_tokens.json`.
- Special are also the tokens that a configuration lists (`extra_special_tokens`, which were the
  `additional_special_tokens`), and the added tokens that say so.

What `BertTokenizer` cannot do is refused, and so is what versions 4 and 5 of `transformers` read
differently.
"""

import json
import os
from pathlib import Path

from keras_bert_lib.text.vocabulary import (
    REQUIRED_PIECES,
    load_vocabulary,
    save_vocabulary,
    validate_vocabulary,
)

SPECIAL_TOKENS = (*REQUIRED_PIECES, "[MASK]")

# Hugging Face writes an astronomic number for "no limit".
_NO_LIMIT = 2**20
_DEFAULT_MAX_LENGTH = 512

# What makes the same tokenizer as `BertTokenizer` in `transformers`, and what reads any file.
_BERT_CLASSES = (
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "SqueezeBertTokenizer",
)
_GENERAL_CLASSES = ("PreTrainedTokenizer", "PythonBackend", "TokenizersBackend")

_NAME_OF_TOKEN = {f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS}
_LISTS_OF_TOKENS = ("additional_special_tokens", "extra_special_tokens")


def read_tokenizer(directory):
    """Reads the files of a tokenizer.

    Args:
        directory: str or path-like, with `vocab.txt` or `tokenizer.json` or both, and, where they
            are there, `tokenizer_config.json`, `config.json`, and the older
            `special_tokens_map.json` and `added_tokens.json`.

    Returns:
        dict, the arguments of `BertTokenizer`: `vocabulary` (list of str), `lowercase`,
        `strip_accents`, `split_on_cjk`, `clean_text`, `max_chars_per_word`,
        `special_tokens_in_text`, `max_length`, `added_tokens` and `additional_special_tokens`
        (lists of str).

    Raises:
        FileNotFoundError: if there is neither `vocab.txt` nor `tokenizer.json`.
        ValueError: if a file is not what it should be, or describes another tokenizer than BERT's.
            The message names the file and the field.
    """
    directory = Path(directory)
    config_path, file_path = directory / "tokenizer_config.json", directory / "tokenizer.json"
    vocabulary_path = directory / "vocab.txt"
    config, model_config = _read_json(config_path), _read_json(directory / "config.json")
    listed = _read_special_tokens(config, config_path)
    if "added_tokens_decoder" not in config:
        path = directory / "special_tokens_map.json"
        special_tokens = _read_json(path)
        listed += _read_special_tokens(special_tokens, path)
        config = {**config, **special_tokens}

    file = _read_json(file_path)
    is_general = _is_general(config, config_path, model_config)
    by_file = is_general and bool(file)
    if file:
        vocabulary = _read_model(file, file_path)
        options = _read_options(file, file_path, by_file)
        if vocabulary_path.exists():
            vocabulary = _check_same(vocabulary, file_path, load_vocabulary(vocabulary_path))
        _check_post_processor(file.get("post_processor"), file_path, vocabulary)
    else:
        vocabulary = load_vocabulary(vocabulary_path)
    if not by_file:
        options = {
            "lowercase": _get(config, "do_lower_case", True, bool, config_path),
            "strip_accents": _get(config, "strip_accents", None, bool, config_path),
            "split_on_cjk": _get(config, "tokenize_chinese_chars", True, bool, config_path),
            "clean_text": True,
            "max_chars_per_word": 100,
        }
    for side in ("padding_side", "truncation_side"):
        if config.get(side, "right") != "right":
            _refuse(config_path, side, "only the right side is padded and cut", config[side])

    added, special, additional = _read_added_tokens(
        directory, config, file, vocabulary, by_file, listed
    )
    for name, token in _NAME_OF_TOKEN.items():
        if config.get(name, None if by_file else token) is not None:
            special.add(token)
    missing = [token for token in SPECIAL_TOKENS if token in vocabulary and token not in special]
    if missing and (special or additional):
        path = file_path if by_file else config_path
        _refuse(path, "special tokens", "all of them or none can stand in texts, not some", missing)
    split = _get(config, "split_special_tokens", False, bool, config_path)
    return {
        "vocabulary": vocabulary,
        **options,
        "special_tokens_in_text": not missing and not split,
        "max_length": _read_max_length(config, config_path),
        "added_tokens": added,
        "additional_special_tokens": additional,
    }


def write_tokenizer(directory, arguments):
    """Writes `vocab.txt`, `tokenizer_config.json` and `tokenizer.json`.

    Args:
        directory: str or path-like; made if it is not there.
        arguments: dict, as `read_tokenizer` returns it.

    Raises:
        ValueError: if the vocabulary cannot be written one piece a line.
    """
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )

    directory = Path(directory)
    vocabulary = list(arguments["vocabulary"])
    save_vocabulary(vocabulary, directory / "vocab.txt")

    ids = {piece: i for i, piece in enumerate(vocabulary)}
    special_tokens = [token for token in SPECIAL_TOKENS if token in ids]
    tokenizer = Tokenizer(
        models.WordPiece(
            ids,
            unk_token="[UNK]",
            max_input_chars_per_word=arguments["max_chars_per_word"],
        )
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=arguments["clean_text"],
        handle_chinese_chars=arguments["split_on_cjk"],
        strip_accents=arguments["strip_accents"],
        lowercase=arguments["lowercase"],
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    special_tokens += arguments["additional_special_tokens"]
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in special_tokens]
    )
    tokenizer.add_tokens(
        [AddedToken(token, normalized=True) for token in arguments["added_tokens"]]
    )
    file = json.loads(tokenizer.to_str())

    # Version 5 of `transformers` gives the classes of BERT no other values of these two.
    is_usual = arguments["clean_text"] and arguments["max_chars_per_word"] == 100
    config = {
        "tokenizer_class": "BertTokenizer" if is_usual else "PreTrainedTokenizerFast",
        "do_lower_case": arguments["lowercase"],
        "strip_accents": arguments["strip_accents"],
        "tokenize_chinese_chars": arguments["split_on_cjk"],
        "split_special_tokens": not arguments["special_tokens_in_text"],
        "model_max_length": arguments["max_length"],
        # A name that is not in the vocabulary would be added to it, hence None.
        **{name: token if token in ids else None for name, token in _NAME_OF_TOKEN.items()},
        # Of version 4; it is the `extra_special_tokens` of version 5, which reads it, too.
        "additional_special_tokens": list(arguments["additional_special_tokens"]),
        # Also in `tokenizer.json`; here it keeps older files that lie about from being read.
        "added_tokens_decoder": {
            str(token["id"]): {key: token[key] for key in token if key != "id"}
            for token in file["added_tokens"]
        },
    }
    _write_json(directory / "tokenizer.json", file)
    _write_json(directory / "tokenizer_config.json", config)


def check_special_tokens(tokens):
    """Raises unless the special tokens, besides BERT's, can be told apart in any text.

    No two of them may overlap: they are looked for all at once.

    Args:
        tokens: list of str.
    """
    known = []
    for token in (*SPECIAL_TOKENS, *tokens):
        if not isinstance(token, str) or not token.isprintable() or " " in token:
            raise ValueError(
                "A special token must be a str without white space and control characters. "
                f"Received: {token!r}"
            )
        if len(token.encode()) < 3:
            raise ValueError(f"A special token must have three bytes at least. Received: {token!r}")
        for other in known:
            if _overlap(token, other):
                raise ValueError(
                    "Special tokens that may overlap in a text cannot be told apart. "
                    f"Received: {other!r} and {token!r}"
                )
        if _ends_as(token, token):
            raise ValueError(f"A special token must not end as it begins. Received: {token!r}")
        known.append(token)


def _overlap(a, b):
    """Whether two tokens can share characters of a text."""
    return a in b or b in a or _ends_as(a, b) or _ends_as(b, a)


def _ends_as(a, b):
    """Whether `a` ends as `b` begins."""
    return any(a.endswith(b[:n]) for n in range(1, min(len(a), len(b))))


def _is_general(config, config_path, model_config):
    """Whether `transformers` makes a tokenizer of any kind here, and not one of BERT's."""
    name = config.get("tokenizer_class") or model_config.get("tokenizer_class")
    if name is None:
        return "model_type" not in model_config
    name = str(name).removesuffix("Fast")
    if name not in _BERT_CLASSES + _GENERAL_CLASSES:
        why = f"must be one of {', '.join(_BERT_CLASSES)} or PreTrainedTokenizerFast"
        _refuse(config_path, "tokenizer_class", why, name)
    return name in _GENERAL_CLASSES


def _read_model(file, path):
    """The pieces of a `tokenizer.json`, list of str."""
    model = file.get("model")
    if not isinstance(model, dict) or model.get("type", "WordPiece") != "WordPiece":
        received = model.get("type") if isinstance(model, dict) else model
        _refuse(path, "model.type", "must be WordPiece", received)
    for field, expected in (("unk_token", "[UNK]"), ("continuing_subword_prefix", "##")):
        if model.get(field) != expected:
            _refuse(path, f"model.{field}", f"must be {expected}", model.get(field))
    ids = model.get("vocab")
    if not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
        _refuse(path, "model.vocab", "must give each piece its id", type(ids).__name__)
    pieces = {i: piece for piece, i in ids.items()}
    for i in range(len(ids)):
        if i not in pieces:
            problem = "leaves out ids" if len(pieces) == len(ids) else "gives an id twice"
            received = f"no id {i} among {len(ids)} pieces"
            _refuse(path, "model.vocab", f"{problem}; they must run from 0, one a piece", received)
    vocabulary = [pieces[i] for i in range(len(ids))]
    validate_vocabulary(vocabulary, name=f"{path}, `model.vocab`,")
    return vocabulary


def _read_options(file, path, by_file):
    """The options of a `tokenizer.json`; checks what is always the same in BERT's."""
    for field, expected in (
        ("normalizer", "BertNormalizer"),
        ("pre_tokenizer", "BertPreTokenizer"),
        ("decoder", "WordPiece"),
    ):
        section = file.get(field)
        if not isinstance(section, dict) or section.get("type") != expected:
            received = section.get("type") if isinstance(section, dict) else section
            _refuse(path, f"{field}.type", f"must be {expected}", received)
    if file["decoder"].get("prefix") != "##":
        _refuse(path, "decoder.prefix", "must be ##", file["decoder"].get("prefix"))
    for field in ("truncation", "padding"):
        direction = (file.get(field) or {}).get("direction", "Right")
        if direction != "Right":
            _refuse(path, f"{field}.direction", "only the right side is padded and cut", direction)
    normalizer = file["normalizer"]
    options = {
        "lowercase": _get(normalizer, "lowercase", True, bool, path),
        "strip_accents": _get(normalizer, "strip_accents", None, bool, path),
        "split_on_cjk": _get(normalizer, "handle_chinese_chars", True, bool, path),
        "clean_text": _get(normalizer, "clean_text", True, bool, path),
        "max_chars_per_word": _get(file["model"], "max_input_chars_per_word", 100, int, path),
    }
    for field, found, usual in (
        ("normalizer.clean_text", options["clean_text"], True),
        ("model.max_input_chars_per_word", options["max_chars_per_word"], 100),
    ):
        if found != usual and not by_file:
            why = (
                f"a tokenizer of a BERT class has {usual} in transformers 5, and what stands here "
                f"in 4. Put {usual} here, or let `tokenizer_class` in tokenizer_config.json be "
                "PreTrainedTokenizerFast, which takes what stands here"
            )
            _refuse(path, field, why, found)
    return options


def _check_post_processor(section, path, vocabulary):
    """Checks that a `tokenizer.json` puts [CLS] and [SEP] where BERT does."""
    section = section if isinstance(section, dict) else {"type": section}
    ids = {token: vocabulary.index(token) for token in ("[CLS]", "[SEP]")}
    if section.get("type") == "BertProcessing":  # of before 2021
        is_right = [section.get("cls"), section.get("sep")] == [list(x) for x in ids.items()]
    else:
        text, sep = [{"Sequence": {"id": "A", "type_id": 0}}], {"id": "[SEP]", "type_id": 0}
        single = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, *text, {"SpecialToken": sep}]
        pair = [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {**sep, "type_id": 1}}]
        tokens = section.get("special_tokens") or {}
        is_right = [section.get("single"), section.get("pair")] == [single, single + pair] and all(
            (tokens.get(t) or {}).get("ids") == [i] for t, i in ids.items()
        )
    if not is_right:
        why = f"must make [CLS] text [SEP] and [CLS] text [SEP] text [SEP] with the ids {ids}"
        _refuse(path, "post_processor", why, section)


def _check_same(vocabulary, path, listed):
    """Returns the pieces of `vocab.txt`, if they are those of `tokenizer.json`."""
    if len(vocabulary) != len(listed):
        received = f"{len(vocabulary)} and {len(listed)} pieces"
        _refuse(
            path, "model.vocab", "is not the vocab.txt beside it; delete the wrong one", received
        )
    for i, (piece, line) in enumerate(zip(vocabulary, listed)):
        # Some programs trim the lines of vocab.txt. No text holds a piece that ends in white space.
        if piece.rstrip() != line.rstrip():
            received = f"{piece!r} and {line!r} for id {i}"
            _refuse(
                path,
                "model.vocab",
                "is not the vocab.txt beside it; delete the wrong one",
                received,
            )
    return listed


def _read_special_tokens(config, path):
    """Checks that the special tokens of a configuration are plain; returns those beside BERT's."""
    additional = []
    for field, value in config.items():
        is_list = field in _LISTS_OF_TOKENS
        if is_list:
            values = list((value.values() if isinstance(value, dict) else value) or [])
        elif field.endswith("_token") and isinstance(value, (str, dict)):
            values = [value]
        else:
            continue
        for token in values:
            flags = token if isinstance(token, dict) else {"content": token}
            content = flags.get("content")
            if is_list and content not in SPECIAL_TOKENS:
                if not isinstance(content, str) or not content:
                    _refuse(path, field, "must be texts", token)
                additional.append(content)
            elif content != _NAME_OF_TOKEN.get(field, content) or content not in SPECIAL_TOKENS:
                why = f"the special tokens must be {', '.join(SPECIAL_TOKENS)}, or stand in a list"
                _refuse(path, field, f"{why}, `extra_special_tokens`", content)
            for flag in ("single_word", "lstrip", "rstrip", "normalized"):
                if flags.get(flag, False):
                    _refuse(path, f"{field}.{flag}", "must be false", True)
    return additional


def _read_added_tokens(directory, config, file, vocabulary, by_file, listed):
    """Reads what is never split.

    Returns:
        The added tokens, list of str; BERT's special tokens that are listed with them, set of str;
        and the other special tokens, list of str: those of `listed`, and those that say so.
    """
    path, field, tokens = directory / "tokenizer.json", "added_tokens", {}
    for token in file.get(field) or []:
        token_id = token.get("id") if isinstance(token, dict) else None
        tokens[_to_id(token_id, path, field)] = token
    if "added_tokens_decoder" in config:
        of_file, path, field = tokens, directory / "tokenizer_config.json", "added_tokens_decoder"
        of_config = _get(config, field, {}, dict, path)
        tokens = {_to_id(i, path, field): token for i, token in of_config.items()}
        if by_file:  # a general class takes both
            tokens = {**of_file, **tokens}
            for i, token in of_file.items():
                if _content(token) != _content(tokens[i]):
                    _refuse(path, field, f"id {i} is another in tokenizer.json", tokens[i])
    else:
        older_path = directory / "added_tokens.json"
        path, field = (path, field) if file else (older_path, "ids")
        for content, token_id in _read_json(older_path).items():
            tokens.setdefault(_to_id(token_id, older_path, content), {"content": content})

    ids = {piece: i for i, piece in enumerate(vocabulary)}
    added, special, additional = [], set(), []
    for token_id, token in sorted(tokens.items()):
        content = _content(token)
        if content is None:
            _refuse(path, field, "each must have its text in `content`", token)
        is_bert = content in SPECIAL_TOKENS
        if is_bert and content not in ids:
            _refuse(path, field, "a special token must be a piece of the vocabulary", content)
        is_new = content not in ids
        if token_id != ids.setdefault(content, len(ids)):
            why = f"the id of {content!r} must be {ids[content]}, its own in the vocabulary or the "
            _refuse(path, field, why + "next after it, without gaps", token_id)
        is_special = is_bert or content in listed or token.get("special") is True
        if content in listed and "special" not in token:
            why = f"{content!r} is special in transformers 4, and not in 5. Save the tokenizer anew"
            _refuse(path, field, why, token_id)
        plain = {"single_word": False, "lstrip": False, "rstrip": False}
        for flag, value in {**plain, "normalized": not is_special, "special": is_special}.items():
            if token.get(flag, value) != value:
                why = f"`{flag}` of {content!r} must be {str(value).lower()}"
                _refuse(path, field, why, token[flag])
        if is_bert:
            special.add(content)
        elif not is_special:
            added.append(content)
        elif is_new and any(ids[other] >= len(vocabulary) for other in added):
            _refuse(path, field, "special tokens must come before others that are new", content)
        else:
            additional.append(content)
    for content in listed:
        if content not in ids and any(ids[other] >= len(vocabulary) for other in added):
            _refuse(path, field, "special tokens must come before others that are new", content)
        ids.setdefault(content, len(ids))
    additional = sorted({*additional, *listed}, key=ids.get)
    try:
        check_special_tokens(additional)
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from None
    return added, special, additional


def _read_max_length(config, path):
    field = "model_max_length" if "model_max_length" in config else "max_len"
    max_length = config.get(field, _DEFAULT_MAX_LENGTH)
    if max_length is None:
        return _NO_LIMIT
    if type(max_length) not in (int, float):
        _refuse(path, field, "must be a number of tokens", max_length)
    return int(min(max_length, _NO_LIMIT))


def _to_id(value, path, field):
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, str) and value.isdecimal():  # keys of JSON
        return int(value)
    return _refuse(path, field, "ids must be whole numbers from 0", value)


def _content(token):
    content = token.get("content") if isinstance(token, dict) else None
    return content if isinstance(content, str) and content else None


def _get(config, field, default, kind, path):
    """A field that must be of one type, or absent. None is allowed where it is the default."""
    value = config.get(field, default)
    if type(value) is not kind and not (value is None and default is None):
        _refuse(path, field, f"must be a {kind.__name__}", value)
    return value


def _read_json(path):
    """The object in a JSON file; an empty one if there is no file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object. Received: a {type(content).__name__}")
    return content


def _write_json(path, content):
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _refuse(path, field, why, received):
    received = received if isinstance(received, str) else repr(received)
    raise ValueError(f"{path}, `{field}`: {why}. Received: {received[:300]}")
