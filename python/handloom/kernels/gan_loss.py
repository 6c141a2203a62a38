"""Losses of adversarial networks: short formulas of pointwise losses.

``real`` and ``fake`` are the raw scores that the discriminator (critic) gives to real and generated
samples: contiguous float32 or float64 of any shape. All losses are means over the scores.
``kind`` names the game, the same in ``handloom.nn.functional``:

=================== ======================================== ==========================
kind                discriminator                            generator
=================== ======================================== ==========================
``minimax``         ``-log s(real) - log(1 - s(fake))``      ``log(1 - s(fake))``
``non_saturating``  the same                                 ``-log s(fake)``
``wasserstein``     ``fake - real``                          ``-fake``
``least_squares``   ``(real - 1)^2 / 2 + fake^2 / 2``        ``(fake - 1)^2 / 2``
``hinge``           ``max(0, 1 - real) + max(0, 1 + fake)``  ``-fake``
=================== ======================================== ==========================

with s the sigmoid: Goodfellow et al. (2014) for the first two, Arjovsky et al. (2017), Mao et al.
(2017), Lim and Ye (2017).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from handloom._device_array import ARRAYS

from ._options import choice
from .elementwise import add, mul
from .pointwise_loss import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_backward,
    hinge_loss,
    hinge_loss_backward,
    mse_loss,
    mse_loss_backward,
)
from .reduce import mean, mean_backward

Array = npt.NDArray[Any]


def _mean(x: Array, _: Array) -> Array:
    return mean(x)


def _mean_backward(dy: Array, x: Array, _: Array) -> tuple[Array, None]:
    return mean_backward(dy, x.shape), None


class _Term(NamedTuple):
    """``factor * loss(scores, target)``."""

    loss: Callable[[Array, Array], Array]
    slope: Callable[..., tuple[Array | None, Array | None]]
    target: float
    factor: float = 1.0

    def value(self, scores: Array) -> Array:
        return _scaled(self.loss(scores, _full(scores, self.target)), self.factor)

    def gradient(self, dy: Array, scores: Array) -> Array:
        dy = _scaled(dy, self.factor)
        dx, _ = self.slope(dy, scores, _full(scores, self.target))
        assert dx is not None
        return dx


def _full(x: Array, value: float) -> Array:
    # What is no array goes on to the kernel, which says so.
    return np.full_like(x, value) if isinstance(x, ARRAYS) else x


def _scaled(x: Array, factor: float) -> Array:
    return x if factor == 1 else mul(x, factor)


def _bce(target: float, factor: float = 1.0) -> _Term:
    loss, slope = binary_cross_entropy_with_logits, binary_cross_entropy_with_logits_backward
    return _Term(loss, slope, target, factor)


class _Game(NamedTuple):
    real: _Term
    fake: _Term
    generator: _Term


_UP = _Term(_mean, _mean_backward, 0.0, -1.0)
_DOWN = _Term(_mean, _mean_backward, 0.0)
_GAMES = {
    "minimax": _Game(_bce(1.0), _bce(0.0), _bce(0.0, -1.0)),
    "non_saturating": _Game(_bce(1.0), _bce(0.0), _bce(1.0)),
    "wasserstein": _Game(_UP, _DOWN, _UP),
    "least_squares": _Game(
        _Term(mse_loss, mse_loss_backward, 1.0, 0.5),
        _Term(mse_loss, mse_loss_backward, 0.0, 0.5),
        _Term(mse_loss, mse_loss_backward, 1.0, 0.5),
    ),
    "hinge": _Game(
        _Term(hinge_loss, hinge_loss_backward, 1.0),
        _Term(hinge_loss, hinge_loss_backward, -1.0),
        _UP,
    ),
}


def _game(op: str, kind: str) -> _Game:
    return choice(op, "kind", kind, _GAMES)


def gan_discriminator_loss(real: Array, fake: Array, *, kind: str = "non_saturating") -> Array:
    """What the discriminator (critic) minimises; see the table above.

    Raises:
        TypeError: Another dtype than float32 or float64.
        ValueError: An unknown kind.
    """
    game = _game("gan_discriminator_loss", kind)
    return add(game.real.value(real), game.fake.value(fake))


def gan_discriminator_loss_backward(
    dy: Array, real: Array, fake: Array, *, kind: str = "non_saturating"
) -> tuple[Array, Array]:
    """Gradients ``(dreal, dfake)`` of :func:`gan_discriminator_loss`."""
    game = _game("gan_discriminator_loss_backward", kind)
    return game.real.gradient(dy, real), game.fake.gradient(dy, fake)


def gan_generator_loss(fake: Array, *, kind: str = "non_saturating") -> Array:
    """What the generator minimises; see the table above.

    Raises:
        TypeError: Another dtype than float32 or float64.
        ValueError: An unknown kind.
    """
    return _game("gan_generator_loss", kind).generator.value(fake)


def gan_generator_loss_backward(dy: Array, fake: Array, *, kind: str = "non_saturating") -> Array:
    """Gradient of :func:`gan_generator_loss`."""
    return _game("gan_generator_loss_backward", kind).generator.gradient(dy, fake)
