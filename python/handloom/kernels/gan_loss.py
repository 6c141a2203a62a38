"""Losses of adversarial networks: short formulas of pointwise losses.

``real`` and ``fake`` are what the critic says of real and generated samples, logits of any shape,
contiguous float32 or float64. All are means. Backward functions return gradients in the order
of the arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .pointwise_loss import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_backward,
    mse_loss,
    mse_loss_backward,
)
from .reduce import mean, mean_backward

Array = npt.NDArray[Any]


def _half(x: Array) -> Array:
    return np.multiply(x, 0.5, dtype=x.dtype)


def _bce(x: Array, label: float) -> Array:
    return binary_cross_entropy_with_logits(x, np.full_like(x, label))


def _bce_backward(dy: Array, x: Array, label: float) -> Array:
    dx, _ = binary_cross_entropy_with_logits_backward(dy, x, np.full_like(x, label))
    assert dx is not None
    return dx


def _mse_backward(dy: Array, x: Array, label: float) -> Array:
    dx, _ = mse_loss_backward(dy, x, np.full_like(x, label))
    assert dx is not None
    return dx


def _check(name: str, kind: str, kinds: tuple[str, ...]) -> None:
    if kind not in kinds:
        names = ", ".join(map(repr, kinds))
        raise ValueError(f"{name}: kind is {kind!r}, expected one of {names}")


_GENERATORS = ("non_saturating", "minimax")


def gan_discriminator_loss(real: Array, fake: Array) -> Array:
    """``-mean(log D(real)) - mean(log(1 - D(fake)))``, D the sigmoid; Goodfellow et al. (2014)."""
    return np.asarray(_bce(real, 1.0) + _bce(fake, 0.0))


def gan_discriminator_loss_backward(dy: Array, real: Array, fake: Array) -> tuple[Array, Array]:
    """Gradients ``(dreal, dfake)`` of :func:`gan_discriminator_loss`."""
    return _bce_backward(dy, real, 1.0), _bce_backward(dy, fake, 0.0)


def gan_generator_loss(fake: Array, *, kind: str = "non_saturating") -> Array:
    """What the generator minimises.

    Args:
        fake: Logits of generated samples.
        kind: ``"non_saturating"``: ``-mean(log D(fake))``; ``"minimax"``:
            ``mean(log(1 - D(fake)))``.
    """
    _check("gan_generator_loss", kind, _GENERATORS)
    return _bce(fake, 1.0) if kind == "non_saturating" else np.asarray(-_bce(fake, 0.0))


def gan_generator_loss_backward(dy: Array, fake: Array, *, kind: str = "non_saturating") -> Array:
    """Gradient of :func:`gan_generator_loss`."""
    _check("gan_generator_loss_backward", kind, _GENERATORS)
    if kind == "non_saturating":
        return _bce_backward(dy, fake, 1.0)
    return _bce_backward(np.asarray(-dy), fake, 0.0)


def wasserstein_critic_loss(real: Array, fake: Array) -> Array:
    """``mean(fake) - mean(real)``; Arjovsky et al. (2017)."""
    return np.asarray(mean(fake) - mean(real))


def wasserstein_critic_loss_backward(dy: Array, real: Array, fake: Array) -> tuple[Array, Array]:
    """Gradients ``(dreal, dfake)`` of :func:`wasserstein_critic_loss`."""
    return mean_backward(np.asarray(-dy), real.shape), mean_backward(dy, fake.shape)


def wasserstein_generator_loss(fake: Array) -> Array:
    """``-mean(fake)``."""
    return np.asarray(-mean(fake))


def wasserstein_generator_loss_backward(dy: Array, fake: Array) -> Array:
    """Gradient of :func:`wasserstein_generator_loss`."""
    return mean_backward(np.asarray(-dy), fake.shape)


def lsgan_discriminator_loss(real: Array, fake: Array) -> Array:
    """``mean((real - 1)^2) / 2 + mean(fake^2) / 2``; Mao et al. (2017)."""
    return np.asarray(
        _half(mse_loss(real, np.ones_like(real)) + mse_loss(fake, np.zeros_like(fake)))
    )


def lsgan_discriminator_loss_backward(dy: Array, real: Array, fake: Array) -> tuple[Array, Array]:
    """Gradients ``(dreal, dfake)`` of :func:`lsgan_discriminator_loss`."""
    half = np.asarray(_half(dy))
    return _mse_backward(half, real, 1.0), _mse_backward(half, fake, 0.0)


def lsgan_generator_loss(fake: Array) -> Array:
    """``mean((fake - 1)^2) / 2``."""
    return np.asarray(_half(mse_loss(fake, np.ones_like(fake))))


def lsgan_generator_loss_backward(dy: Array, fake: Array) -> Array:
    """Gradient of :func:`lsgan_generator_loss`."""
    return _mse_backward(np.asarray(_half(dy)), fake, 1.0)
