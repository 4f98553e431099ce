"""What a token classifier says of words that were told apart beforehand."""

import numpy as np
from keras import ops

from keras_bert_lib.models.entity_decoding import kept_pieces
from keras_bert_lib.models.texts import batches_of_like_length, readable
from keras_bert_lib.models.windows import predict_windows, window_length, window_stride


def predict_word_labels(model, words, batch_size):
    """Labels words: each as the model labels its first piece, as it was trained to.

    `predict_text` divides texts itself, "U.S." to four words; labels of data sets are of words as
    they stand there.

    Args:
        model: `BertTokenClassifier` with a tokenizer.
        words: list of lists of str.
        batch_size: int, windows that are computed at once.

    Returns:
        List of int arrays `[words]`, places in the model's `labels`; -1 for a word of which the
        tokenizer keeps nothing.
    """
    words = [[readable(word) for word in row] for row in words]
    texts = [" ".join(row) for row in words]
    max_length = window_length(model, None, least=3)
    found = [np.full(len(row), -1) for row in words]
    for batch in batches_of_like_length([len(text) for text in texts], batch_size):
        windows = model.windows([texts[i] for i in batch], max_length)
        windows = {name: np.asarray(x) for name, x in windows.items()}
        labels = predict_windows(model, windows, batch_size).argmax(axis=-1)  # [w, s]
        is_kept = ops.convert_to_numpy(
            kept_pieces(windows["word_ids"] >= 0, windows["text_index"], window_stride(max_length))
        )
        starts = windows["char_offsets"][:, :, 0]  # [w, s]
        for row, i in enumerate(batch):
            is_of_text = is_kept & (windows["text_index"] == row)[:, np.newaxis]
            # Where each word starts, and which word each piece is of.
            word_starts = np.cumsum([0, *(len(word) + 1 for word in words[i])])[:-1]
            word = np.searchsorted(word_starts, starts[is_of_text], side="right") - 1
            first, place = np.unique(word, return_index=True)
            found[i][first] = labels[is_of_text][place]
    return found


def plain_tags(labels, label_ids):
    """Returns tags that seqeval reads of labels in whichever scheme.

    Args:
        labels: `entity_decoding.Labels`.
        label_ids: int array, -1 for none.

    Returns:
        List of str: "O", or a type behind B-, I-, E- or S-.
    """
    tags = []
    for i in label_ids:
        if i < 0 or labels.type_ids[i] < 0:
            tags.append("O")
            continue
        prefix = {(0, 0): "I", (1, 0): "B", (0, 1): "E", (1, 1): "S"}
        key = int(labels.begins[i]), int(labels.ends[i])
        tags.append(f"{prefix[key]}-{labels.types[labels.type_ids[i]]}")
    return tags
