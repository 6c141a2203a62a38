"""Write one-op ONNX models, as bytes.

onnxruntime runs models and does not build them; the onnx package would be one more requirement
for a handful of nodes. Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

OPSET = 20
IR_VERSION = 9
ELEMENT = {"float32": 1, "int32": 6, "int64": 7, "float64": 11}
_FLOAT, _INT, _STRING = 1, 2, 3  # AttributeProto.AttributeType

Array = npt.NDArray[Any]


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _attribute(name: str, value: float | int | str) -> bytes:
    if isinstance(value, int):
        body = _int(3, value) + _int(20, _INT)
    elif isinstance(value, float):
        body = _float(2, value) + _int(20, _FLOAT)
    else:
        body = _bytes(4, value) + _int(20, _STRING)
    return _bytes(5, _bytes(1, name) + body)


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> bytes:
    """A NodeProto; `domain="com.microsoft"` names an op of onnxruntime's own."""
    domain = attributes.pop("domain", "")
    names = b"".join(_bytes(1, i) for i in inputs) + b"".join(_bytes(2, o) for o in outputs)
    extra = b"".join(_attribute(name, value) for name, value in attributes.items())
    return names + _bytes(4, op) + extra + (_bytes(7, domain) if domain else b"")


def _value(name: str, dtype: str, shape: Sequence[int]) -> bytes:
    dims = b"".join(_bytes(1, _int(1, size)) for size in shape)
    tensor = _int(1, ELEMENT[dtype]) + _bytes(2, dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _constant(name: str, array: Array) -> bytes:
    dims = b"".join(_int(1, size) for size in array.shape)
    kind = _int(2, ELEMENT[str(array.dtype)])
    return dims + kind + _bytes(8, name) + _bytes(9, array.tobytes())


def model(
    nodes: Sequence[bytes],
    inputs: Mapping[str, Array],
    output: Array,
    constants: Mapping[str, Array],
) -> bytes:
    """A ModelProto whose output is named ``"out"``.

    Args:
        nodes: From :func:`node`, in order.
        inputs: Names and examples of what is fed.
        output: An array of the output's shape and dtype.
        constants: Weights, stored in the model: onnxruntime packs them once.
    """
    graph = b"".join(_bytes(1, n) for n in nodes) + _bytes(2, "case")
    graph += b"".join(_bytes(5, _constant(name, a)) for name, a in constants.items())
    graph += b"".join(_bytes(11, _value(n, str(a.dtype), a.shape)) for n, a in inputs.items())
    graph += _bytes(12, _value("out", str(output.dtype), output.shape))
    opset = _bytes(8, _int(2, OPSET)) + _bytes(8, _bytes(1, "com.microsoft") + _int(2, 1))
    return _int(1, IR_VERSION) + _bytes(2, "handloom") + opset + _bytes(7, graph)
