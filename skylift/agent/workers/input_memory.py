"""Decides which input the kernel's OOM killer has ended. The kernel has one count of its kills for all inputs.

If an input ran alone, all kills in that time are its own. If several ran at once, only an input with a program that
ended by SIGKILL was killed, and each kill is attributed to one input: the kernel chooses programs of inputs first (see
input_spawner.py), and mostly the one that uses most memory."""

from __future__ import annotations

import signal
import threading
from typing import List, Optional

from skylift.agent.job.outcome import Outcome, judge, spell
from skylift.agent.machine.memory import Memory
from skylift.contract.states import State


class InputMemory:
    """The memory that all inputs of one server share."""

    def __init__(self, memory: Optional[Memory] = None) -> None:
        self._memory = memory or Memory(before=0)
        self._lock = threading.Lock()
        self._running: List[Share] = []
        self._attributed = 0

    def begin(self) -> Share:
        """Register an input that begins. Its share must be ended."""
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
        """The outcome of an input after its program's end; `code` is as in Popen."""
        kills = self._kills(share, code)
        # Read only for the words: it takes longer than all else here.
        limit = self._memory.limit() if kills else None
        found = judge(code, None, {}, kills, limit)
        if found.state is State.OUT_OF_MEMORY and not share.alone:
            reason = "The program was ended by the kernel: the inputs that ran at once needed more than the server's "
            return found._replace(reason=reason + "%s of memory (see --per-server)." % spell(limit))
        return found

    def _kills(self, share: Share, code: int) -> int:
        with self._lock:
            now = self._memory.kills()
            if share.alone:
                self._attributed = max(self._attributed, now)
                return now - share.before
            # A kill from before this input began was another input's.
            attributed = max(self._attributed, share.before)
            if code != -signal.SIGKILL or now <= attributed:
                return 0
            self._attributed = attributed + 1
            return 1


class Share:
    """The share of one input. `before` is the count of kills when it began; `alone` is whether no other has run at the
    same time."""

    def __init__(self, memory: InputMemory, before: int, *, alone: bool) -> None:
        self._memory, self.before, self.alone = memory, before, alone

    def judge(self, code: int) -> Outcome:
        return self._memory.judge(self, code)

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.end(self)
