"""Explanation: what in the input a network's answer rests on.

Each function looks at a model from outside, in evaluation mode, and leaves it as it was. Images are
(N, H, W, C), series (N, T, C), tables (N, F).
"""

from .cam import grad_cam
from .gradients import integrated_gradients, saliency, smooth_grad
from .importance import Importance, permutation_importance
from .inside import activations, attention_maps, filters
from .perturb import occlusion
from .pointing import pointing_game
from .surrogate import Surrogate, lime

__all__ = [
    "Importance",
    "Surrogate",
    "activations",
    "attention_maps",
    "filters",
    "grad_cam",
    "integrated_gradients",
    "lime",
    "occlusion",
    "permutation_importance",
    "pointing_game",
    "saliency",
    "smooth_grad",
]
