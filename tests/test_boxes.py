"""Boxes and regions of interest: degenerate ones, bad arguments, and what is known about them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom import kernels
from handloom.nn import functional as F

EDGE = (0.0, -0.0, 1.0, -3.0, 2.5, 1e30, -1e30, 3e38, np.inf, -np.inf, np.nan, 1e-30)
ANY_BOX = st.lists(st.sampled_from(EDGE), min_size=4, max_size=4)
ANY_BOXES = st.lists(ANY_BOX, max_size=40)


def boxes_of(rows, dtype="float32"):
    return np.array(rows, dtype).reshape(-1, 4)


@given(ANY_BOXES, ANY_BOXES, st.sampled_from(["float32", "float64"]))
@settings(max_examples=80, deadline=None)
def test_any_boxes_overlap_as_the_formula_says(a, b, dtype):
    a, b = boxes_of(a, dtype), boxes_of(b, dtype)
    found = kernels.box_iou(a, b)
    assert found.shape == (len(a), len(b))
    with np.errstate(all="ignore"):
        low = np.maximum(a[:, None, :2], b[None, :, :2])
        high = np.minimum(a[:, None, 2:], b[None, :, 2:])
        both = np.prod(np.maximum(high - low, 0), -1)
        area = [(x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b)]
        exact = both / (area[0][:, None] + area[1] - both)
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    assert kernels.generalized_box_iou(a, b).shape == found.shape


@given(ANY_BOXES, st.floats(0, 1), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_any_boxes_are_suppressed_as_in_a_loop(rows, threshold, seed):
    boxes = boxes_of(rows)
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, len(boxes)).astype(np.float32)
    with np.errstate(all="ignore"):
        above = kernels.box_iou(boxes, boxes) > np.float32(threshold)
    keep = []
    for i in np.argsort(-scores, kind="stable"):
        if not any(above[j, i] for j in keep):
            keep.append(i)
    np.testing.assert_array_equal(kernels.nms(boxes, scores, threshold), keep)
    same = kernels.batched_nms(boxes, scores, np.zeros(len(boxes), np.int64), threshold)
    np.testing.assert_array_equal(same, keep)
    apart = kernels.batched_nms(boxes, scores, np.arange(len(boxes)), threshold)
    np.testing.assert_array_equal(apart, np.argsort(-scores, kind="stable"))
    soft, new = kernels.soft_nms(boxes, scores)
    assert len(set(soft.tolist())) == len(soft) == len(new)
    assert (new[:-1] >= new[1:]).all()


def test_all_but_one_are_suppressed():
    boxes = np.repeat(np.float32([[1, 2, 30, 40]]), 5000, 0)
    scores = np.random.default_rng(0).random(5000).astype(np.float32)
    np.testing.assert_array_equal(kernels.nms(boxes, scores, 0.5), [scores.argmax()])


def test_scores_that_are_no_numbers_come_first():
    boxes = np.float32([[0, 0, 1, 1], [5, 5, 6, 6], [9, 9, 10, 10]])
    keep = kernels.nms(boxes, np.float32([1, np.nan, np.inf]), 0.5)
    np.testing.assert_array_equal(keep, [1, 2, 0])
    keep, _ = kernels.soft_nms(boxes, np.float32([1, np.nan, 2]))
    np.testing.assert_array_equal(keep, [2, 0])


def test_codes_undo_each_other():
    rng = np.random.default_rng(1)
    grow = np.array([0, 0, 0.1, 0.1])
    a, b = (np.sort(rng.random((50, 2, 2)), 1).reshape(50, 4) + grow for _ in "ab")
    weights = (10.0, 9.0, 5.0, 4.0)
    codes = kernels.box_encode(b, a, weights=weights)
    np.testing.assert_allclose(kernels.box_decode(codes, a, weights=weights), b, atol=1e-12)
    huge = kernels.box_decode(np.full((1, 4), 1e9), a[:1])
    assert np.isfinite(huge).all()


@given(
    st.lists(st.lists(st.sampled_from(EDGE), min_size=4, max_size=4), min_size=1, max_size=6),
    st.sampled_from([-1, 1, 3]),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
)
@settings(max_examples=60, deadline=None)
def test_any_region_of_interest_gives_a_defined_result(rows, ratio, aligned, dtype):
    x = np.random.default_rng(0).random((2, 5, 4, 3)).astype(dtype)
    rois = np.array([[i % 2, *row] for i, row in enumerate(rows)], dtype)
    options = {"sampling_ratio": ratio, "aligned": aligned}
    y = kernels.roi_align(x, rois, (2, 3), **options)
    pooled = kernels.roi_pool(x, rois, (2, 3))
    finite = np.isfinite(rois).all(1)
    with np.errstate(all="ignore"):
        sides = rois[:, 3:] - rois[:, 1:3]
    usual = finite & np.isfinite(sides).all(1)
    assert np.isnan(y[~finite]).all()
    assert np.isnan(pooled[~finite]).all()
    assert (y[usual] >= 0).all()
    assert (y[usual] <= 1.0001).all()
    dx = kernels.roi_align_backward(np.ones_like(y), rois, x.shape, **options)
    assert np.isfinite(dx).all()


def test_an_image_without_pixels_gives_zeros():
    x = np.zeros((1, 0, 4, 2), np.float32)
    rois = np.float32([[0, 0, 0, 2, 2]])
    np.testing.assert_array_equal(kernels.roi_align(x, rois, 2), np.zeros((1, 2, 2, 2)))
    np.testing.assert_array_equal(kernels.roi_pool(x, rois, 2), np.zeros((1, 2, 2, 2)))


def test_a_list_of_boxes_is_one_array_with_image_numbers():
    x = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)
    own = [np.float32([[0, 0, 4, 4], [1, 2, 7, 8]]), np.float32([[3, 3, 6, 5]])]
    rows = np.float32([[0, 0, 0, 4, 4], [0, 1, 2, 7, 8], [1, 3, 3, 6, 5]])
    for op in (kernels.roi_align, kernels.roi_pool, F.roi_align, F.roi_pool):
        a, b = op(x, own, 3), op(x, rows, 3)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_gradients_of_tensors():
    rng = np.random.default_rng(0)
    rois = np.array([[0, 0.5, 1.2, 5.1, 6.3], [1, 2.2, 0.1, 7.7, 3.9]])
    x = hl.tensor(rng.standard_normal((2, 8, 9, 3)), requires_grad=True)
    assert hl.gradcheck(lambda t: F.roi_align(t, rois, 2, 0.9, 2, True), [x])
    assert hl.gradcheck(lambda t: F.roi_pool(t, rois, 2), [x])
    a = hl.tensor(np.array([[0, 0, 2, 3.0], [1, 1, 4, 5.0]]), requires_grad=True)
    b = hl.tensor(np.array([[1, 0.5, 3, 4.0], [6, 7, 8, 9.0]]), requires_grad=True)
    assert hl.gradcheck(lambda p, q: F.generalized_box_iou_loss(p, q), [a, b])
    assert hl.gradcheck(lambda p, q: F.box_iou_loss(p, q, reduction="mean"), [a, b])
    anchors = np.array([[0, 0, 2, 3.0], [1, 1, 4, 5.0]])
    assert hl.gradcheck(lambda t: F.box_decode(t, anchors), [a])
    p = hl.tensor(rng.random((3, 4, 5)), requires_grad=True)
    t = (rng.random((3, 4, 5)) > 0.5).astype(float)
    assert hl.gradcheck(lambda v: F.iou_loss(v, t), [p])


def test_soft_iou_loss_is_its_formula():
    rng = np.random.default_rng(0)
    p, t = rng.random((3, 20)), (rng.random((3, 20)) > 0.5).astype(float)
    both, total = (p * t).sum(1), p.sum(1) + t.sum(1)
    exact = 1 - (both + 0.7) / (total - both + 0.7)
    np.testing.assert_allclose(F.iou_loss(p, t, 0.7, "none").numpy(), exact)


def test_pixels_that_are_ignored_have_no_loss_and_no_gradient():
    rng = np.random.default_rng(0)
    x = hl.tensor(rng.standard_normal((2, 4, 5, 3)), requires_grad=True)
    y = rng.integers(0, 3, (2, 4, 5))
    y[0, :2] = 255
    loss = F.cross_entropy(x, y, ignore_index=255)
    loss.backward()
    logp = x.numpy() - np.log(np.exp(x.numpy()).sum(-1, keepdims=True))
    picked = np.take_along_axis(logp, np.where(y == 255, 0, y)[..., None], -1)[..., 0]
    np.testing.assert_allclose(loss.item(), -picked[y != 255].mean())
    assert (x.grad.numpy()[0, :2] == 0).all()


def test_formats_and_areas():
    box = np.float32([[1, 2, 4, 8]])
    for first, second in itertools.product(("xyxy", "xywh", "cxcywh"), repeat=2):
        there = kernels.box_convert(box, first, second)
        np.testing.assert_array_equal(kernels.box_convert(there, second, first), box)
    np.testing.assert_array_equal(kernels.box_convert(box, "xyxy", "cxcywh"), [[2.5, 5, 3, 6]])
    np.testing.assert_array_equal(kernels.box_area(box), [18])
    np.testing.assert_array_equal(kernels.clip_boxes_to_image(box, (5, 3)), [[1, 2, 3, 5]])
    np.testing.assert_array_equal(kernels.remove_small_boxes(box, 3), [0])
    assert len(kernels.remove_small_boxes(box, 3.1)) == 0


def test_masks_into_boxes_and_back():
    masks = np.zeros((2, 6, 8), bool)
    masks[0, 1:4, 2:7] = True
    boxes = kernels.masks_to_boxes(masks)
    np.testing.assert_array_equal(boxes, [[2, 1, 7, 4], [0, 0, 0, 0]])
    cut = kernels.crop_and_resize(masks[:1].astype(np.float32)[..., None], [boxes[:1]], (3, 5))
    np.testing.assert_array_equal(cut[..., 0], np.ones((1, 3, 5)))
    back = kernels.paste_masks(cut[..., 0], boxes[:1], (6, 8))
    np.testing.assert_array_equal(back >= 0.5, masks[:1])


def test_anchors_stand_around_the_middles_of_cells():
    anchors = kernels.grid_anchors((2, 3), 8, (4.0, 6.0), (1.0, 4.0))
    assert anchors.shape == (2 * 3 * 4, 4)
    np.testing.assert_allclose(anchors[0], [2, 2, 6, 6])
    np.testing.assert_allclose(anchors[2], [3, 0, 5, 8])  # four times as high as wide
    np.testing.assert_allclose(anchors[4], [10, 2, 14, 6])


def test_selective_search_finds_a_square():
    rng = np.random.default_rng(0)
    image = 0.2 + 0.02 * rng.random((48, 64, 3)).astype(np.float32)
    image[10:30, 20:50] += 0.5
    boxes = kernels.selective_search(image)
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert kernels.box_iou(np.float32([[20, 10, 50, 30]]), boxes).max() > 0.85
    assert [0, 0, 64, 48] in boxes.tolist()
    assert kernels.selective_search(image[:0]).shape == (0, 4)
    assert kernels.selective_search(image[:1, :1]).shape == (1, 4)
    assert kernels.selective_search(np.full_like(image, np.nan)).shape[1] == 4


BOX = np.zeros((3, 4), np.float32)
IMAGE = np.zeros((2, 8, 8, 3), np.float32)
ROI = np.zeros((1, 5), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: kernels.box_iou(BOX[:, :3], BOX), ValueError, r"boxes1 has shape \(3, 3\), expe"),
        (lambda: kernels.box_iou(BOX, BOX.astype(float)), TypeError, "box_iou: boxes2"),
        (lambda: kernels.box_iou(BOX.astype(int), BOX), TypeError, "boxes1 has dtype int64"),
        (lambda: kernels.nms(BOX, BOX[:2, 0].copy(), 0.5), ValueError, "nms: scores"),
        (lambda: kernels.nms(BOX, np.zeros(3, np.float32), np.nan), ValueError, "iou_threshold"),
        (lambda: kernels.nms(BOX, np.zeros(3, np.float32), "a"), TypeError, "iou_threshold is 'a'"),
        (
            lambda: kernels.batched_nms(BOX, np.zeros(3, np.float32), np.zeros(2, int), 0.5),
            ValueError,
            "batched_nms: idxs",
        ),
        (
            lambda: kernels.soft_nms(BOX, np.zeros(3, np.float32), method="x"),
            ValueError,
            "method 'x' is unknown, expected one of linear, gaussian",
        ),
        (lambda: kernels.soft_nms(BOX, np.zeros(3, np.float32), sigma=0), ValueError, "sigma is"),
        (
            lambda: kernels.generalized_box_iou_loss(BOX, BOX[:2]),
            ValueError,
            r"boxes1 has shape \(3, 4\) and boxes2 \(2, 4\), expected pairs",
        ),
        (lambda: kernels.box_encode(BOX, BOX[:2]), ValueError, r"boxes has shape \(3, 4\), expec"),
        (lambda: kernels.box_encode(BOX, BOX, weights=(1, 2)), ValueError, "expected four numbers"),
        (lambda: kernels.box_decode(BOX, BOX, weights=(1, 1, 0, 1)), ValueError, "weights has 0"),
        (lambda: kernels.box_match(BOX, low=0.9), ValueError, "expected low <= high"),
        (
            lambda: kernels.roi_align(IMAGE, ROI + 2, 3),
            ValueError,
            r"boxes\[0, 0\] is 2.0*, expected the number of an image, 0 to 1",
        ),
        (lambda: kernels.roi_align(IMAGE, ROI + np.nan, 3), ValueError, "expected the number of"),
        (lambda: kernels.roi_align(IMAGE, BOX, 3), ValueError, r"expected \(K, 5\) of \(image"),
        (lambda: kernels.roi_align(IMAGE[0], ROI, 3), ValueError, r"expected \(N, H, W, C\)"),
        (lambda: kernels.roi_align(IMAGE, ROI, 0), ValueError, r"output_size is \(0, 0\)"),
        (lambda: kernels.roi_align(IMAGE, ROI, (1, 2, 3)), ValueError, "expected .height, width"),
        (lambda: kernels.roi_align(IMAGE, [BOX, BOX[:, :2]], 2), ValueError, r"boxes\[1\] has sh"),
        (
            lambda: kernels.roi_align(IMAGE, ROI, 2, sampling_ratio=10**6),
            ValueError,
            "sampling_ratio is 1000000, expected at most 1024",
        ),
        (
            lambda: kernels.roi_align_backward(IMAGE[:1], ROI, (2, 8, 8)),
            ValueError,
            "the four sizes of the input",
        ),
        (lambda: kernels.connected_components(IMAGE[..., 0]), TypeError, "mask has dtype float32"),
        (
            lambda: kernels.connected_components(np.zeros((2, 2), int), connectivity=6),
            ValueError,
            "connectivity is 6, expected 4 or 8",
        ),
        (
            lambda: kernels.confusion_matrix(np.array([0, 3]), np.array([0, 1]), 3),
            ValueError,
            "target holds 3 at flat position 1, expected 0 to 2",
        ),
        (
            lambda: kernels.confusion_matrix(np.array([0, 1]), np.array([0, -1]), 3),
            ValueError,
            "prediction holds -1",
        ),
        (lambda: kernels.graph_segment(IMAGE[0], scale=-1), ValueError, "scale is -1"),
        (lambda: kernels.selective_search(IMAGE), ValueError, r"expected \(H, W, C\)"),
        (lambda: kernels.box_convert(BOX, "xyxy", "abc"), ValueError, "out_fmt 'abc' is unknown"),
        (lambda: kernels.grid_anchors((2, 2), 8, (0,)), ValueError, "expected numbers above 0"),
        (lambda: F.generalized_box_iou_loss(BOX, BOX, "x"), ValueError, "reduction 'x' is unknown"),
    ],
)
def test_what_is_wrong_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
