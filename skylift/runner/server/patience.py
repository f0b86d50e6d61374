"""How long what must be sent is tried, and until when anything is sent at all."""

from __future__ import annotations

import time

from skylift.runner.server.aws import Unreachable


class OutOfTime(Unreachable):
    """What is left would not be sent before the server goes off."""

    final = True


class Patience:
    """Each call has `seconds` from its own start, and none is tried again after `last`: what goes well may take longer
    than anybody's patience with what does not. After `end`, nothing new is begun."""

    def __init__(self, seconds: float, last: float, end: float) -> None:
        self._seconds, self._last, self._end = seconds, last, end

    def __call__(self) -> float:
        """Until when the call that begins now is tried. Raises OutOfTime."""
        now = time.time()
        if now > self._end:
            raise OutOfTime("there is no time left to send it before the server goes off")
        return min(now + self._seconds, self._last)

    def rest(self) -> float:
        """Until when the few words are tried that follow once all has been sent, however late that is."""
        return min(time.time() + self._seconds, self._last)
