"""Recurrent networks in NumPy: a loop over the steps of each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op, beside, widen

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
_VARIANTS = {"features", "zoneout", "recurrent_dropout", "reset_after"}
_STATES = {"rnn": 1, "lstm": 2, "gru": 1}


def sigmoid(z: Any) -> Any:
    # By way of tanh, which does not overflow.
    return (np.tanh(z * z.dtype.type(0.5)) + z.dtype.type(1)) * z.dtype.type(0.5)


def layer_norm(a: Any, eps: float) -> Any:
    centred = a - a.mean()
    return centred / np.sqrt((centred**2).mean() + a.dtype.type(eps))


class Weights:
    """The arrays of a cell, and its products with their norms and biases."""

    def __init__(self, kind: str, arrays: Any, options: dict[str, Any]) -> None:
        self.w_ih, self.w_hh, self.b_ih, self.b_hh, *extras = arrays
        features = options.get("features", ())
        rest = iter(extras)
        self.peephole = next(rest) if "peephole" in features else None
        self.w_hr = next(rest) if "projection" in features else None
        self.gains = (next(rest), next(rest)) if "layer_norm" in features else None
        self.eps = options.get("eps", 1e-5)
        hidden = self.w_ih.shape[0] // GATES[kind]
        # The GRU's n is normalised by itself.
        self.cuts = [2 * hidden] if kind == "gru" else []

    def side(self, which: int, product: Any) -> Any:
        if self.gains is not None:
            parts = np.split(product, self.cuts)
            product = np.concatenate([layer_norm(p, self.eps) for p in parts]) * self.gains[which]
        bias = (self.b_ih, self.b_hh)[which]
        return product if bias is None else product + bias


def step(kind: str, options: dict[str, Any], w: Weights, x: Any, h: Any, seen: Any, c: Any) -> Any:
    """(h, c) before zoneout; `seen` is what w_hh sees of h."""
    a, u = w.side(0, w.w_ih @ x), w.side(1, w.w_hh @ seen)
    if kind == "rnn":
        z = a + u
        return (np.maximum(z, 0) if options.get("nonlinearity") == "relu" else np.tanh(z)), c
    if kind == "lstm":
        i, f, g, o = np.split(a + u, 4)
        p = np.zeros((3, c.size), c.dtype) if w.peephole is None else w.peephole
        c = sigmoid(f + p[1] * c) * c + sigmoid(i + p[0] * c) * np.tanh(g)
        h = sigmoid(o + p[2] * c) * np.tanh(c)
        return (h if w.w_hr is None else w.w_hr @ h), c
    (ar, az, an), (ur, uz, un) = np.split(a, 3), np.split(u, 3)
    if not options.get("reset_after", True):
        # r and z, and n, each see their own product; only with norms this differs from slicing u.
        hidden = h.size
        rz = w.w_hh[: 2 * hidden] @ seen
        if w.gains is not None:
            rz = layer_norm(rz, w.eps) * w.gains[1][: 2 * hidden]
        ur, uz = np.split(rz if w.b_hh is None else rz + w.b_hh[: 2 * hidden], 2)
    r, z = sigmoid(ar + ur), sigmoid(az + uz)
    if options.get("reset_after", True):
        n = np.tanh(an + r * un)
    else:
        un = w.w_hh[2 * h.size :] @ (r * seen)
        if w.gains is not None:
            un = layer_norm(un, w.eps) * w.gains[1][2 * h.size :]
        n = np.tanh(an + (un if w.b_hh is None else un + w.b_hh[2 * h.size :]))
    return (1 - z) * n + z * h, c


def recurrent(kind: str, x: Any, *rest: Any, **options: Any) -> Arrays:
    """(y, hn) or (y, hn, cn) of one layer in one direction."""
    states = rest[: _STATES[kind]]
    w = Weights(kind, rest[_STATES[kind] :], options)
    lengths, reverse = options.get("lengths"), options.get("reverse", False)
    total, steps, _ = x.shape
    wide, hidden = w.w_hh.shape[1], w.w_ih.shape[0] // GATES[kind]
    seed, call = options.get("seed", 0), options.get("call", 0)
    drop, zones = options.get("recurrent_dropout", 0.0), options.get("zoneout", 0.0)
    zone_h, zone_c = zones if isinstance(zones, tuple) else (zones, zones)
    training = options.get("training", True)
    mask = np.ones((total, wide), x.dtype)
    if training and total:
        mask = kernels.dropout(mask, drop, seed=seed, call=call)
    shape_h, shape_c = (total, steps, wide), (total, steps, hidden)
    keep_h, keep_c = (np.full(s, p) for s, p in ((shape_h, zone_h), (shape_c, zone_c)))
    if training:
        keep_h = kernels.bernoulli(shape_h, zone_h, seed=seed, call=call + 1)
        keep_c = kernels.bernoulli(shape_c, zone_c, seed=seed, call=call + 2)
    keep_h, keep_c = keep_h.astype(x.dtype), keep_c.astype(x.dtype)
    y = np.zeros((total, steps, wide), x.dtype)
    ends = [np.zeros((total, size), x.dtype) for size in (wide, hidden)[: len(states)]]
    for n in range(total):
        h = states[0][n] if states[0] is not None else np.zeros(wide, x.dtype)
        c = np.zeros(hidden, x.dtype)
        if kind == "lstm" and states[1] is not None:
            c = states[1][n]
        length = steps if lengths is None else lengths[n]
        for t in range(length)[:: -1 if reverse else 1]:
            new_h, new_c = step(kind, options, w, x[n, t], h, h * mask[n], c)
            h = keep_h[n, t] * h + (1 - keep_h[n, t]) * new_h
            c = keep_c[n, t] * c + (1 - keep_c[n, t]) * new_c
            y[n, t] = h
        for end, value in zip(ends, (h, c)):
            end[n] = value
    return (y, *ends)


def gradients(kind: str, dy: Any, inputs: Arrays, options: dict[str, Any]) -> Arrays:
    """Backward through time, sequence by sequence, for the plain cells."""
    x, *rest = inputs
    count = _STATES[kind]
    weights = Weights(kind, rest[count:], options)
    w_ih, w_hh, b_ih, b_hh = rest[count:]
    made = [np.zeros_like(a) for a in inputs]
    dx, dh0 = made[0], made[1]
    dw_ih, dw_hh, db_ih, db_hh = made[1 + count :]
    lengths, reverse = options.get("lengths"), options.get("reverse", False)
    for n in range(x.shape[0]):
        length = x.shape[1] if lengths is None else lengths[n]
        order = range(length)[:: -1 if reverse else 1]
        h, c = rest[0][n], rest[1][n] if count == 2 else None
        path = []
        for t in order:
            before = h, c
            a, u = w_ih @ x[n, t] + b_ih, w_hh @ h + b_hh
            h, c = step(kind, options, weights, x[n, t], h, h, c)
            path.append((t, a, u, before, h, c))
        dh, dc = np.zeros_like(h), np.zeros_like(h)
        for t, a, u, (h, c), h_new, c_new in reversed(path):
            dh = dh + dy[n, t]
            if kind == "rnn":
                slope = h_new > 0 if options.get("nonlinearity") == "relu" else 1 - h_new**2
                da = du = dh * slope
                dh = np.zeros_like(dh)
            elif kind == "lstm":
                i, f, g, o = np.split(a + u, 4)
                i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
                tanh_c = np.tanh(c_new)
                dc = dc + dh * o * (1 - tanh_c**2)
                da = du = np.concatenate(
                    [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2),
                     dh * tanh_c * o * (1 - o)]
                )  # fmt: skip
                dc = dc * f
                dh = np.zeros_like(dh)
            else:
                (ar, az, an), (ur, uz, un) = np.split(a, 3), np.split(u, 3)
                r, z = sigmoid(ar + ur), sigmoid(az + uz)
                m = np.tanh(an + r * un)
                dn = dh * (1 - z) * (1 - m**2)
                dr, dz = dn * un * r * (1 - r), dh * (h - m) * z * (1 - z)
                da, du = np.concatenate([dr, dz, dn]), np.concatenate([dr, dz, dn * r])
                dh = dh * z
            dx[n, t] = w_ih.T @ da
            dw_ih += np.outer(da, x[n, t])
            dw_hh += np.outer(du, h)
            db_ih += da
            db_hh += du
            dh = dh + w_hh.T @ du
        dh0[n] = dh
        if count == 2:
            made[2][n] = dc
    return tuple(made)


def magnitude(kind: str, x: Any, *rest: Any, **options: Any) -> Arrays:
    """The terms of the largest sum on the way to each number, as their rounding errors add up."""
    result = recurrent(kind, x, *rest, **options)
    w_ih, w_hh, b_ih, b_hh, *extras = (np.abs(w) for w in rest[_STATES[kind] :])
    features = options.get("features", ())
    inputs = np.abs(x).max(axis=(0, 1), initial=0.0)
    states = np.abs(result[0]).max(axis=(0, 1), initial=1.0)
    if rest[0] is not None:
        states = np.maximum(states, np.abs(rest[0]).max(axis=0, initial=0.0))
    scale = 1 / (1 - options.get("recurrent_dropout", 0.0))
    sums = w_ih @ inputs + w_hh @ states * scale + b_ih + b_hh
    if "layer_norm" in features:
        sums = sums * max(extras[-1].max(), extras[-2].max())
    worst = sums.reshape(GATES[kind], -1).max(axis=0)
    if kind == "lstm":  # c adds up what the steps give
        worst = worst * np.maximum(1.0, np.abs(result[2]).max(axis=0, initial=0.0))
    if "projection" in features:
        wide = extras["peephole" in features] @ worst
        return tuple(
            np.broadcast_to(wide if part is not result[2] else worst, part.shape) for part in result
        )
    return tuple(np.broadcast_to(worst, part.shape) for part in result)


def _op(kind: str, features: tuple[str, ...] = ()) -> Op:
    forward, gradient = getattr(kernels, kind), getattr(kernels, f"{kind}_backward")
    states = _STATES[kind]
    base = 5 + states
    extras = sum(2 if feature == "layer_norm" else 1 for feature in features)

    def run(*inputs: Any, **options: Any) -> Any:
        options.pop("features", None)
        if options.get("lengths") is not None:
            options["lengths"] = beside(inputs[0], np.array(options["lengths"], np.int64))
        rest = list(inputs[base:])
        if "peephole" in features:
            options["peephole"] = rest.pop(0)
        if "projection" in features:
            options["w_hr"] = rest.pop(0)
        if "layer_norm" in features:
            options["layer_norm"] = tuple(rest)
        return forward(*inputs[:base], **options)

    def backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
        *_, saved = run(*inputs, **options, return_saved=True)
        grads: Arrays = gradient(dy, *[None] * states, saved)
        return grads

    def exact(dy: Any, inputs: Arrays, options: dict[str, Any]) -> Arrays:
        if not {*options} & _VARIANTS:
            return gradients(kind, dy, inputs, options)
        # Finite differences prove our own float64 gradients, which then serve for float32.
        wide = widen(inputs)
        return backward(np.asarray(dy, np.float64), wide, None, options)

    return Op(
        run,
        lambda *inputs, **options: recurrent(kind, *inputs, **options),
        inputs=lambda case, rng: _inputs(kind, case, rng),
        magnitude=lambda *inputs, **options: magnitude(kind, *inputs, **options),
        backward=backward,
        wrt=tuple(range(base + extras)),
        reference_backward=exact,
    )


def _inputs(kind: str, case: Case, rng: np.random.Generator) -> Arrays:
    """Weights as small as layers start with."""
    count = _STATES[kind] + 1
    bound = (case.shapes[0][-1] + case.shapes[1][-1]) ** -0.5
    arrays = [rng.standard_normal(shape) for shape in case.shapes[:count]]
    arrays += [rng.uniform(-bound, bound, shape) for shape in case.shapes[count:]]
    if "layer_norm" in case.option("features", ()):
        arrays[-2:] = [rng.uniform(0.5, 1.5, a.shape) for a in arrays[-2:]]
    return tuple(arrays)


# Names of the variants: the cell, then what it has.
_FEATURES = {
    "rnn_norm": ("rnn", ("layer_norm",)),
    "gru_norm": ("gru", ("layer_norm",)),
    "lstm_norm": ("lstm", ("layer_norm",)),
    "lstm_peephole": ("lstm", ("peephole",)),
    "lstm_projection": ("lstm", ("projection",)),
    "lstm_everything": ("lstm", ("peephole", "projection", "layer_norm")),
}
OPS = {kind: _op(kind) for kind in GATES}
OPS |= {name: _op(kind, features) for name, (kind, features) in _FEATURES.items()}


def _case(name: str, N: int, T: int, I: int, H: int, **options: Any) -> Case:
    kind, features = _FEATURES.get(name, (name, ()))
    rows = GATES[kind] * H
    wide = options.pop("P", H)
    state = ((N, wide), (N, H))[: _STATES[kind]]
    extras: list[tuple[int, ...]] = []
    if "peephole" in features:
        extras.append((3, H))
    if "projection" in features:
        extras.append((wide, H))
    if "layer_norm" in features:
        extras += [(rows,), (rows,)]
    text = f"{name} T{T} B{N} {I}→{H}"
    if features:
        options["features"] = features
    return Case(
        "rnn",
        " ".join((text, *(f"{k} {v}" for k, v in options.items()))),
        name,
        ((N, T, I), *state, (rows, I), (rows, wide), (rows,), (rows,), *extras),
        options=tuple(options.items()),
        depth=(I + H) * T,
    )


_RANDOM: dict[str, Any] = {"seed": 5, "call": 7}
CASES = (
    *(
        case
        for kind in GATES
        for case in (
            # hidden sizes through the tails of the vectors, batches through the ways of sharing
            *(_case(kind, 2, 3, 4, h) for h in (1, 2, 7, 8, 15, 16, 17, 31, 33)),
            *(_case(kind, n, 4, 5, 20) for n in (1, 3, 4, 5, 14, 16, 17, 29, 33)),
            *(_case(kind, 2, 3, i, 6) for i in (0, 1, 16, 35)),
            _case(kind, 0, 3, 4, 5),
            _case(kind, 3, 0, 4, 5),
            _case(kind, 6, 1, 4, 40),
            _case(kind, 1, 12, 9, 70),
            _case(kind, 3, 4, 8, 130),
            _case(kind, 18, 5, 300, 48),
            _case(kind, 3, 4, 8, 12, reverse=True),
            _case(kind, 5, 6, 3, 9, lengths=(6, 2, 0, 6, 3)),
            _case(kind, 5, 6, 3, 9, lengths=(1, 2, 5, 4, 3), reverse=True),
            _case(kind, 20, 5, 7, 24, lengths=(*range(6), *(5, 2) * 7)),
            _case(kind, 2, 1, 4, 5, lengths=(1, 0)),
            _case(kind, 3, 4, 2, 5, lengths=(0, 0, 0)),
            # variants that have no weights of their own
            _case(kind, 3, 4, 5, 9, recurrent_dropout=0.3, **_RANDOM),
            _case(kind, 3, 4, 5, 9, zoneout=0.25, lengths=(3, 4, 1), **_RANDOM),
            _case(kind, 3, 4, 5, 9, zoneout=(0.1, 0.4), training=False, reverse=True),
            _case(kind, 9, 4, 5, 18, zoneout=(0.5, 0.0), recurrent_dropout=0.5, **_RANDOM),
        )
    ),
    _case("rnn", 4, 5, 3, 20, nonlinearity="relu"),
    _case("rnn", 20, 5, 3, 20, nonlinearity="relu", lengths=(5, 0, 3, 4, 2) * 4),
    *(_case("gru", n, 4, 5, h, reset_after=False) for n, h in ((1, 9), (3, 16), (9, 17), (30, 7))),
    _case("gru", 4, 5, 3, 9, reset_after=False, lengths=(5, 0, 2, 3), reverse=True),
    _case("gru", 3, 4, 5, 9, reset_after=False, recurrent_dropout=0.3, zoneout=0.2, **_RANDOM),
    _case("gru_norm", 4, 5, 3, 9, reset_after=False, lengths=(5, 0, 2, 3)),
    *(
        case
        for name in _FEATURES
        for case in (
            *(_case(name, n, 3, 4, h) for n, h in ((1, 9), (3, 17), (9, 16), (30, 5))),
            _case(name, 4, 5, 3, 10, lengths=(2, 5, 0, 4), reverse=True),
            _case(name, 0, 3, 4, 5),
            _case(name, 2, 0, 4, 5),
        )
    ),
    *(
        _case(name, n, 4, 5, 18, P=p, **_RANDOM, zoneout=0.2, recurrent_dropout=0.4)
        for name in ("lstm_projection", "lstm_everything")
        for n, p in ((2, 6), (17, 11))
    ),
)
