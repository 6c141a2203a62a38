"""Training in mixed precision: `autocast` for the products, `GradScaler` for what float16 loses.

    scaler = hl.amp.GradScaler()
    for x, y in loader:
        optimizer.zero_grad()
        with hl.autocast("float16"):
            loss = criterion(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

Weights, gradients and sums stay in float32 throughout, so only the factors of products can overflow
or vanish. bfloat16 and TF32 have float32's range and need no scaler.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

from handloom._device_array import index_of
from handloom._precision import autocast, get_autocast_dtype, is_autocast_enabled
from handloom._replay import refuse
from handloom._rows import RowGradient
from handloom.ops.multi import scale_, total_norm
from handloom.optim.optimizer import Optimizer, require
from handloom.tensor import Tensor

__all__ = ["GradScaler", "autocast", "get_autocast_dtype", "is_autocast_enabled"]

Outputs = TypeVar("Outputs")
_READY, _UNSCALED, _STEPPED = range(3)


class _Seen:
    """What has happened to an optimiser's gradients since the last `update`."""

    def __init__(self) -> None:
        self.stage = _READY
        self.found_inf: bool | None = None  # None before anyone has looked


class GradScaler:
    """Multiplies the loss, so that float16 does not lose small gradients, and finds the factor.

    A gradient below 6·10⁻⁸ is zero in float16, one above 65504 infinite. The loss is scaled before
    `backward`, the gradients back again before the step. Where one of them is not finite the step
    is left out and the scale multiplied by `backoff_factor`; after `growth_interval` steps in a row
    that were not, by `growth_factor`. Micikevicius et al. (2018), section 3.2; PyTorch:
    `torch.amp.GradScaler`. With powers of two scaling changes no bit of what does not overflow.

    `step` reads one number from the card: whether every gradient is finite.

    Args:
        init_scale: The first scale.
        growth_factor: Above 1.
        backoff_factor: Between 0 and 1.
        growth_interval: Steps without overflow, at least 1.
        enabled: False makes it do nothing: `scale` returns what it gets, `step` steps.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._enabled = enabled
        self._tracker = 0  # steps without overflow
        self._seen: dict[int, _Seen] = {}  # by the id of an optimiser, until `update`
        self._set(init_scale, growth_factor, backoff_factor, growth_interval)

    def _set(self, scale: float, growth: float, backoff: float, interval: int) -> None:
        require("GradScaler", "init_scale", scale, at_least=2.0**-126)
        require("GradScaler", "growth_factor", growth, at_least=1.0)
        require("GradScaler", "backoff_factor", backoff, at_least=2.0**-126, below=1.0)
        require("GradScaler", "growth_interval", interval, at_least=1)
        if growth == 1:
            raise ValueError("GradScaler: growth_factor is 1, expected more")
        self._scale, self._growth, self._backoff = float(scale), float(growth), float(backoff)
        self._interval = int(interval)

    # ---- a step ----------------------------------------------------------------------------------

    def scale(self, outputs: Outputs) -> Outputs:
        """The loss, or each of several (a list or tuple of them), times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale  # type: ignore[return-value]
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(self.scale(one) for one in outputs)  # type: ignore[return-value]
        raise TypeError(
            f"GradScaler.scale: expected a tensor, or a list of them, got {type(outputs).__name__}"
        )

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divides the gradients of an optimiser's parameters by the scale, in place.

        For those who look at gradients or clip them before `step`, which else does it itself.

        Raises:
            RuntimeError: It was called already for this step, or after `step`.
        """
        if not self._enabled:
            return
        seen = self._seen.setdefault(id(optimizer), _Seen())
        if seen.stage == _UNSCALED:
            raise RuntimeError(
                "GradScaler.unscale_: it was already called for this optimizer since the last "
                "update()"
            )
        if seen.stage == _STEPPED:
            raise RuntimeError("GradScaler.unscale_: it is called after step(), expected before")
        groups: dict[Any, list[Any]] = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                grad: Tensor | RowGradient | None = p.grad
                if grad is not None:
                    a = grad._array
                    groups.setdefault((a.dtype, index_of(a)), []).append(a)
                    grad._version[0] += 1
        for arrays in groups.values():
            finite = math.isfinite(total_norm(arrays, math.inf))
            seen.found_inf = bool(seen.found_inf) or not finite
            scale_(arrays, 1.0 / self._scale)
        seen.stage = _UNSCALED

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step()` on gradients divided by the scale, unless one of them is not finite.

        Returns:
            What the optimiser's step returned, None where it was left out.

        Raises:
            RuntimeError: It was called already since the last `update`, a closure is given, or no
                parameter has a gradient.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        refuse("GradScaler.step", "the host must know whether the gradients are finite")
        if args or "closure" in kwargs:
            raise RuntimeError("GradScaler.step: a closure cannot be used with scaled gradients")
        seen = self._seen.setdefault(id(optimizer), _Seen())
        if seen.stage == _STEPPED:
            raise RuntimeError("GradScaler.step: it was already called since the last update()")
        if seen.stage == _READY:
            self.unscale_(optimizer)
        if seen.found_inf is None:
            raise RuntimeError("GradScaler.step: no parameter of the optimizer has a gradient")
        seen.stage = _STEPPED
        return None if seen.found_inf else optimizer.step(**kwargs)

    def update(self, new_scale: float | None = None) -> None:
        """Ends the step: finds the next one's scale, or takes `new_scale`.

        Raises:
            RuntimeError: Neither `step` nor `unscale_` was called since the last time.
        """
        if not self._enabled:
            return
        found = [s.found_inf for s in self._seen.values() if s.found_inf is not None]
        if new_scale is not None:
            require("GradScaler", "new_scale", new_scale, at_least=2.0**-126)
            self._scale = float(new_scale)
        elif not found:
            raise RuntimeError("GradScaler.update: step() was not called since the last update()")
        elif any(found):
            self._scale = max(self._scale * self._backoff, 2.0**-126)
            self._tracker = 0
        else:
            self._tracker += 1
            if self._tracker >= self._interval:
                self._tracker = 0
                if self._scale * self._growth < 2.0**128:  # what a float32 loss can be scaled by
                    self._scale *= self._growth
        self._seen = {}

    def found_inf(self, optimizer: Optimizer) -> bool:
        """Whether a gradient was not finite in this step; after `unscale_` or `step`."""
        seen = self._seen.get(id(optimizer))
        return seen is not None and bool(seen.found_inf)

    # ---- its numbers -----------------------------------------------------------------------------

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The scale; 1 where it is not enabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the scale grows by."""
        return self._growth

    def set_growth_factor(self, new_factor: float) -> None:
        """Sets what the scale grows by, above 1."""
        self._set(self._scale, new_factor, self._backoff, self._interval)

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by after an overflow."""
        return self._backoff

    def set_backoff_factor(self, new_factor: float) -> None:
        """Sets what the scale is multiplied by after an overflow, below 1."""
        self._set(self._scale, self._growth, new_factor, self._interval)

    def get_growth_interval(self) -> int:
        """Steps without overflow before the scale grows."""
        return self._interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Sets after how many steps without overflow the scale grows."""
        self._set(self._scale, self._growth, self._backoff, new_interval)

    def state_dict(self) -> dict[str, Any]:
        """Its numbers, under PyTorch's names; empty where it is not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth,
            "backoff_factor": self._backoff,
            "growth_interval": self._interval,
            "_growth_tracker": self._tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned.

        Raises:
            ValueError: The numbers are missing (a scaler that was not enabled has none), or out of
                range.
        """
        if not self._enabled:
            return
        missing = self.state_dict().keys() - state_dict.keys()
        if missing:
            raise ValueError(
                f"GradScaler: load_state_dict misses {', '.join(sorted(missing))}; a scaler that "
                "is not enabled saves nothing"
            )
        names = ("scale", "growth_factor", "backoff_factor", "growth_interval")
        self._set(*(state_dict[name] for name in names))
        self._tracker = int(state_dict["_growth_tracker"])

    def __repr__(self) -> str:
        return f"GradScaler(scale={self.get_scale():g}, enabled={self._enabled})"
