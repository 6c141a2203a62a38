"""Boxes and regions of interest; the mathematics is in `handloom.kernels.boxes` and `.roi`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from handloom import _C
from handloom._calls.roi import CLIP, rois_of, size_of
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of, dense, reduction_of
from handloom.ops.reduce import mean, sum
from handloom.tensor import Array, Tensor

_IOU, _GIOU = _C.box_overlaps["iou"], _C.box_overlaps["giou"]
_DIOU, _CIOU = _C.box_overlaps["diou"], _C.box_overlaps["ciou"]


class BoxLoss(Function):
    """1 − IoU, GIoU, DIoU or CIoU of pairs of boxes."""

    __slots__ = ("options",)
    fresh = True

    def forward(ctx, boxes1: Array, boxes2: Array, op: str, kind: int, eps: float) -> Array:
        boxes1, boxes2 = dense(boxes1), dense(boxes2)
        ctx.saved, ctx.options = (boxes1, boxes2), (op, kind, eps)
        return _C.box_loss_forward(op, kind, boxes1, boxes2, eps)

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None]:
        op, kind, eps = ctx.options
        boxes1, boxes2 = ctx.saved
        return _C.box_loss_backward(op, kind, dense(dy), boxes1, boxes2, eps, ctx.need)


class BoxDecode(Function):
    """Boxes from codes and anchors."""

    __slots__ = ("options",)
    fresh = True

    @property
    def name(self) -> str:
        return "box_decode"

    def forward(ctx, codes: Array, anchors: Array, *options: float) -> Array:
        codes, anchors = dense(codes), dense(anchors)
        ctx.saved, ctx.options = (codes, anchors), options
        return _C.box_decode_forward(codes, anchors, *options)

    def backward(ctx, dy: Array) -> Array:
        return _C.box_decode_backward(dense(dy), *ctx.saved, *ctx.options)


class RoiAlign(Function):
    """Bilinear samples of boxes; dx adds each bin's share to the four pixels of its samples."""

    __slots__ = ("options", "size")
    fresh = True

    @property
    def name(self) -> str:
        return "roi_align"

    def forward(
        ctx, x: Array, rois: Array, size: tuple[int, int], scale: float, ratio: int, aligned: bool
    ) -> Array:
        ctx.saved, ctx.size, ctx.options = (rois,), x.shape, (scale, ratio, aligned)
        return _C.roi_align_forward("roi_align", dense(x), rois, *size, scale, ratio, aligned)

    def backward(ctx, dy: Array) -> Array:
        (rois,) = ctx.saved
        return _C.roi_align_backward(dense(dy), rois, ctx.size, *ctx.options)


class RoiPool(Function):
    """The largest in each bin of boxes; dx goes where it was."""

    __slots__ = ("size",)
    fresh = True

    @property
    def name(self) -> str:
        return "roi_pool"

    def forward(ctx, x: Array, rois: Array, size: tuple[int, int], scale: float) -> Array:
        y, at = _C.roi_pool_forward(dense(x), rois, *size, scale)
        ctx.saved, ctx.size = (rois, at), x.shape
        return y

    def backward(ctx, dy: Array) -> Array:
        rois, at = ctx.saved
        return _C.roi_pool_backward(dense(dy), rois, at, ctx.size)


def _box_loss(
    op: str, kind: int, boxes1: TensorLike, boxes2: TensorLike, reduction: str, eps: float
) -> Tensor:
    code = reduction_of(reduction, op)
    loss: Tensor = BoxLoss().run((boxes1, boxes2), op, kind, float(eps))
    return loss if code == 0 else mean(loss) if code == 1 else sum(loss)


def box_iou_loss(
    boxes1: TensorLike, boxes2: TensorLike, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """1 − IoU of pairs of boxes (N, 4), (x1, y1, x2, y2)."""
    return _box_loss("box_iou_loss", _IOU, boxes1, boxes2, reduction, eps)


def generalized_box_iou_loss(
    boxes1: TensorLike, boxes2: TensorLike, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """1 − GIoU of pairs of boxes (N, 4); torchvision's (Rezatofighi et al., 2019)."""
    return _box_loss("generalized_box_iou_loss", _GIOU, boxes1, boxes2, reduction, eps)


def distance_box_iou_loss(
    boxes1: TensorLike, boxes2: TensorLike, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """1 − DIoU of pairs of boxes (N, 4); torchvision's (Zheng et al., 2020)."""
    return _box_loss("distance_box_iou_loss", _DIOU, boxes1, boxes2, reduction, eps)


def complete_box_iou_loss(
    boxes1: TensorLike, boxes2: TensorLike, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """1 − CIoU of pairs of boxes (N, 4); torchvision's (Zheng et al., 2020).

    α, which weighs the difference of the shapes, counts as a constant in the gradient.
    """
    return _box_loss("complete_box_iou_loss", _CIOU, boxes1, boxes2, reduction, eps)


def box_decode(
    codes: TensorLike,
    anchors: TensorLike,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    clip: float = CLIP,
) -> Tensor:
    """The boxes (N, 4) that codes (N, 4) make of anchors (N, 4); the codes have a gradient."""
    out: Tensor = BoxDecode().run((codes,), array_of(anchors), *map(float, weights), float(clip))
    return out


def roi_align(
    input: TensorLike,
    boxes: Any,
    output_size: int | Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Averages of bilinear samples in each bin of each box: He et al. (2017); torchvision's.

    Args:
        input: (N, H, W, C).
        boxes: (K, 5) of (image, x1, y1, x2, y2), or a list of (L, 4); they have no gradient.
        output_size: (height, width) in bins.
        spatial_scale: From the boxes' units to elements.
        sampling_ratio: Samples of a bin each way; 0 or less: as many as elements.
        aligned: Whether the middle of the first element is at 1/2.

    Returns:
        (K, height, width, C).
    """
    rois = _rois("roi_align", boxes, input)
    size = size_of("roi_align", output_size)
    out: Tensor = RoiAlign().run1(input, rois, size, spatial_scale, sampling_ratio, aligned)
    return out


def roi_pool(
    input: TensorLike, boxes: Any, output_size: int | Sequence[int], spatial_scale: float = 1.0
) -> Tensor:
    """The largest element in each bin of each box: Girshick (2015). Arguments: `roi_align`."""
    rois = _rois("roi_pool", boxes, input)
    out: Tensor = RoiPool().run1(input, rois, size_of("roi_pool", output_size), spatial_scale)
    return out


def _rois(op: str, boxes: Any, x: TensorLike) -> Array:
    if isinstance(boxes, (list, tuple)):
        boxes = [array_of(b) for b in boxes]
    return rois_of(op, array_of(boxes), array_of(x))
