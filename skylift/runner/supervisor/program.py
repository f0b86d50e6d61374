"""The user's process, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, List, Optional

from skylift.runner.supervisor.verdict import Ended

GRACE = 10
"""Seconds between SIGTERM and SIGKILL, as documented for caps and cancel."""


class Program:
    """The user's process and all of its session; also the environment's, while that is made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.ending = ""

    def start(self, argv: List[str], **how: Any) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self.ending:
                raise Ended(self.ending, "The job was ended before its program started.", exit_code=143)
            self._process = subprocess.Popen(argv, start_new_session=True, **how)
            return self._process

    def signal(self, number: int) -> None:
        """To the program's process group, as a terminal does it."""
        with self._lock:
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)

    def end(self, why: str) -> None:
        """SIGTERM, and after the grace SIGKILL to the whole session. The first reason stays."""
        with self._lock:
            self.ending = self.ending or why
        self.signal(signal.SIGTERM)
        timer = threading.Timer(GRACE, self.kill_session)
        timer.daemon = True
        timer.start()

    def kill_session(self) -> None:
        """Whatever the program started and left running in its session ends too."""
        with self._lock:
            leader = self._process.pid if self._process is not None else 0
        for entry in Path("/proc").iterdir() if leader else ():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split() if entry.name.isdigit() else []
                if len(fields) > 3 and int(fields[3]) == leader:
                    os.kill(int(entry.name), signal.SIGKILL)
            except (OSError, IndexError):
                continue
