"""The guardian, as the supervisor hears of it: how an inherited program has ended, and that the guardian has died."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from queue import SimpleQueue
from typing import Optional

from skylift.runner.server.console import say
from skylift.runner.server.ledger import Ledger

_SHUTDOWN = 100.0
"""Seconds in which a server that goes down is off: systemd gives its services 90."""
_PAUSE = 1.0
"""Seconds until another guardian is started after all, for which there was no room."""


class GuardianLink:
    """Listens from the first moment on, so that a guardian that dies has a successor too: a whole second pair, whose
    supervisor waits for us to be gone. How our program ends it will not learn, but it will say so, and bring home what
    there is."""

    def __init__(self, told: int, ledger: Ledger) -> None:
        self._told, self._ledger = told, ledger
        self._ends: SimpleQueue[Optional[int]] = SimpleQueue()
        threading.Thread(target=self._listen, name="guardian", daemon=True).start()

    def end_of_program(self) -> Optional[int]:
        """As soon as it is known; None when nobody is left who would know."""
        return self._ends.get()

    def _listen(self) -> None:
        with os.fdopen(self._told) as words:
            for word in words:
                self._ends.put(int(word))
        self._ends.put(None)
        if time.time() - self._ledger.read().get("down", 0) < _SHUTDOWN:
            # The server goes down, and so do we in a moment: nothing is to be started. Still here later, it did not.
            threading.Event().wait(_SHUTDOWN)
        say("the guardian has died; another one stands by")
        while True:
            try:
                subprocess.Popen([sys.executable, *sys.argv], stdin=subprocess.DEVNULL, start_new_session=True)
                return
            except OSError as error:
                say("another guardian cannot be started yet: %s" % error)
                time.sleep(_PAUSE)
