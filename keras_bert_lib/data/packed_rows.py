"""Examples of any length to rows that are full: several examples in one row."""

import itertools

# Examples that are sorted into rows together; what they cannot fill waits for the next ones.
_WINDOW = 1024
# Of the rows of a window, the emptiest share waits.
_WAIT = 0.1


def pack_rows(pairs, rng, max_length, max_examples, max_predictions, size_of):
    """Sorts examples into rows, the longest first, each where it leaves the least room.

    Args:
        pairs: iterable of `SegmentPair`.
        rng: `np.random.Generator`; the rows of a window come in a random order.
        max_length: positions in a row.
        max_examples: the most examples in a row.
        max_predictions: the most predictions in a row.
        size_of: function from a pair to (positions, predictions) that it takes.

    Yields:
        Lists of pairs, the examples of a row.

    References:
        - Krell et al., "Efficient Sequence Packing without Cross-contamination" (2021),
          https://arxiv.org/abs/2107.02027
    """
    pairs = iter(pairs)
    waiting = []
    is_last = False
    while not is_last:
        newcomers = list(itertools.islice(pairs, _WINDOW))
        is_last = len(newcomers) < _WINDOW
        window = waiting + newcomers
        sized = sorted(((*size_of(pair), i) for i, pair in enumerate(window)), reverse=True)
        rows = _best_fit(sized, max_length, max_examples, max_predictions)
        rows.sort(key=lambda row: row[0])  # the fullest first
        keep = len(rows) if is_last else max(1, int(len(rows) * (1 - _WAIT)))
        # Full rows have nothing to wait for.
        while keep < len(rows) and rows[keep][0] == 0:
            keep += 1
        waiting = [window[i] for _, _, members in rows[keep:] for i in members]
        for place in rng.permutation(keep):
            yield [window[i] for i in rows[place][2]]


def _best_fit(sized, room, examples, predictions):
    """Returns rows as (room left, predictions left, members)."""
    by_room = [[] for _ in range(room + 1)]  # rows that are open, by the room that is left
    has_rows = 0  # bit r is set where by_room[r] holds any
    done = []
    for length, budget, i in sized:
        left = (has_rows >> length) << length  # rooms of `length` and more
        row = None
        while left and row is None:
            least = (left & -left).bit_length() - 1
            if by_room[least][-1][1] >= budget:
                row = by_room[least].pop()
                if not by_room[least]:
                    has_rows &= ~(1 << least)
            left &= left - 1
        row = row or (room, predictions, [])
        row = (row[0] - length, row[1] - budget, row[2] + [i])
        if row[0] == 0 or len(row[2]) == examples:
            done.append(row)
        else:
            by_room[row[0]].append(row)
            has_rows |= 1 << row[0]
    return done + [row for rows in by_room for row in rows]
