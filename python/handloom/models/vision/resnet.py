"""Residual networks under torchvision's names, so that its weights can be loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import nn
from ...tensor import Tensor

F = nn.functional


class BasicBlock(nn.Module):
    """Two convolutions, and what came in added to what came out: He et al. (2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Any) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A residual network for images: He, Zhang, Ren and Sun (2016); torchvision's names.

    `io.from_torch(state, like=model)` converts the weights of `torchvision.models.resnet18`.

    Args:
        blocks: Basic blocks of each stage.
        num_classes: Scores.
        channels: Of the images.
        width: Channels of the first stage.
        stem: "imagenet": 7 by 7 with stride 2 and a pool; "small": 3 by 3, for small images.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        num_classes: int = 1000,
        channels: int = 3,
        width: int = 64,
        stem: str = "imagenet",
    ) -> None:
        super().__init__()
        if stem not in ("imagenet", "small"):
            raise ValueError(f"ResNet: stem {stem!r} is unknown, expected imagenet or small")
        large = stem == "imagenet"
        self.conv1 = nn.Conv2d(
            channels,
            width,
            7 if large else 3,
            stride=2 if large else 1,
            padding=3 if large else 1,
            bias=False,
        )
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()
        self.stages = len(blocks)
        before = width
        for i, count in enumerate(blocks):
            after = width << i
            first = BasicBlock(before, after, stride=2 if i else 1)
            rest = [BasicBlock(after, after) for _ in range(count - 1)]
            setattr(self, f"layer{i + 1}", nn.Sequential(first, *rest))
            before = after
        self.fc = nn.Linear(before, num_classes)

    def features(self, x: Any) -> Tensor:
        """(N, H, W, C) to what the last layer sees, (N, F)."""
        y = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for i in range(self.stages):
            y = getattr(self, f"layer{i + 1}")(y)
        return F.global_avg_pool(y)

    def forward(self, x: Any) -> Tensor:
        """(N, H, W, C) to scores (N, classes)."""
        scores: Tensor = self.fc(self.features(x))
        return scores


def resnet18(num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet-18: two blocks in each of four stages; options of `ResNet`."""
    return ResNet((2, 2, 2, 2), num_classes, **options)
