"""Whole training steps as one launch: captured once, replayed on the same arrays."""

from __future__ import annotations

from threading import get_ident
from types import TracebackType
from typing import Any

from handloom import _C
from handloom._replay import Recording, recordings
from handloom.cuda._device import index_of, require


def is_current_stream_capturing() -> bool:
    """Whether this thread is inside a `graph` block."""
    return _C.gpu.capturing()


class CUDAGraph:
    """Work of a GPU that was recorded with `graph`, and can be run again by one call.

    Replay number k computes what the program would compute at its k-th run, to the bit: optimisers
    count their steps and read their learning rate anew, generators of random numbers go on (dropout
    draws other masks), batch norms count batches. All else is as it was captured: shapes, scalars,
    and the arrays, which replays read and write where they are. New input is copied into them:
    `x.copy_(batch)`. PyTorch: `torch.cuda.CUDAGraph`.

    What the graph computes in stays with it, and so does every array that it reads.

    Args:
        device: The number of the GPU.

    Raises:
        RuntimeError: There is no GPU.
    """

    __slots__ = ("_graph", "_recording", "device")

    def __init__(self, device: int = 0) -> None:
        require()
        self.device = index_of(f"cuda:{device}", "CUDAGraph")
        self._graph = _C.gpu.Graph(self.device)
        self._recording: Recording | None = None

    def capture_begin(self) -> None:
        """Records from here on what this thread asks of the GPU; nothing of it runs.

        Raises:
            RuntimeError: It holds a graph already, or this thread captures one.
        """
        self._begin(None)

    def _begin(self, before: CUDAGraph | None) -> None:
        self._graph.begin(None if before is None else before._graph)
        self._recording = recordings[get_ident()] = Recording(self._graph)

    def capture_end(self) -> None:
        """Ends the recording, after which `replay` runs it.

        Raises:
            RuntimeError: Nothing was recorded, or something that cannot be part of a graph.
        """
        self._end(True)

    def _end(self, keep: bool) -> None:
        recordings.pop(get_ident(), None)
        if self._recording is not None:
            self._recording.rewind()
        try:
            self._graph.end(keep)
        finally:
            if not self._graph.captured:
                self._recording = None

    def replay(self) -> None:
        """Queues all of it on the current stream.

        Raises:
            RuntimeError: Nothing is captured, or what the graph works on was replaced: parameters
                by `model.to`, an optimiser's state by `load_state_dict`.
            IndexError: A label or index was out of range in a replay before; it counted as
                `ignore_index` or 0.
        """
        self._graph.check()
        assert self._recording is not None
        for action in self._recording.replays.values():
            action()
        self._graph.replay(self._recording.draw())

    def reset(self) -> None:
        """Forgets the recording, and frees its memory once no array is left in it."""
        self._graph.reset()
        self._recording = None


class graph:
    """Records what a `with` block asks of the GPU into a `CUDAGraph`.

        model(x), ...                     # once or more before, as always
        g = hl.cuda.CUDAGraph()
        with hl.cuda.graph(g):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        for batch_x, batch_y in loader:
            x.copy_(batch_x)
            y.copy_(batch_y)
            g.replay()                    # loss holds this batch's

    The block's Python runs once, now; its work on the GPU does not run before `replay`. The host
    can read nothing inside: `item()`, `numpy()`, printing, arrays from the host, waiting and other
    streams raise a RuntimeError. After an error the recording is thrown away and all goes on as
    before it; gradients and results that were made inside hold nothing. PyTorch:
    `torch.cuda.graph`.

    Args:
        cuda_graph: What to record into; it must be new or reset.

    Raises:
        RuntimeError: It holds a graph, another is being captured, or nothing ran on the GPU.
    """

    def __init__(self, cuda_graph: CUDAGraph) -> None:
        self.cuda_graph = cuda_graph

    def __enter__(self) -> CUDAGraph:
        self.cuda_graph.capture_begin()
        return self.cuda_graph

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cuda_graph._end(kind is None)


def make_graphed_callables(callables: Any, sample_args: Any, num_warmup_iters: int = 3) -> Any:
    """A module or function whose forward and backward are each one launch; trained as before.

    Loss, optimiser and all else stay as they are. PyTorch: `torch.cuda.make_graphed_callables`.

    Args:
        callables: A `Module`, or a function of tensors, that returns a tensor or a tuple of them;
            or a tuple of these.
        sample_args: Tensors on the GPU with the shapes of all later arguments, `requires_grad`
            where their gradients are wanted; for several callables, a tuple of such tuples.
        num_warmup_iters: Runs before the capture.

    Returns:
        A module gets this behaviour itself (in the mode, training or not, that it is in now; in the
        other it runs as it did) and is returned; a function is wrapped.

    Raises:
        RuntimeError: Something in it cannot be captured.
        TypeError: An argument is not a tensor on a GPU.
    """
    from handloom.cuda._graphed import graphed

    if isinstance(callables, (tuple, list)):
        return tuple(graphed(f, args, num_warmup_iters) for f, args in zip(callables, sample_args))
    return graphed(callables, sample_args, num_warmup_iters)
