"""What the elementwise kernels refuse, and how they say so."""

from __future__ import annotations

import numpy as np
import pytest

from handloom import _C, kernels

X = np.ones((3, 4), np.float32)


def read_only():
    x = np.ones((3, 4), np.float32)
    x.flags.writeable = False
    return x


REFUSED = {
    "exp: x is a list, expected a numpy.ndarray": lambda: kernels.exp([1.0]),
    "exp: x has dtype int64, expected float32": lambda: kernels.exp(np.arange(3)),
    "add: b is float64 but a is float32": lambda: kernels.add(X, np.ones(4)),
    "add: neither a nor b is a numpy.ndarray": lambda: kernels.add(1.0, 2.0),
    "add: b is a str, expected a numpy.ndarray or a": lambda: kernels.add(X, "1"),
    "add: b is a complex, expected": lambda: kernels.add(X, 1j),
    "where: mask has dtype float64, expected": lambda: kernels.where(np.ones(3), X, X),
    "tanh_backward: needs x or y": lambda: kernels.tanh_backward(X, None),
    "gelu_backward: needs x": lambda: kernels.gelu_backward(X, None),
    "exp: out has dtype float64": lambda: kernels.exp(X, out=np.empty((3, 4))),
}
WRONG = {
    r"add: a \(3, 4\) and b \(4, 3\) do not broadcast": lambda: kernels.add(X, X.T),
    r"exp: out has shape \(2, 4\), expected \(3, 4\)": lambda: kernels.exp(X, out=X[:2]),
    "exp: out is read-only": lambda: kernels.exp(X, out=read_only()),
    r"y has shape \(4,\) but dy \(3, 4\)": lambda: kernels.relu_backward(X, X, y=X[0]),
    r"x has shape \(4,\) but dy \(3, 4\)": lambda: kernels.gelu_backward(X, X[0]),
    r"dy has shape \(4,\), expected \(3, 4\)": lambda: kernels.mul_backward(X[0], X, X),
    "gelu: approximate is 'erf', choose": lambda: kernels.gelu(X, approximate="erf"),
    r"clip: min = 2\.0 is not at most max = 1\.0": lambda: kernels.clip(X, 2, 1),
    "need has 'c', choose from a, b": lambda: kernels.add_backward(X, X, X, need=("c",)),
    "where: a .* and b .* do not broadcast": lambda: kernels.where(X > 0, X, X[:2]),
    "where: mask .* do not broadcast": lambda: kernels.where(X[:2] > 0, X, X),
    "where_backward: dy .* do not broadcast": lambda: kernels.where_backward(
        X, X > 0, (2, 4), None
    ),
    "where_backward: a_shape .* is not a shape that": lambda: kernels.where_backward(
        X[:1], X[:1] > 0, (3, 4), None
    ),
    "heaviside: has no gradient": lambda: _C.unary_backward(_C.unary_ops["heaviside"], X, X),
    "there is no op number 999": lambda: _C.unary_forward(999, X),
    "there is no op number -1": lambda: _C.binary_forward(-1, X, X),
    "exp: x has dtype .* in foreign byte order": lambda: kernels.exp(X.astype(">f4")),
}


@pytest.mark.parametrize("text", REFUSED)
def test_wrong_types_are_refused(text):
    with pytest.raises(TypeError, match=text):
        REFUSED[text]()


@pytest.mark.parametrize("text", WRONG)
def test_wrong_values_are_refused(text):
    with pytest.raises(ValueError, match=text):
        WRONG[text]()


def test_overlapping_out_is_refused():
    memory = np.ones(20, np.float32)
    with pytest.raises(ValueError, match="exp: out overlaps x in memory"):
        kernels.exp(memory[:10], out=memory[5:15])
    with pytest.raises(ValueError, match="add: out overlaps b in memory"):
        kernels.add(memory[:10], memory[9::-1], out=memory[:10])
    with pytest.raises(ValueError, match="exp: out is a broadcast view"):
        kernels.exp(memory[:10], out=np.lib.stride_tricks.as_strided(memory, (10,), (0,)))
