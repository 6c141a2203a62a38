"""What tests/test_cuda.py does not reach by cases: samples, empty arrays, views, both widths.

Of losses, norms, attention, recurrent networks and Boltzmann machines; the CPU is the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import kernels
from harness import host, outputs

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)

DTYPES = ["float32", "float64"]


def to_device(value: Any) -> Any:
    return hl.cuda.array(value) if isinstance(value, np.ndarray) else value


def agree(function: Callable[..., Any], *arrays: Any, **options: Any) -> None:
    """The function gives the same on both devices."""
    expected = function(*arrays, **options)
    got = function(*map(to_device, arrays), **{k: to_device(v) for k, v in options.items()})
    for a, b in zip(outputs(got), outputs(expected), strict=True):
        if b is None:
            assert a is None
            continue
        a = host(a)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        tolerance = 64 * np.finfo(b.dtype).eps
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def normal(*shape: int, dtype: str = "float32", seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_boltzmann_machines(dtype: str) -> None:
    v, h = ((normal(7, n, dtype=dtype) > 0).astype(dtype) for n in (13, 9))
    w, b, c = normal(9, 13, dtype=dtype) / 3, normal(13, dtype=dtype), normal(9, dtype=dtype)
    agree(kernels.rbm_hidden, v, w, c, seed=3)
    for visible in ("bernoulli", "gaussian"):
        agree(kernels.rbm_visible, h, w, b, seed=3, visible=visible)
        agree(kernels.rbm_free_energy, v, w, b, c, visible=visible)
        for options in ({}, {"steps": 3}, {"chain": h[:5]}):
            agree(
                kernels.rbm_contrastive_divergence, v, w, b, c, seed=5, visible=visible, **options
            )


@pytest.mark.parametrize("kind", ["minimax", "wasserstein", "least_squares", "hinge"])
def test_adversarial_losses(kind: str) -> None:
    real, fake, dy = normal(3, 4), normal(3, 4, seed=1), np.ones((), np.float32)
    agree(kernels.gan_discriminator_loss, real, fake, kind=kind)
    agree(kernels.gan_discriminator_loss_backward, dy, real, fake, kind=kind)
    agree(kernels.gan_generator_loss, fake, kind=kind)


def test_labels() -> None:
    x, labels = normal(4, 3), np.array([0, 2, -100, 1])
    for narrow in (np.int64, np.int32):
        agree(kernels.cross_entropy, x, labels.astype(narrow))
        agree(kernels.nll_loss, x, labels.astype(narrow), reduction="none")
    wrong = to_device(np.array([0, 3, 1, 1]))
    with pytest.raises(ValueError, match="label 3 at position 1, expected 0 to 2"):
        kernels.cross_entropy(to_device(x), wrong)


def test_targets_in_one_row() -> None:
    logp = kernels.log_softmax(normal(2, 6, 5))
    lengths, sizes = np.array([6, 5]), np.array([2, 3])
    agree(kernels.ctc_loss, logp, np.array([1, 1, 2, 3, 4]), lengths, sizes)
    agree(kernels.ctc_loss, logp, np.array([[1, 1, 0], [2, 3, 2]]), np.array([2, 5]), sizes)
    targets = np.array([[1, 1, 0], [0, 3, 2]])
    with pytest.raises(ValueError, match=r"targets\[1, 0\] is 0"):
        kernels.ctc_loss(*map(to_device, (logp, targets, lengths, sizes)))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_of_nothing(reduction: str) -> None:
    agree(kernels.mse_loss, normal(0, 3), normal(0, 3), reduction=reduction)
    agree(kernels.cross_entropy, normal(0, 3), np.zeros(0, np.int64), reduction=reduction)


def test_norms_of_nothing() -> None:
    agree(kernels.batch_norm, normal(0, 3), None, None, None, None, training=True)
    agree(kernels.group_norm, normal(2, 0, 4), 2)
    agree(kernels.minibatch_stddev, normal(4, 0, 3))
    agree(kernels.layer_norm, normal(0, 3))


def test_attention_takes_views_and_empty_arrays() -> None:
    packed = normal(2, 5, 3, 2, 8)

    def own(x: Any) -> Any:
        return kernels.attention(x[:, :, 0], x[:, :, 1], x[:, :, 2], causal=True)

    agree(own, packed)
    for queries, keys in ((5, 0), (0, 3)):
        q, k = normal(2, queries, 2, 8), normal(2, keys, 2, 8)
        agree(kernels.attention, q, k, k)
    q, k = to_device(normal(2, 5, 2, 8)), normal(2, 3, 2, 8)
    with pytest.raises(ValueError, match="k is on the CPU but q is on cuda:0"):
        kernels.attention(q, k, k)


@pytest.mark.parametrize(("samples", "steps"), [(3, 4), (3, 0), (0, 4)])
def test_recurrent_networks_of_any_size(samples: int, steps: int) -> None:
    x, h, c = normal(samples, steps, 5), normal(samples, 6), normal(samples, 6, seed=1)
    weights = normal(24, 5) / 3, normal(24, 6) / 3, normal(24), normal(24, seed=1)

    def gradients(*inputs: Any, **options: Any) -> Any:
        y, hn, cn, saved = kernels.lstm(*inputs, return_saved=True, **options)
        return y, hn, cn, *kernels.lstm_backward(y, None, None, saved)

    agree(gradients, x, h, c, *weights)
    agree(gradients, x, h, c, *weights, recurrent_dropout=0.4, zoneout=0.2, seed=3)


def test_recurrent_cells() -> None:
    x, h, c = normal(3, 5), normal(3, 6), normal(3, 6, seed=1)
    agree(kernels.lstm_cell, x, h, c, normal(24, 5), normal(24, 6), normal(24), None)
    agree(kernels.gru_cell, x, h, normal(18, 5), normal(18, 6), normal(18), None)
