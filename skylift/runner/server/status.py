"""How far the job is."""

from __future__ import annotations

import datetime
import json
import threading
from typing import Any, Dict


def now_iso() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Status:
    """How far the job is; every change wakes those who stream, and is written to the prefix."""

    def __init__(self, job: str, changed: threading.Condition) -> None:
        self._changed = changed
        self.version = 0
        self.fields: Dict[str, Any] = {"job": job, "attempt": 1, "state": "booting", "final": False}

    def set(self, **fields: Any) -> None:
        with self._changed:
            self.fields.update(fields, updated=now_iso())
            self.version += 1
            self._changed.notify_all()

    def encoded(self, **more: Any) -> bytes:
        with self._changed:
            return json.dumps(dict(self.fields, **more)).encode()
