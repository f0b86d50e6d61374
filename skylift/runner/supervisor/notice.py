"""What EC2 says in the metadata of a spot server: that it is one, and that it will be, or may be, taken away.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import datetime
import json
import threading
import time
from typing import Any, Callable, Dict, NamedTuple, Optional

from skylift.runner.supervisor.aws import Metadata, Unreachable
from skylift.runner.supervisor.console import say

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
    """Looks every `pause` seconds. `told` hears of a notice once, and `late` when its last moment has come and it still
    stands: one that has been taken back ends nothing. `advised` hears once that a notice may be near."""

    def __init__(
        self,
        metadata: Metadata,
        pause: float,
        told: Callable[[Notice], Any],
        late: Callable[[], Any],
        advised: Callable[[], Any],
    ) -> None:
        self._metadata, self._pause = metadata, pause
        self._told, self._late, self._advised = told, late, advised
        self._over = threading.Event()
        self._was_advised = False
        threading.Thread(target=self._run, name="notices", daemon=True).start()

    def stop(self) -> None:
        self._over.set()

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
        self._told(notice)
        while time.time() < last:
            if self._over.wait(min(self._pause, max(0.0, last - time.time()))):
                return
            if self._is_taken_back():
                say("the notice was taken back")
                return
        self._late()
        self._over.wait()

    def _is_taken_back(self) -> bool:
        """Only what says so: a service that does not answer leaves a notice as it is."""
        try:
            self._metadata.get(ACTION)
        except Unreachable as error:
            return str(error).endswith("HTTP 404")
        return False

    def _look(self) -> Optional[Notice]:
        found = self._read(ACTION)
        try:
            return None if found is None or found["action"] not in _ACTIONS else _parse(found)
        except (KeyError, TypeError, ValueError) as error:
            say("this is no notice: %r (%r)" % (found, error))
            return None

    def _read(self, path: str) -> Optional[Dict[str, Any]]:
        try:
            found: Dict[str, Any] = json.loads(self._metadata.get(path))
        except (Unreachable, ValueError):
            return None
        return found


def _parse(found: Dict[str, Any]) -> Notice:
    when = datetime.datetime.fromisoformat(found["time"].replace("Z", "+00:00"))
    return Notice(found["action"], when.timestamp())
