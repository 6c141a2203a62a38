"""Boxes and regions: suppression, overlaps, ROIAlign and its gradient, selective search.

PyTorch alone has none of these: where torchvision can be loaded its kernels run, else what a user
would write with PyTorch's own operations; the note of a row says which.
"""

from __future__ import annotations

import importlib
from functools import partial
from math import prod
from typing import Any

import numpy as np

from .cases import Case, Target
from .contenders import Array, Call, Prepared, Unsupported, once

Inputs = dict[str, Any]

TWICE = Target(ratio=2.0, over=("torch",))
THRESHOLD = 0.5
BINS, SCALE, SAMPLES = 7, 1 / 16, 2


def _cases() -> list[Case]:
    cases = [
        Case(
            "vision",
            f"nms {n // 1000}k boxes",
            "nms",
            ((n, 4), (n,)),
            bytes=4.0 * 5 * n,
            quick=n == 1000,
            target=TWICE,
        )
        for n in (1000, 10_000)
    ]
    cases.append(
        Case(
            "vision",
            "box_iou 1k×10k",
            "box_iou",
            ((1000, 4), (10_000, 4)),
            flops=13.0 * 1e7,
            bytes=4.0 * (1e7 + 44_000),
            depth=16,
            roofs=("write",),
            target=TWICE,
        )
    )
    for k, c in ((512, 256), (128, 64)):
        x, y = (2, 50, 50, c), (k, BINS, BINS, c)
        cases += [
            Case(
                "vision",
                f"roi_align {what} {k} boxes 7×7×{c}",
                f"roi_align_{what}",
                (x, (k, 5)) if what == "forward" else (y, (k, 5)),
                options=(("x", x),),
                flops=8.0 * SAMPLES**2 * prod(y),
                bytes=4.0 * (prod(x) + prod(y)),
                depth=4096,  # the twin works places out by another formula
                roofs=("peak",),
                target=TWICE,
            )
            for what in ("forward", "backward")
        ]
    cases.append(
        Case(
            "vision",
            "selective_search 256×256×3",
            "selective_search",
            ((256, 256, 3),),
            bytes=4.0 * 3 * 256 * 256,
        )
    )
    return cases


CASES: tuple[Case, ...] = tuple(_cases())


def _boxes(rng: np.random.Generator, count: int, size: float, side: tuple[float, float]) -> Array:
    low = rng.uniform(0, size - side[1], (count, 2))
    return np.concatenate([low, low + rng.uniform(*side, (count, 2))], 1).astype(np.float32)


def make_inputs(rng: np.random.Generator, case: Case) -> Inputs:
    """Boxes as a detector's head leaves them: heaps around objects; regions inside the image."""
    if case.op == "nms":
        count = case.shapes[0][0]
        objects = _boxes(rng, count // 10, 1000, (20, 120))
        near = objects[rng.integers(0, len(objects), count)]
        boxes = near + rng.normal(0, 8, near.shape).astype(np.float32)
        return {"boxes": boxes, "scores": rng.random(count).astype(np.float32)}
    if case.op == "box_iou":
        return {n: _boxes(rng, s[0], 1000, (20, 120)) for n, s in zip("ab", case.shapes)}
    if case.op == "selective_search":
        coarse = rng.random((16, 16, 3)).repeat(16, 0).repeat(16, 1)
        return {"image": (0.8 * coarse + 0.2 * rng.random((256, 256, 3))).astype(np.float32)}
    count = case.shapes[1][0]
    image = np.repeat([[0], [1]], count // 2, 0).astype(np.float32)
    boxes = _boxes(rng, count, 784, (40, 400))
    name = "x" if case.op.endswith("forward") else "dy"
    values = rng.standard_normal(case.shapes[0], dtype=np.float32)
    return {name: values, "rois": np.concatenate([image, boxes + 8], 1)}


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The public functions on arrays."""
    kernels = contender.kernels
    options = {"spatial_scale": SCALE, "sampling_ratio": SAMPLES, "aligned": True}

    def call(i: Inputs) -> Call:
        if case.op == "nms":
            return partial(kernels.nms, i["boxes"], i["scores"], THRESHOLD)
        if case.op == "box_iou":
            return partial(kernels.box_iou, i["a"], i["b"])
        if case.op == "selective_search":
            return partial(kernels.selective_search, i["image"])
        if case.op == "roi_align_forward":
            return partial(kernels.roi_align, i["x"], i["rois"], BINS, **options)
        size = case.option("x")
        return partial(kernels.roi_align_backward, i["dy"], i["rois"], size, **options)

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))


def numpy(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """Suppression and overlaps as they are written with arrays."""
    if case.op not in ("nms", "box_iou"):
        raise Unsupported(f"NumPy's twin has no {case.op}")

    def overlaps(a: Array, b: Array) -> Array:
        low = np.maximum(a[:, None, :2], b[:, :2])
        high = np.minimum(a[:, None, 2:], b[:, 2:])
        both = np.maximum(high - low, 0).prod(-1)
        area = [(v[:, 2:] - v[:, :2]).prod(-1) for v in (a, b)]
        iou: Array = both / (area[0][:, None] + area[1] - both)
        return iou

    def suppress(boxes: Array, scores: Array) -> Array:
        order = np.argsort(-scores, kind="stable")
        keep = []
        while len(order):
            keep.append(order[0])
            iou = overlaps(boxes[order[:1]], boxes[order[1:]])[0]
            order = order[1:][~(iou > THRESHOLD)]
        return np.array(keep)

    function = suppress if case.op == "nms" else overlaps
    calls = [partial(function, *i.values()) for i in inputs]
    return Prepared(calls, once(calls[0]))


def torch(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """torchvision's kernels, or what PyTorch's own operations give."""
    library = contender.torch
    ops = _torchvision()
    if case.op == "selective_search":
        raise Unsupported("PyTorch has no selective search")
    if case.op == "nms":
        suppress = ops.nms if ops else partial(_torch_nms, library)
        return _prepared(library, ops, inputs, lambda t: partial(
            suppress, t["boxes"], t["scores"], THRESHOLD
        ))  # fmt: skip
    if case.op == "box_iou":
        overlaps = ops.box_iou if ops else partial(_torch_iou, library)
        return _prepared(library, ops, inputs, lambda t: partial(overlaps, t["a"], t["b"]))
    size = case.option("x")

    def align(x: Any, rois: Any) -> Any:
        if ops:
            return ops.roi_align(x, rois, BINS, SCALE, SAMPLES, True)
        return _torch_align(library, x, rois)

    if case.op == "roi_align_forward":

        def forward(t: Inputs) -> Call:
            x = t["x"].permute(0, 3, 1, 2).contiguous()
            return partial(align, x, t["rois"])

        return _prepared(library, ops, inputs, forward, channels=True)

    def backward(t: Inputs) -> Call:
        n, h, w, c = size
        dy = t["dy"].permute(0, 3, 1, 2).contiguous()
        x = library.zeros((n, c, h, w), requires_grad=True)
        # The graph is kept, so that a call is the gradient alone.
        y = align(x, t["rois"])
        return lambda: library.autograd.grad(y, x, dy, retain_graph=True)[0]

    return _prepared(library, ops, inputs, backward, channels=True, tape=True)


def _prepared(
    library: Any,
    ops: Any,
    inputs: list[Inputs],
    make: Any,
    *,
    channels: bool = False,
    tape: bool = False,
) -> Prepared:
    tensors = [{n: library.from_numpy(v) for n, v in i.items()} for i in inputs]

    def plain(value: Any) -> Array:
        value = value.permute(0, 2, 3, 1) if channels else value
        return np.asarray(value.detach().contiguous().numpy())

    note = "torchvision" if ops else "PyTorch's own operations"
    if tape:
        calls = [make(t) for t in tensors]
        return Prepared(calls, once(calls[0], plain), note)
    with library.inference_mode():
        calls = [make(t) for t in tensors]
    return Prepared(calls, once(calls[0], plain), note, library.inference_mode)


def _torchvision() -> Any:
    try:
        return importlib.import_module("torchvision.ops")
    except Exception:  # not installed, or built for another PyTorch
        return None


def _torch_iou(library: Any, a: Any, b: Any) -> Any:
    low = library.maximum(a[:, None, :2], b[:, :2])
    high = library.minimum(a[:, None, 2:], b[:, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    area = [(v[:, 2:] - v[:, :2]).prod(-1) for v in (a, b)]
    return both / (area[0][:, None] + area[1] - both)


def _torch_nms(library: Any, boxes: Any, scores: Any, threshold: float) -> Any:
    order = scores.argsort(descending=True, stable=True)
    keep = []
    while len(order):
        keep.append(order[0])
        iou = _torch_iou(library, boxes[order[:1]], boxes[order[1:]])[0]
        order = order[1:][~(iou > threshold)]
    return library.stack(keep)


def _torch_align(library: Any, x: Any, rois: Any) -> Any:
    """Samples by `grid_sample`, then their averages: as ROIAlign for boxes inside the image."""
    functional = library.nn.functional
    n, _, h, w = x.shape
    found = []
    for image in range(n):
        own = rois[rois[:, 0] == image][:, 1:] * SCALE
        steps = (library.arange(BINS * SAMPLES) + 0.5) / (BINS * SAMPLES)
        u = own[:, 0:1] + steps * (own[:, 2:3] - own[:, 0:1])
        v = own[:, 1:2] + steps * (own[:, 3:4] - own[:, 1:2])
        gx = (2 * u / w - 1)[:, None, :].expand(-1, len(steps), -1)
        gy = (2 * v / h - 1)[:, :, None].expand(-1, -1, len(steps))
        grid = library.stack([gx, gy], -1)
        many = x[image : image + 1].expand(len(own), -1, -1, -1)
        samples = functional.grid_sample(many, grid, "bilinear", "border", False)
        found.append(functional.avg_pool2d(samples, SAMPLES))
    return library.cat(found)
