"""The kernels: functions from NumPy arrays to NumPy arrays."""

from .dense import matmul
from .explain import Explanation, explain

__all__ = ["Explanation", "explain", "matmul"]
