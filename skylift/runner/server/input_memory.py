"""Which input the kernel's OOM killer has struck: inputs run at the same time, and share one count of its victims.

An input that ran with no other beside it has all that were killed meanwhile. Otherwise only a program that SIGKILL has
ended counts as a victim, and each kill is attributed to one: the kernel chooses programs of inputs first (see
input_spawner.py), and mostly the one that has most."""

from __future__ import annotations

import signal
import threading
from typing import List, Optional

from skylift.runner.server.memory import Memory
from skylift.runner.server.outcome import Outcome, judge
from skylift.runner.server.status import State


class InputMemory:
    """The memory that all inputs of one server share."""

    def __init__(self, memory: Optional[Memory] = None) -> None:
        self._memory = memory or Memory(before=0)
        self._lock = threading.Lock()
        self._running: List[Share] = []
        self._told = 0

    def begin(self) -> Share:
        """For an input that begins; to be ended."""
        with self._lock:
            share = Share(self, self._memory.kills(), alone=not self._running)
            for each in self._running:
                each.alone = False
            self._running.append(share)
            return share

    def end(self, share: Share) -> None:
        with self._lock:
            self._running.remove(share)

    def judge(self, share: Share, code: int) -> Outcome:
        """What the end of a program means; `code` is as in Popen."""
        limit = self._memory.limit()
        found = judge(code, None, {}, self._kills(share, code), limit)
        if found.state is State.OUT_OF_MEMORY and not share.alone:
            has = "share" if limit is None else "%d MiB" % (limit >> 20)
            reason = "The program was ended by the kernel: the inputs that ran at once needed more than the server's "
            return found._replace(reason=reason + "%s of memory (see --per-server)." % has)
        return found

    def _kills(self, share: Share, code: int) -> int:
        with self._lock:
            now = self._memory.kills()
            if share.alone:
                self._told = max(self._told, now)
                return now - share.before
            # A kill from before it began was another one's.
            told = max(self._told, share.before)
            if code != -signal.SIGKILL or now <= told:
                return 0
            self._told = told + 1
            return 1


class Share:
    """One input's. `before` is how many were killed before it began; `alone` whether no other has run beside it."""

    def __init__(self, memory: InputMemory, before: int, *, alone: bool) -> None:
        self._memory, self.before, self.alone = memory, before, alone

    def judge(self, code: int) -> Outcome:
        return self._memory.judge(self, code)

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.end(self)
