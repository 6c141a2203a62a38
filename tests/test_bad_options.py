"""Options of a wrong type: a TypeError with the op, the option, what came, what was expected."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import handloom as hl
from handloom import _C, kernels

X = np.ones((3, 4), np.float32)
IMAGE = np.ones((1, 4, 4, 2), np.float32)
W = np.ones((2, 3, 3, 2), np.float32)
ONE = np.ones(4, np.float32)


ORDINARY = (TypeError, ValueError, IndexError, MemoryError, OverflowError)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: kernels.sum(X, keepdims=[1]), r"sum: keepdims is \[1\], expected True or False"),
        (lambda: kernels.softmax(X, axis=0.5), r"softmax: axis is 0\.5, expected an int"),
        (lambda: kernels.softmax(X, axis=10**30), "softmax: axis is 10*, expected an int of 64"),
        (lambda: kernels.softmax_backward(X, X, axis="a"), "softmax_backward: axis is 'a', exp"),
        (lambda: kernels.layer_norm(X, eps="small"), "layer_norm: eps is 'small', expected a num"),
        (lambda: kernels.rms_norm(X, eps=X), r"rms_norm: eps is a ndarray of shape \(3, 4\), expe"),
        (lambda: kernels.group_norm(X, None), "group_norm: groups is None, expected an int"),
        (
            lambda: kernels.batch_norm(X, None, None, ONE, ONE, training=False, momentum="x"),
            "batch_norm: momentum is 'x', expected a number",
        ),
        (lambda: kernels.conv2d(IMAGE, W, groups="a"), "conv2d: groups is 'a', expected an int"),
        (lambda: kernels.max_pool2d(IMAGE, 2, ceil_mode=[1]), r"max_pool: ceil_mode is \[1\], exp"),
        (lambda: kernels.tril(X, k=None), "tril: k is None, expected an int"),
        (lambda: kernels.topk(X, [1]), r"topk: k is \[1\], expected an int"),
        (lambda: kernels.mse_loss(X, X, reduction=3), "mse_loss: reduction is 3, expected one of"),
        (lambda: kernels.clip(X, "a", 3), "clip: min is 'a', expected a number"),
        (lambda: kernels.pad(X, 1, mode=None), "pad: mode is None, expected one of constant"),
        (lambda: kernels.relu(X, out="x"), "relu: out is a str, expected a numpy.ndarray"),
        (lambda: kernels.linear(X, X, activation=[1]), r"linear: unknown activation \[1\]"),
        (lambda: kernels.linear_backward(X, X, X, need=3), "linear_backward: need is 3, expected"),
        (lambda: kernels.add_backward(X, X, X, need=None), "add_backward: need is None, expected"),
        (lambda: kernels.avg_pool2d(IMAGE, 2, divisor_override="3"), "divisor_override is '3'"),
        (lambda: kernels.lp_pool2d(IMAGE, "two", 2), "lp_pool2d: norm_type is 'two'"),
        (lambda: kernels.interpolate([1], size=3), "interpolate: x is a list, expected a numpy.nd"),
        (lambda: kernels.where_backward(X, X > 0, 5, None), "where_backward: a_shape is 5, expec"),
        (
            lambda: kernels.layer_norm_backward(X, X, None, saved=3),
            r"layer_norm_backward: saved is a int, expected the pair \(mean, rstd\)",
        ),
        (lambda: hl.tensor(X).sum(keepdim="yes"), "sum: keepdim.* is 'yes', expected True or Fal"),
    ],
)
def test_what_is_wrong_is_named(call, text):
    with pytest.raises((TypeError, ValueError), match=text):
        call()


def test_other_errors_pass_through():
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _C.softmax_forward(X)  # too few: nothing to name

    class Odd:
        def __repr__(self):
            raise RuntimeError("no text")

    with pytest.raises(TypeError):
        kernels.softmax(X, axis=Odd())


def test_an_error_leaves_nothing_behind():
    import sys

    axis = [1, 2, 3]
    before = sys.getrefcount(axis)
    for _ in range(100):
        with pytest.raises(TypeError):
            kernels.softmax(X, axis=axis)
    assert sys.getrefcount(axis) <= before + 1


@pytest.mark.parametrize(
    "name",
    [n for n in kernels.__all__ if n[0].islower() and n not in ("explain", "hyper_slots")],
)
def test_no_function_takes_objects_for_arrays(name):
    """Whatever it is called with, a function raises one of these or works."""
    function = getattr(kernels, name)
    for value in (None, 3, "x", [1.0], object(), X.tolist(), np.array("x"), np.array([object()])):
        for count in (1, 2, 3, 5):
            with contextlib.suppress(*ORDINARY):
                function(*[value] * count)
