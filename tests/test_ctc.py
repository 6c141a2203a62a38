"""CTC: against every reading written out, against PyTorch, and on what does not fit."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest

import handloom as hl
from handloom import kernels, nn

F = nn.functional
RNG = np.random.default_rng(4)


def log_probs(*shape, dtype=np.float64):
    return kernels.log_softmax(np.random.default_rng(0).standard_normal(shape).astype(dtype))


def lengths(*values):
    return np.array(values, np.int64)


@pytest.mark.parametrize("target", [(), (1,), (1, 1), (1, 2), (2, 1, 2), (1, 1, 1)])
@pytest.mark.parametrize("blank", [0, 2])
def test_every_reading_counts(target, blank):
    """Of all 3^5 sequences, those that spell the target without repeats and blanks."""
    target = tuple((label + blank) % 3 if blank else label for label in target)
    target = tuple(0 if label == blank else label for label in target)
    logp = log_probs(1, 5, 3)
    p = np.zeros(())
    share = np.zeros((5, 3))
    for reading in product(range(3), repeat=5):
        if tuple(k for k, _ in groupby(reading) if k != blank) == target:
            one = np.exp(sum(logp[0, t, c] for t, c in enumerate(reading)))
            p += one
            share[np.arange(5), reading] += one
    labels = np.array([target], np.int64).reshape(1, -1)
    args = logp, labels, lengths(5), lengths(len(target))
    loss, saved = kernels.ctc_loss(*args, blank=blank, reduction="sum", return_saved=True)
    np.testing.assert_allclose(loss, -np.log(p), rtol=1e-12)
    grad = kernels.ctc_loss_backward(np.ones(()), *args, saved, blank=blank, reduction="sum")
    np.testing.assert_allclose(grad[0], -share / p, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("together", [False, True])
def test_as_pytorch(reduction, together):
    torch = pytest.importorskip("torch")
    x = RNG.standard_normal((4, 15, 7))
    targets = RNG.integers(0, 6, (4, 6))
    steps, sizes = lengths(15, 12, 9, 15), lengths(6, 4, 0, 1)
    if together:
        targets = np.concatenate([row[:n] for row, n in zip(targets, sizes)])
    ours, theirs = hl.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    got = nn.CTCLoss(blank=6, reduction=reduction)(F.log_softmax(ours, -1), targets, steps, sizes)
    want = torch.nn.CTCLoss(blank=6, reduction=reduction)(
        torch.log_softmax(theirs, -1).transpose(0, 1), *map(torch.tensor, (targets, steps, sizes))
    )
    np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=1e-12)
    got.sum().backward()
    want.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-9, atol=1e-13)


def test_gradcheck():
    targets, steps, sizes = np.array([[1, 1, 2], [3, 0, 0]]), lengths(6, 4), lengths(3, 1)
    for reduction in ("none", "mean", "sum"):
        assert hl.gradcheck(
            lambda v: F.ctc_loss(v, targets, steps, sizes, reduction=reduction),  # noqa: B023
            hl.tensor(log_probs(2, 6, 4), requires_grad=True),
        )


def test_a_thousand_steps_do_not_underflow():
    """The only reading that fits is hopeless beside the others at every step."""
    t = 1001
    logp = np.full((1, t, 3), -40.0)
    logp[..., 0] = -1e-17
    target = np.tile([1, 2], 501)[None, :t]
    loss = kernels.ctc_loss(logp, target, lengths(t), lengths(t), reduction="sum")
    np.testing.assert_allclose(loss, 40.0 * t)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_target_that_does_not_fit(dtype):
    logp = log_probs(3, 4, 3, dtype=dtype)
    # Three labels, two of them alike, want four steps; the second sample has three.
    targets = np.array([[1, 1, 2]] * 3)
    args = logp, targets, lengths(4, 3, 0), lengths(3, 3, 3)
    loss, saved = kernels.ctc_loss(*args, reduction="none", return_saved=True)
    assert np.isfinite(loss).tolist() == [True, False, False]
    assert loss[1] == np.inf
    dx = kernels.ctc_loss_backward(np.ones(3, dtype), *args, saved, reduction="none")
    assert np.isfinite(dx[0]).all()
    assert np.isnan(dx[1, :3]).all()
    assert (dx[1, 3] == 0).all()
    assert (dx[2] == 0).all()
    options = {"reduction": "none", "zero_infinity": True}
    loss, saved = kernels.ctc_loss(*args, **options, return_saved=True)
    assert loss[1:].tolist() == [0, 0]
    dx = kernels.ctc_loss_backward(np.ones(3, dtype), *args, saved, **options)
    assert dx[0].any()
    assert not dx[1:].any()


def test_nan_stays_in_its_sample_and_padding_is_not_read():
    logp = log_probs(3, 6, 4)
    targets = np.array([[1, 2, 99], [3, 1, 2], [2, -7, 99]])
    args = targets, lengths(4, 6, 6), lengths(2, 3, 1)
    clean = kernels.ctc_loss(logp, *args, reduction="none")
    logp[0, 4:] = np.nan
    logp[1, 2, 3] = np.nan
    loss, saved = kernels.ctc_loss(logp, *args, reduction="none", return_saved=True)
    assert np.isnan(loss).tolist() == [False, True, False]
    np.testing.assert_array_equal(loss[[0, 2]], clean[[0, 2]])
    dx = kernels.ctc_loss_backward(np.ones(3), logp, *args, saved, reduction="none")
    assert np.isfinite(dx[[0, 2]]).all()
    assert (dx[0, 4:] == 0).all()


def test_no_samples():
    args = log_probs(0, 5, 3), np.zeros((0, 2), np.int64), lengths(), lengths()
    loss, saved = kernels.ctc_loss(*args, reduction="sum", return_saved=True)
    assert loss == 0
    assert kernels.ctc_loss_backward(np.ones(()), *args, saved, reduction="sum").shape == (0, 5, 3)


BAD = {
    r"log_probs has shape \(5, 3\), expected \(N, T, C\)": {"log_probs": np.zeros((5, 3))},
    r"targets has shape \(3, 2\), expected \(2": {"targets": np.ones((3, 2), np.int64)},
    r"targets has 4 labels, expected 3, the sum of": {"targets": np.ones(4, np.int64)},
    r"targets\[1, 0\] is 0, expected 0 to 2, but for the blank 0": {
        "targets": np.array([[1, 2], [0, 1]])
    },
    r"targets\[0, 1\] is 3, expected 0 to 2": {"targets": np.array([[1, 3], [1, 1]])},
    r"input_lengths\[0\] is 6, expected 0 <= index < 6": {"input_lengths": lengths(6, 5)},
    r"input_lengths has shape \(3,\), expected \(2": {"input_lengths": lengths(5, 5, 5)},
    r"target_lengths\[1\] is -1": {"target_lengths": lengths(2, -1)},
    r"blank is 3, expected 0 to 2": {"blank": 3},
    r"reduction 'max'": {"reduction": "max"},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_named(message):
    args = {
        "log_probs": log_probs(2, 5, 3),
        "targets": np.array([[1, 2], [1, 1]]),
        "input_lengths": lengths(5, 5),
        "target_lengths": lengths(2, 1),
    } | BAD[message]
    for function in (kernels.ctc_loss, F.ctc_loss):
        with pytest.raises(ValueError, match=message) as caught:
            function(**args)
        assert str(caught.value).startswith("ctc_loss: ")


def test_bad_types_are_named():
    good = log_probs(2, 5, 3), np.ones((2, 2), np.int64), lengths(5, 5), lengths(2, 1)
    for i, value in ((0, good[0].astype(np.float16)), (1, good[1] * 0.5), (2, good[2] * 0.5)):
        args = [value if i == k else v for k, v in enumerate(good)]
        with pytest.raises(TypeError, match="ctc_loss: "):
            kernels.ctc_loss(*args)
