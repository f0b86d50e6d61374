"""A kept server waits for its next job.

Client and server both try to write `server/next.json` in the prefix of the job that has ended, and the first write
counts: {"job": NAME} is the next job, {"job": null} means that the server waits no longer. The next job's deadline is
in its own record, which no server's role can write.
"""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any, Callable, Dict, Optional

from skylift.agent.job.attempts import object_of
from skylift.agent.machine.console import say
from skylift.agent.remote.aws import Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix

NEXT = "server/next.json"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_PAUSE = 0.5
"""Seconds between two reads of it. A client that is connected by SSH asks for a read at once."""
_COMING = 120.0
"""Seconds in which IAM must let this server read the record of a job that has taken it. The client has written both the
record and the permission before that."""


class Handover:
    """`look` returns another job's prefix. `asked` is set when a client asks for a read at once, and by cancel."""

    def __init__(
        self, prefix: Prefix, job: str, look: Callable[[str], Prefix], asked: threading.Event, over: threading.Event
    ) -> None:
        self._prefix, self._job, self._look, self._asked, self._over = prefix, job, look, asked, over

    def wait(self, until: float) -> Optional[Dict[str, Any]]:
        """Wait for the next job: its {"job", "deadline"}, or None when no job can come any more."""
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
        return None if found is None else object_of(found)

    def _close(self) -> Optional[Dict[str, Any]]:
        body, until = json.dumps({"job": None}).encode(), time.time() + 30
        try:
            if retry_until("next job", lambda: self._prefix.put(NEXT, body, first=True), until):
                return None
            # A job has taken this server, so a failed read is repeated.
            found = retry_until("next job", lambda: self._prefix.get(NEXT), until)
        except (Unreachable, Refused) as error:
            say("it is not known whether another job comes: %s" % error)
            return None
        return None if found is None or self._over.is_set() else self._expect(object_of(found))

    def _expect(self, found: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """Read the next job's record. It, and the permission to read it, may appear a moment later."""
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
        say("the job %s was announced, and has not come" % name)
        return None
