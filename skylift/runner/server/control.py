"""What others may ask of a job on its server: signals, its end, and that the server looks for the next job."""

from __future__ import annotations

import threading
from typing import Optional

from skylift.runner.server.aws import Refused, Unreachable
from skylift.runner.server.prefix import Prefix
from skylift.runner.server.program import Program
from skylift.runner.server.status import State
from skylift.runner.server.stdin import Stdin
from skylift.runner.server.terminal import Terminal


class Control:
    """`asked` is set once somebody says that a next job is there, and `cancelled` when the job is to end; then the
    server looks for no other job."""

    def __init__(self, program: Program, terminal: Optional[Terminal] = None, stdin: Optional[Stdin] = None) -> None:
        self._program, self.terminal, self.stdin = program, terminal, stdin
        self.cancelled = threading.Event()
        self.asked = threading.Event()

    def signal(self, number: int) -> None:
        self._program.ask(number)

    def look_for_next(self) -> None:
        self.asked.set()

    def cancel(self) -> None:
        self.cancelled.set()
        self.asked.set()
        self._program.end(State.CANCELLED)

    def listen(self, prefix: Prefix, poll: float) -> None:
        """The way to end a job that needs no SSH; asked every few seconds, for as long as the server is up."""
        threading.Thread(target=self._listen, args=(prefix, poll), name="cancel", daemon=True).start()

    def _listen(self, prefix: Prefix, poll: float) -> None:
        while not self.cancelled.wait(poll):
            try:
                if prefix.get("in/cancel") is not None:
                    self.cancel()
            except (Unreachable, Refused):
                continue
