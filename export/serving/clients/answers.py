"""What a model's outputs for a text say, as plain Python."""


def decode(row, text, second, labels, vocabulary):
    """Returns the answer to one text, in the form that `predict_text` of the models gives.

    Args:
        row: dict of output name to what it holds for this text: numbers, strings, nested lists.
        text: bytes.
        second: bytes, or a list of bytes, the choices; None.
        labels: list of str or None, the names that numbers stand for.
        vocabulary: list of str or None, the pieces that token ids stand for.

    Returns:
        By what the model is for: a label and its score; a list of such; a number or a list of
        them; an embedding, list of floats; entities; an answer; a choice; pieces for each mask.
        Places in texts are in characters.
    """
    if "embedding" in row:
        return row["embedding"]
    if "values" in row:
        return row["values"][0] if len(row["values"]) == 1 else row["values"]
    if "answer_start" in row:
        span = cut(second, row["answer_start"][0], row["answer_end"][0])
        return {"answer": span.pop("text"), **span, "score": row["score"][0]}
    if "entity_starts" in row:
        spans = zip(row["entity_starts"], row["entity_ends"])
        entities = zip(spans, row["entity_types"], row["entity_scores"])
        return [
            {**cut(text, *span), "label": label, "score": score}
            for (span, label, score), _ in zip(entities, range(row["entity_count"]))
        ]
    if "mask_starts" in row:
        return [
            [
                {"token": _name(vocabulary, piece), "score": score}
                for piece, score in zip(row["token_ids"][i], row["scores"][i])
            ]
            for i in range(row["mask_count"])
        ]
    scores = row["probabilities"]
    if isinstance(second, list):
        best = scores.index(max(scores))
        choice = second[best].decode("utf-8", "replace")
        return {"index": best, "choice": choice, "score": scores[best]}
    if "label_count" in row:  # an export with `top_k` or `threshold`: the best labels alone
        found = zip(row["labels"], scores, range(row["label_count"]))
        return [{"label": label, "score": score} for label, score, _ in found]
    if "label" in row:
        return {"label": row["label"], "score": max(scores)}
    ranked = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [{"label": _name(labels, i), "score": scores[i]} for i in ranked if scores[i] > 0.5]


def cut(text, start, end):
    """Returns what stands between two bytes of a text, and where that is in characters."""
    before, span = (part.decode("utf-8", "replace") for part in (text[:start], text[start:end]))
    return {"text": span, "start": len(before), "end": len(before) + len(span)}


def _name(names, index):
    return names[index] if names else str(index)
