"""Boxes: overlaps, codes relative to anchors, matches, suppression.

Boxes are contiguous float32 or float64 ``(N, 4)`` of ``(x1, y1, x2, y2)`` in continuous
coordinates: the pixel in column 3 reaches from 3 to 4. Names and results are torchvision's. Sides
are never clamped: a box of negative, infinite or no extent gives what the formulas give, and NaN
comes through. All raise ``TypeError`` for another dtype and ``ValueError`` for another shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C
from .._calls.roi import CLIP
from .._device_array import beside, on_host
from ._options import choice, need_mask, require_arrays

Array = npt.NDArray[Any]

_IOU, _GIOU = _C.box_overlaps["iou"], _C.box_overlaps["giou"]
_DIOU, _CIOU = _C.box_overlaps["diou"], _C.box_overlaps["ciou"]
_FORMATS = ("xyxy", "xywh", "cxcywh")


def box_iou(boxes1: Array, boxes2: Array) -> Array:
    """Intersection over union of each of ``boxes1`` with each of ``boxes2``: ``(M, N)``.

    NaN where both boxes are empty. torchvision: ``box_iou``.
    """
    return _C.box_overlap("box_iou", _IOU, boxes1, boxes2, 0.0)


def generalized_box_iou(boxes1: Array, boxes2: Array) -> Array:
    """IoU − (C − U)/C, C the smallest box around both: ``(M, N)``, from −1 to 1.

    Rezatofighi et al., "Generalized intersection over union" (2019).
    """
    return _C.box_overlap("generalized_box_iou", _GIOU, boxes1, boxes2, 0.0)


def distance_box_iou(boxes1: Array, boxes2: Array, *, eps: float = 1e-7) -> Array:
    """IoU − D/E, D the squared distance of the middles, E that across both boxes: ``(M, N)``.

    Zheng et al., "Distance-IoU loss: faster and better learning for bounding box regression"
    (2020); ``eps`` is added to E.
    """
    return _C.box_overlap("distance_box_iou", _DIOU, boxes1, boxes2, eps)


def complete_box_iou(boxes1: Array, boxes2: Array, *, eps: float = 1e-7) -> Array:
    """DIoU, less how much the shapes differ: ``(M, N)``.

    With the angles a = atan(w/h) that is α v, v = (2/π (a₁ − a₂))², α = v/(1 − IoU + v + eps). As
    :func:`distance_box_iou`.
    """
    return _C.box_overlap("complete_box_iou", _CIOU, boxes1, boxes2, eps)


def _loss_backward(
    op: str, kind: int, dy: Array, boxes1: Array, boxes2: Array, eps: float, need: Sequence[str]
) -> tuple[Array | None, Array | None]:
    mask = need_mask(op, need, ("boxes1", "boxes2"))
    return _C.box_loss_backward(op, kind, dy, boxes1, boxes2, eps, mask)


def box_iou_loss(boxes1: Array, boxes2: Array, *, eps: float = 1e-7) -> Array:
    """1 − IoU of each pair: ``(N,)``; ``eps`` is added to the union."""
    return _C.box_loss_forward("box_iou_loss", _IOU, boxes1, boxes2, eps)


def box_iou_loss_backward(
    dy: Array,
    boxes1: Array,
    boxes2: Array,
    *,
    eps: float = 1e-7,
    need: Sequence[str] = ("boxes1", "boxes2"),
) -> tuple[Array | None, Array | None]:
    """Gradients of :func:`box_iou_loss`; 0 for boxes that do not meet but for their own area's."""
    return _loss_backward("box_iou_loss_backward", _IOU, dy, boxes1, boxes2, eps, need)


def generalized_box_iou_loss(boxes1: Array, boxes2: Array, *, eps: float = 1e-7) -> Array:
    """1 − GIoU of each pair: ``(N,)``, from 0 to 2. It has a slope where boxes do not meet, too.

    torchvision: ``generalized_box_iou_loss`` with reduction "none".
    """
    return _C.box_loss_forward("generalized_box_iou_loss", _GIOU, boxes1, boxes2, eps)


def generalized_box_iou_loss_backward(
    dy: Array,
    boxes1: Array,
    boxes2: Array,
    *,
    eps: float = 1e-7,
    need: Sequence[str] = ("boxes1", "boxes2"),
) -> tuple[Array | None, Array | None]:
    """Gradients of :func:`generalized_box_iou_loss`; where corners tie, half to each box."""
    op = "generalized_box_iou_loss_backward"
    return _loss_backward(op, _GIOU, dy, boxes1, boxes2, eps, need)


def distance_box_iou_loss(boxes1: Array, boxes2: Array, *, eps: float = 1e-7) -> Array:
    """1 − DIoU of each pair: ``(N,)``, from 0 to 2. Its slope pulls the middles together.

    torchvision: ``distance_box_iou_loss`` with reduction "none".
    """
    return _C.box_loss_forward("distance_box_iou_loss", _DIOU, boxes1, boxes2, eps)


def distance_box_iou_loss_backward(
    dy: Array,
    boxes1: Array,
    boxes2: Array,
    *,
    eps: float = 1e-7,
    need: Sequence[str] = ("boxes1", "boxes2"),
) -> tuple[Array | None, Array | None]:
    """Gradients of :func:`distance_box_iou_loss`; where corners tie, half to each box."""
    op = "distance_box_iou_loss_backward"
    return _loss_backward(op, _DIOU, dy, boxes1, boxes2, eps, need)


def complete_box_iou_loss(boxes1: Array, boxes2: Array, *, eps: float = 1e-7) -> Array:
    """1 − CIoU of each pair: ``(N,)``. NaN for a box without any extent, which has no shape.

    torchvision: ``complete_box_iou_loss`` with reduction "none".
    """
    return _C.box_loss_forward("complete_box_iou_loss", _CIOU, boxes1, boxes2, eps)


def complete_box_iou_loss_backward(
    dy: Array,
    boxes1: Array,
    boxes2: Array,
    *,
    eps: float = 1e-7,
    need: Sequence[str] = ("boxes1", "boxes2"),
) -> tuple[Array | None, Array | None]:
    """Gradients of :func:`complete_box_iou_loss`, α taken for a constant as the authors do."""
    op = "complete_box_iou_loss_backward"
    return _loss_backward(op, _CIOU, dy, boxes1, boxes2, eps, need)


def box_encode(
    boxes: Array, anchors: Array, *, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)
) -> Array:
    """What a network has to say to turn each anchor into its box: ``(N, 4)``.

    Shifts of the middle in anchor sizes, logarithms of the ratios of width and height, each times
    its weight. Girshick et al. (2014); torchvision's ``BoxCoder.encode``. A box or anchor without
    extent gives infinities or NaN.
    """
    return _C.box_encode(boxes, anchors, *_four("box_encode", weights))


def box_decode(
    codes: Array,
    anchors: Array,
    *,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    clip: float = CLIP,
) -> Array:
    """The boxes that codes make of anchors: the inverse of :func:`box_encode`.

    Args:
        codes: ``(N, 4)``, or ``(N, K, 4)`` for K boxes of each anchor.
        anchors: ``(N, 4)``.
        weights: As they were for the codes.
        clip: Largest logarithm of a ratio of sizes.

    Returns:
        As ``codes``.
    """
    return _C.box_decode_forward(codes, anchors, *_four("box_decode", weights), clip)


def box_decode_backward(
    dy: Array,
    codes: Array,
    anchors: Array,
    *,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    clip: float = CLIP,
) -> Array:
    """Gradient of :func:`box_decode` by ``codes``; none where ``clip`` held them."""
    return _C.box_decode_backward(dy, codes, anchors, *_four("box_decode_backward", weights), clip)


def box_match(
    iou: Array, *, low: float = 0.3, high: float = 0.7, allow_low_quality: bool = False
) -> Array:
    """Which object each anchor is to find: ``(A,)`` int64. torchvision's ``Matcher``.

    Args:
        iou: ``(objects, anchors)``, as from :func:`box_iou`. NaN counts as no overlap.
        low: Below it an anchor is background, −1; between it and ``high`` it is −2, neither.
        high: From it on an anchor belongs to the object that it overlaps most, the first of equals.
        allow_low_quality: Whether the anchors that overlap an object most belong to objects
            however little that is, as long as they do overlap (torchvision: even then).
    """
    return _C.box_match(iou, low, high, allow_low_quality)


def nms(boxes: Array, scores: Array, iou_threshold: float) -> Array:
    """Non-maximum suppression: numbers of the boxes that stay, the highest score first, int64.

    A box falls if its IoU with a box that stays and has a higher score is above the threshold; of
    equal scores the first box counts as higher. An IoU that is no number suppresses nothing. NaN
    scores come first, as in PyTorch.
    """
    return _C.nms("nms", boxes, scores, None, iou_threshold)


def batched_nms(boxes: Array, scores: Array, idxs: Array, iou_threshold: float) -> Array:
    """:func:`nms` among boxes of the same class (or image): ``idxs`` ``(N,)`` of integers.

    torchvision moves the classes apart by adding offsets to the coordinates, which costs digits;
    here they are kept apart as they are.
    """
    return _C.nms("batched_nms", boxes, scores, idxs, iou_threshold)


def soft_nms(
    boxes: Array,
    scores: Array,
    iou_threshold: float = 0.3,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    score_threshold: float = 0.001,
) -> tuple[Array, Array]:
    """Lowers the scores of boxes that overlap a better one: Bodla et al., "Soft-NMS" (2017).

    Args:
        boxes: ``(N, 4)``.
        scores: ``(N,)``. NaN is never kept.
        iou_threshold: For ``"linear"``: overlaps up to it cost nothing.
        method: ``"linear"`` multiplies by 1 − IoU, ``"gaussian"`` by exp(−IoU²/sigma).
        sigma: For ``"gaussian"``.
        score_threshold: Boxes whose score falls to it or below are left out.

    Returns:
        ``(keep, new_scores)``, highest score first.
    """
    code = choice("soft_nms", "method", method, _C.nms_decays)
    return _C.soft_nms(boxes, scores, code, iou_threshold, sigma, score_threshold)


def grid_anchors(
    feature_size: Sequence[int],
    stride: float | Sequence[float],
    sizes: Sequence[float],
    aspect_ratios: Sequence[float] = (1.0,),
    *,
    offset: float = 0.5,
    dtype: str = "float32",
) -> Array:
    """Anchors around the middle of each cell of a feature map: ``(H · W · A, 4)``.

    Cells row by row; within one, all sizes for the first aspect ratio, and so on.

    Args:
        feature_size: ``(H, W)``.
        stride: Pixels from cell to cell, ``(y, x)`` or one number.
        sizes: Square roots of the areas, in pixels.
        aspect_ratios: Height / width.
        offset: Where the middle is in a cell. torchvision's ``AnchorGenerator`` has 0, and rounds.
        dtype: Of the result.
    """
    height, width = feature_size
    step = (stride, stride) if isinstance(stride, (int, float)) else tuple(stride)
    if height < 0 or width < 0 or len(step) != 2:
        raise ValueError(
            f"grid_anchors: feature_size {tuple(feature_size)} and stride {stride}, expected (H, W)"
        )
    if any(not r > 0 for r in (*sizes, *aspect_ratios)):
        raise ValueError(
            f"grid_anchors: sizes {tuple(sizes)} and aspect_ratios {tuple(aspect_ratios)}, "
            "expected numbers above 0"
        )
    root = np.sqrt(np.asarray(aspect_ratios, np.float64))[:, None]
    area = np.asarray(sizes, np.float64)
    half_w, half_h = (area / root).reshape(-1) / 2, (area * root).reshape(-1) / 2
    own = np.stack([-half_w, -half_h, half_w, half_h], 1)
    y = (np.arange(height) + offset) * step[0]
    x = (np.arange(width) + offset) * step[1]
    middle = np.stack(np.broadcast_arrays(x, y[:, None], x, y[:, None]), -1)
    kind: Any = np.dtype(dtype).type
    found: Array = (middle[:, :, None] + own).reshape(-1, 4).astype(kind)
    return found


def box_area(boxes: Array) -> Array:
    """(x2 − x1)(y2 − y1): ``(N,)``."""
    own = _checked("box_area", boxes)
    return beside((own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1]), boxes)


def box_convert(boxes: Array, in_fmt: str, out_fmt: str) -> Array:
    """Changes what four numbers mean: ``"xyxy"``, ``"xywh"`` (corner and size) or ``"cxcywh"``."""
    own = _checked("box_convert", boxes)
    for name, value in (("in_fmt", in_fmt), ("out_fmt", out_fmt)):
        choice("box_convert", name, value, dict.fromkeys(_FORMATS, 0))
    a, b, c, d = own.T
    if in_fmt == "xywh":
        a, b, c, d = a, b, a + c, b + d
    elif in_fmt == "cxcywh":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    if out_fmt == "xywh":
        a, b, c, d = a, b, c - a, d - b
    elif out_fmt == "cxcywh":
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    return beside(np.ascontiguousarray(np.stack([a, b, c, d], 1)), boxes)


def clip_boxes_to_image(boxes: Array, size: Sequence[int]) -> Array:
    """Holds the corners within an image of ``size`` ``(H, W)``; NaN comes through."""
    own = _checked("clip_boxes_to_image", boxes)
    height, width = size
    limit = np.array([width, height, width, height], own.dtype)
    return beside(np.clip(own, np.zeros((), own.dtype), limit), boxes)


def remove_small_boxes(boxes: Array, min_size: float) -> Array:
    """Numbers of the boxes with both sides of at least ``min_size``, int64."""
    own = _checked("remove_small_boxes", boxes)
    wide = own[:, 2] - own[:, 0] >= min_size
    return beside(np.flatnonzero(wide & (own[:, 3] - own[:, 1] >= min_size)), boxes)


def masks_to_boxes(masks: Array, dtype: str = "float32") -> Array:
    """The smallest box around each mask: masks ``(N, H, W)``, 0 outside, to ``(N, 4)``.

    The right and lower edges lie behind the last pixel (torchvision: on it). A mask without a pixel
    gives a box of zeros.
    """
    require_arrays("masks_to_boxes", masks=masks)
    if masks.ndim != 3:
        raise ValueError(f"masks_to_boxes: masks has shape {masks.shape}, expected (N, H, W)")
    kind: Any = np.dtype(dtype).type
    boxes: Array = np.zeros((len(masks), 4), kind)
    for box, mask in zip(boxes, on_host(masks) != 0):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return beside(boxes, masks)


def _checked(op: str, boxes: Array) -> Array:
    """The boxes, on the host."""
    require_arrays(op, boxes=boxes)
    if boxes.dtype not in (np.float32, np.float64):
        raise TypeError(f"{op}: boxes has dtype {boxes.dtype}, expected float32 or float64")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{op}: boxes has shape {boxes.shape}, expected (N, 4)")
    return on_host(boxes)


def _four(op: str, weights: Sequence[float]) -> tuple[float, float, float, float]:
    try:
        a, b, c, d = (float(w) for w in weights)
    except (TypeError, ValueError):
        raise ValueError(f"{op}: weights is {weights!r}, expected four numbers") from None
    return a, b, c, d
