"""What the supervisor learns from the guardian: how an inherited program has ended, and that the guardian has died."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from queue import SimpleQueue
from typing import Optional

from skylift.agent.job.ledger import Ledger
from skylift.agent.machine.console import say

_SHUTDOWN = 100.0
"""Seconds in which a server that shuts down is off. systemd gives its services 90."""
_PAUSE = 1.0
"""Seconds until the start of a guardian is tried again, after it failed for lack of memory."""


class GuardianLink:
    """Listens from the start, so that a guardian that dies is replaced: by a second pair of guardian and supervisor.
    That supervisor waits until this process has ended. It cannot learn how the program ends, but it reports that, and
    delivers the results."""

    def __init__(self, ends_pipe: int, ledger: Ledger) -> None:
        self._ends_pipe, self._ledger = ends_pipe, ledger
        self._ends: SimpleQueue[Optional[int]] = SimpleQueue()
        threading.Thread(target=self._listen, name="guardian", daemon=True).start()

    def end_of_program(self) -> Optional[int]:
        """Wait for the program's exit code. None when it cannot be known."""
        return self._ends.get()

    def _listen(self) -> None:
        with os.fdopen(self._ends_pipe) as words:
            for word in words:
                self._ends.put(int(word))
        self._ends.put(None)
        if time.time() - self._ledger.read().get("down", 0) < _SHUTDOWN:
            # The server shuts down, so nothing is started. If we still run after this, it did not shut down.
            threading.Event().wait(_SHUTDOWN)
        say("the guardian has died; another one stands by")
        while True:
            try:
                subprocess.Popen([sys.executable, *sys.argv], stdin=subprocess.DEVNULL, start_new_session=True)
                return
            except OSError as error:
                say("another guardian cannot be started yet: %s" % error)
                time.sleep(_PAUSE)
