"""Initial values of weights, drawn in place with the thread's generator.

Our layouts are out-first: linear (O, I), convolution (O, kH, kW, I/groups). fan_in is the number of
inputs of one output, fan_out the number of outputs that one input reaches; transposed convolutions,
whose weight is (I, kH, kW, O/groups), swap the two, as in PyTorch.
"""

from __future__ import annotations

import math

import numpy as np

from handloom.nn._normal import inverse_normal_cdf, normal_cdf
from handloom.ops.multi import copy_, fill_
from handloom.ops.random import normal_array, uniform_array
from handloom.tensor import Array, Tensor

_GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 0.75,
    **{f"conv{n}d": 1.0 for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": 1.0 for n in (1, 2, 3)},
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """How much to scale weights so that the signal keeps its variance through a nonlinearity.

    Args:
        nonlinearity: "linear", "conv2d" …, "sigmoid" (1), "tanh" (5/3), "relu" (√2), "selu" (3/4),
            or "leaky_relu": √(2/(1 + slope²)).
        param: The slope of "leaky_relu", 0.01 if None.

    Raises:
        ValueError: Another name.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        names = ", ".join([*_GAINS, "leaky_relu"])
        raise ValueError(
            f"calculate_gain: nonlinearity {nonlinearity!r} is unknown, expected one of {names}"
        )
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """fan_in and fan_out of an out-first weight: (O, …, I).

    Raises:
        ValueError: The tensor has fewer than two axes.
    """
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(f"init: a weight of shape {shape} has no fans, expected two axes or more")
    field = math.prod(shape[1:-1])
    return shape[-1] * field, shape[0] * field


def _fan(tensor: Tensor, mode: str, op: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{op}: mode is {mode!r}, expected 'fan_in' or 'fan_out'")
    return fans(tensor)[mode == "fan_out"]


def _draw(tensor: Tensor, array: Array) -> Tensor:
    return copy_(tensor, array)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Uniform in [a, b)."""
    return _draw(tensor, uniform_array(tensor.shape, tensor.dtype, a, b))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal. Keras: RandomNormal (std 0.05)."""
    return _draw(tensor, normal_array(tensor.shape, tensor.dtype, mean, std))


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    """Normal, cut off outside [a, b] (in the units of the values, not of std).

    Keras' TruncatedNormal cuts at two standard deviations: a = mean − 2·std.
    """
    if not a < b:
        raise ValueError(f"trunc_normal_: a is {a} and b is {b}, expected a < b")
    low, high = normal_cdf((a - mean) / std), normal_cdf((b - mean) / std)
    u = uniform_array(tensor.shape, np.float64, low, high)
    x = np.clip(inverse_normal_cdf(u) * std + mean, a, b)
    return _draw(tensor, x.astype(tensor.dtype))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere."""
    return fill_(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros. A network whose weights all are zero cannot learn: its units stay equal."""
    return fill_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return fill_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix, as far as the shape allows. Keras: Identity."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: the tensor has shape {tensor.shape}, expected a matrix")
    return _draw(tensor, np.eye(*tensor.shape, dtype=tensor.dtype))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform in ±gain·√(6/(fan_in + fan_out)). Glorot & Bengio (2010); Keras: GlorotUniform."""
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with std gain·√(2/(fan_in + fan_out)). Keras: GlorotNormal (truncated)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Uniform in ±gain·√(3/fan). He et al. (2015); Keras: HeUniform.

    Args:
        tensor: The weight.
        a: Negative slope, for "leaky_relu".
        mode: "fan_in" keeps the variance forward, "fan_out" backward.
        nonlinearity: What follows, see `calculate_gain`.
    """
    fan = _fan(tensor, mode, "kaiming_uniform_")
    if tensor.numel() == 0:
        return tensor
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / fan)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Normal with std gain/√fan. He et al. (2015); Keras: HeNormal (truncated)."""
    fan = _fan(tensor, mode, "kaiming_normal_")
    if tensor.numel() == 0:
        return tensor
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(fan))


def lecun_uniform_(tensor: Tensor) -> Tensor:
    """Uniform in ±√(3/fan_in). LeCun et al. (1998)."""
    bound = math.sqrt(3.0 / fans(tensor)[0])
    return uniform_(tensor, -bound, bound)


def lecun_normal_(tensor: Tensor) -> Tensor:
    """Normal with std 1/√fan_in: what SELU networks want."""
    return normal_(tensor, 0.0, 1.0 / math.sqrt(fans(tensor)[0]))


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Rows (or columns, whichever are fewer) orthonormal, times gain. Saxe et al. (2014).

    The weight is seen as (O, everything else).
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: shape {tensor.shape}, expected two axes or more")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    flat = normal_array((rows, columns), np.float64)
    q, r = np.linalg.qr(flat.T if rows < columns else flat)
    q = q * np.sign(np.diag(r))  # makes the distribution uniform
    q = q.T if rows < columns else q
    return _draw(tensor, (gain * q).reshape(tensor.shape).astype(tensor.dtype))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01) -> Tensor:
    """Normal, with a share of each column, the weights of one input, set to 0. Martens (2010)."""
    if tensor.ndim != 2:
        raise ValueError(f"sparse_: the tensor has shape {tensor.shape}, expected a matrix")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: sparsity is {sparsity}, expected 0 to 1")
    zeros = math.ceil(sparsity * tensor.shape[0])
    x = normal_array(tensor.shape, tensor.dtype, 0.0, std)
    order = np.argsort(uniform_array(tensor.shape, np.float64), axis=0)
    np.put_along_axis(x, order[:zeros], 0, axis=0)
    return _draw(tensor, x)


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution's identity: each output reads the middle of one input, as far as there are any.

    Args:
        tensor: The weight of a convolution, (O, kW, I), (O, kH, kW, I) or (O, kD, kH, kW, I).
        groups: Groups of outputs that start again at the first input.
    """
    if not 3 <= tensor.ndim <= 5:
        raise ValueError(
            f"dirac_: the tensor has shape {tensor.shape}, expected a convolution's weight"
        )
    outputs, *field, inputs = tensor.shape
    if groups < 1 or outputs % groups:
        raise ValueError(f"dirac_: groups is {groups}, which does not divide {outputs} outputs")
    x = np.zeros(tensor.shape, tensor.dtype)
    middle = tuple(size // 2 for size in field)
    for first in range(0, outputs, outputs // groups or 1):
        for i in range(min(outputs // groups, inputs)):
            x[first + i][middle][i] = 1
    return _draw(tensor, x)
