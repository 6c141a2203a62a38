"""Anchors, and which of them is to find what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import kernels
from .._arrays import Array
from .._device_array import on_host
from .objects import Objects


class Anchors:
    """Boxes of several sizes and shapes around each cell of some feature maps.

    Args:
        strides: Pixels from cell to cell, of each map.
        sizes: Square roots of the anchors' areas in pixels, a tuple for each map.
        aspect_ratios: Heights / widths.

    Attributes:
        per_cell: Anchors of a cell, of each map.
    """

    def __init__(
        self,
        strides: Sequence[int],
        sizes: Sequence[Sequence[float]],
        aspect_ratios: Sequence[float] = (1.0,),
    ) -> None:
        if len(strides) != len(sizes):
            raise ValueError(
                f"Anchors: {len(strides)} strides, but sizes for {len(sizes)} feature maps"
            )
        self.strides, self.sizes = tuple(strides), tuple(tuple(s) for s in sizes)
        self.aspect_ratios = tuple(aspect_ratios)
        self.per_cell = tuple(len(s) * len(self.aspect_ratios) for s in self.sizes)
        self._made: dict[Any, Array] = {}

    def __call__(self, *feature_sizes: tuple[int, int]) -> Array:
        """(A, 4) float32 for feature maps of these (H, W), map after map, row by row."""
        if feature_sizes not in self._made:
            self._made[feature_sizes] = np.concatenate(
                [
                    kernels.grid_anchors(size, stride, own, self.aspect_ratios)
                    for size, stride, own in zip(feature_sizes, self.strides, self.sizes)
                ]
            )
        return self._made[feature_sizes]


def match_anchors(
    anchors: Array,
    objects: Objects,
    *,
    low: float,
    high: float,
    allow_low_quality: bool = True,
) -> Array:
    """(A,) int64: the object of each anchor, −1 for background, −2 for neither.

    See `kernels.box_match`; without objects all anchors are background.
    """
    iou = kernels.box_iou(objects.boxes, anchors)
    return kernels.box_match(iou, low=low, high=high, allow_low_quality=allow_low_quality)


def balanced_sample(
    match: Array, count: int, positive: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Chooses anchors to train on: (positions of positives, of negatives).

    Args:
        match: As from `match_anchors`.
        count: How many in all.
        positive: The largest part of positives; negatives fill the rest.
        rng: Chooses.
    """
    match = on_host(match)
    found, empty = np.flatnonzero(match >= 0), np.flatnonzero(match == -1)
    most = min(len(found), int(count * positive))
    rest = min(len(empty), count - most)
    return (
        np.sort(rng.permutation(found)[:most]),
        np.sort(rng.permutation(empty)[:rest]),
    )


def hard_negatives(loss: Array, match: Array, ratio: float = 3.0, least: int = 3) -> Array:
    """Positions of the background anchors with the largest losses: Liu et al., "SSD" (2016).

    Args:
        loss: (A,) of each anchor as background.
        match: (A,), as from `match_anchors`.
        ratio: How many for each positive anchor.
        least: How many at least.
    """
    loss, match = on_host(loss), on_host(match)
    empty = np.flatnonzero(match == -1)
    wanted = max(int(ratio * np.count_nonzero(match >= 0)), least)
    order = np.argsort(-loss[empty], kind="stable")
    return np.sort(empty[order[:wanted]])
