"""What bench/gpu_check.py times: the card's ceilings, our kernels beside PyTorch's, and baselines.

A figure is the median of 50 launches, each between two events, in five turns with PyTorch's. The
launches wait in the stream behind a long copy, so that no figure contains the host's work. Inputs
rotate through more than twice the second-level cache. Both sides compute in float32 (PyTorch
without TF32), but for rows that name another type: there we multiply in it, inside `autocast`, and
PyTorch's arrays have it. The floor of a row is what its traffic or its arithmetic would take at the
measured ceilings.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import handloom as hl
from gpu_build import CSRC
from handloom import _C
from handloom import kernels as K

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]
if torch is not None and not torch.cuda.is_available():
    torch = None  # type: ignore[assignment]

CACHE = 64 << 20  # at least the second-level cache of any card so far
TURNS, LAUNCHES, WARM = 5, 10, 20
Call = Callable[..., Any]


class Spec(NamedTuple):
    """One row: `ours` and `theirs` get the arrays, or what `prepare` makes of them once."""

    shape: str
    shapes: tuple[tuple[int, ...], ...]
    ours: Call
    theirs: Call | None = None
    prepare: Call | None = None
    prepare_theirs: Call | None = None
    dtype: str = "float32"  # of the factors, on both sides
    layer: str = ""  # that runs; empty: float32's
    work: tuple[str, float, float] | None = None  # kernel, operations, bytes of what is no op


def F() -> Any:
    return torch.nn.functional


# ---- the list ------------------------------------------------------------------------------------
def gemm(tiny: bool) -> Iterator[Spec]:
    sizes = (
        ((64, 64, 64),)
        if tiny
        else (
            *((4096, 4096, 4096), (8192, 8192, 8192), (1024, 1024, 1024), (512, 512, 512)),
            *((32, 3072, 768), (4096, 3072, 768), (257, 1023, 511)),
        )
    )
    for m, n, k in sizes:
        yield Spec(f"{m}x{n}x{k} nn", ((m, k), (k, n)), K.matmul, lambda a, b: a @ b)
        yield Spec(f"{m}x{n}x{k} linear", ((m, k), (n, k)), K.linear, lambda x, w: F().linear(x, w))
    batch = ((4, 16, 16, 16),) if tiny else ((96, 512, 512, 64), (96, 512, 64, 512))
    for b, m, n, k in batch:
        yield Spec(f"{b} of {m}x{n}x{k}", ((b, m, k), (b, k, n)), K.matmul, lambda a, b: a @ b)


def softmax(tiny: bool) -> Iterator[Spec]:
    for r, c in ((8, 40),) if tiny else ((65536, 128), (8192, 4096), (512, 65536)):
        yield Spec(f"{r}x{c}", ((r, c),), K.softmax, lambda x: x.softmax(-1))
        yield Spec(
            f"{r}x{c} backward",
            ((r, c), (r, c)),
            K.softmax_backward,
            lambda dy, y: torch._softmax_backward_data(dy, y, -1, y.dtype),
        )


def norm(tiny: bool) -> Iterator[Spec]:
    for r, c in ((8, 40),) if tiny else ((32768, 768), (8192, 4096)):
        yield Spec(
            f"layer {r}x{c}",
            ((r, c), (c,), (c,)),
            K.layer_norm,
            lambda x, w, b: F().layer_norm(x, w.shape, w, b),
        )
        yield Spec(
            f"layer {r}x{c} backward",
            ((r, c), (r, c), (c,), (c,)),
            lambda dy, x, w, saved: K.layer_norm_backward(dy, x, w, saved=saved),
            lambda dy, x, w, b, mean, rstd: torch.ops.aten.native_layer_norm_backward(
                dy, x, w.shape, mean, rstd, w, b, [True] * 3
            ),
            lambda dy, x, w, b: (dy, x, w, K.layer_norm(x, w, b, return_saved=True)[1]),
            lambda dy, x, w, b: (
                *(dy, x, w, b),
                *torch.ops.aten.native_layer_norm(x, w.shape, w, b, 1e-5)[1:],
            ),
        )
        yield Spec(
            f"rms {r}x{c}",
            ((r, c), (c,)),
            K.rms_norm,
            lambda x, w: F().rms_norm(x, w.shape, w) if hasattr(F(), "rms_norm") else None,
        )
    n, side, c = (2, 3, 8) if tiny else (32, 56, 256)
    yield Spec(
        f"batch {n}x{side}x{side}x{c}",
        ((n, side, side, c), (c,), (c,)),
        lambda x, w, b: K.batch_norm(x, w, b, None, None, training=True),
        # Channels last in memory, as ours.
        lambda x, w, b: F().batch_norm(x.permute(0, 3, 1, 2), None, None, w, b, training=True),
    )


def pool(tiny: bool) -> Iterator[Spec]:
    n, side, c = (2, 4, 8) if tiny else (32, 112, 64)
    for k, stride, padding in ((2, 2, 0), (3, 2, 1)):
        yield Spec(
            f"max {k}x{k} / {stride} of {n}x{side}x{side}x{c}",
            ((n, side, side, c),),
            lambda x, k=k, stride=stride, padding=padding: K.max_pool2d(
                x, k, stride=stride, padding=padding
            ),
            lambda x, k=k, stride=stride, padding=padding: F().max_pool2d(
                x.permute(0, 3, 1, 2), k, stride, padding
            ),
        )


def elementwise(tiny: bool) -> Iterator[Spec]:
    n = 1000 if tiny else 1 << 26
    yield Spec(f"add {n}", ((n,), (n,)), K.add, lambda a, b: a + b)
    yield Spec(f"relu {n}", ((n,),), K.relu, lambda x: x.relu())
    yield Spec(f"gelu {n}", ((n,),), K.gelu, lambda x: F().gelu(x))
    yield Spec(
        f"gelu {n} backward",
        ((n,), (n,)),
        K.gelu_backward,
        lambda dy, x: torch.ops.aten.gelu_backward(dy, x),
    )
    r, c = (8, 40) if tiny else (16384, 4096)
    yield Spec(f"add a row {r}x{c}", ((r, c), (c,)), K.add, lambda a, b: a + b)


def reduce(tiny: bool) -> Iterator[Spec]:
    n = 1000 if tiny else 1 << 27
    yield Spec(f"sum {n}", ((n,),), K.sum, lambda x: x.sum())
    r, c = (8, 40) if tiny else (16384, 4096)
    yield Spec(f"sum of rows {r}x{c}", ((r, c),), lambda x: K.sum(x, -1), lambda x: x.sum(-1))
    yield Spec(f"sum of columns {r}x{c}", ((r, c),), lambda x: K.sum(x, 0), lambda x: x.sum(0))


def optim(tiny: bool) -> Iterator[Spec]:
    shape = (100, 10) if tiny else (1 << 12, 1 << 12)

    def make(w: Any, g: Any) -> tuple[Any]:
        p = hl.Tensor(w, requires_grad=True)
        p.grad = hl.Tensor(g)
        return (hl.optim.AdamW([p]),)

    def make_theirs(w: Any, g: Any) -> tuple[Any]:
        p = w.detach().requires_grad_(True)
        p.grad = g
        return (torch.optim.AdamW([p], fused=True),)

    def step(o: Any) -> None:
        o.step()

    yield Spec(f"adamw {shape[0] * shape[1]}", (shape, shape), step, step, make, make_theirs)


def attention(tiny: bool) -> Iterator[Spec]:
    sizes = ((1, 9, 2, 8),) if tiny else ((4, 1024, 12, 64), (1, 4096, 16, 128))
    for n, t, h, d in sizes:
        for causal in (False, True):

            def ours(q: Any, k: Any, v: Any, causal: bool = causal) -> Any:
                return K.attention(q, k, v, causal=causal)

            def theirs(q: Any, k: Any, v: Any, causal: bool = causal) -> Any:
                q, k, v = (x.transpose(1, 2) for x in (q, k, v))
                return F().scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)

            def saved(dy: Any, q: Any, k: Any, v: Any, causal: bool = causal) -> Any:
                return dy, q, k, v, *K.attention(q, k, v, causal=causal, return_saved=True)[:2]

            def back(dy: Any, q: Any, k: Any, v: Any, y: Any, s: Any, causal: bool = causal) -> Any:
                return K.attention_backward(dy, q, k, v, y, saved=s, causal=causal)

            def graph(dy: Any, *qkv: Any, theirs: Any = theirs) -> Any:
                leaves = tuple(x.detach().requires_grad_(True) for x in qkv)
                return dy, theirs(*leaves), leaves

            def grad(dy: Any, y: Any, leaves: Any) -> Any:
                return torch.autograd.grad(y, leaves, dy, retain_graph=True)

            name = f"{n}x{t}x{h}x{d}{' causal' if causal else ''}"
            one = (n, t, h, d)
            yield Spec(name, (one,) * 3, ours, theirs)
            yield Spec(f"{name} backward", (one,) * 4, back, grad, saved, graph)


def halved(*arrays: Any) -> tuple[Any, ...]:
    return tuple(a.to(torch.bfloat16) for a in arrays)


def tensor_cores(tiny: bool) -> Iterator[Spec]:
    """Factors in bfloat16, by the fastest layer that this card has."""
    hopper = tuple(hl.cuda.get_device_properties()["capability"]) == (9, 0)
    rows = {(name, layer) for name, _, layer, _ in _C.gpu.kernels()}

    def layer(name: str) -> str:
        fits = [n for n in ("sm90a", "mma") if (name, n) in rows and (hopper or n == "mma")]
        return fits[0] if fits else "simt"

    def spec(shape: str, shapes: Any, ours: Call, theirs: Call, name: str) -> Spec:
        return Spec(
            *(f"{shape} bfloat16", shapes, ours, theirs, None, halved, "bfloat16"),
            layer(name),
        )

    def words(*arrays: Any) -> tuple[Any, ...]:
        tops = ((a.numpy().view(np.uint32) >> 16).astype(np.uint16) for a in arrays)
        return tuple(hl.cuda.array(top) for top in tops)

    sizes = ((64, 64, 64),) if tiny else ((4096,) * 3, (8192,) * 3, (4096, 3072, 768))
    for m, n, k in sizes:
        shape, flops, size = f"{m}x{n}x{k}", 2.0 * m * n * k, 2.0 * (m * k + n * k + m * n)
        yield spec(f"{shape} nn", ((m, k), (k, n)), K.matmul, lambda a, b: a @ b, "matmul")
        yield spec(
            *(f"{shape} linear", ((m, k), (n, k)), K.linear, lambda x, w: F().linear(x, w)),
            "linear_forward",
        )
        if ("gemm16", "sm90a") in rows:  # 16-bit arrays on both sides
            yield Spec(
                *(f"{shape} of 16-bit arrays", ((m, k), (n, k))),
                lambda a, b: _C.gpu.gemm16("bf16", a, b),
                lambda a, b: F().linear(a, b),
                *(words, halved, "bfloat16", layer("gemm16"), ("gemm16", flops, size)),
            )
    sizes = ((1, 70, 2, 64),) if tiny else ((4, 2048, 16, 64), (1, 8192, 16, 128))
    for n, t, h, d in sizes:
        for causal in (False, True):

            def ours(q: Any, k: Any, v: Any, causal: bool = causal) -> Any:
                return K.attention(q, k, v, causal=causal)

            def theirs(q: Any, k: Any, v: Any, causal: bool = causal) -> Any:
                q, k, v = (x.transpose(1, 2) for x in (q, k, v))
                return F().scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)

            name = f"{n}x{t}x{h}x{d}{' causal' if causal else ''}"
            yield spec(name, ((n, t, h, d),) * 3, ours, theirs, "attention_forward")


RESNET = (  # N, H, C, K, kernel, stride: layers of ResNet-50
    *((32, 56, 64, 64, 3, 1), (32, 28, 128, 128, 3, 1), (32, 14, 256, 256, 3, 1)),
    *((32, 56, 64, 256, 1, 1), (32, 56, 128, 128, 3, 2), (32, 224, 3, 64, 7, 2)),
)


def nchw(a: Any) -> Any:
    """PyTorch's view of our layout: memory stays channels-last."""
    return a.permute(0, 3, 1, 2)


def conv(tiny: bool, dtype: str = "float32") -> Iterator[Spec]:
    def narrow(*arrays: Any) -> tuple[Any, ...]:
        return tuple(a.bfloat16() for a in arrays)

    rounded = None if dtype == "float32" else narrow
    for n, size, c, k, r, s in ((1, 6, 3, 4, 3, 1),) if tiny else RESNET:
        pad, out = r // 2, (size + 2 * (r // 2) - r) // s + 1
        x, w, dy = (n, size, size, c), (k, r, r, c), (n, out, out, k)
        how: dict[str, Any] = {"stride": s, "padding": pad}
        name = f"{n}x{size}x{size}x{c}->{k} {r}x{r}/{s}"

        def forward(x: Any, w: Any, how: Any = how) -> Any:
            return K.conv2d(x, w, **how)

        def theirs(x: Any, w: Any, how: Any = how) -> Any:
            return F().conv2d(nchw(x), nchw(w), **how).permute(0, 2, 3, 1)

        yield Spec(name, (x, w), forward, theirs, None, rounded, dtype)
        for need, mask in (("x", [True, False, False]), ("w", [False, True, False])):

            def back(dy: Any, x: Any, w: Any, how: Any = how, need: str = need) -> Any:
                return K.conv2d_backward(dy, x, w, need=(need,), **how)

            def back_theirs(
                dy: Any, x: Any, w: Any, s: int = s, pad: int = pad, mask: Any = mask
            ) -> Any:
                return torch.ops.aten.convolution_backward(
                    *(nchw(dy), nchw(x), nchw(w), None, [s, s], [pad, pad], [1, 1], False),
                    *([0, 0], 1, mask),
                )

            yield Spec(f"{name} d{need}", (dy, x, w), back, back_theirs, None, rounded, dtype)


def conv_rounded(tiny: bool) -> Iterator[Spec]:
    return conv(tiny, "bfloat16")


LSTMS = (
    *((16, 256, 512, 512), (32, 128, 256, 256), (1, 256, 512, 512)),
    (16, 1024, 768, 768),
)


def lstm_theirs(x: Any, h: int) -> Any:
    return torch.nn.LSTM(x.shape[-1], h, batch_first=True).to(x.device, x.dtype)


def lstm(tiny: bool) -> Iterator[Spec]:
    def forward(x: Any, *w: Any) -> Any:
        return K.lstm(x, None, None, *w)[0]

    def forward_theirs(net: Any, x: Any) -> Any:
        with torch.no_grad():
            return net(x)[0]

    def both(x: Any, *w: Any) -> Any:
        y, _, _, saved = K.lstm(x, None, None, *w, return_saved=True)
        return K.lstm_backward(y, None, None, saved)

    def both_theirs(net: Any, x: Any) -> Any:
        y, _ = net(x)
        return torch.autograd.grad(y, (x, *net.parameters()), y.detach())

    for dtype in ("float32", "bfloat16"):
        for n, t, i, h in ((2, 3, 4, 5),) if tiny else LSTMS:
            shapes = ((n, t, i), (4 * h, i), (4 * h, h), (4 * h,), (4 * h,))

            def network(x: Any, *w: Any, h: int = h, dtype: str = dtype) -> tuple[Any, Any]:
                x = x.to(getattr(torch, dtype))
                return lstm_theirs(x, h), x.requires_grad_()

            name = f"{n}x{t}x{i}->{h}"
            yield Spec(name, shapes, forward, forward_theirs, None, network, dtype)
            yield Spec(
                f"{name} forward and backward", shapes, both, both_theirs, None, network, dtype
            )


SPECS: dict[str, Callable[[bool], Iterator[Spec]]] = {
    f.__name__: f
    for f in (
        *(gemm, softmax, norm, pool, elementwise, reduce, optim, attention),
        *(conv, conv_rounded, lstm, tensor_cores),
    )
}


# ---- timing --------------------------------------------------------------------------------------
class Side:
    """Launches of one library, timed by its own events on its own stream."""

    def __init__(self, call: Call, sets: list[Any], event: Call, wait: Call, hold: Call) -> None:
        self.call, self.sets, self.event, self.wait, self.hold = call, sets, event, wait, hold
        self.times: list[float] = []
        self.next = 0

    def launch(self) -> Any:
        self.next += 1
        return self.call(*self.sets[self.next % len(self.sets)])

    def turn(self, launches: int) -> None:
        marks = [(self.event(), self.event()) for _ in range(launches)]
        self.hold()
        for start, stop in marks:
            start.record()
            self.launch()
            stop.record()
        self.wait()
        self.times += [start.elapsed_time(stop) * 1e3 for start, stop in marks]


def random_sets(shapes: tuple[tuple[int, ...], ...], count: int) -> Iterator[list[Any]]:
    rng = np.random.default_rng(0)
    first = [rng.standard_normal(s, dtype=np.float32) for s in shapes]
    for i in range(count):
        yield [np.roll(a, 977 * i) for a in first]


def quantiles(times: list[float]) -> dict[str, float]:
    p10, mid, p90 = (round(float(v), 3) for v in np.quantile(times, (0.1, 0.5, 0.9)))
    return {"us_med": mid, "us_p10": p10, "us_p90": p90}


def one(spec: Spec, tiny: bool) -> dict[str, Any]:
    """A row."""
    ours = spec.ours
    if spec.dtype != "float32":

        def ours(*arrays: Any) -> Any:
            with hl.autocast(spec.dtype):
                return spec.ours(*arrays)

    size = sum(int(np.prod(s)) * 4 for s in spec.shapes)
    count = 2 if tiny else int(min(40, max(2, -(-2 * CACHE // size))))
    ours_sets, their_sets = [], []
    for host in random_sets(spec.shapes, count):
        ours_sets.append(tuple(map(hl.cuda.array, host)))
        if torch is not None and spec.theirs is not None:
            their_sets.append(tuple(torch.from_numpy(a).cuda() for a in host))
    if spec.prepare:
        ours_sets = [spec.prepare(*s) for s in ours_sets]
    filler = hl.cuda.array(np.zeros(16 if tiny else 1 << 26, np.float32))

    def hold() -> None:
        for _ in range(1 if tiny else 12):
            filler.copy()

    sides = [Side(ours, ours_sets, hl.cuda.Event, hl.cuda.synchronize, hold)]
    rel = None
    if their_sets:
        if spec.prepare_theirs:
            their_sets = [spec.prepare_theirs(*s) for s in their_sets]
        big = torch.zeros(1 << 26, device="cuda")

        def hold_theirs() -> None:
            for _ in range(12):
                big.clone()

        def event() -> Any:
            return torch.cuda.Event(enable_timing=True)

        sides.append(Side(spec.theirs, their_sets, event, torch.cuda.synchronize, hold_theirs))
        if not spec.prepare_theirs:
            rel = difference(ours(*ours_sets[0]), spec.theirs(*their_sets[0]))
    if spec.work:
        main, flops, traffic = spec.work
        layer = spec.layer
    else:
        with hl.profile() as p:
            ours(*ours_sets[0])
        layers = hl.cuda.kernels()
        events = [e for e in p.events if e.kernel in layers]
        main = max(events, key=lambda e: e.seconds).kernel
        flops, traffic = sum(e.flops for e in events), sum(e.bytes for e in events)
        # Recurrent layers alone have a faster one for float32, too.
        faster = spec.dtype != "float32" or main.startswith("rnn")
        layer = spec.layer or (layers[main] if faster else "simt")
    for side in sides:
        for _ in range(1 if tiny else WARM):
            side.launch()
        side.wait()
    for _ in range(1 if tiny else TURNS):
        for side in sides:
            side.turn(2 if tiny else LAUNCHES)
    row: dict[str, Any] = {
        "id": f"{main}/{layer}",
        "shape": spec.shape,
        "dtype": spec.dtype,
        "status": "ok" if rel is None or rel < 1e-3 else "wrong",
        "rel": rel,
        **quantiles(sides[0].times),
        **floor(flops, traffic, spec.dtype),
    }
    if row["floor_us"]:
        row["frac_floor"] = round(row["floor_us"] / row["us_med"], 4)
    if len(sides) > 1:
        theirs = float(np.median(sides[1].times))
        row["ref"] = f"torch {torch.__version__} {spec.dtype}"
        row["ref_us"] = round(theirs, 3)
        row["ratio"] = round(theirs / row["us_med"], 4)
    return row


def difference(y: Any, ref: Any) -> float | None:
    """The largest difference of two results, relative to the largest element."""
    if not isinstance(y, hl.cuda.Array) or not hasattr(ref, "cpu"):
        return None
    a, b = y.numpy(), ref.detach().cpu().numpy()
    if a.shape != b.shape:
        return None
    return float(np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-30))


def ceiling(name: str) -> float | None:
    text = os.environ.get(f"GPU_CHECK_{name.upper()}")
    return float(text) if text else None


def floor(flops: float, size: float, dtype: str) -> dict[str, Any]:
    """Microseconds that a kernel cannot go below on this card."""
    copy, peak = ceiling("copy"), ceiling("bf16" if dtype == "bfloat16" else "f32")
    memory = size / (copy * 1e12) * 1e6 if copy else 0.0
    compute = flops / (peak * 1e12) * 1e6 if peak else 0.0
    if not memory and not compute:
        return {"floor_us": None, "bound": None}
    return {
        "floor_us": round(max(memory, compute), 3),
        "bound": "memory" if memory >= compute else "compute",
    }


# ---- what has no kernel of ours ------------------------------------------------------------------
def timed_theirs(call: Call, launches: int = 50) -> list[float]:
    big = torch.zeros(1 << 26, device="cuda")

    def hold() -> None:
        for _ in range(12):
            big.clone()

    side = Side(
        call, [()], lambda: torch.cuda.Event(enable_timing=True), torch.cuda.synchronize, hold
    )
    for _ in range(WARM):
        side.launch()
    side.wait()
    side.turn(launches)
    return side.times


def ceilings(tiny: bool) -> Iterator[dict[str, Any]]:
    a = hl.cuda.array(np.ones(1 << (12 if tiny else 28), np.float32))
    side = Side(a.copy, [()], hl.cuda.Event, hl.cuda.synchronize, lambda: None)
    for _ in range(3):
        side.launch()
    side.turn(3 if tiny else 20)
    own = 2 * a.nbytes / (float(np.median(side.times)) * 1e-6) / 1e12
    yield {"id": "(our copy)", "status": "ok", "shape": f"{own:.3f} TB/s"}
    best = own
    if torch is not None:
        big = torch.zeros(1 << 28, device="cuda")
        other = torch.empty_like(big)
        times = timed_theirs(lambda: other.copy_(big))
        best = max(own, 2 * big.nbytes / (float(np.median(times)) * 1e-6) / 1e12)
    yield {"id": "copy", "status": "ok", "shape": f"{best:.3f} TB/s", "value": best}
    if torch is None:
        return
    for name, dtype, n, launches in (("bf16", torch.bfloat16, 8192, 50), ("f32", None, 8192, 10)):
        x = torch.randn(n, n, device="cuda", dtype=dtype)
        y = torch.randn(n, n, device="cuda", dtype=dtype)
        middle = float(np.median(timed_theirs(lambda x=x, y=y: x @ y, launches)))
        rate = 2 * n**3 / (middle * 1e-6) / 1e12
        shape = f"{n}x{n}x{n} {rate:.1f} TFLOP/s"
        yield {"id": name, "status": "ok", "shape": shape, "value": rate, "us_med": middle}


def precisions() -> Iterator[tuple[str, Any]]:
    for name, dtype, tf32 in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bfloat16", torch.bfloat16, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        yield name, dtype


def baseline(what: str, shape: str, dtype: str, call: Call, flops: float) -> dict[str, Any]:
    times = timed_theirs(call)
    rate = flops / (float(np.median(times)) * 1e-6) / 1e12
    row = {"id": f"({what})", "shape": f"{shape} {rate:.1f} TFLOP/s", "dtype": dtype}
    return {**row, "status": "ok", "ref": f"torch {torch.__version__}", **quantiles(times)}


def cudnn_conv(tiny: bool) -> Iterator[dict[str, Any]]:
    if torch is None:
        return
    torch.backends.cudnn.benchmark = True
    for name, dtype in precisions():
        for n, size, c, k, r, s in RESNET:
            pad = r // 2
            out = (size + 2 * pad - r) // s + 1
            x = nchw(torch.randn(n, size, size, c, device="cuda", dtype=dtype))
            w = nchw(torch.randn(k, r, r, c, device="cuda", dtype=dtype))
            dy = nchw(torch.randn(n, out, out, k, device="cuda", dtype=dtype))
            flops = 2.0 * n * out * out * k * r * r * c
            shape = f"{n}x{size}x{size}x{c}->{k} {r}x{r}/{s}"

            def forward(x: Any = x, w: Any = w, s: int = s, pad: int = pad) -> Any:
                return F().conv2d(x, w, stride=s, padding=pad)

            yield baseline("cudnn conv forward", shape, name, forward, flops)
            for what, mask in (("dgrad", [True, False, False]), ("wgrad", [False, True, False])):

                def back(
                    dy: Any = dy,
                    x: Any = x,
                    w: Any = w,
                    s: int = s,
                    pad: int = pad,
                    mask: Any = mask,
                ) -> Any:
                    return torch.ops.aten.convolution_backward(
                        dy, x, w, None, [s, s], [pad, pad], [1, 1], False, [0, 0], 1, mask
                    )

                yield baseline(f"cudnn conv {what}", shape, name, back, flops)


def cudnn_lstm(tiny: bool) -> Iterator[dict[str, Any]]:
    if torch is None:
        return
    for name, dtype in precisions():
        for n, t, i, h in LSTMS:
            x = torch.randn(n, t, i, device="cuda", dtype=dtype, requires_grad=True)
            net = lstm_theirs(x, h)
            flops = 2.0 * n * t * 4 * h * (i + h)

            def forward(net: Any = net, x: Any = x) -> Any:
                with torch.no_grad():
                    return net(x)

            def both(net: Any = net, x: Any = x) -> Any:
                y, _ = net(x)
                return torch.autograd.grad(y, (x, *net.parameters()), y)

            shape = f"{n}x{t}x{i}->{h}"
            yield baseline("cudnn lstm forward", shape, name, forward, flops)
            yield baseline("cudnn lstm forward and backward", shape, name, both, 3 * flops)


def barrier(tiny: bool) -> Iterator[dict[str, Any]]:
    if tiny or not shutil.which("nvcc"):
        return
    here = Path(__file__).resolve().parent
    program = here.parent / "build" / "gpu_barrier"
    program.parent.mkdir(exist_ok=True)
    code = "".join(map(str, hl.cuda.get_device_properties()["capability"]))
    arch = f"-gencode=arch=compute_{code},code=sm_{code}"
    command = ["nvcc", "-O3", "-std=c++20", f"-I{CSRC}", arch, str(here / "gpu_barrier.cu")]
    subprocess.run([*command, "-o", str(program)], check=True)
    out = subprocess.run([str(program)], capture_output=True, text=True, timeout=60).stdout
    found = json.loads(out.splitlines()[-1])
    if "error" in found:
        yield {"id": "(grid barrier)", "status": "error", "err": found["error"]}
        return
    for name in ("counter", "grid_sync"):
        row = {"id": f"(grid barrier, {name})", "shape": f"{found['blocks']} blocks of 256"}
        yield {**row, "status": "ok", "us_med": found[f"{name}_ns"] / 1e3}


def measure(kind: str, name: str, tiny: bool) -> Iterator[dict[str, Any]]:
    """The rows of an item."""
    if torch is not None:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    if kind == "ceiling":
        yield from ceilings(tiny)
    elif kind == "baseline":
        lists: dict[str, Any] = {
            "cudnn_conv": cudnn_conv,
            "cudnn_lstm": cudnn_lstm,
            "barrier": barrier,
        }
        yield from lists[name](tiny)
    else:
        for spec in SPECS[name](tiny):
            try:
                yield one(spec, tiny)
            except NotImplementedError as missing:  # noqa: PERF203
                row = {"id": f"({name})", "shape": spec.shape, "status": "missing"}
                yield {**row, "err": str(missing)}
