"""Functions that are a few operations long: their gradient is that of the parts."""

from __future__ import annotations

from handloom.ops._common import TensorLike
from handloom.ops.arithmetic import add, div, maximum, mul, sub
from handloom.ops.elementwise import relu, softplus, square
from handloom.ops.layout import unsqueeze
from handloom.ops.reduce import mean, norm
from handloom.ops.reduce import sum as sum_
from handloom.tensor import Tensor

GAN_KINDS = ("minimax", "non_saturating", "wasserstein", "least_squares", "hinge")


def outer(a: TensorLike, b: TensorLike) -> Tensor:
    """The matrix a[i]·b[j] of two vectors."""
    return mul(unsqueeze(a, 1), unsqueeze(b, 0))


def normalize(input: TensorLike, p: float = 2.0, dim: int = -1, eps: float = 1e-12) -> Tensor:
    """x/max(‖x‖ₚ, eps) along dim."""
    return div(input, maximum(norm(input, p, dim, keepdim=True), eps))


def cosine_similarity(x1: TensorLike, x2: TensorLike, dim: int = -1, eps: float = 1e-8) -> Tensor:
    """a·b/(max(‖a‖, eps)·max(‖b‖, eps)) along dim."""
    na = maximum(norm(x1, 2.0, dim, keepdim=True), eps)
    nb = maximum(norm(x2, 2.0, dim, keepdim=True), eps)
    return sum_(mul(div(x1, na), div(x2, nb)), dim)


def _kind(kind: str, op: str) -> str:
    if kind not in GAN_KINDS:
        raise ValueError(f"{op}: kind {kind!r} is unknown, expected one of {', '.join(GAN_KINDS)}")
    return kind


def gan_discriminator_loss(
    real: TensorLike, fake: TensorLike, kind: str = "non_saturating"
) -> Tensor:
    """What a discriminator (a critic) minimises, from its raw scores of real and made samples.

    "minimax" and "non_saturating" (Goodfellow et al., 2014): −log σ(real) − log(1 − σ(fake));
    "wasserstein" (Arjovsky et al., 2017): fake − real; "least_squares" (Mao et al., 2017):
    ½(real − 1)² + ½fake²; "hinge" (Lim & Ye, 2017): max(0, 1 − real) + max(0, 1 + fake). Means.

    Raises:
        ValueError: An unknown kind.
    """
    kind = _kind(kind, "gan_discriminator_loss")
    if kind == "wasserstein":
        return sub(mean(fake), mean(real))
    if kind == "least_squares":
        return mul(add(mean(square(sub(real, 1.0))), mean(square(fake))), 0.5)
    if kind == "hinge":
        return add(mean(relu(sub(1.0, real))), mean(relu(add(fake, 1.0))))
    return add(mean(softplus(mul(real, -1.0))), mean(softplus(fake)))


def gan_generator_loss(fake: TensorLike, kind: str = "non_saturating") -> Tensor:
    """What a generator minimises, from the discriminator's raw scores of its samples.

    "minimax": log(1 − σ(fake)); "non_saturating": −log σ(fake); "wasserstein" and "hinge": −fake;
    "least_squares": ½(fake − 1)². Means.

    Raises:
        ValueError: An unknown kind.
    """
    kind = _kind(kind, "gan_generator_loss")
    if kind in ("wasserstein", "hinge"):
        return mul(mean(fake), -1.0)
    if kind == "least_squares":
        return mul(mean(square(sub(fake, 1.0))), 0.5)
    if kind == "minimax":
        return mul(mean(softplus(fake)), -1.0)
    return mean(softplus(mul(fake, -1.0)))
