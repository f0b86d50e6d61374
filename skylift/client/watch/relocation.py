"""Notes for the user about a program that is started again: on another server, when a spot job moves, or on the same
server after a failure."""

from __future__ import annotations

import time

from skylift.client.job.server_record import tries_of
from skylift.client.text.duration import spell_duration
from skylift.client.text.visible import visible
from skylift.client.watcher import Watcher
from skylift.contract.states import State
from skylift.contract.status import Status


class Relocation:
    """Writes each note once. `see` is given every status as it comes."""

    def __init__(self, watcher: Watcher, *, is_map: bool = False) -> None:
        self._watcher, self._is_map = watcher, is_map
        self._attempt, self._left, self._tries = 1, 0, 0
        self._refused = ""
        self._notice: tuple[int, float] | None = None
        """The attempt, and the time when its server will be taken away, as of the last note."""

    def see(self, status: Status) -> None:
        attempt, server = status.attempt, status.instance
        notice = None if status.notice is None else (attempt, status.notice.time)
        if notice is not None and notice != self._notice:
            when = time.strftime("%H:%M:%S", time.gmtime(notice[1]))
            self._watcher.note(f"EC2 says that {server} will be taken away at {when} UTC; the program has SIGTERM.")
        elif notice is None and self._notice is not None and self._notice[0] == attempt:
            self._watcher.note(f"EC2 has withdrawn its notice: {server} stays.")
        self._notice = notice
        if status.checkpoint_refused and status.checkpoint_refused != self._refused:
            self._refused = status.checkpoint_refused
            self._watcher.note(f"The new checkpoint is refused, the previous one stays: {visible(self._refused)}")
        self._tell_tries(status)
        if status.state == State.INTERRUPTED and self._left < attempt:
            self._left = attempt
            self._watcher.note(f"The job has left {server}; another server will continue it.")
        if attempt > self._attempt and status.started is not None:
            self._attempt, kept = attempt, status.checkpoint
            begins = f"goes on from attempt {kept.attempt}'s checkpoint" if kept else "begins anew"
            if self._is_map:
                begins = "goes on: inputs that have an outcome do not run again"
            self._watcher.note(f"Attempt {attempt}, on {server}, {begins}.")

    def _tell_tries(self, status: Status) -> None:
        """Report the attempts, also those that nobody has watched, in their order; an ended job reports them at its
        end."""
        if not status.final:
            for each in tries_of(status)[self._tries :]:
                if each.pause is not None:
                    when = spell_duration(each.pause)
                    self._watcher.note(f"Attempt {each.number}: {visible(each.reason)} The next one begins in {when}.")
        self._tries = max(self._tries, len(status.tries))
