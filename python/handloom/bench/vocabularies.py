"""What the words of `networks` do in each library.

A model holds a network's parameters as its library wants them; parameters and gradients go in and
out as `networks.Slot` describes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .contenders import Array
from .networks import Network, Slot

EPS, MOMENTUM = 1e-5, 0.1


class Handloom:
    """`handloom.nn.functional`: an activation that a layer can finish with is an argument of it.

    Attributes:
        training: Whether batch norm takes the batch's statistics.
    """

    training = True

    def __init__(self, hl: Any, network: Network, slots: Sequence[Slot], params: Sequence[Array]):
        self._hl, self._network = hl, network
        self._f: Any = hl.nn.functional
        shapes = [(s.shape[0], -1) if _flattened(s) else s.shape for s in slots]
        self.parameters = [
            hl.tensor(p.reshape(shape), requires_grad=True) for p, shape in zip(params, shapes)
        ]
        self._shapes = [s.shape for s in slots]
        self._stats = [
            (np.zeros(s.shape, params[0].dtype), np.ones(s.shape, params[0].dtype))
            for s in _norms(slots)
        ]

    def loss(self, x: Any, target: Any) -> Any:
        """The mean cross-entropy of the network on a batch of tensors (N, H, W, C)."""
        return self._f.cross_entropy(self.scores(x), target)

    def scores(self, x: Any) -> Any:
        """What the network says about a batch of tensors (N, H, W, C)."""
        self._next, self._norm = iter(self.parameters), iter(self._stats)
        return self._network(self, x)

    def gradients(self) -> list[Array]:
        """What the last `loss(…).backward()` left, in the slots' shapes."""
        return [p.grad.numpy().reshape(s) for p, s in zip(self.parameters, self._shapes)]

    def conv(
        self,
        x: Any,
        channels: int,
        kernel: int,
        stride: int = 1,
        *,
        padding: int | None = None,
        bias: bool = True,
        relu: bool = False,
    ) -> Any:
        w, b = next(self._next), next(self._next) if bias else None
        padding = kernel // 2 if padding is None else padding
        return self._f.conv2d(x, w, b, stride, padding, activation="relu" if relu else None)

    def norm(self, x: Any, *, relu: bool = False) -> Any:
        w, b = next(self._next), next(self._next)
        mean, var = next(self._norm)
        act = "relu" if relu else None
        training = self.training
        return self._f.batch_norm(x, mean, var, w, b, training, MOMENTUM, EPS, activation=act)

    def pool(self, x: Any) -> Any:
        return self._f.max_pool2d(x, 2)

    def up(self, x: Any, channels: int) -> Any:
        return self._f.conv_transpose2d(x, next(self._next), next(self._next), 2)

    def linear(self, x: Any, outputs: int, *, relu: bool = False) -> Any:
        w, b = next(self._next), next(self._next)
        x = x.reshape(x.shape[0], -1) if x.ndim > 2 else x
        return self._f.linear(x, w, b, activation="relu" if relu else None)

    def join(self, x: Any, y: Any) -> Any:
        return self._f.relu(x + y)

    def cat(self, x: Any, y: Any) -> Any:
        return self._hl.cat([x, y], -1)

    def mean(self, x: Any) -> Any:
        return self._f.global_avg_pool(x)


class Torch:
    """`torch.nn.functional` in one of its memory formats, with ReLU in place.

    Attributes:
        training: Whether batch norm takes the batch's statistics.
    """

    training = True

    def __init__(
        self,
        torch: Any,
        network: Network,
        slots: Sequence[Slot],
        params: Sequence[Array],
        channels_last: bool,
    ) -> None:
        self._torch, self._network, self._last = torch, network, channels_last
        self._f: Any = torch.nn.functional
        self._slots = slots
        dtype = torch.from_numpy(params[0]).dtype
        self.parameters = [self._placed(p, s).requires_grad_() for p, s in zip(params, slots)]
        self._stats = [
            (torch.zeros(s.shape, dtype=dtype), torch.ones(s.shape, dtype=dtype))
            for s in _norms(slots)
        ]

    def image(self, array: Array) -> Any:
        """An (N, H, W, C) array as the tensor (N, C, H, W) in this memory format."""
        torch = self._torch
        memory = torch.channels_last if self._last else torch.contiguous_format
        return torch.tensor(array).permute(0, 3, 1, 2).contiguous(memory_format=memory)

    def _placed(self, value: Array, slot: Slot) -> Any:
        if not _flattened(slot):
            return self.image(value) if len(slot.shape) == 4 else self._torch.tensor(value)
        # As `linear` flattens its images.
        order = (0, 1, 2, 3) if self._last else (0, 3, 1, 2)
        return self._torch.tensor(value).permute(order).reshape(slot.shape[0], -1).contiguous()

    def loss(self, x: Any, target: Any) -> Any:
        """The mean cross-entropy of the network on a batch, x as `image` made it."""
        return self._f.cross_entropy(self.scores(x), target)

    def scores(self, x: Any) -> Any:
        """What the network says about a batch, x as `image` made it."""
        self._next, self._norm = iter(self.parameters), iter(self._stats)
        return self._network(self, x)

    def gradients(self) -> list[Array]:
        """What the last `loss(…).backward()` left, in the slots' shapes."""
        return [self._restored(p.grad, s) for p, s in zip(self.parameters, self._slots)]

    def _restored(self, gradient: Any, slot: Slot) -> Array:
        if _flattened(slot) and not self._last:
            o, h, w, c = slot.shape
            gradient = gradient.reshape(o, c, h, w)
        if len(gradient.shape) == 4:
            gradient = gradient.permute(0, 2, 3, 1)
        return np.ascontiguousarray(gradient.numpy()).reshape(slot.shape)

    def conv(
        self,
        x: Any,
        channels: int,
        kernel: int,
        stride: int = 1,
        *,
        padding: int | None = None,
        bias: bool = True,
        relu: bool = False,
    ) -> Any:
        w, b = next(self._next), next(self._next) if bias else None
        y = self._f.conv2d(x, w, b, stride, kernel // 2 if padding is None else padding)
        return self._f.relu_(y) if relu else y

    def norm(self, x: Any, *, relu: bool = False) -> Any:
        w, b = next(self._next), next(self._next)
        mean, var = next(self._norm)
        y = self._f.batch_norm(x, mean, var, w, b, self.training, MOMENTUM, EPS)
        return self._f.relu_(y) if relu else y

    def pool(self, x: Any) -> Any:
        return self._f.max_pool2d(x, 2)

    def up(self, x: Any, channels: int) -> Any:
        return self._f.conv_transpose2d(x, next(self._next), next(self._next), 2)

    def linear(self, x: Any, outputs: int, *, relu: bool = False) -> Any:
        if x.ndim > 2:
            # Either way a view: flattening costs the library nothing.
            x = (x.permute(0, 2, 3, 1) if self._last else x).flatten(1)
        y = self._f.linear(x, next(self._next), next(self._next))
        return self._f.relu_(y) if relu else y

    def join(self, x: Any, y: Any) -> Any:
        return self._f.relu_(x.add_(y))

    def cat(self, x: Any, y: Any) -> Any:
        return self._torch.cat([x, y], 1)

    def mean(self, x: Any) -> Any:
        return x.mean((2, 3))


class Jax:
    """`jax.lax` on NHWC; XLA fuses what it can. It is spared the running statistics.

    Attributes:
        training: Whether batch norm takes the batch's statistics; if not, 0 and 1.
    """

    training = True

    def __init__(
        self, jax: Any, network: Network, cross_entropy: Callable[[Any, Any], Any]
    ) -> None:
        self._jax, self._network, self._cross_entropy = jax, network, cross_entropy

    def loss(self, params: Sequence[Any], x: Any, target: Any) -> Any:
        """The mean cross-entropy of the network with these parameters on a batch."""
        logits = self.scores(params, x)
        return self._cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1))

    def scores(self, params: Sequence[Any], x: Any) -> Any:
        """What the network with these parameters says about a batch."""
        self._next = iter(params)
        return self._network(self, x)

    def conv(
        self,
        x: Any,
        channels: int,
        kernel: int,
        stride: int = 1,
        *,
        padding: int | None = None,
        bias: bool = True,
        relu: bool = False,
    ) -> Any:
        w, b = next(self._next), next(self._next) if bias else 0.0
        p = kernel // 2 if padding is None else padding
        y = b + self._jax.lax.conv_general_dilated(
            x, w.transpose(1, 2, 3, 0), (stride, stride), [(p, p)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return self._jax.nn.relu(y) if relu else y

    def norm(self, x: Any, *, relu: bool = False) -> Any:
        mean, var = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if self.training else (0.0, 1.0)
        y = (x - mean) * self._jax.lax.rsqrt(var + EPS) * next(self._next) + next(self._next)
        return self._jax.nn.relu(y) if relu else y

    def pool(self, x: Any) -> Any:
        lax, window = self._jax.lax, (1, 2, 2, 1)
        return lax.reduce_window(x, -np.inf, lax.max, window, window, "VALID")

    def up(self, x: Any, channels: int) -> Any:
        # The transpose of a convolution that has these weights: no window overlaps another.
        w, b = next(self._next), next(self._next)
        n, h, wide, _ = x.shape
        y = self._jax.numpy.einsum("nhwc,cijo->nhiwjo", x, w)
        return y.reshape(n, 2 * h, 2 * wide, channels) + b

    def linear(self, x: Any, outputs: int, *, relu: bool = False) -> Any:
        w, b = next(self._next), next(self._next)
        y = x.reshape(x.shape[0], -1) @ w.reshape(outputs, -1).T + b
        return self._jax.nn.relu(y) if relu else y

    def join(self, x: Any, y: Any) -> Any:
        return self._jax.nn.relu(x + y)

    def cat(self, x: Any, y: Any) -> Any:
        return self._jax.numpy.concatenate([x, y], -1)

    def mean(self, x: Any) -> Any:
        return x.mean((1, 2))


def _flattened(slot: Slot) -> bool:
    """Whether it is the weight of a linear layer on images."""
    return slot.word == "linear" and len(slot.shape) == 4


def _norms(slots: Sequence[Slot]) -> Sequence[Slot]:
    """One of the two slots of each norm."""
    return [slot for slot in slots if slot.word == "norm"][::2]
