"""Convolutional networks of the benchmark, each written once for every library.

A network is a function of a vocabulary and a batch. What the words do is each contender's own
business; `Sketch` is the vocabulary that only keeps account of shapes, parameters and work.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple, Protocol

Shape = tuple[int, ...]


class Vocabulary(Protocol):
    """What a network is made of. Images are ``x``; each word takes its parameters in turn."""

    def conv(
        self,
        x: Any,
        channels: int,
        kernel: int,
        stride: int = 1,
        *,
        padding: int | None = None,
        bias: bool = True,
        relu: bool = False,
    ) -> Any:
        """A convolution; the padding is half the kernel where none is given."""

    def norm(self, x: Any, *, relu: bool = False) -> Any:
        """Batch norm in training, running statistics included."""

    def pool(self, x: Any) -> Any:
        """The maximum of 2×2 pixels."""

    def up(self, x: Any, channels: int) -> Any:
        """A transposed convolution 2×2 with stride 2."""

    def linear(self, x: Any, outputs: int, *, relu: bool = False) -> Any:
        """A layer on rows, or on images, whose pixels it flattens."""

    def join(self, x: Any, y: Any) -> Any:
        """relu(x + y)."""

    def cat(self, x: Any, y: Any) -> Any:
        """The channels of x, then those of y."""

    def mean(self, x: Any) -> Any:
        """The mean over the image."""


class Slot(NamedTuple):
    """A parameter.

    Attributes:
        word: Whose it is: "conv", "norm", "up" or "linear".
        shape: A weight's is (outputs, height, width, inputs), of a linear layer on images, too; an
            up convolution's is (inputs, height, width, outputs).
        bound: It starts uniform in ±bound; where that is None, at `start`.
        start: The norms' 1 and 0.
    """

    word: str
    shape: Shape
    bound: float | None
    start: float = 0.0


class Sketch:
    """Works on shapes: collects what parameters a network has, and its operations.

    Attributes:
        slots: The parameters in their order.
        flops: Of a forward pass, products only.
        first: Of the first layer alone, whose input needs no gradient.
    """

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.flops = 0.0
        self.first = 0.0

    def _product(self, word: str, weight: Shape, outputs: int, places: int, bias: bool) -> None:
        # PyTorch's start, whose fan-in is the product of all axes but its own first one.
        bound = prod(weight[1:]) ** -0.5
        self.slots.append(Slot(word, weight, bound))
        if bias:
            self.slots.append(Slot(word, (outputs,), bound))
        flops = 2.0 * places * prod(weight)
        self.flops += flops
        self.first = self.first or flops

    def conv(
        self,
        x: Shape,
        channels: int,
        kernel: int,
        stride: int = 1,
        *,
        padding: int | None = None,
        bias: bool = True,
        relu: bool = False,
    ) -> Shape:
        n, h, w, c = x
        margin = 2 * (kernel // 2 if padding is None else padding) - kernel
        out = (n, (h + margin) // stride + 1, (w + margin) // stride + 1, channels)
        self._product("conv", (channels, kernel, kernel, c), channels, prod(out[:3]), bias)
        return out

    def norm(self, x: Shape, *, relu: bool = False) -> Shape:
        self.slots += [Slot("norm", x[-1:], None, 1.0), Slot("norm", x[-1:], None, 0.0)]
        return x

    def pool(self, x: Shape) -> Shape:
        n, h, w, c = x
        return n, h // 2, w // 2, c

    def up(self, x: Shape, channels: int) -> Shape:
        n, h, w, c = x
        self._product("up", (c, 2, 2, channels), channels, n * h * w, True)
        return n, 2 * h, 2 * w, channels

    def linear(self, x: Shape, outputs: int, *, relu: bool = False) -> Shape:
        n, *inputs = x
        self._product("linear", (outputs, *inputs), outputs, n, True)
        return n, outputs

    def join(self, x: Shape, y: Shape) -> Shape:
        assert x == y
        return x

    def cat(self, x: Shape, y: Shape) -> Shape:
        assert x[:-1] == y[:-1]
        return (*x[:-1], x[-1] + y[-1])

    def mean(self, x: Shape) -> Shape:
        return x[0], x[-1]


def lenet5(v: Vocabulary, x: Any, classes: int) -> Any:
    """LeCun, Bottou, Bengio and Haffner (1998), with ReLU and max pooling; 28×28."""
    x = v.pool(v.conv(x, 6, 5, relu=True))
    x = v.pool(v.conv(x, 16, 5, padding=0, relu=True))
    return v.linear(v.linear(v.linear(x, 120, relu=True), 84, relu=True), classes)


def lenet(v: Vocabulary, x: Any, classes: int) -> Any:
    """Of LeNet's class as it is built today: more channels, margins, one hidden layer; 28×28."""
    x = v.pool(v.conv(x, 16, 5, relu=True))
    x = v.pool(v.conv(x, 32, 5, relu=True))
    return v.linear(v.linear(x, 128, relu=True), classes)


def mnist_example(v: Vocabulary, x: Any, classes: int) -> Any:
    """Of PyTorch's first example, without its dropout; 28×28."""
    x = v.pool(v.conv(v.conv(x, 32, 3, padding=0, relu=True), 64, 3, padding=0, relu=True))
    return v.linear(v.linear(x, 128, relu=True), classes)


def cifar_tutorial(v: Vocabulary, x: Any, classes: int) -> Any:
    """Of PyTorch's tutorial on training a classifier; 32×32×3."""
    x = v.pool(v.conv(x, 6, 5, padding=0, relu=True))
    x = v.pool(v.conv(x, 16, 5, padding=0, relu=True))
    return v.linear(v.linear(v.linear(x, 120, relu=True), 84, relu=True), classes)


def resnet(v: Vocabulary, x: Any, classes: int, *, width: int = 16, blocks: int = 1) -> Any:
    """He, Zhang, Ren and Sun (2016), section 4.2: three stages, each twice as wide; 32×32."""
    x = v.norm(v.conv(x, width, 3, bias=False), relu=True)
    for stage in range(3):
        for block in range(blocks):
            channels, stride = width << stage, 2 if stage and not block else 1
            y = v.norm(v.conv(x, channels, 3, stride, bias=False), relu=True)
            y = v.norm(v.conv(y, channels, 3, bias=False))
            if stride == 2:
                x = v.norm(v.conv(x, channels, 1, stride, bias=False))
            x = v.join(y, x)
    return v.linear(v.mean(x), classes)


def resnet_wide(v: Vocabulary, x: Any, classes: int) -> Any:
    """64, 128 and 256 channels."""
    return resnet(v, x, classes, width=64)


def unet(v: Vocabulary, x: Any, classes: int, *, width: int = 16, depth: int = 3) -> Any:
    """Ronneberger, Fischer and Brox (2015), with margins and batch norm: a class for each pixel."""
    skips = []
    for level in range(depth):
        x = _twice(v, x, width << level)
        skips.append(x)
        x = v.pool(x)
    x = _twice(v, x, width << depth)
    for level in reversed(range(depth)):
        x = v.cat(skips.pop(), v.up(x, width << level))
        x = _twice(v, x, width << level)
    return v.conv(x, classes, 1)


def yolo(v: Vocabulary, x: Any, outputs: int) -> Any:
    """The gallery's YOLO, cells of 8 by 8 pixels; its loss is replaced by a class for each cell."""
    for level, width in enumerate((16, 32, 64, 96)):
        x = _twice(v, v.pool(x) if level else x, width)
    x = v.norm(v.conv(x, 96, 3, bias=False), relu=True)
    return v.conv(x, outputs, 1)


def _twice(v: Vocabulary, x: Any, channels: int) -> Any:
    for _ in range(2):
        x = v.norm(v.conv(x, channels, 3, bias=False), relu=True)
    return x


# Of a vocabulary and a batch: the logits, (N, classes) or (N, H, W, classes).
Network = Callable[[Any, Any], Any]

NETWORKS: dict[str, Callable[[Any, Any, int], Any]] = {
    "LeNet-5": lenet5,
    "LeNet 16-32-128": lenet,
    "MNIST example 32-64-128": mnist_example,
    "CIFAR tutorial 6-16-120": cifar_tutorial,
    "ResNet-8 16-32-64": resnet,
    "ResNet-8 64-128-256": resnet_wide,
    "U-Net 16-32-64-128": unet,
    "YOLO 16-32-64-96": yolo,
}
