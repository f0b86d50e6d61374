"""Orders for a job on its server: a signal, its end, or to look for the next job."""

from __future__ import annotations

import threading
from typing import Optional

from skylift.agent.program.program import UserProcess
from skylift.agent.program.stdin import ProgramStdin
from skylift.agent.program.terminal import ProgramTerminal
from skylift.agent.remote.aws import Refused, Unreachable
from skylift.agent.remote.prefix import Prefix
from skylift.contract.states import State


class JobControl:
    """`asked` is set when a client says that there is a next job. `cancelled` is set when the job is to end; then the
    server waits for no next job."""

    def __init__(
        self, program: UserProcess, terminal: Optional[ProgramTerminal] = None, stdin: Optional[ProgramStdin] = None
    ) -> None:
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
        """Look for a request in the prefix to cancel the job, every few seconds, as long as the server runs. It needs
        no SSH."""
        threading.Thread(target=self._listen, args=(prefix, poll), name="cancel", daemon=True).start()

    def _listen(self, prefix: Prefix, poll: float) -> None:
        while not self.cancelled.wait(poll):
            try:
                if prefix.get("in/cancel") is not None:
                    self.cancel()
            except (Unreachable, Refused):
                continue
