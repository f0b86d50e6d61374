"""Ctrl-C while jobs are ended: the first one says what is waited for, the second terminates their servers at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_HINT = b"\nskylift: Ctrl-C once more terminates the server at once, without what is not in S3 yet.\n"


class SecondInterrupt:
    """Within it, the first Ctrl-C is answered, the second sets `at_once`, and the third is Python's own again."""

    def __init__(self) -> None:
        self.at_once = threading.Event()
        self._pressed = False
        self._before: Any = None

    def __enter__(self) -> SecondInterrupt:
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self.at_once.is_set():
            raise KeyboardInterrupt
        if self._pressed:
            self.at_once.set()
        else:
            self._pressed = True
            # Not by print, which this may have interrupted.
            os.write(2, _HINT)
