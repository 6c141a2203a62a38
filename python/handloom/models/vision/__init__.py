"""Networks that find things in images: classes of pixels, boxes, masks; and residual networks."""

from .blocks import Backbone, conv_block
from .faster_rcnn import FasterRCNN
from .mask_rcnn import MaskRCNN
from .rcnn import RCNN
from .resnet import BasicBlock, ResNet, resnet18
from .segmentation import FCN, DeepLab, UNet
from .ssd import SSD
from .yolo import YOLO

__all__ = [
    "FCN",
    "RCNN",
    "SSD",
    "YOLO",
    "Backbone",
    "BasicBlock",
    "DeepLab",
    "FasterRCNN",
    "MaskRCNN",
    "ResNet",
    "UNet",
    "conv_block",
    "resnet18",
]
