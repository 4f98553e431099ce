"""How long an exported file takes, by the length of the text and the number of threads."""

import time

import numpy as np

from keras_bert_lib.export import stock_runtime

LENGTHS = (8, 32, 128, 512)  # tokens
_RUNS = (5, 50)  # at least, at most
_MATERIAL = 500  # texts, more than enough for the longest
_SECONDS = 0.3  # for a median, where it can be had of fewer runs than the most


def by_length(calls, threads):
    """Measures one text at a time.

    Args:
        calls: function from a number of threads to a list of `(tokens, call)`.
        threads: the numbers of threads; None for as many as the runtime takes by itself.

    Returns:
        Tuple of dicts of "tokens", "threads" and "milliseconds", a median.
    """
    return tuple(
        {"tokens": tokens, "threads": number, "milliseconds": median_ms(call)}
        for number in threads
        for tokens, call in calls(number)
    )


def median_ms(call):
    """Returns the median milliseconds of a call, after two in which the runtime plans."""
    call()
    call()
    seconds = []
    while len(seconds) < _RUNS[0] or (len(seconds) < _RUNS[1] and sum(seconds) < _SECONDS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds))


def median_ms_of_each(calls):
    """Returns the median milliseconds of calls that are made once each."""
    seconds = []
    for call in calls:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds))


def text_calls(file, tokenizer, texts, most):
    """Returns `(tokens, call)` for texts of some lengths, up to the longest that a file takes.

    Args:
        file: a file that takes text, see `stock_runtime.load`.
        tokenizer: the model's `BertTokenizer`.
        texts: list of str, of which the texts to measure with are cut.
        most: int, tokens that the model has positions for.
    """
    words = b" ".join(map(stock_runtime.encode, texts[:_MATERIAL])).decode("utf-8", "replace")
    words = words.replace("[MASK]", " ")  # files have room for the answers of some

    def columns(tokens):
        if "text_pair" not in file.inputs:
            return [[cut_to(tokenizer, words, tokens)]]
        first = max((tokens - 3) // 4, 1)  # as of a question and a context
        pair = cut_to(tokenizer, words, tokens - first - 1)
        pair = [pair] * file.num_choices if file.num_choices else pair
        return [[cut_to(tokenizer, words, first + 2)], [pair]]

    def is_cut(tokens):
        return bool(file(*columns(tokens))["truncated"].any())

    low, high = 5, most  # a text of 5 tokens fits everywhere; find the longest that does
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (low, middle - 1) if is_cut(middle) else (middle, high)
    lengths = [length for length in LENGTHS if length < low] + [low]
    given = [columns(length) for length in lengths]
    return [(length, lambda row=row: file(*row)) for length, row in zip(lengths, given)]


def cut_to(tokenizer, words, tokens):
    """Returns as much of a text, again and again if need be, as makes a number of tokens."""
    pieces = tokenizer([words], max_length=512, return_offsets=True)
    ends = np.asarray(pieces["byte_offsets"])[0, 1:-1, 1]  # less the special tokens
    if not len(ends):
        return cut_to(tokenizer, "the", tokens)
    data = words.encode("utf-8", "surrogatepass")[: ends[-1]] + b" "
    repeats, rest = divmod(tokens - 2, len(ends))
    return (data * repeats + data[: ends[rest - 1] if rest else 0]).decode("utf-8", "ignore")
