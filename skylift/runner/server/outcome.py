"""How a job ended, in one state, one exit code and one sentence."""

from __future__ import annotations

import signal
from typing import Any, Dict, NamedTuple, Optional

from skylift.runner.server.status import State

OUT_OF_MEMORY = 121
REBOOTED = 122
CAPPED = 124
FAILED = 125
BY_SIGTERM = (-signal.SIGTERM, 128 + signal.SIGTERM)
"""How a program ends that has heard SIGTERM: by it, or with the exit code of those that catch it."""


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
        """Of what `fields` has returned, and the ledger kept."""
        return cls(**dict(fields, state=State(fields["state"])))

    def fields(self) -> Dict[str, Any]:
        return self._asdict()


def before_start(ended: Ended) -> Outcome:
    return Outcome(ended.state, ended.reason, ended.exit_code, None, ended.detail)


def is_answer(code: int, *, stands: bool, when: float, ended: float) -> bool:
    """Whether the end of a program that was told of a notice is its answer to that: it has left, and goes on elsewhere.

    While the notice `stands` all but 0 is. Once it has been taken back, only SIGTERM itself, or the 143 of those that
    catch it, and only until `when`, when the program had to be off: whatever else it ends with is its own.
    """
    if stands or code == 0:
        return code != 0
    return code in BY_SIGTERM and ended < when


def judge(code: int, ending: Optional[State], words: Dict[State, str], kills: int, limit: Optional[int]) -> Outcome:
    """`code` is as Popen has it, negative for a signal; `ending` is why we ended the program, if we did, and `words`
    has the sentence for each such reason; `kills` are processes that the kernel ended for want of memory."""
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
        reason = "The program was ended by the kernel: it needed more than the server's %s of memory." % _spell(limit)
        return Outcome(State.OUT_OF_MEMORY, reason, OUT_OF_MEMORY, name, memory=memory)
    if code < 0:
        reason = "The program was ended by %s." % (name or "signal %d" % -code)
    else:
        reason = "The program exited with %d." % code
    if kills:
        reason = reason[:-1] + ", after the kernel had ended %d of its processes for want of memory." % kills
    return Outcome(State.FAILED if code else State.SUCCEEDED, reason, exit_code, name, memory=memory)


def _spell(limit: Optional[int]) -> str:
    return "share" if limit is None else "%d MiB" % (limit >> 20)
