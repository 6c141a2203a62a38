"""The GPU: what there is, arrays that live on it, and its queue of work.

    hl.cuda.is_available()              # False says why in hl.cuda.state()
    x = hl.tensor(a).to("cuda")         # or hl.tensor(a, device="cuda")
    model.to("cuda")                    # parameters and buffers move, layers stay the same

The CUDA half is a shared library of its own beside the CPU's module. It is opened on first use; a
wheel without it, or a machine without a card, is a CPU machine that can say what is missing.
"""

from __future__ import annotations

from handloom._device_array import Array, array, from_dlpack
from handloom.cuda._device import (
    current_device,
    device_count,
    get_device_name,
    get_device_properties,
    is_available,
    kernels,
    mem_get_info,
    state,
    synchronize,
)
from handloom.cuda._graph import (
    CUDAGraph,
    graph,
    is_current_stream_capturing,
    make_graphed_callables,
)
from handloom.cuda._stream import Event, Stream, current_stream, stream

__all__ = [
    "Array",
    "CUDAGraph",
    "Event",
    "Stream",
    "array",
    "current_device",
    "current_stream",
    "device_count",
    "from_dlpack",
    "get_device_name",
    "get_device_properties",
    "graph",
    "is_available",
    "is_current_stream_capturing",
    "kernels",
    "make_graphed_callables",
    "mem_get_info",
    "state",
    "stream",
    "synchronize",
]
