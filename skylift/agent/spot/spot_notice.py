"""EC2's notices in the metadata of a spot server: that it will be interrupted, or that this may happen.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import datetime
import json
import threading
import time
from typing import Any, Callable, Dict, NamedTuple, Optional

from skylift.agent.machine.console import say
from skylift.agent.remote.aws import Metadata, Unreachable

ACTION = "/latest/meta-data/spot/instance-action"
ADVICE = "/latest/meta-data/events/recommendations/rebalance"
_ACTIONS = ("terminate", "stop", "hibernate")
_AFTERWARDS = 30.0
"""Seconds before the announced time that are kept for sending. When the notice is shorter, a third of it."""


def how_bought(metadata: Metadata) -> Dict[str, str]:
    """The server's instance type, and whether it is `spot` or `on-demand`."""
    base = "/latest/meta-data/instance-"
    return {"instance_type": metadata.get(base + "type"), "market": metadata.get(base + "life-cycle")}


def is_taken_back(metadata: Metadata) -> bool:
    """Whether there is a notice now. False if the service does not answer."""
    try:
        return _parse(metadata.get(ACTION)) is not None
    except Unreachable:
        return False


class Notice(NamedTuple):
    """`when` in seconds since the epoch."""

    action: str
    when: float

    def last_moment(self, now: float) -> float:
        """When the program must have ended."""
        return self.when - min(_AFTERWARDS, max(0.0, self.when - now) / 3)


class Notices:
    """Reads the metadata every `pause` seconds. It calls `noticed` with a notice once, and again with another one after
    it was withdrawn; `moved` with a changed time, or with None when the notice was withdrawn; `late` when the last
    moment has come and the notice stands; and `advised` once when EC2 says that an interruption is more likely."""

    def __init__(
        self,
        metadata: Metadata,
        pause: float,
        noticed: Callable[[Notice], Any],
        moved: Callable[[Optional[Notice]], Any],
        late: Callable[[], Any],
        advised: Callable[[], Any],
    ) -> None:
        self._metadata, self._pause = metadata, pause
        self._noticed, self._moved, self._late, self._advised = noticed, moved, late, advised
        self._over = threading.Event()
        self._was_advised = False
        self._was_taken_back = self._was_late = False
        threading.Thread(target=self._run, name="notices", daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def stands(self) -> bool:
        """Whether a notice that this or an earlier supervisor has reported still stands. Reads the metadata again;
        without an answer, the last known state counts."""
        if self._was_late:
            return True
        try:
            self._metadata.get(ACTION)
        except Unreachable as error:
            return not (_is_none(error) or self._was_taken_back)
        return True

    def _run(self) -> None:
        while not self._over.wait(self._pause):
            notice = self._look()
            if notice is not None:
                self._heed(notice)
            elif not self._was_advised and self._read(ADVICE) is not None:
                self._was_advised = True
                self._advised()

    def _heed(self, notice: Notice) -> None:
        last = notice.last_moment(time.time())
        self._was_taken_back = False
        self._noticed(notice)
        while time.time() < last:
            if self._over.wait(min(self._pause, max(0.0, last - time.time()))):
                return
            latest = self._latest(notice)
            if latest is None:
                say("the notice was withdrawn")
                self._was_taken_back = True
                self._moved(None)
                return
            if latest.when != notice.when:
                notice, last = latest, latest.last_moment(time.time())
                self._moved(notice)
        # First: a program that we kill has not ended by itself, even if the notice is withdrawn now.
        self._was_late = True
        self._late()
        self._over.wait()

    def _latest(self, notice: Notice) -> Optional[Notice]:
        """The notice as it is now. None only if the service says that there is none; without an answer it stands."""
        try:
            text = self._metadata.get(ACTION)
        except Unreachable as error:
            return None if _is_none(error) else notice
        return _parse(text) or notice

    def _look(self) -> Optional[Notice]:
        try:
            return _parse(self._metadata.get(ACTION))
        except Unreachable:
            return None

    def _read(self, path: str) -> Optional[Dict[str, Any]]:
        try:
            found: Dict[str, Any] = json.loads(self._metadata.get(path))
        except (Unreachable, ValueError):
            return None
        return found


def _is_none(error: Unreachable) -> bool:
    return str(error).endswith("HTTP 404")


def _parse(text: str) -> Optional[Notice]:
    try:
        found = json.loads(text)
        if found["action"] not in _ACTIONS:
            return None
        when = datetime.datetime.fromisoformat(found["time"].replace("Z", "+00:00"))
        return Notice(found["action"], when.timestamp())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        say("this is not a notice: %r (%r)" % (text, error))
        return None
