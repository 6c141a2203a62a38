"""onnxruntime as a peer: one-op models, bound inputs and outputs, weights packed beforehand."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import numpy as np

from ..cases import Case
from ..inputs import Inputs
from ..onnx import model, node
from . import Array, Call, Prepared, Unsupported, in_room

_ELEMENTWISE = {
    "add": "Add", "mul": "Mul", "sub": "Sub", "div": "Div",
    "tanh": "Tanh", "exp": "Exp", "erf": "Erf", "sigmoid": "Sigmoid", "relu": "Relu",
    "gelu": "Gelu", "sqrt": "Sqrt", "abs": "Abs",
}  # fmt: skip
_REDUCE = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax"}
_ACTIVATION = {"relu": "Relu", "tanh": "Tanh", "gelu": "Gelu"}
_QUIET = 3  # errors only


class OnnxRuntime:
    """onnxruntime's CPU provider."""

    def __init__(self, threads: int) -> None:
        self.ort: Any = importlib.import_module("onnxruntime")
        self.threads = threads

    def versions(self) -> dict[str, str]:
        return {"onnxruntime": str(self.ort.__version__)}

    def settings(self) -> dict[str, str]:
        return {"threads": str(self.threads), "binding": "inputs and outputs bound once"}

    def prepare(self, case: Case, inputs: list[Inputs]) -> Prepared:
        made = in_room("onnxruntime", self, case, inputs)
        if made is not None:
            return made
        nodes, fed, constants, output = _graph(case, inputs[0])
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = _QUIET
        first = {name: _stored(inputs[0][name]) for name in fed}
        proto = model(nodes, first, output, constants)
        try:
            session = self.ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes, raised from C++
            if "NOT_IMPLEMENTED" in str(error) or "NotImplemented" in type(error).__name__:
                raise Unsupported(f"onnxruntime has no {case.dtype} {case.op}") from None
            raise
        bound = [self._bind(session, fed, arrays, output) for arrays in inputs]
        calls: list[Call] = [partial(session.run_with_iobinding, b) for b in bound]

        def check() -> list[Array]:
            calls[0]()
            return [np.asarray(value) for value in bound[0].copy_outputs_to_cpu()]

        return Prepared(calls, check)

    def _bind(self, session: Any, fed: tuple[str, ...], arrays: Inputs, output: Array) -> Any:
        binding = session.io_binding()
        for name in fed:
            value = self.ort.OrtValue.ortvalue_from_numpy(_stored(arrays[name]))
            binding.bind_ortvalue_input(name, value)
        out = self.ort.OrtValue.ortvalue_from_numpy(np.empty_like(output))
        binding.bind_ortvalue_output("out", out)
        return binding


def _stored(array: Array) -> Array:
    """The contiguous array behind a transposed view."""
    return np.ascontiguousarray(array if array.flags.c_contiguous else array.swapaxes(-1, -2))


def _graph(case: Case, i: Inputs) -> tuple[list[bytes], tuple[str, ...], dict[str, Array], Array]:
    """Nodes, names of the fed inputs, constants, and an array like the output."""
    if case.op == "matmul":
        return _matmul(i)
    if case.op in _ELEMENTWISE:
        names = ("a", "b") if "a" in i else ("x",)
        shape = np.broadcast_shapes(*(i[name].shape for name in names))
        out = np.empty(shape, case.dtype)
        return [node(_ELEMENTWISE[case.op], names, ["out"])], names, {}, out
    if case.op in _REDUCE:
        axis = case.option("axis")
        axes = tuple(range(i["x"].ndim)) if axis is None else (axis,)
        constants = {"axes": np.array(axes, np.int64)}
        nodes = [node(_REDUCE[case.op], ["x", "axes"], ["out"], keepdims=0)]
        return nodes, ("x",), constants, np.asarray(i["x"].sum(axes))
    if case.op == "softmax":
        return [node("Softmax", ["x"], ["out"], axis=-1)], ("x",), {}, i["x"]
    if case.op == "linear":
        activation = case.option("activation")
        gemm_out = "z" if activation else "out"
        nodes = [node("Gemm", ["x", "w", "b"], [gemm_out], transB=1)]
        if activation:
            nodes.append(node(_ACTIVATION[activation], ["z"], ["out"]))
        out = np.empty((i["x"].shape[0], i["w"].shape[0]), case.dtype)
        return nodes, ("x",), {"w": i["w"], "b": i["b"]}, out
    raise Unsupported(f"onnxruntime's twin has no {case.op}")


def _matmul(i: Inputs) -> tuple[list[bytes], tuple[str, ...], dict[str, Array], Array]:
    nodes, names = [], []
    for name in "ab":
        # A transposing node in front of MatMul is fused into it when the session starts.
        if i[name].flags.c_contiguous:
            names.append(name)
        else:
            nodes.append(node("Transpose", [name], [f"{name}t"]))
            names.append(f"{name}t")
    nodes.append(node("MatMul", names, ["out"]))
    return nodes, ("a", "b"), {}, i["a"] @ i["b"]
