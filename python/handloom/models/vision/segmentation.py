"""Networks that give each pixel a class: FCN, U-Net, DeepLab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import nn, ops
from ...tensor import Tensor
from .blocks import Backbone, conv_block, image_size

F = nn.functional


class FCN(nn.Module):
    """The fully convolutional network: Long, Shelhamer and Darrell (2015).

    Each stage of the backbone has a score for every class, from a 1 by 1 convolution; a coarse map
    of scores is enlarged by a transposed convolution that starts as bilinear interpolation, and the
    next finer one is added, up to the size of the image.

    Args:
        channels: Of the images.
        num_classes: Scores of a pixel.
        widths: Of the backbone's stages, whose sizes halve; images have to be multiples of
            2 ** (stages − 1).
    """

    def __init__(
        self, channels: int, num_classes: int, widths: Sequence[int] = (16, 32, 64, 64)
    ) -> None:
        super().__init__()
        self.backbone = Backbone(channels, widths)
        self.scores = nn.ModuleList([nn.Conv2d(w, num_classes, 1) for w in widths])
        self.enlarge = nn.ModuleList([bilinear_upsampling(num_classes) for _ in widths[1:]])

    def forward(self, x: Any) -> Tensor:
        """(N, H, W, C) to scores (N, H, W, classes)."""
        image_size(x, "FCN", 2 ** (len(self.enlarge)))
        maps = self.backbone(x)
        y: Tensor = self.scores[len(maps) - 1](maps[-1])
        for i in reversed(range(len(maps) - 1)):
            y = self.enlarge[i](y) + self.scores[i](maps[i])
        return y


def bilinear_upsampling(channels: int) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles height and width, bilinearly until it is trained."""
    layer = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False)
    line = np.array([0.25, 0.75, 0.75, 0.25], np.float32)
    weight = np.zeros(layer.weight.shape, np.float32)  # (I, kH, kW, O)
    for c in range(channels):
        weight[c, :, :, c] = np.outer(line, line)
    layer.load_state_dict({"weight": weight})
    return layer


class UNet(nn.Module):
    """The U-Net: Ronneberger, Fischer and Brox (2015), with margins and batch norm.

    A backbone that halves and widens, and back up again: each step doubles the size by a transposed
    convolution and puts beside it what the way down had at that size.

    Args:
        channels: Of the images.
        num_classes: Scores of a pixel.
        width: Channels of the first stage; each one has twice as many as that before.
        depth: How often the size is halved; images have to be multiples of 2 ** depth.
    """

    def __init__(self, channels: int, num_classes: int, width: int = 16, depth: int = 3) -> None:
        super().__init__()
        widths = [width << i for i in range(depth + 1)]
        self.depth = depth
        self.down = Backbone(channels, widths)
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:-1])]
        )
        self.join = nn.ModuleList(
            [nn.Sequential(conv_block(2 * w, w), conv_block(w, w)) for w in reversed(widths[:-1])]
        )
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Any) -> Tensor:
        """(N, H, W, C) to scores (N, H, W, classes)."""
        image_size(x, "UNet", 2**self.depth)
        *skips, y = self.down(x)
        for up, join, skip in zip(self.up, self.join, reversed(skips)):
            y = join(ops.cat([skip, up(y)], dim=-1))
        scores: Tensor = self.head(y)
        return scores


class DeepLab(nn.Module):
    """DeepLab v3: L.-C. Chen, Papandreou, Schroff and Adam (2017).

    Two steps halve the size; from then on convolutions with holes (atrous, dilated) look further
    while the map stays as fine. Atrous spatial pyramid pooling looks at several distances at once,
    and at the whole image; the scores are enlarged bilinearly.

    Args:
        channels: Of the images.
        num_classes: Scores of a pixel.
        width: Channels of the first stage.
        rates: Dilations of the pyramid's 3 by 3 convolutions, in pixels of the map, a quarter of
            the image's.
    """

    def __init__(
        self, channels: int, num_classes: int, width: int = 24, rates: Sequence[int] = (2, 4, 8)
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_block(channels, width, stride=2),
            conv_block(width, 2 * width, stride=2),
            conv_block(2 * width, 2 * width),
            conv_block(2 * width, 2 * width, dilation=2),
            conv_block(2 * width, 2 * width, dilation=4),
        )
        self.pyramid = nn.ModuleList(
            [
                conv_block(2 * width, width, 1),
                *(conv_block(2 * width, width, 3, dilation=rate) for rate in rates),
            ]
        )
        self.whole = nn.Sequential(nn.Conv2d(2 * width, width, 1), nn.ReLU())
        self.join = conv_block((len(rates) + 2) * width, 2 * width, 1)
        self.head = nn.Conv2d(2 * width, num_classes, 1)

    def forward(self, x: Any) -> Tensor:
        """(N, H, W, C) to scores (N, H, W, classes)."""
        size = image_size(x, "DeepLab", 4)
        y = self.features(x)
        branches = [branch(y) for branch in self.pyramid]
        whole = self.whole(y.mean(dim=(1, 2), keepdim=True))
        branches.append(F.interpolate(whole, size=tuple(y.shape[1:3])))
        y = self.head(self.join(ops.cat(branches, dim=-1)))
        return F.interpolate(y, size=size, mode="bilinear")
