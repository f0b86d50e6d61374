"""The status of a job: how far it is."""

from __future__ import annotations

import datetime
import json
import threading
from typing import Any

from skylift.contract import document, status
from skylift.contract.states import State


def now_iso() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Status:
    """The job's status. Each change is sent to clients that watch, and written to the prefix."""

    def __init__(self, job: str, changed: threading.Condition) -> None:
        self.changed = changed
        self.version = 0
        self.fields = status.Status(State.BOOTING, job=job)

    def set(self, **fields: Any) -> None:
        """Fields that the document has."""
        with self.changed:
            self.fields = self.fields._replace(updated=now_iso(), **fields)
            self.version += 1
            self.changed.notify_all()

    def encoded(self, **more: Any) -> bytes:
        with self.changed:
            return json.dumps(document.write(self.fields._replace(**more))).encode()
