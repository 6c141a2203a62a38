"""What the networks for images are built of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import nn
from ...ops._common import shape_of
from ...tensor import Tensor


def conv_block(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolution, batch norm, ReLU; the size stays but for the stride."""
    return nn.Sequential(
        nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            bias=False,
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Backbone(nn.Module):
    """Stages of two convolutions, each behind a pool of 2 by 2 but the first.

    Args:
        channels: Of the images.
        widths: Of each stage.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        before = channels
        stages = []
        for i, width in enumerate(widths):
            blocks = [conv_block(before, width), conv_block(width, width)]
            stages.append(nn.Sequential(*([nn.MaxPool2d(2)] if i else []), *blocks))
            before = width
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Any) -> list[Tensor]:
        """(N, H, W, C) to the maps of all stages: H, H/2, H/4, ... high."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def image_size(x: Any, name: str, stride: int) -> tuple[int, int]:
    """(H, W) of a batch of images.

    Raises:
        ValueError: Not four axes, or a height or width that is no multiple of the stride.
    """
    shape = shape_of(name, x)
    if len(shape) != 4:
        raise ValueError(f"{name}: x has shape {shape}, expected (N, H, W, C)")
    height, width = int(shape[1]), int(shape[2])
    if height % stride or width % stride or not height or not width:
        raise ValueError(
            f"{name}: x has {height} by {width} pixels, expected multiples of {stride}; pad it"
        )
    return height, width
