"""How the API's calls wait while AWS says "not now": it throttles, or is out of order. Nobody else waits for that."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from skylift.agent.remote.aws import is_not_now
from skylift.client.waiting import pause

PATIENCE = 600.0
"""Seconds for a call of a command that has no job."""
_AT_LEAST = 60.0
"""Seconds for one of a job whose deadline is over: what is left of it is still to be taken down."""
_SILENT = 10.0
"""Seconds of waiting of which the user hears nothing."""
_LONGEST = 10.0
_ATTEMPTS = 4
"""Requests, one after the other, that nobody answers."""
_INTERNAL = ("InternalError", "unexpectedError")
"""How S3, and DeleteFleets, call what others answer with the status 500."""


class Patience:
    """Of all calls of one Api. `deadline`, in seconds since the epoch, is that of the job that they are for; without a
    job, each call waits for `seconds`, as it does for AWS's internal errors. `tell` is given one line for the user when
    calls have waited for a while."""

    def __init__(self, tell: Callable[[str], object] = lambda _: None) -> None:
        self.seconds, self.deadline, self.tell = PATIENCE, 0.0, tell
        self._telling = threading.Lock()
        self._told = 0

    def again(
        self, operation: str, answer: tuple[Any, Any] | None, attempts: int, state: MutableMapping[str, Any]
    ) -> bool:
        """After each attempt at a call: whether to make another one, once this has waited. `answer` is HTTP's and what
        was read of it; None when there was none. `state` is the call's own, for this alone. `attempts` counts those
        so far."""
        if answer is None:
            lost = state["lost"] = state.get("lost", 0) + 1
            return (lost < _ATTEMPTS and pause(_some_of(2.0 ** (lost - 1)))) or self._end(state)
        state["lost"] = 0
        error = answer[1].get("Error") or _error_within(answer[1])
        code = str(error.get("Code", ""))
        status = 500 if code in _INTERNAL else answer[0].status_code
        if not is_not_now(status, code):
            return self._end(state)
        now = time.monotonic()
        since: float = state.setdefault("since", now)
        end = since + self.seconds
        # What AWS has no word for, a 500, may also be what it can never do.
        if self.deadline and status != 500:
            end = max(since + _AT_LEAST, now + self.deadline - time.time())
        length = _some_of(min(0.4 * 2 ** min(attempts - 1, 9), _LONGEST))
        if now + length > since + _SILENT:
            words = f"{operation}: {error.get('Message', '')} ({code})"
            self._say(
                f"AWS asks to wait, {words}, since {_clock(since)}. Trying again, until {_clock(end)} at the latest.",
                state,
            )
        if now + length < end and pause(length):
            return True
        answer[1].setdefault("ResponseMetadata", {})["waited"] = time.monotonic() - since
        return self._end(state)

    def _say(self, line: str, state: MutableMapping[str, Any]) -> None:
        """Of calls that wait at the same time, the first one speaks for all."""
        if "told" in state:
            return
        with self._telling:
            state["told"], self._told = True, self._told + 1
            is_first = self._told == 1
        if is_first:
            self.tell(line)

    def _end(self, state: MutableMapping[str, Any]) -> bool:
        """False: there is no other attempt. The next call that waits is told of anew."""
        with self._telling:
            self._told -= state.pop("told", False)
        return False


def _error_within(answer: dict[str, Any]) -> dict[str, Any]:
    """Of an answer with the status 200, which names objects that S3 has not deleted, or fleets that EC2 has not, the
    first error that passes."""
    failed = [*answer.get("Errors", ()), *(each["Error"] for each in answer.get("UnsuccessfulFleetDeletions", ()))]
    return next((each for each in failed if (code := str(each.get("Code"))) in _INTERNAL or is_not_now(200, code)), {})


def _some_of(most: float) -> float:
    """Callers that were refused together do not come back together."""
    return most * random.uniform(0.3, 1)  # noqa: S311 - nobody gains from guessing it


def _clock(when: float) -> str:
    """A moment of the monotonic clock, for the user."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + when - time.monotonic()))
