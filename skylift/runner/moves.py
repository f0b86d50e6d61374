"""What somebody who watches is told of a spot job that moves from one server to another."""

from __future__ import annotations

import time

from skylift.runner.server_record import Status
from skylift.runner.watch import Watcher


class Moves:
    """Each is told once, from the statuses as they come."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._attempt, self._left, self._notice = 1, 0, 0.0

    def see(self, status: Status) -> None:
        attempt, server = status.attempt, status.instance
        if status.notice is not None and status.notice != self._notice:
            self._notice = status.notice
            when = time.strftime("%H:%M:%S", time.gmtime(self._notice))
            self._watcher.note(f"EC2 says that {server} will be taken away at {when} UTC; the program has SIGTERM.")
        if status.state == "interrupted" and self._left < attempt:
            self._left = attempt
            self._watcher.note(f"The job has left {server}; another server goes on with it.")
        if attempt > self._attempt and status.started is not None:
            self._attempt, kept = attempt, status.checkpoint
            begins = f"goes on from attempt {kept}'s checkpoint" if kept else "begins anew"
            self._watcher.note(f"Attempt {attempt}, on {server}, {begins}.")
