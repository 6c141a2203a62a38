"""Weights: safetensors files, and PyTorch's names and layouts."""

from .pytorch import from_torch, to_torch
from .weights import load, load_metadata, save

__all__ = ["from_torch", "load", "load_metadata", "save", "to_torch"]
