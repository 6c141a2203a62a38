"""The kernels: functions from NumPy arrays to NumPy arrays."""

from .dense import linear, linear_backward, matmul
from .explain import Explanation, explain

__all__ = ["Explanation", "explain", "linear", "linear_backward", "matmul"]
