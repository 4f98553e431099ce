"""Sentence splitting by rules: enough for BERT's next-sentence pairs, in plain Python."""

import re

# One candidate boundary. Every part is optional but the terminator, so that the pattern matches
# wherever a terminator stands and never backtracks: the scan is linear whatever the text is.
_CANDIDATE = re.compile(
    r"(?P<terminator>[.!?…。！？｡।॥؟۔]+)"
    r"[\"'”’»›)\]}」』）】〉》]*"
    r"(?P<space>\s*)"
    r"[\"'“‘«‹(\[{「『（【〈《¿¡_*]*"
)
_CJK_TERMINATORS = "。！？｡"
# Longest piece of text that is looked at before a full stop.
_LOOK_BACK = 16
_INITIAL = re.compile(r"(?:^|.*[^A-Za-z])(?:[A-Za-z]\.)*([A-Za-z])$", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]+$")
# Abbreviations that something always follows. Those that can close a sentence (etc., Inc., Jr.)
# are left out: the case of the next letter decides for them.
_ABBREVIATIONS = {
    "mr", "mrs", "ms", "messrs", "mme", "mlle", "dr", "prof", "rev", "hon", "st", "mt", "ft",
    "capt", "lt", "col", "gen", "cmdr", "sgt", "cpl", "maj", "adm", "gov", "sen", "rep", "pres",
    "supt", "vs", "cf", "viz", "fig", "figs", "eq", "eqs", "sec", "vol", "vols", "pp", "ed", "eds",
    "ca", "al", "approx", "dept", "est",
    "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
}  # fmt: skip
# "No. 5" and "p. 12", but "No. He went."
_BEFORE_NUMBERS = {"no", "nos", "p", "ch", "art"}


def split_sentences(text):
    """Splits text into sentences.

    A sentence ends at `.`, `!`, `?` or `…` (and their kin in other scripts), after any closing
    quotes and brackets, where white space follows; at `。`, `！` and `？` it ends without white
    space. It does not end after an abbreviation that something always follows ("Dr."), after an
    initial ("J. Austen"), after the number of a list item, nor where the next letter is a small
    one, unless the whole text is in small letters. Line breaks count as white space.

    The rules are few on purpose: next-sentence pairs need units that are mostly sentences, not
    a parse. tensorflow-text has a breaker too (`StateBasedSentenceBreaker`); it is not used
    because tensorflow-text has no Windows wheel and pins the version of TensorFlow, and
    pretraining has to run wherever TensorFlow does.

    Args:
        text: str of any length; the time is linear in it.

    Returns:
        List of str: the sentences in order, stripped, none of them empty. Together they hold
        every character of the text that is not white space.

    Example:
        >>> import keras_bert_lib as kbl
        >>> kbl.data.split_sentences('Dr. Grey paid 3.50 a pound. "Why?" he asked. Nobody knew!')
        ['Dr. Grey paid 3.50 a pound.', '"Why?" he asked.', 'Nobody knew!']

    References:
        - Unicode Standard Annex #29, "Sentence Boundaries", https://unicode.org/reports/tr29
    """
    has_capitals = text != text.lower()
    sentences = []
    start = 0
    for match in _CANDIDATE.finditer(text):
        if _is_boundary(text, start, match, has_capitals):
            sentence = text[start : match.start("space")].strip()
            if sentence:
                sentences.append(sentence)
            start = match.end("space")
    rest = text[start:].strip()
    return sentences + [rest] if rest else sentences


def _is_boundary(text, sentence_start, match, has_capitals):
    terminator = match["terminator"]
    if terminator[-1] in _CJK_TERMINATORS:
        return True
    if not match["space"]:
        return False  # 3.14, example.org, or the end of the text
    following = text[match.end() : match.end() + 1]
    if has_capitals and following.islower():
        return False
    if terminator != ".":
        return True

    stop = match.start()
    before = text[max(sentence_start, stop - _LOOK_BACK) : stop]
    initial = _INITIAL.match(before)
    if initial and before[-2:-1] != "'" and before[-2:-1] != "’":
        # "J. Austen", "the U.S. Army"; but "So do I. He knew.", and "I don't. He knew."
        return initial[1] == "I" and before[-2:-1] != "."
    word = _WORD.search(before)
    word = word[0].lower() if word else ""
    if word in _ABBREVIATIONS:
        return False
    if word in _BEFORE_NUMBERS and following.isdigit():
        return False
    # "1. Introduction": the digits are all that the sentence holds so far.
    return not (before.strip().isdigit() and not text[sentence_start : stop - len(before)].strip())
