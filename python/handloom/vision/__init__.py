"""Objects in images: the data type that detectors, metrics and augmentation share, and their parts.

An image's objects are one `Objects`; a batch has a list of them. Boxes are (x1, y1, x2, y2) in
pixels, continuous: the image reaches from 0 to its width and height.
"""

from .anchors import Anchors, balanced_sample, hard_negatives, match_anchors
from .loader import ObjectLoader
from .objects import Objects
from .results import detections

__all__ = [
    "Anchors",
    "ObjectLoader",
    "Objects",
    "balanced_sample",
    "detections",
    "hard_negatives",
    "match_anchors",
]
