"""Recurrent networks: the space of parameters, lengths, ways of sharing, layers, bad input."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom import kernels, nn, ops
from reference import rnn as oracle

KINDS = ("rnn", "lstm", "gru")
rng = np.random.default_rng(0)


def weights(kind: str, inputs: int, hidden: int, dtype: str = "float64") -> list[Any]:
    """w_ih, w_hh, b_ih, b_hh."""
    rows, bound = oracle.GATES[kind] * hidden, (inputs + hidden) ** -0.5
    shapes: list[Any] = [(rows, inputs), (rows, hidden), (rows,), (rows,)]
    return [rng.uniform(-bound, bound, shape).astype(dtype) for shape in shapes]


def states(kind: str, n: int, hidden: int, dtype: str = "float64") -> list[Any]:
    """h0, or h0 and c0."""
    count = 2 if kind == "lstm" else 1
    return [rng.standard_normal((n, hidden)).astype(dtype) for _ in range(count)]


def run(kind: str, *inputs: Any, **options: Any) -> Any:
    return getattr(kernels, kind)(*inputs, **options)


def gradients(kind: str, dy: Any, ends: list[Any], saved: Any, **options: Any) -> Any:
    return getattr(kernels, f"{kind}_backward")(dy, *ends, saved, **options)


@pytest.fixture
def threads():
    before = hl.get_num_threads()
    yield hl.set_num_threads
    hl.set_num_threads(before)


# ---- against the oracle -------------------------------------------------------------------------
@st.composite
def calls(draw: st.DrawFn) -> tuple[str, list[Any], dict[str, Any]]:
    """Any plain call: kind, x and the rest, options."""
    kind = draw(st.sampled_from(KINDS))
    n, t = draw(st.integers(0, 20)), draw(st.integers(0, 6))
    inputs, hidden = draw(st.integers(0, 9)), draw(st.integers(1, 40))
    given_states = states(kind, n, hidden)
    given_weights = weights(kind, inputs, hidden)
    options: dict[str, Any] = {"reverse": draw(st.booleans())}
    if draw(st.booleans()):
        options["lengths"] = tuple(draw(st.integers(0, t)) for _ in range(n))
    if kind == "rnn":
        options["nonlinearity"] = draw(st.sampled_from(("tanh", "relu")))
    for i in range(len(given_states)):
        if draw(st.booleans()):
            given_states[i] = None
    for i in (2, 3):
        if draw(st.booleans()):
            given_weights[i] = None
    x = rng.standard_normal((n, t, inputs))
    return kind, [x, *given_states, *given_weights], options


@settings(max_examples=150, deadline=None)
@given(calls())
def test_every_call_is_the_oracles(call: tuple[str, list[Any], dict[str, Any]]) -> None:
    kind, inputs, options = call
    lengths = options.get("lengths")
    given_options = dict(options)
    if lengths is not None:
        given_options["lengths"] = np.array(lengths, np.int32)
    *result, saved = run(kind, *inputs, **given_options, return_saved=True)
    for ours, exact in zip(result, oracle.recurrent(kind, *inputs, **options), strict=True):
        np.testing.assert_allclose(ours, exact, atol=1e-12)
    for ours, again in zip(result, run(kind, *inputs, **given_options), strict=True):
        assert np.array_equal(ours, again)  # with or without saving
    dy = rng.standard_normal(result[0].shape)
    zero = [np.zeros(part.shape) for part in result[1:]]
    bias = np.zeros(inputs[-4].shape[0])
    full = [*inputs[:-2], *(bias if b is None else b for b in inputs[-2:])]
    full[1 : 1 + len(zero)] = [z if s is None else s for s, z in zip(full[1:], zero)]
    ours = gradients(kind, dy, [None] * len(zero), saved)
    for got, exact in zip(ours, oracle.gradients(kind, dy, tuple(full), options), strict=True):
        np.testing.assert_allclose(got, exact, atol=1e-11)
    names = [*["x", "h0", "c0"][: 1 + len(zero)], "w_ih", "w_hh", "b_ih", "b_hh"]
    for i, name in enumerate(names):  # alone or together: the same bits
        alone = gradients(kind, dy, [None] * len(zero), saved, need=(name,))
        assert np.array_equal(alone[i], ours[i])
        assert all(alone[j] is None for j in range(len(names)) if j != i)


VARIANTS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("tanh", {}, ()),
    ("relu", {}, ()),
    ("lstm", {}, ()),
    ("gru", {}, ()),
    ("gru_before", {}, ()),
    ("tanh", {"zoneout": (0.3, 0.3)}, ("layer_norm",)),
    ("lstm", {"zoneout": (0.3, 0.2)}, ()),
    ("lstm", {"recurrent_dropout": 0.4}, ("peephole",)),
    ("lstm", {}, ("projection",)),
    ("lstm", {"zoneout": (0.3, 0.2)}, ("peephole", "projection", "layer_norm")),
    ("gru", {"recurrent_dropout": 0.4}, ("layer_norm",)),
    ("gru_before", {"recurrent_dropout": 0.4, "zoneout": (0.3, 0.0)}, ("layer_norm",)),
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("cell", "options", "features"), VARIANTS)
def test_every_gradient_of_every_output(
    cell: str, options: dict[str, Any], features: tuple[str, ...], reverse: bool, training: bool
) -> None:
    kind = "rnn" if cell in ("tanh", "relu") else cell.partition("_")[0]
    n, hidden = 4, 3
    wide = 2 if "projection" in features else hidden
    w_ih, _, b_ih, b_hh = weights(kind, 2, hidden)
    rows = oracle.GATES[kind] * hidden
    arrays = [rng.standard_normal((n, 5, 2)), rng.standard_normal((n, wide))]
    arrays.append(rng.standard_normal((n, hidden)))
    arrays += [w_ih, rng.uniform(-0.5, 0.5, (rows, wide)), b_ih, b_hh]
    shapes = {"peephole": [(3, hidden)], "projection": [(wide, hidden)]}
    shapes["layer_norm"] = [(rows,), (rows,)]
    extras: list[Any] = []
    for feature in ("peephole", "projection", "layer_norm"):
        extras += [
            rng.uniform(0.5, 1.0, shape) if feature in features else None
            for shape in shapes[feature]
        ]
    tensors = [None if a is None else hl.tensor(a, requires_grad=True) for a in arrays + extras]
    if cell != "lstm":
        tensors[2] = None

    def outputs(*given_tensors: Any) -> Any:
        filled = iter(given_tensors)
        args = [None if t is None else next(filled) for t in tensors]
        hl.manual_seed(3)  # the same masks at every step of the differences
        return ops.recurrent(
            cell, *args[:7], tuple(args[7:]), np.array([3, 5, 0, 1]), reverse, training=training,
            **options,
        )  # fmt: skip

    assert hl.gradcheck(outputs, [t for t in tensors if t is not None])


# ---- lengths ------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [3, 20])
@pytest.mark.parametrize("kind", [*KINDS, "before"])
@pytest.mark.parametrize("reverse", [False, True])
def test_nothing_behind_the_end_matters(kind: str, reverse: bool, n: int) -> None:
    options: dict[str, Any] = {"reset_after": False} if kind == "before" else {}
    kind = "gru" if kind == "before" else kind
    lengths = np.array([2, 0, 6] * 7)[:n]
    x, dy = rng.standard_normal((n, 6, 5)), rng.standard_normal((n, 6, 17))
    rest = [*states(kind, n, 17), *weights(kind, 5, 17)]
    options |= {"lengths": lengths, "reverse": reverse, "return_saved": True}

    def everything(x: Any, dy: Any) -> list[Any]:
        *result, saved = run(kind, x, *rest, **options)
        ends = [np.ones(part.shape) for part in result[1:]]
        return [*result, *gradients(kind, dy, ends, saved)]

    plain = everything(x, dy)
    past = np.arange(6) >= lengths[:, None]
    x[past], dy[past] = np.nan, np.nan
    for a, b in zip(plain, everything(x, dy), strict=True):
        assert np.array_equal(a, b)
    y, hn = plain[0], plain[1]
    dx = plain[len(states(kind, 1, 1)) + 1]
    assert not y[past].any()
    assert not dx[past].any()
    assert np.array_equal(hn[1], rest[0][1])  # length 0: the state as it was
    last = np.array([0 if reverse else max(m - 1, 0) for m in lengths])
    live = lengths > 0
    assert np.array_equal(hn[live], y[np.arange(n), last][live])


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_sequences_does_not_matter(kind: str) -> None:
    n = 18
    lengths = rng.integers(0, 8, n)
    x, begin, w = rng.standard_normal((n, 7, 5)), states(kind, n, 9), weights(kind, 5, 9)
    sorted_by = np.argsort(lengths)[::-1]
    y, *ends = run(kind, x, *begin, *w, lengths=lengths)
    z, *ends_sorted = run(
        kind, x[sorted_by], *(s[sorted_by] for s in begin), *w, lengths=lengths[sorted_by]
    )
    for a, b in zip((y, *ends), (z, *ends_sorted), strict=True):
        assert np.array_equal(a[sorted_by], b)


@pytest.mark.parametrize("n", [2, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_nan_stays_in_its_sequence(kind: str, n: int) -> None:
    x, begin, w = rng.standard_normal((n, 5, 4)), states(kind, n, 6), weights(kind, 4, 6)
    dy = rng.standard_normal((n, 5, 6))
    good = run(kind, x, *begin, *w, return_saved=True)
    x[1, 2, 0] = np.nan
    bad = run(kind, x, *begin, *w, return_saved=True)
    others = np.arange(n) != 1
    for a, b in zip(good[:-1], bad[:-1], strict=True):
        assert np.array_equal(a[others], b[others])
        assert np.isnan(b[1]).any()
    assert not np.isnan(bad[0][1, :2]).any()
    ends = [None] * len(begin)
    grads = [gradients(kind, dy, ends, made[-1], need=("x", "h0")) for made in (good, bad)]
    for a, b in zip(*(g[:2] for g in grads), strict=True):
        assert np.array_equal(a[others], b[others])
        assert np.isnan(b[1]).any()


# ---- ways of sharing ----------------------------------------------------------------------------
WAYS = [  # what explain says of N, T, I, H
    ("rows, inputs fused", (20, 6, 5, 24)),
    ("rows", (16, 5, 900, 64)),
    ("team", (3, 5, 8, 180)),
    ("team", (70, 3, 8, 230)),
    ("alone", (3, 9, 8, 24)),
    ("single step", (4, 1, 8, 24)),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("way", "shape"), WAYS)
def test_all_ways_agree_for_any_number_of_threads(
    kind: str, way: str, shape: tuple[int, ...], threads: Any
) -> None:
    n, t, inputs, hidden = shape
    if way in ("rows", "team") and kind == "rnn":
        hidden *= 2  # one gate only
    x, begin = rng.standard_normal((n, t, inputs)), states(kind, n, hidden)
    w, dy = weights(kind, inputs, hidden), rng.standard_normal((n, t, hidden))
    assert kernels.explain(kind, x, *begin, *w)[0].algorithm == way

    def everything(dtype: str) -> list[Any]:
        cast = [a.astype(dtype) for a in (x, *begin, *w)]
        *result, saved = run(kind, *cast, return_saved=True)
        return [*result, *gradients(kind, dy.astype(dtype), [None] * len(begin), saved)]

    for dtype in ("float32", "float64"):
        threads(1)
        once = everything(dtype)
        for count in (2, 3, 5):
            threads(count)
            for a, b in zip(once, everything(dtype), strict=True):
                assert a.tobytes() == b.tobytes()
    # Sequences one by one, each another way: what they share out does not change what they are.
    some = [0, n // 2, n - 1]
    for i in some:
        alone = run(kind, x[i : i + 1], *(s[i : i + 1] for s in begin), *w)
        np.testing.assert_allclose(alone[0][0], once[0][i], atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"zoneout": (0.0, 0.0), "recurrent_dropout": 0.25}])
def test_long_calls_are_cut_into_chunks_of_steps(options: dict[str, Any]) -> None:
    # 16 MB hold about sixty of these steps.
    n, t, hidden = 512, 150, 16
    x, begin, w = rng.standard_normal((n, t, 3)), states("lstm", n, hidden), weights("lstm", 3, 16)
    lengths = rng.integers(0, t + 1, n)
    dy = rng.standard_normal((n, t, hidden))
    if options:
        options = {**options, "seed": 1}
    *result, saved = run("lstm", x, *begin, *w, lengths=lengths, return_saved=True, **options)
    assert kernels.explain("lstm", x, *begin, *w, lengths=lengths, **options)[0].tile[2] < t
    grads = gradients("lstm", dy, [None, None], saved)
    parts = []
    for i in (0, 256):  # in halves, whose masks are those of the whole: the first one
        half = slice(i, i + 256)
        if options and i:
            return
        *some, kept = run(
            "lstm", x[half], *(s[half] for s in begin), *w, lengths=lengths[half],
            return_saved=True, **options,
        )  # fmt: skip
        for a, b in zip(some, result, strict=True):
            np.testing.assert_allclose(a, b[half], atol=1e-12)
        parts.append(gradients("lstm", dy[half], [None, None], kept))
        for a, b in zip(parts[-1][:3], grads[:3], strict=True):
            np.testing.assert_allclose(a, b[half], atol=1e-11)
    for whole, first, second in zip(grads[3:], parts[0][3:], parts[1][3:], strict=True):
        np.testing.assert_allclose(whole, first + second, atol=1e-9)


def test_several_python_threads_at_once(threads: Any) -> None:
    threads(2)
    x, begin, w = rng.standard_normal((2, 30, 8)), states("lstm", 2, 180), weights("lstm", 8, 180)
    expected = run("lstm", x, *begin, *w)[0].tobytes()  # a team's work
    wrong: list[int] = []

    def work() -> None:
        results = [run("lstm", x, *begin, *w)[0].tobytes() for _ in range(5)]
        wrong.append(sum(result != expected for result in results))

    team = [threading.Thread(target=work) for _ in range(4)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    assert wrong == [0] * 4


FORK = """
import os, numpy as np
import handloom as hl
from handloom import kernels
hl.set_num_threads(2)
rng = np.random.default_rng(0)
make = lambda *s: rng.standard_normal(s).astype(np.float32)
args = make(2, 20, 8), None, None, make(720, 8), make(720, 180)
expected = kernels.lstm(*args)[0].tobytes()
pid = os.fork()
if pid == 0:
    os._exit(0 if kernels.lstm(*args)[0].tobytes() == expected else 3)
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 0
assert kernels.lstm(*args)[0].tobytes() == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_no_team_and_does_not_hang() -> None:
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# ---- variants -----------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_the_edges_of_zoneout_and_dropout(kind: str) -> None:
    x, begin, w = rng.standard_normal((3, 5, 4)), states(kind, 3, 7), weights(kind, 4, 7)
    plain = run(kind, x, *begin, *w)
    # Nothing dropped, nothing kept: another kernel, the same numbers.
    same = run(kind, x, *begin, *w, zoneout=(0.0, 1e-12), training=False)
    for a, b in zip(plain, same, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-9)
    kept = run(kind, x, *begin, *w, zoneout=1.0, seed=0)
    assert np.array_equal(kept[0], np.broadcast_to(begin[0][:, None], kept[0].shape))
    # All of h dropped: as if w_hh were nothing.
    blind = run(kind, x, *begin, *w, recurrent_dropout=1.0, seed=0)
    without = run(kind, x, *begin, w[0], np.zeros_like(w[1]), *w[2:])
    np.testing.assert_allclose(blind[0], without[0], atol=1e-12)
    # A seed is repeated by itself, another one differs, and in evaluation there is no dropout.
    one, again, other = (run(kind, x, *begin, *w, zoneout=0.5, seed=s)[0] for s in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(run(kind, x, *begin, *w, zoneout=0.5)[0], one)
    evaluated = run(kind, x, *begin, *w, recurrent_dropout=0.5, training=False)
    assert np.array_equal(evaluated[0], plain[0])


def test_the_recurrent_mask_stays_the_same_over_time() -> None:
    # Each h is its own only neighbour: what is dropped at one step is dropped at all.
    n, hidden = 50, 8
    x = np.ones((n, 6, 1))
    y, _ = kernels.rnn(
        x, None, np.full((hidden, 1), 0.1), np.eye(hidden), recurrent_dropout=0.5, seed=4
    )
    dropped = np.isclose(y[:, 1], y[:, 0])
    assert 0.3 < dropped.mean() < 0.7
    assert np.allclose(y[dropped.nonzero()[0], -1, dropped.nonzero()[1]], np.tanh(0.1))
    assert (y[:, -1][~dropped] > y[:, 1][~dropped]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_is_one_step(kind: str) -> None:
    x, begin, w = rng.standard_normal((5, 4)), states(kind, 5, 9), weights(kind, 4, 9)
    cell, back = getattr(kernels, f"{kind}_cell"), getattr(kernels, f"{kind}_cell_backward")
    *result, saved = cell(x, *begin, *w, return_saved=True)
    _, *ends, whole = run(kind, x[:, None], *begin, *w, return_saved=True)
    plain = cell(x, *begin, *w)
    for a, b, c in zip(result, ends, plain if kind == "lstm" else [plain], strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a, c)
    given_ends = [rng.standard_normal((5, 9)) for _ in begin]
    ours = back(*given_ends, saved)
    expected = gradients(kind, None, given_ends, whole)
    np.testing.assert_array_equal(ours[0], expected[0][:, 0])
    for a, b in zip(ours[1:], expected[1:], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-14)
    only = back(*given_ends, saved, need=("w_hh",))
    assert sum(g is not None for g in only) == 1


# ---- layers -------------------------------------------------------------------------------------
def test_a_sequence_in_pieces_is_the_whole() -> None:
    hl.manual_seed(0)
    net = nn.LSTM(4, 6, num_layers=2, dtype="float64")
    x = hl.tensor(rng.standard_normal((3, 9, 4)))
    whole, end = net(x)
    state = None
    pieces = []
    for i in range(0, 9, 3):
        y, state = net(x[:, i : i + 3], state)
        pieces.append(y.numpy())
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole.numpy(), atol=1e-12)
    for a, b in zip(state, end):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-12)


def test_a_detached_state_ends_the_way_back() -> None:
    net = nn.GRU(3, 5, dtype="float64")
    first = hl.tensor(rng.standard_normal((2, 4, 3)), requires_grad=True)
    second = hl.tensor(rng.standard_normal((2, 4, 3)))
    _, state = net(first)
    net(second, state.detach())[0].sum().backward()
    assert first.grad is None
    _, state = net(first)
    net(second, state)[0].sum().backward()
    assert abs(first.grad.numpy()).max() > 0


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("RNN", {}),
        ("LSTM", {}),
        ("GRU", {"num_layers": 2, "bidirectional": True}),
        ("LSTM", {"layer_norm": True, "zoneout": 0.2, "recurrent_dropout": 0.1}),
    ],
)
def test_recomputing_gives_the_same_gradients(kind: str, options: dict[str, Any]) -> None:
    x = rng.standard_normal((3, 5, 4))
    grads = []
    for recompute in (False, True):
        hl.manual_seed(0)
        net = getattr(nn, kind)(4, 6, recompute=recompute, dtype="float64", **options)
        mine = hl.tensor(x, requires_grad=True)
        net(mine, lengths=[5, 2, 0])[0].sum().backward()
        grads.append([mine.grad.numpy(), *(p.grad.numpy() for p in net.parameters())])
    for a, b in zip(*grads, strict=True):
        assert np.array_equal(a, b)


def test_options_of_the_layers() -> None:
    net = nn.LSTM(3, 4, bidirectional=True, num_layers=2, forget_bias=1.0, peephole=True)
    assert net.bias_ih_l1_reverse.numpy()[4:8].mean() > 0.4
    assert abs(net.bias_hh_l0.numpy()).max() <= 0.5
    assert net.peephole_l1.shape == (3, 4)
    assert net.weight_ih_l1.shape == (16, 8)
    text = repr(nn.GRU(3, 4, num_layers=2, reset_after=False, layer_norm=True))
    assert text == "GRU(3, 4, num_layers=2, reset_after=False, layer_norm=True)"
    y, (h, c) = nn.LSTM(3, 4, proj_size=2, bidirectional=True)(rng.standard_normal((2, 5, 3), "f"))
    assert (y.shape, h.shape, c.shape) == ((2, 5, 4), (2, 2, 2), (2, 2, 4))


def test_dropout_between_layers_is_for_training() -> None:
    hl.manual_seed(0)
    net = nn.RNN(3, 32, num_layers=2, dropout=0.5)
    x = rng.standard_normal((2, 5, 3), "f")
    one, two = net(x)[0].numpy(), net(x)[0].numpy()
    assert not np.array_equal(one, two)
    net.eval()
    assert np.array_equal(net(x)[0].numpy(), net(x)[0].numpy())
    assert net(x)[1].requires_grad


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_layer_learns_to_remember(kind: str) -> None:
    # The first of ten numbers has to come out at the end.
    hl.manual_seed(1)
    net, head = getattr(nn, kind)(1, 16), nn.Linear(16, 1)
    from handloom import optim

    opt = optim.Adam([*net.parameters(), *head.parameters()], lr=1e-2)
    losses, numbers = [], np.random.default_rng(1)
    for _ in range(800):
        x = numbers.standard_normal((32, 10, 1), "f")
        loss = ((head(net(x)[0][:, -1]) - x[:, 0]) ** 2).mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.3  # guessing the mean leaves 1


# ---- bad input ----------------------------------------------------------------------------------
def call_lstm(**changes: Any) -> Any:
    x = np.zeros((2, 3, 4), np.float32)
    given_arrays: dict[str, Any] = {
        "x": x, "h0": np.zeros((2, 5), "f"), "c0": np.zeros((2, 5), "f"),
        "w_ih": np.zeros((20, 4), "f"), "w_hh": np.zeros((20, 5), "f"),
        "b_ih": np.zeros(20, "f"), "b_hh": None,
    }  # fmt: skip
    return kernels.lstm(**{**given_arrays, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"x": np.zeros((2, 4), "f")}, ValueError, r"lstm: x has shape \(2, 4\).*\(N, T, I\)"),
        ({"x": np.zeros((2, 3, 6), "f")}, ValueError, r"lstm: x has 6 features.*w_ih.*4"),
        ({"x": np.zeros((2, 3, 4))}, TypeError, "lstm: .*float"),
        ({"x": np.zeros((2, 4, 3), "f").swapaxes(1, 2)}, ValueError, "lstm: x .*contiguous"),
        ({"x": [[[1.0]]]}, TypeError, "lstm: x"),
        ({"h0": np.zeros((2, 4), "f")}, ValueError, r"lstm: h0 has shape \(2, 4\).*\(2, 5\)"),
        ({"c0": np.zeros((3, 5), "f")}, ValueError, r"lstm: c0 has shape \(3, 5\).*\(2, 5\)"),
        ({"h0": np.zeros((2, 5))}, TypeError, "lstm: h0"),
        ({"w_hh": np.zeros((15, 5), "f")}, ValueError, "4 gates of H = 5"),
        ({"w_ih": np.zeros((15, 4), "f")}, ValueError, r"w_ih has shape \(15, 4\).*\(20, 4\)"),
        ({"b_ih": np.zeros(5, "f")}, ValueError, r"b_ih has shape \(5,\).*\(20,\)"),
        ({"w_hh": np.zeros((0, 0), "f")}, ValueError, "expected H >= 1"),
        ({"lengths": np.array([1, 4])}, ValueError, r"lengths\[1\] is 4, expected 0 to T = 3"),
        ({"lengths": np.array([-1, 1])}, ValueError, r"lengths\[0\] is -1"),
        ({"lengths": np.array([1, 2, 3])}, ValueError, r"lengths has shape \(3,\)"),
        ({"lengths": np.array([1.0, 2.0])}, TypeError, "lengths"),
        ({"peephole": np.zeros((2, 5), "f")}, ValueError, r"peephole has shape.*\(3, 5\)"),
        ({"w_hr": np.zeros((2, 5), "f")}, ValueError, r"w_hr has shape.*\(5, -?.*\)"),
        ({"layer_norm": np.ones(20, "f")}, ValueError, "layer_norm expects two gains"),
        ({"layer_norm": (np.ones(20, "f"), None)}, ValueError, "norm_ih and norm_hh"),
        ({"layer_norm": (np.ones(5, "f"), np.ones(20, "f"))}, ValueError, "norm_ih has shape"),
        ({"zoneout": 1.5}, ValueError, "zoneout is 1.5.*0 to 1"),
        ({"zoneout": (0.1, float("nan"))}, ValueError, "zoneout is nan"),
        ({"zoneout": "much"}, ValueError, "zoneout is 'much'"),
        ({"recurrent_dropout": -0.1}, ValueError, "recurrent_dropout is -0.1"),
    ],
)
def test_bad_input_is_told(changes: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call_lstm(**changes)


def test_bad_input_of_backward_and_cells_is_told() -> None:
    *_, saved = call_lstm(return_saved=True)
    dy = np.zeros((2, 3, 5), np.float32)
    with pytest.raises(ValueError, match=r"lstm_backward: dy has shape \(2, 3, 4\)"):
        kernels.lstm_backward(dy[..., :4].copy(), None, None, saved)
    with pytest.raises(ValueError, match="need has 'y'"):
        kernels.lstm_backward(dy, None, None, saved, need=("y",))
    with pytest.raises(TypeError, match="saved is tuple, expected what return_saved gave"):
        kernels.lstm_backward(dy, None, None, (1, 2))
    with pytest.raises(ValueError, match="nonlinearity is 'sine', expected one of tanh, relu"):
        kernels.rnn(dy, None, np.zeros((2, 5), "f"), np.zeros((2, 2), "f"), nonlinearity="sine")
    with pytest.raises(ValueError, match=r"gru_cell: x has shape \(2, 3, 5\), expected \(N, I\)"):
        kernels.gru_cell(dy, None, np.zeros((6, 5), "f"), np.zeros((6, 2), "f"))
    with pytest.raises(TypeError, match="lstm_cell_backward: saved is"):
        kernels.lstm_cell_backward(None, None, saved)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: nn.LSTM(3, 0), ValueError, "LSTM: hidden_size is 0"),
        (lambda: nn.GRU(3, 4, num_layers=0), ValueError, "GRU: num_layers is 0"),
        (lambda: nn.GRU(3, 4.0), TypeError, "GRU: hidden_size is 4.0"),
        (lambda: nn.RNN(3, 4, batch_first=False), ValueError, "RNN: batch_first is False"),
        (lambda: nn.RNN(3, 4, nonlinearity="sine"), ValueError, "RNN: nonlinearity is 'sine'"),
        (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, "LSTM: proj_size is 4"),
        (lambda: nn.LSTM(3, 4, dropout=2), ValueError, "LSTM: dropout is 2"),
        (lambda: nn.LSTM(3, 4, zoneout=(0.1, 2)), ValueError, "LSTM: zoneout is 2"),
        (lambda: nn.LSTM(3, 4, bias=False, forget_bias=1), ValueError, "there is no bias"),
        (lambda: nn.LSTM(3, 4)(np.zeros((2, 3), "f")), ValueError, r"LSTM: x has shape \(2, 3\)"),
        (lambda: nn.LSTM(3, 4)([1.0]), TypeError, "LSTM: x is list"),
        (
            lambda: nn.LSTM(3, 4)(np.zeros((2, 5, 3), "f"), np.zeros((1, 2, 4), "f")),
            TypeError,
            "LSTM: state expects a pair",
        ),
        (
            lambda: nn.GRU(3, 4)(np.zeros((2, 5, 3), "f"), np.zeros((2, 4), "f")),
            ValueError,
            r"GRU: state has shape \(2, 4\), expected \(1, 2, 4\)",
        ),
        (lambda: nn.LSTMCell(3, 4)(np.zeros((2, 3), "f"), 1), TypeError, "a pair"),
        (lambda: nn.RNNCell(0, 4), ValueError, "RNNCell: input_size is 0"),
    ],
)
def test_bad_layers_are_told(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()
