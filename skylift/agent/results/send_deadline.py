"""Until when a server tries to send what it must send, and from when on it sends nothing more."""

from __future__ import annotations

import time

from skylift.agent.remote.aws import Unreachable


class OutOfTime(Unreachable):
    """There is no time left to send the rest before the server turns off."""

    final = True


class SendDeadline:
    """Each call may be retried for `seconds` from its own start, and no call is retried after `last`. A call that
    succeeds may take longer. No call begins after `end`. Times are in seconds since the epoch."""

    def __init__(self, seconds: float, last: float, end: float) -> None:
        self._seconds, self._last, self._end = seconds, last, end

    def __call__(self) -> float:
        """Until when the call that begins now may be retried. Raises OutOfTime."""
        now = time.time()
        if now > self._end:
            raise OutOfTime("there is no time left to send it before the server goes off")
        return min(now + self._seconds, self._last)

    def rest(self) -> float:
        """Until when the last short calls may be retried, after everything has been sent, however late that is."""
        return min(time.time() + self._seconds, self._last)
