"""Batches of images with the objects in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._arrays import Array
from ..ops._common import shape_of
from .objects import Objects, check_objects


class ObjectLoader:
    """Batches (images, list of their objects) for `train.fit`, in a new order in each epoch.

    Args:
        x: (N, H, W, C).
        objects: Of each image.
        batch_size: Images of a batch; the last one of an epoch may have fewer.
        shuffle: Whether to draw an order.
        transform: A `data.augment.WithObjects`, or None.
        seed: Of the order.
    """

    def __init__(
        self,
        x: Array,
        objects: Sequence[Objects],
        batch_size: int = 16,
        *,
        shuffle: bool = True,
        transform: Any = None,
        seed: int = 0,
    ) -> None:
        if not shape_of("ObjectLoader", x):
            raise ValueError("ObjectLoader: x has no axis, expected images (N, H, W, C)")
        check_objects("ObjectLoader", objects, len(x))
        if batch_size < 1:
            raise ValueError(f"ObjectLoader: batch_size is {batch_size}, expected at least 1")
        self.x, self.objects = x, list(objects)
        self.batch_size, self.shuffle = batch_size, shuffle
        self.transform, self.seed = transform, seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, list[Objects]]]:
        epoch, order = self.epoch, np.arange(len(self.x))
        self.epoch += 1
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.x))
        for start in range(0, len(order), self.batch_size):
            index = order[start : start + self.batch_size]
            x, objects = self.x[index], [self.objects[i] for i in index]
            if self.transform is not None:
                x, objects = self.transform(x, objects, index=index, epoch=epoch)
            yield x, objects
