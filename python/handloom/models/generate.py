"""How a model writes: greedily, by lot, or by keeping several beginnings at once.

A model has `step(tokens, state) → (logits, state)`, which goes on from a state with tokens
(N, T), and `select(state, rows)`. The state is a cache, or that of a recurrent network.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from .._arrays import Array
from ..autograd import no_grad


class Writer(Protocol):
    """A model that `generate` and `beam_search` can let write."""

    def step(self, tokens: Array, state: Any) -> tuple[Array, Any]:
        """New tokens (N, T) → logits (N, V) of what follows, and the state."""
        ...

    def select(self, state: Any, rows: Array) -> Any:
        """Returns the state of these rows of the batch."""
        ...


def generate(
    model: Writer,
    prompt: Array,
    state: Any,
    *,
    length: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    end: int | None = None,
    seed: int = 0,
) -> Array:
    """Lets a model go on from a prompt.

    Args:
        model: In evaluation mode.
        prompt: (N, T), at least one token each: `<bos>` where there is nothing else to say.
        state: What `model.start(…)` returned.
        length: Most new tokens.
        temperature: Divides the logits; 0 always takes the most likely token.
        top_k: Draw from the k most likely tokens only.
        top_p: Draw from the fewest tokens whose probabilities add up to at least p only: nucleus
            sampling, Holtzman et al., "The curious case of neural text degeneration" (2020).
        end: A row that has said it says nothing else; None goes on to the end.
        seed: Of the draws.

    Returns:
        (N, ≤ length) int64, the new tokens; behind an `end` there are only more of it.

    Raises:
        ValueError: An empty prompt, or an option out of range.
    """
    tokens = _prompt("generate", prompt, length)
    for name, value in (("temperature", temperature), ("top_k", top_k), ("top_p", top_p)):
        left_out = value is None and name != "temperature"
        if not left_out and not isinstance(value, (int, float, np.number)):
            raise TypeError(f"generate: {name} is {value!r}, expected a number")
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"generate: seed is {seed!r}, expected an integer of at least 0")
    if not temperature >= 0 or (top_k is not None and top_k < 1) or not 0 < (top_p or 1.0) <= 1:
        raise ValueError(
            f"generate: temperature is {temperature}, top_k {top_k}, top_p {top_p}; expected at "
            "least 0, at least 1, and above 0 to 1"
        )
    random = np.random.Generator(np.random.Philox(seed))
    written: list[Array] = []
    done = np.zeros(len(tokens), np.bool_)
    with no_grad():
        while len(written) < length and not done.all():
            logits, state = model.step(tokens, state)
            if temperature == 0:
                chosen = logits.argmax(-1)
            else:
                p = probabilities(logits, temperature, top_k, top_p)
                chosen = (p.cumsum(-1) < random.random((len(p), 1))).sum(-1)
                chosen = np.minimum(chosen, p.shape[-1] - 1)
            if end is not None:
                chosen = np.where(done, end, chosen)
                done |= chosen == end
            written.append(chosen)
            tokens = chosen[:, None]
    return np.stack(written, 1) if written else np.empty((len(tokens), 0), np.int64)


def probabilities(
    logits: Array, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Array:
    """Returns what `generate` draws from: (N, V) float64, 0 for tokens that are left out."""
    scores = logits.astype(np.float64) / temperature
    order = np.argsort(-scores, -1, kind="stable")
    ranked = np.take_along_axis(scores, order, -1)
    p = np.exp(ranked - ranked[:, :1])
    if top_k is not None:
        p[:, top_k:] = 0
    p /= p.sum(-1, keepdims=True)
    if top_p is not None:
        p[p.cumsum(-1) - p >= top_p] = 0  # the token that reaches p is in
        p /= p.sum(-1, keepdims=True)
    kept = np.empty_like(p)
    np.put_along_axis(kept, order, p, -1)
    return kept


class Beam(NamedTuple):
    """A text that `beam_search` found.

    Attributes:
        tokens: What was written, without `end`.
        score: Its log-probability, divided by (tokens, `end` included)^length_penalty.
    """

    tokens: list[int]
    score: float


def beam_search(
    model: Writer,
    prompt: Array,
    state: Any,
    *,
    beams: int,
    length: int,
    end: int,
    length_penalty: float = 1.0,
) -> list[list[Beam]]:
    """Keeps the `beams` most likely beginnings, and returns the best texts that they became.

    Args:
        model: In evaluation mode.
        prompt: (N, T), at least one token each.
        state: What `model.start(…)` returned for these N rows.
        beams: How many to keep; 1 is greedy.
        length: Most new tokens; what has not ended by then counts as it is.
        end: The token that ends a text.
        length_penalty: 0 prefers short texts, 1 compares means; see `Beam.score`.

    Returns:
        For each row up to `beams` texts, the best first.

    Raises:
        ValueError: An empty prompt, or fewer than one beam.
    """
    tokens = _prompt("beam_search", prompt, length)
    if not isinstance(beams, (int, np.integer)):
        raise TypeError(f"beam_search: beams is {beams!r}, expected an integer")
    if beams < 1:
        raise ValueError(f"beam_search: beams is {beams}, expected at least 1")
    n = len(tokens)
    if n == 0:
        return []
    done: list[list[Beam]] = [[] for _ in range(n)]
    written = np.empty((n, 1, 0), np.int64)
    scores = np.zeros((n, 1))
    with no_grad():
        for t in range(length):
            logits, state = model.step(tokens, state)
            if not 0 <= end < logits.shape[-1]:
                raise ValueError(
                    f"beam_search: end is {end}, expected a token, 0 to {logits.shape[-1] - 1}"
                )
            kept = written.shape[1]
            total = scores[..., None] + _log_softmax(logits).reshape(n, kept, -1)
            vocabulary = total.shape[2]
            for row, flat in enumerate(total.reshape(n, -1)):
                # A text may end where that is one of the best ways to go on.
                for i in np.argsort(-flat, kind="stable")[:beams]:
                    if i % vocabulary == end and np.isfinite(flat[i]):
                        score = float(flat[i]) / (t + 1) ** length_penalty
                        done[row].append(Beam(written[row, i // vocabulary].tolist(), score))
                done[row] = sorted(done[row], key=lambda b: -b.score)[:beams]
            total[..., end] = -np.inf
            ranked = total.reshape(n, -1)
            best = np.argsort(-ranked, -1, kind="stable")[:, :beams]
            scores = np.take_along_axis(ranked, best, -1)
            parent, chosen = best // vocabulary, best % vocabulary
            written = np.concatenate(
                [np.take_along_axis(written, parent[..., None], 1), chosen[..., None]], -1
            )
            state = model.select(state, (np.arange(n)[:, None] * kept + parent).ravel())
            tokens = chosen.reshape(-1, 1)
            if all(_settled(done[i], scores[i], t, length, beams, length_penalty)
                   for i in range(n)):  # fmt: skip
                break
        else:
            for row in range(n):
                done[row] += [
                    Beam(written[row, i].tolist(), float(s) / length**length_penalty)
                    for i, s in enumerate(scores[row])
                    if length and np.isfinite(s)
                ]
    return [sorted(found, key=lambda b: -b.score)[:beams] for found in done]


def _settled(
    done: list[Beam], scores: Array, t: int, length: int, beams: int, penalty: float
) -> bool:
    """Whether no beginning that is left can still beat the worst text: scores only fall."""
    if len(done) < beams:
        return False
    longest = length if penalty > 0 else t + 1
    return bool(done[-1].score >= scores.max() / longest**penalty)


def _log_softmax(logits: Array) -> Array:
    x = logits.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    shifted: Array = x - np.log(np.exp(x).sum(-1, keepdims=True))
    return shifted


def _prompt(op: str, prompt: Array, length: int) -> Array:
    tokens = np.asarray(prompt)
    whole = tokens.dtype.kind == "f" and bool((tokens == np.floor(tokens)).all())
    if tokens.dtype.kind not in "iu" and not whole:
        raise TypeError(f"{op}: prompt has dtype {tokens.dtype}, expected integers")
    if not isinstance(length, (int, np.integer)):
        raise TypeError(f"{op}: length is {length!r}, expected an integer")
    tokens = tokens.astype(np.int64)
    if tokens.ndim != 2 or tokens.shape[1] == 0:
        raise ValueError(
            f"{op}: prompt has shape {tokens.shape}, expected (N, T) with at least one token: "
            "<bos> where there is nothing else to say"
        )
    if length < 0:
        raise ValueError(f"{op}: length is {length}, expected at least 0")
    return tokens
