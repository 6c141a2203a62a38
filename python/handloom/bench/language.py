"""What language needs beyond attention: embeddings, CTC, and steps of a character model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from .cases import Case, Target
from .contenders import Call, Prepared, once, trajectory

Inputs = dict[str, Any]
LETTERS = 96


def embedding(n: int, t: int, words: int, features: int, *, backward: bool) -> Case:
    """Rows of a table for (n, t) tokens; with `backward` the whole table's gradient."""
    rows = 4.0 * n * t * features
    return Case(
        "language",
        f"embedding {n}×{t} of {words}×{features}" + (" backward" if backward else ""),
        "embedding_backward" if backward else "embedding",
        ((n, t), (words, features)),
        bytes=rows + 4.0 * words * features if backward else 2 * rows,
        depth=n * t if backward else 1,
        roofs=("copy",),
        target=Target(ratio=1.0, over=("torch",)),
    )


def ctc(n: int, t: int, classes: int, labels: int) -> Case:
    """Log-softmax, loss, and the gradient by the logits: PyTorch's is right for these only."""
    return Case(
        "language",
        f"CTC {n}×{t}×{classes}, {labels} labels + gradient",
        "ctc",
        ((n, t, classes), (n, labels)),
        depth=t * t * classes,  # logarithms of sums of exponentials, one step upon the other
        roofs=(),
        target=Target(ratio=1.0, over=("torch",)),
    )


def step(n: int, t: int, features: int, heads: int, layers: int, ratio: float) -> Case:
    """A training step of a decoder-only Transformer on characters: norms in front, tied output."""
    products = layers * 12 * features**2 + LETTERS * features
    seen = layers * t * features  # by attention: half of the pairs, twice, of all heads
    return Case(
        "language",
        f"character Transformer {layers}×{features} B{n} T{t} adam",
        "step",
        ((n, t), (features, heads, layers)),
        options=(("optimiser", "adam"), ("lr", 1e-3), ("batches", 16)),
        flops=6.0 * n * t * (products + seen),
        depth=features * layers * 8,
        roofs=("peak",),
        target=Target(ratio=ratio, over=("torch",)),
    )


CASES = (
    embedding(64, 128, 10_000, 256, backward=False),
    embedding(64, 128, 10_000, 256, backward=True),
    ctc(32, 100, 40, 20),
    step(16, 128, 128, 4, 4, 2.5),
    step(8, 128, 384, 6, 6, 1.5),
)


def make_inputs(rng: np.random.Generator, case: Case) -> Inputs:
    """Arrays by name; for a step ``params`` by name and ``batches``."""
    if case.op == "ctc":
        (n, t, classes), (_, labels) = case.shapes
        return {
            "logits": rng.standard_normal((n, t, classes), dtype=np.float32),
            "targets": rng.integers(1, classes, (n, labels)),
            "steps": np.full(n, t),
            "sizes": rng.integers(labels // 2, labels + 1, n),
        }
    if case.op == "step":
        (n, t), (features, _, layers) = case.shapes
        batches = []
        for _ in range(case.option("batches")):
            # Of chance: what could be learnt would drive the gradients to denormals.
            text = rng.integers(0, LETTERS, (n, t + 1))
            batches.append((text[:, :-1].copy(), text[:, 1:].copy()))
        return {"params": _weights(rng, t, features, layers), "batches": batches}
    (n, t), (words, features) = case.shapes
    return {
        "tokens": rng.integers(0, words, (n, t)),
        "table": rng.standard_normal((words, features), dtype=np.float32),
        "dy": rng.standard_normal((n, t, features), dtype=np.float32),
    }


def _weights(rng: np.random.Generator, t: int, e: int, layers: int) -> dict[str, Any]:
    """By PyTorch's names, which are `CausalLM`'s."""
    shapes: dict[str, tuple[int, ...]] = {
        "tokens.table.weight": (LETTERS, e),
        "tokens.positions.weight": (t, e),
    }
    for k in range(layers):
        block: dict[str, tuple[int, ...]] = {
            "self_attn.in_proj_weight": (3 * e, e),
            "self_attn.in_proj_bias": (3 * e,),
            "self_attn.out_proj.weight": (e, e),
            "self_attn.out_proj.bias": (e,),
            "linear1.weight": (4 * e, e),
            "linear1.bias": (4 * e,),
            "linear2.weight": (e, 4 * e),
            "linear2.bias": (e,),
            "norm1.weight": (e,),
            "norm1.bias": (e,),
            "norm2.weight": (e,),
            "norm2.bias": (e,),
        }
        shapes |= {f"layers.{k}.{name}": shape for name, shape in block.items()}
    shapes |= {"norm.weight": (e,), "norm.bias": (e,)}
    made = {}
    for name, shape in shapes.items():
        if "norm" in name:
            made[name] = np.full(shape, float(name.endswith("weight")), np.float32)
        else:
            made[name] = (0.02 * rng.standard_normal(shape)).astype(np.float32)
    return made


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The public functions on arrays; `models.CausalLM` for the step."""
    kernels = contender.kernels
    if case.op == "step":
        return _handloom_step(contender, case, inputs[0])

    def call(i: Inputs) -> Call:
        if case.op == "embedding":
            return lambda: kernels.take(i["table"], i["tokens"])
        if case.op == "embedding_backward":
            return lambda: kernels.take_backward(i["dy"], i["tokens"], len(i["table"]))
        rest = [i[name] for name in ("targets", "steps", "sizes")]
        one = np.ones((), np.float32)

        def both() -> tuple[Any, Any]:
            logp = kernels.log_softmax(i["logits"])
            loss, saved = kernels.ctc_loss(logp, *rest, return_saved=True)
            grad = kernels.ctc_loss_backward(one, logp, *rest, saved)
            return loss, kernels.log_softmax_backward(grad, logp)

        return both

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))


def _handloom_step(contender: Any, case: Case, inputs: Inputs) -> Prepared:
    (_, t), (features, heads, layers) = case.shapes

    def make() -> Callable[[], Any]:
        hl = contender.hl
        from handloom.models import CausalLM

        model = CausalLM(LETTERS, features, heads, layers, t)
        model.load_state_dict(inputs["params"])

        def loss(x: Any, target: Any) -> Any:
            return hl.nn.functional.cross_entropy(model(x), target)

        made: Callable[[], Any] = contender.training(
            case, list(model.parameters()), loss, inputs["batches"]
        )
        return made

    check, timed = make(), make()
    return Prepared([timed], trajectory(lambda: check().item()))


def torch(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """``torch.nn.functional``; ``TransformerEncoderLayer`` with its causal kernel for the step."""
    library = contender.torch
    functional = library.nn.functional
    if case.op == "step":
        return _torch_step(contender, case, inputs[0])

    def call(i: Inputs) -> Call:
        tensors = {name: library.from_numpy(array) for name, array in i.items()}
        if case.op == "embedding":
            return lambda: functional.embedding(tensors["tokens"], tensors["table"])
        if case.op == "embedding_backward":
            backward, words = library.ops.aten.embedding_dense_backward, len(i["table"])
            return lambda: backward(tensors["dy"], tensors["tokens"], words, -1, False)
        logits = tensors["logits"].transpose(0, 1).contiguous().requires_grad_()
        rest = [tensors[name] for name in ("targets", "steps", "sizes")]

        def both() -> tuple[Any, Any]:
            loss = functional.ctc_loss(functional.log_softmax(logits, -1), *rest)
            (grad,) = library.autograd.grad(loss, logits)
            return loss, grad.transpose(0, 1)

        return both

    calls = [call(i) for i in inputs]
    within = nullcontext if case.op == "ctc" else library.inference_mode
    return Prepared(calls, once(calls[0], lambda v: v.detach().numpy()), "", within)


def _torch_step(contender: Any, case: Case, inputs: Inputs) -> Prepared:
    from .contenders.torch import VARIANTS, pace

    library = contender.torch
    nn, functional = library.nn, library.nn.functional
    (_, t), (features, heads, layers) = case.shapes
    mask = nn.Transformer.generate_square_subsequent_mask(t)

    def make(variant: str) -> Callable[[], Any]:
        arrays = {name: library.from_numpy(a.copy()) for name, a in inputs["params"].items()}
        table, positions = (
            nn.Parameter(arrays.pop(f"tokens.{name}.weight")) for name in ("table", "positions")
        )
        model = nn.Module()
        model.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                features, heads, 4 * features, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        model.norm = nn.LayerNorm(features)
        model.load_state_dict(arrays)

        def loss(tokens: Any, target: Any) -> Any:
            x = functional.embedding(tokens, table) + positions
            for layer in model.layers:
                x = layer(x, mask, is_causal=True)
            scores = functional.linear(model.norm(x), table)
            return functional.cross_entropy(scores.flatten(0, 1), target.flatten())

        batches = [(library.from_numpy(x), library.from_numpy(y)) for x, y in inputs["batches"]]
        parameters = [table, positions, *model.parameters()]
        made: Callable[[], Any] = contender.training(case, variant, parameters, loss, batches)
        return made

    best = min(VARIANTS, key=lambda name: pace(make(name)))
    check, timed = make(best), make(best)
    return Prepared([timed], trajectory(lambda: check().item()), f"optimiser: {best}")
