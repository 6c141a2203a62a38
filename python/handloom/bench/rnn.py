"""Recurrent networks: whole sequences forward and back, and training steps of a classifier.

Everyone gets the same weights, one layer in one direction. PyTorch runs its layers (the LSTM is
oneDNN's), JAX a compiled ``lax.scan`` whose input products are one matmul, onnxruntime its own ops.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from .cases import Case, Shape, Target
from .contenders import Array, Call, Prepared, Unsupported, once, trajectory

Inputs = dict[str, Any]

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
CLASSES = 10
_ONNX = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
# onnxruntime wants i o f c and z r h.
_ONNX_ORDER = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}


def sequences(
    kind: str, n: int, t: int, i: int, h: int, *, forward: Any, both: Any, **rest: Any
) -> list[Case]:
    """A forward, and a forward + backward of all gradients, over x (n, t, i) with state size h."""
    rows = GATES[kind] * h
    work = 2.0 * n * t * rows * (i + h)
    text = f"{kind.upper()} T{t} B{n} {i}→{h}"
    return [
        Case(
            "rnn",
            text + (" + backward" if backward else ""),
            f"{kind}_grad" if backward else kind,
            ((n, t, i), (rows, i), (rows, h), (rows,), (rows,)),
            flops=work * (3 if backward else 1),
            bytes=4.0 * (3 if backward else 1) * (n * t * (i + h) + rows * (i + h)),
            # A rounding error of one step is carried through those that follow.
            depth=(i + h) * t,
            roofs=("peak",),
            target=both if backward else forward,
            **rest,
        )
        for backward in (False, True)
    ]


def step(kind: str, n: int, t: int, i: int, h: int, target: Target) -> Case:
    """A training step: the last state of a layer, a linear layer, cross entropy, Adam."""
    rows = GATES[kind] * h
    shapes: tuple[Shape, ...] = ((n, t, i), (rows, i), (rows, h), (rows,), (rows,))
    return Case(
        "rnn",
        f"{kind.upper()} step T{t} B{n} {i}→{h}→{CLASSES}",
        "step",
        (*shapes, (CLASSES, h), (CLASSES,)),
        options=(("kind", kind), ("optimiser", "adam"), ("lr", 1e-3), ("batches", 32)),
        flops=6.0 * n * (t * rows * (i + h) + h * CLASSES),
        depth=(i + h) * t,
        roofs=("peak",),
        target=target,
    )


def _cases() -> tuple[Case, ...]:
    made: list[Case] = []
    for kind in GATES:
        lstm = kind == "lstm"
        over: dict[str, Any] = {"over": ("torch",)}
        batched = {
            "forward": Target(ratio=1.0 if lstm else 2.5, **over),
            "both": Target(ratio=1.1 if lstm else 2.5, **over),
        }
        one = {"forward": None, "both": Target(ratio=1.5 if lstm else 4.0, **over)}
        large = {name: Target(roof=0.70, ratio=t.ratio, **over) for name, t in batched.items()}
        made += sequences(kind, 64, 28, 28, 128, quick=lstm, **batched)
        made += sequences(kind, 32, 64, 128, 256, **batched)
        made += sequences(kind, 32, 128, 512, 512, **large)
        made += sequences(kind, 1, 100, 64, 64, **one)
        made += sequences(kind, 1, 1000, 256, 256, forward=None, both=None)
        ratio = 1.3 if lstm else 3.0
        made.append(step(kind, 64, 28, 28, 128, Target(ratio=ratio, **over)))
    return tuple(made)


CASES = _cases()


def make_inputs(rng: np.random.Generator, case: Case) -> Inputs:
    """``x w_ih w_hh b_ih b_hh``, and ``dy``; for a step ``params`` and ``batches``."""
    hidden = case.shapes[2][1]
    bound = hidden**-0.5
    x = case.shapes[0]
    weights = [rng.uniform(-bound, bound, s).astype(np.float32) for s in case.shapes[1:]]
    if case.op == "step":
        # Labels of chance: a network that could learn them would drive its gradients to denormals.
        batches = [
            (rng.standard_normal(x, dtype=np.float32), rng.integers(0, CLASSES, x[0]))
            for _ in range(case.option("batches"))
        ]
        return {"params": weights, "batches": batches}
    made: Inputs = {"x": np.asarray(rng.standard_normal(x, dtype=np.float32))}
    made |= dict(zip(("w_ih", "w_hh", "b_ih", "b_hh"), weights))
    if case.op.endswith("_grad"):
        made["dy"] = np.asarray(rng.standard_normal((*x[:2], hidden), dtype=np.float32))
    return made


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The public functions on arrays; its layers for the steps."""
    if case.op == "step":
        return _handloom_step(contender, case, inputs[0])
    kernels = contender.kernels
    kind, grad = case.op.removesuffix("_grad"), case.op.endswith("_grad")
    function, backward = getattr(kernels, kind), getattr(kernels, f"{kind}_backward")
    states = (None,) * (2 if kind == "lstm" else 1)

    def call(i: Inputs) -> Call:
        x, weights = i["x"], [i[n] for n in ("w_ih", "w_hh", "b_ih", "b_hh")]
        if not grad:
            return lambda: function(x, *states, *weights)[0]
        dy, need = i["dy"], ("x", "w_ih", "w_hh", "b_ih", "b_hh")

        def both() -> tuple[Any, ...]:
            y, *_, saved = function(x, *states, *weights, return_saved=True)
            grads = backward(dy, *states, saved, need=need)
            return (y, grads[0], *grads[1 + len(states) :])

        return both

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))


def _handloom_step(contender: Any, case: Case, inputs: Inputs) -> Prepared:
    kind = case.option("kind")

    def make() -> Callable[[], Any]:
        nn = contender.hl.nn
        layer = getattr(nn, kind.upper())(case.shapes[0][2], case.shapes[2][1])
        head = nn.Linear(case.shapes[2][1], CLASSES)
        parameters = [*layer.parameters(), *head.parameters()]
        names = [*layer.state_dict(), "weight", "bias"]
        arrays = dict(zip(names, inputs["params"]))
        head.load_state_dict({n: arrays.pop(n) for n in ("weight", "bias")})
        layer.load_state_dict(arrays)

        def loss(x: Any, target: Any) -> Any:
            state = layer(x)[1]
            h = state[0] if kind == "lstm" else state
            return nn.functional.cross_entropy(head(h[0]), target)

        made: Callable[[], Any] = contender.training(case, parameters, loss, inputs["batches"])
        return made

    check, timed = make(), make()
    return Prepared([timed], trajectory(lambda: check().item()))


def _torch_layer(library: Any, case: Case, kind: str, arrays: list[Array]) -> Any:
    layer = getattr(library.nn, kind.upper())(
        case.shapes[0][2], case.shapes[2][1], batch_first=True
    )
    with library.no_grad():
        for parameter, value in zip(layer.parameters(), arrays):
            parameter.copy_(library.from_numpy(value))
    return layer


def torch(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """``torch.nn.RNN``, ``LSTM`` and ``GRU``, batch first, with autograd for the gradients."""
    library = contender.torch
    if case.op == "step":
        return _torch_step(contender, case, inputs[0])
    kind, grad = case.op.removesuffix("_grad"), case.op.endswith("_grad")

    def call(i: Inputs) -> Call:
        layer = _torch_layer(library, case, kind, [i[n] for n in ("w_ih", "w_hh", "b_ih", "b_hh")])
        x = library.from_numpy(i["x"])
        if not grad:
            return lambda: layer(x)[0]
        dy, wanted = library.from_numpy(i["dy"]), [x.requires_grad_(), *layer.parameters()]

        def both() -> tuple[Any, ...]:
            y = layer(x)[0]
            return (y, *library.autograd.grad(y, wanted, dy))

        return both

    calls = [call(i) for i in inputs]
    within = nullcontext if grad else library.inference_mode
    return Prepared(calls, once(calls[0], lambda v: v.detach().numpy()), "", within)


def _torch_step(contender: Any, case: Case, inputs: Inputs) -> Prepared:
    from .contenders.torch import VARIANTS, pace

    library, kind = contender.torch, case.option("kind")

    def make(variant: str) -> Callable[[], Any]:
        layer = _torch_layer(library, case, kind, inputs["params"][:4])
        head = library.nn.Linear(case.shapes[2][1], CLASSES)
        with library.no_grad():
            for parameter, value in zip(head.parameters(), inputs["params"][4:]):
                parameter.copy_(library.from_numpy(value))

        def loss(x: Any, target: Any) -> Any:
            state = layer(x)[1]
            h = state[0] if kind == "lstm" else state
            return library.nn.functional.cross_entropy(head(h[0]), target)

        batches = [(library.from_numpy(x), library.from_numpy(t)) for x, t in inputs["batches"]]
        parameters = [*layer.parameters(), *head.parameters()]
        made: Callable[[], Any] = contender.training(case, variant, parameters, loss, batches)
        return made

    best = min(VARIANTS, key=lambda name: pace(make(name)))
    check, timed = make(best), make(best)
    return Prepared([timed], trajectory(lambda: check().item()), f"optimiser: {best}")


def _scan(library: Any, kind: str) -> Callable[..., Any]:
    """All outputs (T, N, H) of x (N, T, I), with one product for all inputs."""
    jnp, lax, nn = library.numpy, library.lax, library.nn

    def cell(w_hh: Any, b_hh: Any) -> Callable[[Any, Any], Any]:
        def rnn(h: Any, a: Any) -> Any:
            h = jnp.tanh(a + h @ w_hh.T + b_hh)
            return h, h

        def lstm(state: Any, a: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(a + h @ w_hh.T + b_hh, 4, -1)
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
            h = nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        def gru(h: Any, a: Any) -> Any:
            (ar, az, an), u = jnp.split(a, 3, -1), h @ w_hh.T + b_hh
            ur, uz, un = jnp.split(u, 3, -1)
            z = nn.sigmoid(az + uz)
            h = (1 - z) * jnp.tanh(an + nn.sigmoid(ar + ur) * un) + z * h
            return h, h

        return {"rnn": rnn, "lstm": lstm, "gru": gru}[kind]

    def forward(x: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Any:
        a = (x @ w_ih.T + b_ih).transpose(1, 0, 2)
        h = jnp.zeros((x.shape[0], w_hh.shape[1]), x.dtype)
        return lax.scan(cell(w_hh, b_hh), (h, h) if kind == "lstm" else h, a)[1]

    return forward


def jax(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """A compiled scan, and its transpose."""
    library = contender.jax
    if case.op == "step":
        outputs = _scan(library, case.option("kind"))

        def loss(params: Any, x: Any, target: Any) -> Any:
            *weights, w, b = params
            return contender.cross_entropy(outputs(x, *weights)[-1] @ w.T + b, target)

        def make() -> Callable[[], Any]:
            made: Callable[[], Any] = contender.training(
                case, inputs[0]["params"], loss, inputs[0]["batches"]
            )
            return made

        check, timed = make(), make()
        return Prepared([timed], trajectory(lambda: float(check())))
    kind, grad = case.op.removesuffix("_grad"), case.op.endswith("_grad")
    outputs = _scan(library, kind)

    def forward(*arrays: Any) -> Any:
        return outputs(*arrays).transpose(1, 0, 2)

    def both(dy: Any, *arrays: Any) -> Any:
        y, pull = library.vjp(forward, *arrays)
        return (y, *pull(dy))

    jitted = library.jit(both if grad else forward)

    def call(i: Inputs) -> Call:
        names = (*(("dy",) if grad else ()), "x", "w_ih", "w_hh", "b_ih", "b_hh")
        arrays = [library.device_put(i[name]) for name in names]
        return lambda: library.block_until_ready(jitted(*arrays))

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))


def onnxruntime(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """Its recurrent ops, forward only; time comes first there, which is free to its inputs."""
    from .onnx import model, node

    kind = case.op
    if kind not in _ONNX:
        raise Unsupported(f"onnxruntime has no {case.op}: it does not train")
    n, t, _ = case.shapes[0]
    hidden = case.shapes[2][1]
    order = _ONNX_ORDER[kind]

    def gates(array: Array) -> Array:
        parts = np.split(array, GATES[kind])
        return np.concatenate([parts[k] for k in order])[None]

    i = inputs[0]
    constants = {
        "w": gates(i["w_ih"]),
        "r": gates(i["w_hh"]),
        "b": np.concatenate([gates(i["b_ih"]), gates(i["b_hh"])], 1),
    }
    extra = {"linear_before_reset": 1} if kind == "gru" else {}
    nodes = [node(_ONNX[kind], ["x", "w", "r", "b"], ["out"], hidden_size=hidden, **extra)]
    out = np.empty((t, 1, n, hidden), np.float32)
    ort = contender.ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = contender.threads
    options.log_severity_level = 3  # errors only

    def steps_first(arrays: Inputs) -> Array:
        return np.ascontiguousarray(arrays["x"].swapaxes(0, 1))

    proto = model(nodes, {"x": steps_first(i)}, out, constants)
    session = ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])

    def bound(arrays: Inputs) -> Any:
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(steps_first(arrays)))
        binding.bind_ortvalue_output("out", ort.OrtValue.ortvalue_from_numpy(np.empty_like(out)))
        return binding

    bindings = [bound(arrays) for arrays in inputs]

    def call(binding: Any) -> Call:
        return lambda: session.run_with_iobinding(binding)

    calls = [call(b) for b in bindings]

    def check() -> list[Array]:
        calls[0]()
        (y,) = bindings[0].copy_outputs_to_cpu()
        return [np.ascontiguousarray(y[:, 0].swapaxes(0, 1))]

    return Prepared(calls, check)
