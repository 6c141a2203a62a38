"""Augmentation of images (N, H, W, C), series (N, T, C) and text, the same whoever loads them.

augment = Compose([RandomHorizontalFlip(), RandomCrop(32, padding=4), ColorJitter(0.2, 0.2)])
x = augment(x)                                      # numbers from handloom.manual_seed
loader = DataLoader(data, 64, shuffle=True, transform=augment)   # by sample and epoch
"""

from .color import ColorJitter, RandomBrightness, RandomContrast
from .geometry import (
    CenterCrop,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomVerticalFlip,
    RandomZoom,
)
from .mix import CutMix, MixUp
from .noise import Cutout, GaussianNoise, RandomErasing
from .objects import WithLabels, WithObjects
from .series import Jitter, Permutation, Scaling, Shift, TimeWarp, WindowSlice
from .transform import Batch, Compose, Transform
from .words import (
    BackTranslation,
    ComposeText,
    RandomDeletion,
    RandomInsertion,
    RandomSwap,
    SynonymReplacement,
    TextTransform,
    embedding_synonyms,
)

__all__ = [
    "BackTranslation",
    "Batch",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "ComposeText",
    "CutMix",
    "Cutout",
    "GaussianNoise",
    "Jitter",
    "MixUp",
    "Permutation",
    "RandomAffine",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomDeletion",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomInsertion",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomShear",
    "RandomSwap",
    "RandomTranslation",
    "RandomVerticalFlip",
    "RandomZoom",
    "Scaling",
    "Shift",
    "SynonymReplacement",
    "TextTransform",
    "TimeWarp",
    "Transform",
    "WindowSlice",
    "WithLabels",
    "WithObjects",
    "embedding_synonyms",
]
