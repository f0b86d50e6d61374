"""How a job ended: one state, one exit code and one sentence."""

from __future__ import annotations

import signal
from typing import Any, Dict, NamedTuple, Optional

from skylift.contract.states import State

OUT_OF_MEMORY = 121
REBOOTED = 122
CAPPED = 124
FAILED = 125
BY_SIGTERM = (-signal.SIGTERM, 128 + signal.SIGTERM)
"""Exit codes after SIGTERM: for a program that does not catch it, and the usual one for a program that does."""


class Ended(Exception):
    """The job is over before its program could start; `state` and `detail` say how."""

    def __init__(self, state: State, reason: str, detail: str = "", exit_code: int = FAILED) -> None:
        super().__init__(reason)
        self.state, self.reason, self.detail, self.exit_code = state, reason, detail, exit_code


class Outcome(NamedTuple):
    state: State
    reason: str
    exit_code: int
    signal: Optional[str] = None
    detail: str = ""
    memory: Optional[Dict[str, Any]] = None

    @classmethod
    def parse(cls, fields: Dict[str, Any]) -> Outcome:
        """The outcome from its fields, as the ledger has them."""
        return cls(**dict(fields, state=State(fields["state"])))


def is_answer(code: int, *, stands: bool, when: float, ended: float) -> bool:
    """Whether a program has ended because of an interruption notice, so that it continues on another server.

    While the notice `stands`, every exit code but 0 means that. After it was withdrawn, only SIGTERM or 143 does, and
    only until `when`, when the program had to have ended. Any other end is the program's own.
    """
    if stands or code == 0:
        return code != 0
    return code in BY_SIGTERM and ended < when


def judge(code: int, ending: Optional[State], words: Dict[State, str], kills: int, limit: Optional[int]) -> Outcome:
    """The outcome of a program. `code` is its exit code as in Popen, negative for a signal. `ending` is why we ended
    it, if we did, and `words` has a sentence for each such reason. `kills` is the number of processes that the kernel's
    OOM killer has ended."""
    name = signal.Signals(-code).name if code < 0 and -code in set(signal.Signals) else None
    memory = {"limit": limit, "kills": kills} if kills else None
    exit_code = 128 - code if code < 0 else code
    if ending:
        if ending in (State.TIMED_OUT, State.IDLE):
            exit_code = CAPPED
        if ending is State.BROKEN:
            exit_code = FAILED
        return Outcome(ending, words[ending], exit_code, name, memory=memory)
    if code == -signal.SIGKILL and kills:
        reason = "The program was ended by the kernel: it needed more than the server's %s of memory." % spell(limit)
        return Outcome(State.OUT_OF_MEMORY, reason, OUT_OF_MEMORY, name, memory=memory)
    if code < 0:
        reason = "The program was ended by %s." % (name or "signal %d" % -code)
    else:
        reason = "The program exited with %d." % code
    if kills:
        reason = reason[:-1] + ", after the kernel had ended %d of its processes for want of memory." % kills
    return Outcome(State.FAILED if code else State.SUCCEEDED, reason, exit_code, name, memory=memory)


def spell(limit: Optional[int]) -> str:
    return "share" if limit is None else "%d MiB" % (limit >> 20)
