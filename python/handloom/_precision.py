"""The precision of products on a GPU: what `autocast` chooses, and the tape remembers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import get_ident
from types import TracebackType
from typing import Any, TypeVar

from handloom import _C

PRECISIONS = ("float32", "tfloat32", "bfloat16", "float16")  # enum Precision of csrc/context.h
_SHORT = {"tf32": "tfloat32"}

Call = TypeVar("Call", bound=Callable[..., Any])

# Threads inside autocast, and the number of what they chose. Empty almost always, which is all that
# an operation has to look at.
casting: dict[int, int] = {}


class _Ever:
    """Whether a graph may hold an operation that ran under autocast."""

    cast = False


ever = _Ever()


def precision_number(dtype: object, op: str) -> int:
    """The number of a precision by its name.

    Raises:
        ValueError: There is none of that name.
    """
    name = _SHORT.get(str(dtype), dtype)
    if name not in PRECISIONS:
        names = ", ".join(PRECISIONS)
        raise ValueError(f"{op}: dtype is {dtype!r}, expected one of {names}")
    return PRECISIONS.index(str(name))


def set_precision(number: int) -> int:
    """Chooses for the calling thread; returns what was chosen before."""
    if number:
        casting[get_ident()] = number
        ever.cast = True
    else:
        casting.pop(get_ident(), None)
    return _C.gpu.set_precision(number)


class autocast:
    """Lets a GPU round the factors of products of float32 arrays, for a `with` block or a function.

    Tensor cores then multiply them, far faster than float32 arithmetic can; sums stay in float32,
    and so do all arrays, weights and gradients among them, and all that is not a product (which
    kernels are products: docs/cuda.md). So there is no second copy of the weights to keep. A factor
    is off by up to 2⁻¹¹ of itself with "tfloat32" and "float16", 2⁻⁸ with "bfloat16"; float16 is
    infinite from 65520 on and loses gradients below 10⁻⁷, for which there is `amp.GradScaler`; the
    other two have the range of float32. Micikevicius et al. (2018).

    An operation remembers what it ran under: its gradient is computed in the same precision,
    wherever `backward()` is called, as in PyTorch.

        with hl.autocast("bfloat16"):
            loss = criterion(model(x), y)
        loss.backward()

    The choice is for the calling thread. It changes nothing on the CPU, for float64, or on cards
    before compute capability 8.0: the same program runs there, in full precision.

    Args:
        dtype: "bfloat16", "float16", "tfloat32" ("tf32"), or "float32" for no rounding.
        enabled: False is the same as "float32".

    Raises:
        ValueError: dtype is none of these.
    """

    def __init__(self, dtype: str = "bfloat16", enabled: bool = True) -> None:
        number = precision_number(dtype, "autocast")
        self._precision = number if enabled else 0
        self._before: list[int] = []

    def __enter__(self) -> autocast:
        self._before.append(set_precision(self._precision))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        set_precision(self._before.pop())

    def __call__(self, function: Call) -> Call:
        """The function, run inside such a block."""
        number = self._precision

        @functools.wraps(function)
        def cast(*args: Any, **kwargs: Any) -> Any:
            before = set_precision(number)
            try:
                return function(*args, **kwargs)
            finally:
                set_precision(before)

        return cast  # type: ignore[return-value]


def is_autocast_enabled() -> bool:
    """Whether the calling thread is inside `autocast` with another precision than float32."""
    return get_ident() in casting


def get_autocast_dtype() -> str:
    """What the calling thread's `autocast` chose; "float32" outside of one."""
    return PRECISIONS[casting.get(get_ident(), 0)]
