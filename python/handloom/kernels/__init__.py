"""The kernels: functions from NumPy arrays to NumPy arrays."""

from .dense import matmul

__all__ = ["matmul"]
