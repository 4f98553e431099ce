"""A TFLite file that takes token ids, with the tokenizer of its model in front."""

import numpy as np

from keras_bert_lib.export import stock_runtime

_NAMES = ("token_ids", "segment_ids", "padding_mask")
# The model's inputs, by the names that MediaPipe has for them too.
_INPUTS = {
    "token_ids": "token_ids",
    "segment_ids": "segment_ids",
    "padding_mask": "padding_mask",
    "ids": "token_ids",
    "mask": "padding_mask",
}


class TokensFile:
    """Runs a file of the interfaces "tokens" and "mediapipe" on texts.

    Args:
        path: a `.tflite` file.
        tokenizer: `BertTokenizer` of the model.
        num_threads: int.

    Raises:
        ValueError: if it is no TFLite file that takes token ids.
    """

    def __init__(self, path, tokenizer, num_threads=1):
        self.path = path
        self._tokenizer = tokenizer
        self._interpreter = stock_runtime.make_interpreter(path, num_threads)
        self.labels = stock_runtime.read_labels(path)
        self._runners = {}  # by the length that they take
        for name, signature in self._interpreter.get_signature_list().items():
            if not set(signature["inputs"]) <= set(_INPUTS):
                raise ValueError(
                    f"{path} takes neither text nor token ids. Received: a file with the inputs "
                    f"{sorted(signature['inputs'])}"
                )
            runner = self._interpreter.get_signature_runner(name)
            self.outputs = signature["outputs"]
            details = next(iter(runner.get_input_details().values()))
            self._runners[int(details["shape"][1])] = runner
        self.lengths = sorted(self._runners)
        if not self.lengths:
            raise ValueError(f"{path} has no signature that takes text or token ids.")

    def tokenize(self, text, text_pair=None):
        """Returns the inputs for a text, padded to the shortest length of the file that fits.

        A text that is too long is cut; "truncated" `[1]` among them is 1 then.
        """
        pairs = text_pair if isinstance(text_pair, (list, tuple)) else [text_pair]
        texts, pairs = [text] * len(pairs), None if pairs == [None] else list(pairs)
        tokens = self._tokenizer(texts, pairs, max_length=self.lengths[-1], return_truncated=True)
        truncated = np.asarray(tokens["truncated"]).max(keepdims=True)
        return self._padded(tokens) | {"truncated": truncated}

    def run_rows(self, tokens):
        """Returns the outputs for rows of token ids, which are padded and cut to fit.

        Args:
            tokens: dict of the model's inputs, `[rows, seq]`.

        Returns:
            Dict of name to array `[rows, seq, ...]`, where the file has an output for each token.
        """
        count = tokens["token_ids"].shape[1]
        padded = self._padded(tokens)
        rows = range(len(padded["token_ids"]))
        rows = [self.run({name: x[i : i + 1] for name, x in padded.items()}) for i in rows]
        return {name: np.concatenate([row[name] for row in rows])[:, :count] for name in rows[0]}

    def _padded(self, tokens):
        """Returns the inputs, padded to the shortest length of the file that fits."""
        count = min(tokens["token_ids"].shape[1], self.lengths[-1])
        padding = [[0, 0], [0, next(x for x in self.lengths if x >= count) - count]]
        padded = {name: np.pad(np.asarray(tokens[name])[:, :count], padding) for name in _NAMES}
        padded["token_ids"][padded["padding_mask"] == 0] = self._tokenizer.pad_token_id
        return padded

    def run(self, tokens):
        """Returns the outputs for what `tokenize` gives."""
        runner = self._runners[tokens["token_ids"].shape[1]]
        return runner(**{name: tokens[_INPUTS[name]] for name in runner.get_input_details()})

    def calls(self, texts, text_pairs=None):
        """Returns `(tokens, call)` for each length that the file takes, to measure its time."""
        tokens = self.tokenize(texts[0], None if text_pairs is None else text_pairs[0])
        inputs = {name: tokens[name] for name in _NAMES}
        calls = []
        for length in self.lengths:  # ids and masks do not matter: each place costs the same
            given = {name: np.resize(x, [len(x), length]) for name, x in inputs.items()}
            calls.append((length, lambda given=given: self.run(given)))
        return calls
