"""DIoU, CIoU and their losses: torchvision's formulas and gradients, degenerate boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import handloom as hl
from handloom import kernels
from handloom.nn import functional as F

RNG = np.random.default_rng(0)


def _boxes(n: int, size: float = 3.0) -> np.ndarray:
    corner = RNG.uniform(0, size, (n, 2))
    return np.concatenate([corner, corner + RNG.uniform(0.2, size / 2, (n, 2))], 1)


A, B = _boxes(60), _boxes(60)


def _torchvision(torch, a, b, complete: bool, eps: float = 1e-7):
    """`distance_box_iou_loss` and `complete_box_iou_loss` as torchvision defines them."""
    low, high = torch.max(a[:, :2], b[:, :2]), torch.min(a[:, 2:], b[:, 2:])
    meet = (high > low).all(1)
    both = torch.where(meet, (high - low).prod(1), torch.zeros(()))
    area = [(v[:, 2:] - v[:, :2]).prod(1) for v in (a, b)]
    iou = both / (area[0] + area[1] - both + eps)
    outer = torch.max(a[:, 2:], b[:, 2:]) - torch.min(a[:, :2], b[:, :2])
    away = (a[:, :2] + a[:, 2:]) / 2 - (b[:, :2] + b[:, 2:]) / 2
    loss = 1 - iou + (away**2).sum(1) / ((outer**2).sum(1) + eps)
    if not complete:
        return loss
    angles = [torch.atan((v[:, 2] - v[:, 0]) / (v[:, 3] - v[:, 1])) for v in (a, b)]
    v = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
    with torch.no_grad():
        alpha = v / (1 - iou + v + eps)
    return loss + alpha * v


@pytest.mark.parametrize("complete", [False, True])
def test_losses_and_gradients_as_torchvision(complete):
    torch = pytest.importorskip("torch")
    function = F.complete_box_iou_loss if complete else F.distance_box_iou_loss
    p, q = (torch.tensor(x, requires_grad=True) for x in (A, B))
    theirs = _torchvision(torch, p, q, complete)
    a, b = (hl.tensor(x, requires_grad=True) for x in (A, B))
    ours = function(a, b)
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-12)
    weight = RNG.standard_normal(len(A))
    (ours * hl.tensor(weight)).sum().backward()
    (theirs * torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), p.grad.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(b.grad.numpy(), q.grad.numpy(), rtol=1e-9, atol=1e-12)
    for reduction, how in (("mean", np.mean), ("sum", np.sum)):
        found = function(A, B, reduction=reduction).item()
        assert found == pytest.approx(how(ours.numpy()))


def test_distance_loss_against_finite_differences():
    a, b = (hl.tensor(x[:8], requires_grad=True) for x in (A, B))
    assert hl.gradcheck(lambda p, q: F.distance_box_iou_loss(p, q), [a, b])


def test_pairs_are_the_diagonal_of_all():
    for all_pairs, loss in (
        (kernels.distance_box_iou, kernels.distance_box_iou_loss),
        (kernels.complete_box_iou, kernels.complete_box_iou_loss),
    ):
        np.testing.assert_allclose(np.diag(all_pairs(A, B)), 1 - loss(A, B), rtol=1e-5, atol=1e-6)


def test_what_they_are_for():
    one, far = np.array([[0.0, 0, 1, 1]]), np.array([[4.0, 0, 5, 1], [9.0, 0, 10, 1]])
    assert (kernels.box_iou(one, far) == 0).all()
    near, away = kernels.distance_box_iou(one, far)[0]
    assert 0 > near > away > -1  # it falls with the distance where boxes do not meet
    same_place = np.array([[-0.5, 0.25, 1.5, 0.75]])  # the middle and the area, another shape
    assert kernels.distance_box_iou(one, same_place)[0, 0] == kernels.box_iou(one, same_place)[0, 0]
    assert kernels.complete_box_iou(one, same_place) < kernels.distance_box_iou(one, same_place)
    for function in (kernels.distance_box_iou, kernels.complete_box_iou):
        assert function(one, one)[0, 0] == 1


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_degenerate_boxes_give_what_the_formulas_give(dtype):
    point = np.array([[1, 1, 1, 1]], dtype)
    flat = np.array([[0, 1, 2, 1]], dtype)  # no height: its angle is π/2
    box = np.array([[0, 0, 2, 2]], dtype)
    huge = np.array([[-1e30, -1e30, 1e30, 1e30]], dtype)
    assert kernels.distance_box_iou(point, box)[0, 0] == 0
    assert kernels.distance_box_iou_loss(point, point)[0] == 1
    assert np.isfinite(kernels.complete_box_iou(flat, box)).all()
    assert np.isnan(kernels.complete_box_iou_loss(point, box)).all()  # a point has no shape
    nan = np.full((1, 4), np.nan, dtype)
    for function in (kernels.distance_box_iou, kernels.complete_box_iou):
        assert np.isnan(function(nan, box)).all()
        assert function(np.empty((0, 4), dtype), box).shape == (0, 1)
        assert function(huge, box).shape == (1, 1)
    for name in ("distance_box_iou_loss", "complete_box_iou_loss"):
        assert getattr(kernels, name)(np.empty((0, 4), dtype), np.empty((0, 4), dtype)).shape == (
            0,
        )
        dy = np.ones(1, dtype)
        da, db = getattr(kernels, f"{name}_backward")(dy, box, box + 1, need=("boxes1",))
        assert da.shape == (1, 4)
        assert db is None


@pytest.mark.parametrize("name", ["distance_box_iou_loss", "complete_box_iou_loss"])
def test_bad_input_is_named(name):
    with pytest.raises(ValueError, match=rf"{name}: boxes1 has shape .* expected pairs"):
        getattr(F, name)(A, B[:3])
    with pytest.raises(ValueError, match=rf"{name}: .*\(N, 4\)"):
        getattr(F, name)(A[:, :3], B)
    with pytest.raises(ValueError, match="reduction 'x' is unknown"):
        getattr(F, name)(A, B, "x")
    with pytest.raises(TypeError, match="float32"):
        getattr(kernels, name)(A, B.astype("f4"))
