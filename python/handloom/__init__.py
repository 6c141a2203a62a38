"""Hand-written kernels, woven into every classical network type."""

from . import kernels
from ._runtime import available_isas, get_num_threads, set_num_threads, use_isa

__all__ = ["available_isas", "get_num_threads", "kernels", "set_num_threads", "use_isa"]
