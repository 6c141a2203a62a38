"""Boxes, regions of interest and regions of images, one box, bin or pixel at a time."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op

# ---- boxes ---------------------------------------------------------------------------------------


def random_boxes(rng: np.random.Generator, n: int, size: float = 4.0) -> Any:
    corner = rng.uniform(0, size, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(0.3, size / 2, (n, 2))], 1)


def grid_boxes(rng: np.random.Generator, n: int) -> Any:
    """Corners on a grid: areas, and so the comparison with a threshold, are exact."""
    corner = rng.integers(0, 24, (n, 2))
    return np.concatenate([corner, corner + rng.integers(1, 12, (n, 2))], 1).astype(np.float64)


def pair_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    return tuple(random_boxes(rng, shape[0]) for shape in case.shapes)


def pair_terms(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """I, U, C of boxes whose last axis is broadcast."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    both = np.prod(np.maximum(high - low, 0), -1)
    area = np.prod(a[..., 2:] - a[..., :2], -1) + np.prod(b[..., 2:] - b[..., :2], -1)
    outer = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
    return both, area - both, np.prod(outer, -1)


def box_iou(a: Any, b: Any) -> Any:
    both, whole, _ = pair_terms(a[:, None], b[None])
    return both / whole


def generalized_box_iou(a: Any, b: Any) -> Any:
    both, whole, around = pair_terms(a[:, None], b[None])
    return both / whole - (around - whole) / around


def box_iou_loss(a: Any, b: Any, eps: float = 1e-7) -> Any:
    both, whole, _ = pair_terms(a, b)
    return 1 - both / (whole + a.dtype.type(eps))


def generalized_box_iou_loss(a: Any, b: Any, eps: float = 1e-7) -> Any:
    both, whole, around = pair_terms(a, b)
    small = a.dtype.type(eps)
    return 1 - (both / (whole + small) - (around - whole) / (around + small))


def distance_terms(a: Any, b: Any, eps: float) -> tuple[Any, Any]:
    """D / E, and v of CIoU."""
    outer = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
    away = ((a[..., :2] + a[..., 2:]) - (b[..., :2] + b[..., 2:])) * a.dtype.type(0.5)
    apart = (away**2).sum(-1) / ((outer**2).sum(-1) + a.dtype.type(eps))
    turn = angle(a) - angle(b)
    return apart, a.dtype.type(4 / np.pi**2) * turn**2


def angle(b: Any) -> Any:
    return np.arctan((b[..., 2] - b[..., 0]) / (b[..., 3] - b[..., 1]))


def complete(iou: Any, apart: Any, v: Any, eps: float) -> Any:
    one = v.dtype.type(1)
    return iou - apart - v / (one - iou + v + v.dtype.type(eps)) * v


def distance_box_iou(a: Any, b: Any, eps: float = 1e-7) -> Any:
    return box_iou(a, b) - distance_terms(a[:, None], b[None], eps)[0]


def complete_box_iou(a: Any, b: Any, eps: float = 1e-7) -> Any:
    return complete(box_iou(a, b), *distance_terms(a[:, None], b[None], eps), eps)


def distance_box_iou_loss(a: Any, b: Any, eps: float = 1e-7) -> Any:
    return box_iou_loss(a, b, eps) + distance_terms(a, b, eps)[0]


def complete_box_iou_loss(a: Any, b: Any, eps: float = 1e-7) -> Any:
    iou = a.dtype.type(1) - box_iou_loss(a, b, eps)
    return a.dtype.type(1) - complete(iou, *distance_terms(a, b, eps), eps)


def pair_size(a: Any, b: Any, **options: Any) -> Any:
    """How much roundings of the corners weigh in the ratio of areas."""
    if a.shape != b.shape or len(options) == 0:
        a, b = a[:, None], b[None]
    sums = np.prod(np.abs(a[..., 2:]) + np.abs(a[..., :2]), -1)
    sums = sums + np.prod(np.abs(b[..., 2:]) + np.abs(b[..., :2]), -1)
    _, whole, around = pair_terms(a, b)
    return 1 + sums / whole + 2 * sums / around


def loss_size(a: Any, b: Any, **options: Any) -> Any:
    return pair_size(a, b, pairs=True)


def loss_backward(name: str) -> Any:
    function = getattr(kernels, f"{name}_backward")
    return lambda dy, inputs, y, options: function(dy, *inputs, **options)


def middles(b: Any) -> tuple[Any, Any]:
    size = b[..., 2:] - b[..., :2]
    return b[..., :2] + b.dtype.type(0.5) * size, size


def box_encode(boxes: Any, anchors: Any, weights: Any = (1.0,) * 4) -> Any:
    (c, s), (ca, sa) = middles(boxes), middles(anchors)
    return (np.concatenate([(c - ca) / sa, np.log(s / sa)], 1) * weights).astype(boxes.dtype)


def encode_size(boxes: Any, anchors: Any, weights: Any = (1.0,) * 4) -> Any:
    (_, s), (_, sa) = middles(boxes), middles(anchors)
    shift = 2 * (np.abs(boxes).max(initial=0) + np.abs(anchors).max(initial=0)) / sa
    return np.concatenate([shift, 4 + np.abs(np.log(s / sa))], 1) * weights


def box_decode(codes: Any, anchors: Any, weights: Any = (1.0,) * 4, clip: float = 4.0) -> Any:
    if codes.ndim == 3:
        anchors = anchors[:, None]
    centre, size = middles(anchors)
    t = codes / np.asarray(weights, codes.dtype)
    c = t[..., :2] * size + centre
    half = codes.dtype.type(0.5) * (np.exp(np.minimum(t[..., 2:], codes.dtype.type(clip))) * size)
    return np.concatenate([c - half, c + half], -1)


def decode_size(codes: Any, anchors: Any, weights: Any = (1.0,) * 4, clip: float = 4.0) -> Any:
    if codes.ndim == 3:
        anchors = anchors[:, None]
    centre, size = middles(anchors)
    t = np.abs(codes / np.asarray(weights))
    large = (
        t[..., :2] * size
        + np.abs(centre)
        + (1 + t[..., 2:]) * np.exp(np.minimum((codes / weights)[..., 2:], clip)) * size
    )
    return np.concatenate([large, large], -1)


def code_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    first, anchors = case.shapes
    codes = case.op == "box_decode"
    own = rng.normal(0, 1, first) if codes else random_boxes(rng, first[0])
    return own, random_boxes(rng, anchors[0])


def box_match(
    iou: Any, low: float = 0.3, high: float = 0.7, allow_low_quality: bool = False
) -> Any:
    objects, anchors = iou.shape
    match = np.full(anchors, -1)
    for a in range(anchors):
        best = -1
        for g in range(objects):
            if not np.isnan(iou[g, a]) and (best < 0 or iou[g, a] > iou[best, a]):
                best = g
        if best < 0:
            continue
        keep = iou[best, a] >= high
        if allow_low_quality:
            keep |= any(iou[g, a] == np.nanmax(iou[g]) > 0 for g in range(objects))
        match[a] = best if keep else -1 if iou[best, a] < low else -2
    return match


def match_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    iou = rng.random(case.shapes[0])
    iou[rng.random(iou.shape) < 0.3] = 0
    if case.option("allow_low_quality") and iou.size:
        iou[0, -1] = np.nan
        iou[-1] *= 0.2
    return (iou,)


# ---- suppression ---------------------------------------------------------------------------------


def nms(boxes: Any, scores: Any, iou_threshold: float, idxs: Any = None) -> Any:
    with np.errstate(all="ignore"):
        rivals = box_iou(boxes, boxes) > iou_threshold
    if idxs is not None:
        rivals &= idxs[:, None] == idxs
    keep: list[int] = []
    # NaN scores come first.
    for i in np.argsort(-np.where(np.isnan(scores), np.inf, scores), kind="stable"):
        if not rivals[keep, i].any():
            keep.append(int(i))
    return np.array(keep, np.int64)


def nms_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    n = case.shapes[0][0]
    return grid_boxes(rng, n), rng.integers(0, max(n // 2, 1), n) / 1.0


def batched_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    return (*nms_inputs(case, rng), rng.integers(-3, 4, case.shapes[0][0]))


def soft_nms(
    boxes: Any,
    scores: Any,
    iou_threshold: float = 0.3,
    method: str = "gaussian",
    sigma: float = 0.5,
    score_threshold: float = 0.001,
) -> tuple[Any, Any]:
    score, left, keep, found = scores.copy(), list(range(len(boxes))), [], []
    while left:
        best = max(left, key=lambda i: (score[i], -i))
        if not score[best] > score_threshold:
            break
        keep.append(best)
        found.append(score[best])
        left.remove(best)
        for i in left:
            iou = box_iou(boxes[best : best + 1], boxes[i : i + 1])[0, 0]
            if method == "gaussian":
                score[i] *= np.exp(-(iou**2) / sigma)
            elif iou > iou_threshold:
                score[i] *= 1 - iou
    return np.array(keep, np.int64), np.array(found, boxes.dtype)


def soft_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    n = case.shapes[0][0]
    return grid_boxes(rng, n), rng.permutation(n) / max(n, 1) + 0.01


def soft_size(boxes: Any, scores: Any, **options: Any) -> Any:
    return 0, 10 + len(boxes)


# ---- regions of interest -------------------------------------------------------------------------


def roi_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    """Boxes of all kinds: inside, across an edge, far outside, without extent, turned round."""
    x = rng.standard_normal(case.shapes[0])
    n, h, w, _ = x.shape
    k = case.shapes[1][0]
    low = rng.uniform(-0.3, 0.9, (k, 2)) * (w, h)
    size = rng.uniform(-0.1, 0.8, (k, 2)) * (w, h)
    boxes = np.concatenate([low, low + size], 1) / case.option("spatial_scale", 1.0)
    if k > 3:
        boxes[0] = boxes[0, [0, 1, 0, 1]]
        boxes[1] += 100
        boxes[2] = [-31.3, -57.1, 93.7, 81.9]
    return x, np.concatenate([rng.integers(0, max(n, 1), (k, 1)), boxes], 1)


def axis_matrix(low: Any, high: Any, bins: int, size: int, ratio: int, aligned: bool) -> Any:
    """(bins, size) sums of the samples' weights, and how many samples a bin has."""
    kind = type(low)
    start = low - kind(0.5 if aligned else 0)
    width = (high - kind(0.5 if aligned else 0)) - start
    if not aligned:
        width = max(width, kind(1))
    step = width / kind(bins)
    count = ratio if ratio > 0 else max(math.ceil(step), 0)
    weights = np.zeros((bins, size), kind)
    for b in range(bins):
        for i in range(count):
            u = start + kind(b) * step + (kind(i) + kind(0.5)) * step / kind(count)
            if u < -1 or u > size:
                continue
            u = max(u, kind(0))
            first = int(u)
            if first >= size - 1:
                weights[b, size - 1] += 1
            else:
                weights[b, first] += kind(1) - (u - kind(first))
                weights[b, first + 1] += u - kind(first)
    return weights, count


def roi_align(
    x: Any,
    rois: Any,
    output_size: Any,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Any:
    ph, pw = (output_size,) * 2 if isinstance(output_size, int) else output_size
    _, h, w, c = x.shape
    y = np.zeros((len(rois), ph, pw, c), x.dtype)
    scale = x.dtype.type(spatial_scale)
    for out, (image, x1, y1, x2, y2) in zip(y, rois):
        rows, nr = axis_matrix(y1 * scale, y2 * scale, ph, h, sampling_ratio, aligned)
        columns, nc = axis_matrix(x1 * scale, x2 * scale, pw, w, sampling_ratio, aligned)
        lines = np.tensordot(rows, x[int(image)], 1)  # (ph, W, C)
        out[...] = np.moveaxis(np.tensordot(columns, lines, (1, 1)), 0, 1) / max(nr * nc, 1)
    return y


def roi_align_size(x: Any, rois: Any, output_size: Any, **options: Any) -> Any:
    ph, pw = (output_size,) * 2 if isinstance(output_size, int) else output_size
    shape = (len(rois), ph, pw, x.shape[-1])
    return np.full(shape, np.abs(x).max(initial=0) * (4 + sum(x.shape[1:3])))


def of_integers(*inputs: Any, **options: Any) -> int:
    """Integers are compared exactly."""
    return 0


def crop_and_resize(x: Any, rois: Any, output_size: Any) -> Any:
    return roi_align(x, rois, output_size, 1.0, 1, True)


def align_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    rest = {k: v for k, v in options.items() if k != "output_size"}
    return (kernels.roi_align_backward(dy, inputs[1], inputs[0].shape, **rest),)


def half_away(v: float) -> int:
    return int(math.floor(abs(v) + 0.5) * (1 if v >= 0 else -1))


def roi_pool(x: Any, rois: Any, output_size: Any, spatial_scale: float = 1.0) -> Any:
    ph, pw = (output_size,) * 2 if isinstance(output_size, int) else output_size
    _, h, w, c = x.shape
    y = np.zeros((len(rois), ph, pw, c), x.dtype)
    for out, (image, *corners) in zip(y, rois):
        x1, y1, x2, y2 = (half_away(float(v * x.dtype.type(spatial_scale))) for v in corners)
        tall, wide = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for p in range(ph):
            rows = range(max(p * tall // ph + y1, 0), min(-(-(p + 1) * tall // ph) + y1, h))
            for q in range(pw):
                columns = range(max(q * wide // pw + x1, 0), min(-(-(q + 1) * wide // pw) + x1, w))
                if len(rows) and len(columns):
                    window = x[int(image), rows.start : rows.stop, columns.start : columns.stop]
                    out[p, q] = window.max((0, 1))
    return y


def pool_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    _, saved = kernels.roi_pool(*inputs, **options, return_saved=True)
    return (kernels.roi_pool_backward(dy, inputs[1], saved, inputs[0].shape),)


# ---- regions of images ---------------------------------------------------------------------------


def connected_components(mask: Any, connectivity: int = 4) -> Any:
    label = np.zeros(mask.shape, np.int64)
    near = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    if connectivity == 8:
        near += [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    for image, out in zip(mask, label):
        found = 0
        for start in np.ndindex(*image.shape):
            if image[start] == 0 or out[start]:
                continue
            found += 1
            out[start] = found
            queue = deque([start])
            while queue:
                i, j = queue.popleft()
                for di, dj in near:
                    p = (i + di, j + dj)
                    inside = 0 <= p[0] < image.shape[0] and 0 <= p[1] < image.shape[1]
                    if inside and image[p] == image[start] and not out[p]:
                        out[p] = found
                        queue.append(p)
    return label


def mask_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    return (rng.integers(0, case.option("connectivity", 4) // 2, case.shapes[0]),)


def confusion_matrix(target: Any, prediction: Any, num_classes: int, ignore_index: int) -> Any:
    table = np.zeros((num_classes, num_classes), np.int64)
    for t, p in zip(target.reshape(-1), prediction.reshape(-1)):
        if t != ignore_index:
            table[t, p] += 1
    return table


def count_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    classes, ignore = case.option("num_classes"), case.option("ignore_index")
    target = rng.integers(0, classes, case.shapes[0])
    target[rng.random(target.shape) < 0.2] = ignore
    return target, rng.integers(0, classes, case.shapes[0])


def graph_segment(image: Any, scale: float, sigma: float, min_size: int) -> Any:
    assert sigma == 0
    h, w, _ = image.shape
    root = np.arange(h * w)
    inner, size = np.zeros(h * w, np.float32), np.ones(h * w, int)

    def find(i: int) -> int:
        while root[i] != i:
            i = root[i]
        return i

    edges = []
    for i, j in np.ndindex(h, w):
        for d, (di, dj) in enumerate(((0, 1), (1, 0), (1, 1), (1, -1))):
            if 0 <= i + di < h and 0 <= j + dj < w:
                gap = image[i, j].astype(np.float64) - image[i + di, j + dj]
                weight = np.float32(math.sqrt(sum(float(g) ** 2 for g in gap)))
                edges.append((weight, 4 * (i * w + j) + d, i * w + j, (i + di) * w + j + dj))
    edges.sort()
    for small in (False, True):
        for weight, _, p, q in edges:
            a, b = find(p), find(q)
            if a == b:
                continue
            limit = [inner[r] + np.float32(scale) / np.float32(size[r]) for r in (a, b)]
            if min(size[a], size[b]) < min_size if small else weight <= min(limit):
                if size[a] < size[b]:
                    a, b = b, a
                root[b] = a
                size[a] += size[b]
                inner[a] = weight
    numbers: dict[int, int] = {}
    label = [numbers.setdefault(find(p), len(numbers)) for p in range(h * w)]
    return np.array(label, np.int64).reshape(h, w)


def segment_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    shape = case.shapes[0]
    coarse = rng.random((-(-shape[0] // 4), -(-shape[1] // 4), shape[2]))
    return (coarse.repeat(4, 0).repeat(4, 1)[: shape[0], : shape[1]] + 0.05 * rng.random(shape),)


OPS: dict[str, Op] = {
    "box_iou": Op(kernels.box_iou, box_iou, pair_inputs, pair_size),
    "generalized_box_iou": Op(
        kernels.generalized_box_iou, generalized_box_iou, pair_inputs, pair_size
    ),
    "distance_box_iou": Op(kernels.distance_box_iou, distance_box_iou, pair_inputs, pair_size),
    "complete_box_iou": Op(kernels.complete_box_iou, complete_box_iou, pair_inputs, pair_size),
    # Its gradient takes a part of it for a constant, which finite differences do not:
    # tests/test_boxes_distance.py has it.
    "complete_box_iou_loss": Op(
        kernels.complete_box_iou_loss, complete_box_iou_loss, pair_inputs, loss_size
    ),
    **{
        name: Op(
            getattr(kernels, name),
            reference,
            pair_inputs,
            loss_size,
            backward=loss_backward(name),
            wrt=(0, 1),
        )
        for name, reference in (
            ("box_iou_loss", box_iou_loss),
            ("generalized_box_iou_loss", generalized_box_iou_loss),
            ("distance_box_iou_loss", distance_box_iou_loss),
        )
    },
    "box_encode": Op(kernels.box_encode, box_encode, code_inputs, encode_size),
    "box_decode": Op(
        kernels.box_decode,
        box_decode,
        code_inputs,
        decode_size,
        backward=lambda dy, inputs, y, options: (
            kernels.box_decode_backward(dy, *inputs, **options),
        ),
    ),
    "box_match": Op(kernels.box_match, box_match, match_inputs, of_integers),
    "nms": Op(kernels.nms, nms, nms_inputs, of_integers),
    "batched_nms": Op(
        kernels.batched_nms,
        lambda boxes, scores, idxs, iou_threshold: nms(boxes, scores, iou_threshold, idxs),
        batched_inputs,
        of_integers,
    ),
    "soft_nms": Op(kernels.soft_nms, soft_nms, soft_inputs, soft_size),
    "roi_align": Op(
        kernels.roi_align, roi_align, roi_inputs, roi_align_size, backward=align_backward
    ),
    "crop_and_resize": Op(
        kernels.crop_and_resize,
        crop_and_resize,
        roi_inputs,
        lambda x, rois, output_size: roi_align_size(
            x, rois, output_size, sampling_ratio=1, aligned=True
        ),
    ),
    "roi_pool": Op(kernels.roi_pool, roi_pool, roi_inputs, roi_pool, backward=pool_backward),
    "connected_components": Op(
        kernels.connected_components, connected_components, mask_inputs, of_integers
    ),
    "confusion_matrix": Op(kernels.confusion_matrix, confusion_matrix, count_inputs, of_integers),
    "graph_segment": Op(kernels.graph_segment, graph_segment, segment_inputs, of_integers),
}


def _case(op: str, *shapes: tuple[int, ...], **options: Any) -> Case:
    items = tuple(sorted(options.items()))
    return Case("boxes", f"{op} {shapes} {items}", op, shapes, options=items)


CASES = (
    *(
        _case(op, (m, 4), (n, 4))
        for op in ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou")
        for m, n in ((1, 1), (3, 7), (5, 16), (2, 33), (40, 31), (0, 3), (3, 0), (9, 3000))
    ),
    *(
        _case(op, (n, 4), (n, 4))
        for op in (
            "box_iou_loss",
            "generalized_box_iou_loss",
            "distance_box_iou_loss",
            "complete_box_iou_loss",
        )
        for n in (0, 1, 5, 70, 9000)
    ),
    *(
        _case("box_encode", (n, 4), (n, 4), weights=(10.0, 10.0, 5.0, 5.0))
        for n in (0, 1, 17, 4100)
    ),
    *(_case("box_decode", (n, 4), (n, 4), clip=1.1) for n in (0, 1, 16, 37, 4100)),
    _case("box_decode", (5, 3, 4), (5, 4), clip=4.0, weights=(10.0, 10.0, 5.0, 5.0)),
    _case("box_decode", (9, 2, 4), (9, 4), clip=0.5),
    *(
        _case("box_match", (g, a), allow_low_quality=low, high=0.6, low=0.4)
        for low in (False, True)
        for g, a in ((1, 1), (3, 40), (7, 1200), (2, 0))
    ),
    _case("box_match", (0, 9)),
    *(
        _case("nms", (n, 4), iou_threshold=t)
        for n, t in ((0, 0.5), (1, 0.5), (40, 0.3), (300, 0.5), (700, 0.1), (1300, 0.9), (33, 1.0))
    ),
    *(_case("batched_nms", (n, 4), iou_threshold=t) for n, t in ((0, 0.5), (80, 0.2), (900, 0.5))),
    _case("soft_nms", (0, 4)),
    _case("soft_nms", (1, 4)),
    _case("soft_nms", (60, 4), method="gaussian", sigma=0.3),
    _case("soft_nms", (60, 4), method="linear", iou_threshold=0.2),
    *(
        _case(
            "roi_align", (2, 9, 12, 5), (7, 5), output_size=size,
            sampling_ratio=ratio, aligned=aligned, spatial_scale=scale,
        )
        for size, ratio, aligned, scale in (
            (3, -1, False, 1.0), (3, -1, True, 1.0), ((2, 5), 2, False, 0.5),
            ((4, 1), 3, True, 0.25), (1, 1, True, 1.0), (7, 0, False, 1.0),
        )
    ),
    *(_case("roi_align", (1, 7, 6, c), (4, 5), output_size=2) for c in (1, 16, 64, 67, 150)),
    _case("roi_align", (2, 40, 33, 20), (6, 5), output_size=5, aligned=True),
    _case("roi_align", (1, 4, 4, 3), (0, 5), output_size=2),
    _case("roi_align", (2, 4, 4, 0), (3, 5), output_size=2),
    _case("crop_and_resize", (2, 11, 13, 3), (6, 5), output_size=(8, 5)),
    *(
        _case("roi_pool", (2, 9, 12, c), (7, 5), output_size=size, spatial_scale=scale)
        for c, size, scale in ((5, 3, 1.0), (17, (2, 4), 0.5), (40, 1, 0.25))
    ),
    _case("roi_pool", (1, 4, 4, 3), (0, 5), output_size=2),
    *(
        _case("connected_components", shape, connectivity=near)
        for near in (4, 8)
        for shape in ((3, 17, 23), (1, 1, 9), (2, 8, 1), (0, 3, 3), (2, 0, 3))
    ),
    *(
        _case("confusion_matrix", shape, num_classes=c, ignore_index=-1)
        for shape, c in (((50,), 3), ((2, 9, 7), 5), ((0,), 2), ((300, 500), 7))
    ),
    *(
        _case("graph_segment", shape, scale=scale, sigma=0.0, min_size=least)
        for shape, scale, least in (
            ((13, 17, 3), 0.5, 4), ((13, 17, 1), 2.0, 1), ((1, 9, 2), 0.1, 3), ((8, 8, 3), 0.0, 1),
            ((20, 21, 3), 1.0, 8),
        )
    ),
)  # fmt: skip
