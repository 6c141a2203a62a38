"""Ctrl-C while a network trains: the step under way is finished first."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType


class Interrupt:
    """Within the block the first Ctrl-C only sets `pressed`; a second one interrupts as ever.

    Signals reach the main thread alone, and a handler that someone else has set stays: elsewhere
    nothing changes.
    """

    pressed = False

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()
        self._ours = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._ours:
            signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            signal.default_int_handler(number, frame)
        self.pressed = True
        print("\nstopping after this step; press again to stop at once", file=sys.stderr)
