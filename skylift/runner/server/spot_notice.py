"""What EC2 says in the metadata of a spot server: that it is one, and that it will be, or may be, taken away.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import datetime
import json
import threading
import time
from typing import Any, Callable, Dict, NamedTuple, Optional

from skylift.runner.server.aws import Metadata, Unreachable
from skylift.runner.server.console import say

ACTION = "/latest/meta-data/spot/instance-action"
ADVICE = "/latest/meta-data/events/recommendations/rebalance"
_ACTIONS = ("terminate", "stop", "hibernate")
_AFTERWARDS = 30.0
"""Seconds before the announced time that are for what is to be sent; of a shorter notice, a third."""


def how_bought(metadata: Metadata) -> Dict[str, str]:
    """Which type this server is of, and whether it is `spot` or `on-demand`."""
    base = "/latest/meta-data/instance-"
    return {"instance_type": metadata.get(base + "type"), "market": metadata.get(base + "life-cycle")}


class Notice(NamedTuple):
    """`when` in seconds since the epoch."""

    action: str
    when: float

    def last_moment(self, now: float) -> float:
        """When the program must have ended."""
        return self.when - min(_AFTERWARDS, max(0.0, self.when - now) / 3)


class Notices:
    """Looks every `pause` seconds. `told` hears of a notice once, and again when another one comes after it was taken
    back; `moved` hears that it has another time, or None when it was taken back; `late` when its last moment has come
    and it still stands. `advised` hears once that a notice may be near."""

    def __init__(
        self,
        metadata: Metadata,
        pause: float,
        told: Callable[[Notice], Any],
        moved: Callable[[Optional[Notice]], Any],
        late: Callable[[], Any],
        advised: Callable[[], Any],
    ) -> None:
        self._metadata, self._pause = metadata, pause
        self._told, self._moved, self._late, self._advised = told, moved, late, advised
        self._over = threading.Event()
        self._was_advised = False
        self._was_taken_back = self._was_late = False
        threading.Thread(target=self._run, name="notices", daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def stands(self) -> bool:
        """Whether a notice that was told of, by us or by an earlier supervisor, is still there. Looked at anew: the
        last look may be seconds old. Without an answer, what was known before counts."""
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
        self._told(notice)
        while time.time() < last:
            if self._over.wait(min(self._pause, max(0.0, last - time.time()))):
                return
            latest = self._latest(notice)
            if latest is None:
                say("the notice was taken back")
                self._was_taken_back = True
                self._moved(None)
                return
            if latest.when != notice.when:
                notice, last = latest, latest.last_moment(time.time())
                self._moved(notice)
        # First: whom we kill has not ended by itself, whatever becomes of the notice in this moment.
        self._was_late = True
        self._late()
        self._over.wait()

    def _latest(self, notice: Notice) -> Optional[Notice]:
        """What stands now; None only when the service says so: one that does not answer leaves a notice as it is."""
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
        say("this is no notice: %r (%r)" % (text, error))
        return None
