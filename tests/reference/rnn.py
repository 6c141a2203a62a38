"""Recurrent networks in NumPy: a loop over the steps of each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
_STATES = {"rnn": 1, "lstm": 2, "gru": 1}


def sigmoid(z: Any) -> Any:
    # By way of tanh, which does not overflow.
    return (np.tanh(z * z.dtype.type(0.5)) + z.dtype.type(1)) * z.dtype.type(0.5)


def step(kind: str, options: dict[str, Any], a: Any, u: Any, h: Any, c: Any) -> tuple[Any, Any]:
    """(h, c) from the products a = w_ih x + b_ih and u(h) = w_hh h + b_hh."""
    if kind == "rnn":
        z = a + u(h)
        return (np.maximum(z, 0) if options.get("nonlinearity") == "relu" else np.tanh(z)), c
    parts = np.split(a, GATES[kind], axis=-1)
    if kind == "lstm":
        i, f, g, o = (p + q for p, q in zip(parts, np.split(u(h), 4, axis=-1)))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    products = np.split(u(h), 3, axis=-1)
    r, z = (sigmoid(p + q) for p, q in zip(parts[:2], products))
    if options.get("reset_after", True):
        n = np.tanh(parts[2] + r * products[2])
    else:
        n = np.tanh(parts[2] + np.split(u(r * h), 3, axis=-1)[2])
    return (1 - z) * n + z * h, c


def recurrent(kind: str, x: Any, *rest: Any, **options: Any) -> Arrays:
    """(y, hn) or (y, hn, cn) of one layer in one direction."""
    states = rest[: _STATES[kind]]
    w_ih, w_hh, b_ih, b_hh = rest[_STATES[kind] :]
    lengths, reverse = options.get("lengths"), options.get("reverse", False)
    total, steps, _ = x.shape
    hidden = w_hh.shape[1]
    y = np.zeros((total, steps, hidden), x.dtype)
    ends = [np.zeros((total, hidden), x.dtype) for _ in states]
    for n in range(total):
        h = states[0][n] if states[0] is not None else np.zeros(hidden, x.dtype)
        c = np.zeros(hidden, x.dtype)
        if kind == "lstm" and states[1] is not None:
            c = states[1][n]
        length = steps if lengths is None else lengths[n]
        for t in range(length)[:: -1 if reverse else 1]:
            a = w_ih @ x[n, t] + (0 if b_ih is None else b_ih)
            h, c = step(
                kind,
                options,
                a,
                lambda h: w_hh @ h + (w_hh.dtype.type(0) if b_hh is None else b_hh),
                h,
                c,
            )
            y[n, t] = h
        for end, value in zip(ends, (h, c)):
            end[n] = value
    return (y, *ends)


def gradients(kind: str, dy: Any, inputs: Arrays, options: dict[str, Any]) -> Arrays:
    """Backward through time, sequence by sequence, for the plain cells."""
    x, *rest = inputs
    count = _STATES[kind]
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
            h, c = step(kind, options, a, lambda h: w_hh @ h + b_hh, h, c)
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
    y = result[0]
    w_ih, w_hh, b_ih, b_hh = (np.abs(w) for w in rest[_STATES[kind] :])
    inputs = np.abs(x).max(axis=(0, 1), initial=0.0)
    states = np.abs(y).max(axis=(0, 1), initial=1.0)
    if rest[0] is not None:
        states = np.maximum(states, np.abs(rest[0]).max(axis=0, initial=0.0))
    sums = w_ih @ inputs + w_hh @ states + b_ih + b_hh
    worst = sums.reshape(GATES[kind], -1).max(axis=0)
    if kind == "lstm":  # c adds up what the steps give
        worst = worst * np.maximum(1.0, np.abs(result[2]).max(axis=0, initial=0.0))
    return tuple(np.broadcast_to(worst, part.shape) for part in result)


def _op(kind: str) -> Op:
    forward, gradient = getattr(kernels, kind), getattr(kernels, f"{kind}_backward")
    states = _STATES[kind]

    def lengths_of(options: dict[str, Any]) -> dict[str, Any]:
        given = options.get("lengths")
        return {**options, "lengths": None if given is None else np.array(given, np.int64)}

    def run(*inputs: Any, **options: Any) -> Any:
        return forward(*inputs, **lengths_of(options))

    def backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
        *_, saved = forward(*inputs, **lengths_of(options), return_saved=True)
        zeros = [None] * states
        grads = gradient(dy, *zeros, saved)
        names = ("x", "h0", "c0")[: 1 + states] + ("w_ih", "w_hh", "b_ih", "b_hh")
        for i, name in enumerate(names):  # alone or together: the same bits
            alone = gradient(dy, *zeros, saved, need=(name,))
            assert np.array_equal(alone[i], grads[i])
            assert all(alone[j] is None for j in range(len(names)) if j != i)
        return grads

    return Op(
        run,
        lambda *inputs, **options: recurrent(kind, *inputs, **options),
        inputs=_inputs,
        magnitude=lambda *inputs, **options: magnitude(kind, *inputs, **options),
        backward=backward,
        wrt=tuple(range(5 + states)),
        reference_backward=lambda dy, inputs, options: gradients(kind, dy, inputs, options),
    )


def _inputs(case: Case, rng: np.random.Generator) -> Arrays:
    """Weights as small as layers start with."""
    count = _STATES[case.op] + 1
    bound = (case.shapes[0][-1] + case.shapes[1][-1]) ** -0.5
    arrays = [rng.standard_normal(shape) for shape in case.shapes[:count]]
    arrays += [rng.uniform(-bound, bound, shape) for shape in case.shapes[count:]]
    return tuple(arrays)


OPS = {kind: _op(kind) for kind in GATES}


def _case(kind: str, N: int, T: int, I: int, H: int, **options: Any) -> Case:
    rows = GATES[kind] * H
    state = ((N, H),) * _STATES[kind]
    text = f"{kind} T{T} B{N} {I}→{H}"
    return Case(
        "rnn",
        " ".join((text, *(f"{k} {v}" for k, v in options.items()))),
        kind,
        ((N, T, I), *state, (rows, I), (rows, H), (rows,), (rows,)),
        options=tuple(options.items()),
        depth=(I + H) * T,
    )


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
        )
    ),
    _case("rnn", 4, 5, 3, 20, nonlinearity="relu"),
    _case("rnn", 20, 5, 3, 20, nonlinearity="relu", lengths=(5, 0, 3, 4, 2) * 4),
)
