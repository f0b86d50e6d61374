"""A server that is kept is the next job's, if one comes.

Client and server both write `server/next.json` in the prefix of the job that has ended, and the first of them decides:
{"job": NAME} of the job that comes, or {"job": null} when the server does not wait any longer. Until when that job may
have the server stands in its own record, which no server's role can write.
"""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any, Callable, Dict, Optional

from skylift.runner.server.aws import Refused, Unreachable, patiently
from skylift.runner.server.console import say
from skylift.runner.server.prefix import Prefix

NEXT = "server/next.json"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_PAUSE = 0.5
"""Seconds between two looks. A client that reaches us by SSH says that it is there, so that we look at once."""
_COMING = 30.0
"""Seconds in which a client that wants this server must have written its job's record."""


class Handover:
    """`look` gives another job's prefix; `asked` is set by whoever knows that somebody is there, and by cancel."""

    def __init__(
        self, prefix: Prefix, job: str, look: Callable[[str], Prefix], asked: threading.Event, over: threading.Event
    ) -> None:
        self._prefix, self._job, self._look, self._asked, self._over = prefix, job, look, asked, over

    def wait(self, until: float) -> Optional[Dict[str, Any]]:
        """{"job", "deadline"} of the next job; None once nobody can come any more."""
        while time.time() < until and not self._over.is_set():
            found = self._read()
            if found is not None:
                return self._expect(found)
            self._asked.wait(min(_PAUSE, max(0.0, until - time.time())))
            if not self._over.is_set():
                self._asked.clear()
        return self._close()

    def _read(self) -> Optional[Dict[str, Any]]:
        try:
            found = self._prefix.get(NEXT)
        except (Unreachable, Refused):
            return None
        return None if found is None else _parse(found)

    def _close(self) -> Optional[Dict[str, Any]]:
        body, until = json.dumps({"job": None}).encode(), time.time() + 30
        try:
            if patiently("next job", lambda: self._prefix.put(NEXT, body, first=True), until):
                return None
            # There is a job that counts on us, so that one look which fails does not do.
            found = patiently("next job", lambda: self._prefix.get(NEXT), until)
        except (Unreachable, Refused) as error:
            say("whether another job comes cannot be known: %s" % error)
            return None
        return None if found is None or self._over.is_set() else self._expect(_parse(found))

    def _expect(self, found: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """Its client may do anything now but wait for us: the record may be there a moment later, and our right to read
        it, too."""
        name = found.get("job")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == self._job:
            return None
        prefix, until, pause = self._look(name), time.time() + _COMING, 0.02
        while time.time() < until and not self._over.is_set():
            try:
                text = prefix.get("record.json")
            except (Unreachable, Refused):
                text = None
            if text is not None:
                return {"job": name, "deadline": float(json.loads(text)["deadline"])}
            self._over.wait(pause)
            pause = min(pause * 1.3, 0.5)
        say("the job %s was to come, and has not" % name)
        return None


def _parse(text: bytes) -> Dict[str, Any]:
    """Whatever a program may have written there."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
