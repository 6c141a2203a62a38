"""Python's own manual as a text to learn from, and what counting its characters achieves."""

from __future__ import annotations

import numpy as np

from ..tensor import Array


def split_topics(topics: list[str]) -> tuple[list[str], list[str]]:
    """Returns topics to train and to test with: every tenth is held out.

    A topic quotes others in whole paragraphs: what is held out is taken from the rest, too.
    """
    held_out = topics[6::10]
    known = {part.strip() for topic in held_out for part in topic.split("\n\n")}
    rest = [
        "\n\n".join(part for part in topic.split("\n\n") if part.strip() not in known)
        for i, topic in enumerate(topics)
        if i % 10 != 6
    ]
    return rest, held_out


def n_gram_bits(known: Array, text: Array, letters: int, order: int) -> float:
    """Returns the bits of a character given the `order - 1` before it, counted in `known`.

    Counts are smoothed by shorter contexts as Witten and Bell do ("The zero-frequency problem",
    1991): p(c | h) = (n(hc) + t(h) p(c | h')) / (n(h) + t(h)), t(h) the kinds of letters seen
    after h.
    """
    p = np.full(len(text) - order + 1, 1 / letters)
    for n in range(1, order + 1):
        # The last n letters as one number; those before the last are the context.
        powers = letters ** np.arange(n)[::-1]
        seen, asked = (
            np.lib.stride_tricks.sliding_window_view(run, n) @ powers for run in (known, text)
        )
        asked = asked[order - n :]
        grams, counts = np.unique(seen, return_counts=True)
        contexts, where = np.unique(grams // letters, return_inverse=True)
        kinds = np.bincount(where)
        totals = np.bincount(where, counts)
        both, above = _counted(grams, counts, asked), asked // letters
        t = _counted(contexts, kinds, above)
        whole = t + _counted(contexts, totals, above)
        p = np.where(whole > 0, (both + t * p) / np.maximum(whole, 1), p)
    return float(-np.log2(p).mean())


def _counted(keys: Array, counts: Array, asked: Array) -> Array:
    """The count of each key asked for, 0 where it has none."""
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, counts[at], 0)
