"""How far a job is, and at the end how it went: server/status.json, and the frame of it over SSH."""

import re
from typing import Annotated, NamedTuple, Optional, Tuple

from skylift.contract.document import ALWAYS, FOREVER, MOMENT, Among, Malformed, Most, Range, Text
from skylift.contract.record import Code
from skylift.contract.states import ENDED, UNDER_WAY, State

STATUS_LIMIT = 1 << 20
MOST_TRIES = 101
_LONGEST_RUN = 1e9

Offset = Annotated[int, Range(0, 1 << 62)]
Span = Tuple[Offset, Offset]
Attempt = Annotated[int, Range(1, 1_000_000)]
Moment = Annotated[Optional[str], MOMENT]
Time = Annotated[Optional[float], Range(0, FOREVER)]
Lasted = Annotated[Optional[float], Range(0, _LONGEST_RUN)]
Instance = Annotated[str, Text(64, re.compile(r"i-[0-9a-z]{1,32}"))]
Signal = Annotated[Optional[str], Text(16, re.compile(r"SIG[A-Z0-9+-]{1,12}"))]


class ProgramTry(NamedTuple):
    exit_code: Code
    attempt: Annotated[Attempt, "of the servers of a spot job, the one that it ran on"]
    signal: Signal = None
    reason: Annotated[str, Text(4096), ALWAYS, "one sentence"] = ""
    began: Moment = None
    ended: Moment = None
    seconds: Lasted = None
    pause: Annotated[Lasted, "after which it was started again, if it was"] = None


class SpotNotice(NamedTuple):
    time: Annotated[float, Range(0, FOREVER), "when the server goes"]
    action: Annotated[str, Text(64), "what EC2 does to it then"] = ""


class CheckpointSent(NamedTuple):
    attempt: Annotated[Attempt, "whose it is"]


class Streams(NamedTuple):
    stdout: Annotated[Offset, "bytes", ALWAYS] = 0
    stderr: Annotated[Offset, "likewise", ALWAYS] = 0


class Cut(NamedTuple):
    stdout: Annotated[Optional[Span], "from where to where"] = None
    stderr: Annotated[Optional[Span], "likewise"] = None


class MemoryKills(NamedTuple):
    limit: Annotated[Optional[int], Range(0, 1 << 62), "bytes"] = None
    kills: Annotated[int, Range(0, 1 << 31), "processes that the kernel ended for want of it"] = 0


class Status(NamedTuple):
    state: Annotated[State, Among((*UNDER_WAY, *ENDED)), "with `final`, from succeeded on"]
    final: Annotated[bool, ALWAYS, "whether that is the end"] = False
    job: Annotated[str, Text(255), "its name"] = ""
    attempt: Annotated[Attempt, ALWAYS, "which server of a spot job, or of a map"] = 1
    instance: Optional[Instance] = None
    instance_type: Annotated[Optional[str], Text(64, re.compile(r"[a-z0-9-]{1,32}\.[a-z0-9-]{1,32}"))] = None
    market: Annotated[Optional[str], Among(("spot", "on-demand")), "how the server of a spot job was bought"] = None
    updated: Moment = None
    booted: Moment = None
    started: Annotated[Moment, "its program, the first time"] = None
    ended: Annotated[Moment, "its program, the last time"] = None
    pid: Annotated[Optional[int], Range(1, 1 << 31), "of the program"] = None
    program_seconds: Lasted = None
    environment: Annotated[
        Optional[str], Among(("kept", "imaged", "taken", "built")), "where it came from, if one was asked for"
    ] = None
    environment_seconds: Lasted = None
    exit_code: Annotated[Optional[Code], "skylift's: see docs/run.md"] = None
    signal: Signal = None
    reason: Annotated[Optional[str], Text(65536), "one sentence"] = None
    detail: Annotated[Optional[str], Text(262144), "what there is to read beside it"] = None
    memory: Annotated[Optional[MemoryKills], "where the kernel ended processes for want of it"] = None
    tries: Annotated[Tuple[ProgramTry, ...], Most(MOST_TRIES), "of a program that may be started again"] = ()
    streams: Annotated[Optional[Streams], "at the end: how long they are, all being sent"] = None
    lost: Annotated[Offset, "bytes of them that could not be kept"] = 0
    cut: Annotated[Cut, "what lies between head and tail of a long stream"] = Cut()
    role: Annotated[
        Optional[str], Text(64, re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}")), "the server's, which may be another job's"
    ] = None
    kept_until: Time = None
    notice: Annotated[Optional[SpotNotice], "that EC2 takes a spot server back, until it is withdrawn"] = None
    rebalance: Annotated[Moment, "when that came to be likely"] = None
    checkpoint: Annotated[Optional[CheckpointSent], "the last that a spot job has sent"] = None
    checkpoint_refused: Annotated[Optional[str], Text(16384), "why what there is now is none"] = None

    def check(self) -> None:
        if self.final != (self.state in ENDED):
            raise Malformed("the state %s is %sthe last one" % (self.state, "not " if self.final else ""))

    @property
    def retries(self) -> int:
        """How often the program was started again after a failure."""
        return sum(each.pause is not None for each in self.tries)

    def until(self, deadline: float) -> "Status":
        """No server is kept beyond the deadline in its record."""
        return self if self.kept_until is None else self._replace(kept_until=min(self.kept_until, deadline))
