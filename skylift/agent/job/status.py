"""The status of a job: how far it is."""

from __future__ import annotations

import datetime
import json
import threading
from enum import Enum
from typing import Any, Dict


class State(str, Enum):
    """The states of a job. Those from SUCCEEDED on are final."""

    BOOTING = "booting"
    UNPACKING = "unpacking"
    ENVIRONMENT = "environment"
    RUNNING = "running"
    UPLOADING = "uploading"
    INTERRUPTED = "interrupted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OUT_OF_MEMORY = "out-of-memory"
    TIMED_OUT = "timed-out"
    IDLE = "idle"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    REBOOTED = "rebooted"
    ENVIRONMENT_FAILED = "environment-failed"
    BROKEN = "broken"


def now_iso() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Status:
    """The job's status. Each change is sent to clients that watch, and written to the prefix."""

    def __init__(self, job: str, changed: threading.Condition) -> None:
        self.changed = changed
        self.version = 0
        self.fields: Dict[str, Any] = {"job": job, "attempt": 1, "state": State.BOOTING, "final": False}

    def set(self, **fields: Any) -> None:
        with self.changed:
            self.fields.update(fields, updated=now_iso())
            self.version += 1
            self.changed.notify_all()

    def encoded(self, **more: Any) -> bytes:
        with self.changed:
            return json.dumps(dict(self.fields, **more)).encode()
