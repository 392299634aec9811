"""Leaving in good order: the first signal asks, the second insists."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class StopRequest:
    """Whether somebody asked the run to stop (Ctrl-C, SIGTERM).

    While there is nothing that could be finished in good order (`on_request` is None), a signal raises
    `KeyboardInterrupt` at once. Outside the main thread, which alone receives signals, nothing is changed.

    Attributes:
        requested: Set by the first signal. A second one raises `KeyboardInterrupt` at once.
        signal_name: Which signal it was.
        on_request: Called by the first signal.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, on_request: Callable[[], None] | None = None) -> None:
        self.requested = False
        self.signal_name = ""
        self.on_request = on_request
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        insists = self.requested
        self.requested = True
        self.signal_name = signal.Signals(number).name
        if insists or self.on_request is None:
            raise KeyboardInterrupt
        self.on_request()
