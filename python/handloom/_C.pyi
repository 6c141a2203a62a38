from collections.abc import Callable
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

# runtime
version: str
build_type: str
kernel_list: list[tuple[str, int]]

def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def thread_backend() -> str: ...
def isa() -> str: ...
def vector_bytes() -> int: ...
def available_isas() -> list[str]: ...
def use_isa(name: str) -> bool: ...
def empty_cache() -> None: ...
def pool_stats() -> tuple[int, int, int]: ...
def explain(
    call: Callable[[], object],
) -> list[tuple[str, str, tuple[int, int, int], int, float, float]]: ...
def profile_start() -> None: ...
def profile_stop() -> list[tuple[str, str, int, float, float, float]]: ...
def bench_peak(dtype: str, seconds: float) -> float: ...
def bench_bandwidth(kind: str, nbytes: int, seconds: float) -> float: ...

# dense
def matmul(
    a: Array, b: Array, out: Array | None = None, alpha: float = 1.0, beta: float = 0.0
) -> Array: ...
def linear_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    act: int = -1,
    need_z: bool = False,
    p0: float = 0.0,
    p1: float = 0.0,
) -> Any: ...
def linear_backward(
    dy: Array,
    x: Array,
    w: Array,
    saved: Array | None = None,
    act: int = -1,
    need: int = 7,
    p0: float = 0.0,
    p1: float = 0.0,
) -> tuple[Array | None, Array | None, Array | None]: ...

# elementwise
unary_ops: dict[str, int]
unary_saves: dict[str, str]

# reduce
reduce_ops: dict[str, int]
arg_ops: dict[str, int]

def reduce_forward(
    op: int, x: Array, axes: int | tuple[int, ...] | None, keepdims: bool, p0: float
) -> Array: ...
def reduce_backward(
    op: int,
    dy: Array,
    x: Array | tuple[int, ...],
    y: Array | None,
    axes: int | tuple[int, ...] | None,
    p0: float,
) -> Array: ...
def argreduce(op: int, x: Array, axis: int | None, keepdims: bool) -> Array: ...
def sum_to(x: Array, shape: tuple[int, ...]) -> Array: ...
def cumsum(x: Array, axis: int, reverse: bool = False) -> Array: ...
def sort(x: Array, axis: int, descending: bool) -> tuple[Array, Array]: ...
def topk(x: Array, k: int, axis: int, largest: bool) -> tuple[Array, Array]: ...
def sort_backward(dy: Array, indices: Array, axis: int, size: int) -> Array: ...

# softmax
def softmax_forward(x: Array, axis: int, log: bool) -> Array: ...
def softmax_backward(dy: Array, y: Array, axis: int, log: bool) -> Array: ...
def glu_forward(x: Array, axis: int) -> Array: ...
def glu_backward(dy: Array, x: Array, axis: int) -> Array: ...

# loss; reduction: 0 none, 1 mean, 2 sum
pointwise_losses: dict[str, int]

def cross_entropy_forward(
    logits: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: int,
) -> tuple[Array, Array]: ...
def cross_entropy_backward(
    dy: Array,
    logits: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: int,
    saved: Array,
) -> Array: ...
def nll_loss_forward(
    log_probs: Array, target: Array, weight: Array | None, ignore_index: int, reduction: int
) -> tuple[Array, None]: ...
def nll_loss_backward(
    dy: Array,
    log_probs: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: int,
    saved: None = None,
) -> Array: ...
def pointwise_loss_forward(
    op: int,
    x: Array,
    t: Array,
    weight: Array | None,
    pos_weight: Array | None,
    p0: float,
    p1: float,
    reduction: int,
) -> Array: ...
def pointwise_loss_backward(
    op: int,
    dy: Array,
    x: Array,
    t: Array,
    weight: Array | None,
    pos_weight: Array | None,
    p0: float,
    p1: float,
    reduction: int,
    need: int = 1,
) -> tuple[Array | None, Array | None]: ...
def gaussian_kl_forward(mu: Array, logvar: Array, reduction: int) -> Array: ...
def gaussian_kl_backward(
    dy: Array, mu: Array, logvar: Array, reduction: int, need: int = 3
) -> tuple[Array | None, Array | None]: ...
def dice_loss_forward(p: Array, t: Array, smooth: float, reduction: int) -> Array: ...
def dice_loss_backward(
    dy: Array, p: Array, t: Array, smooth: float, reduction: int, need: int = 3
) -> tuple[Array | None, Array | None]: ...
