"""The turn of a schedule's run: with `skip` and `queue`, one run of a schedule goes at a time.

`running.json`, beside the schedule's record, names the run that has the turn: {"job", "instance", "beat"}. It is {} if
none has. Each write names the version that it replaces, so only one run gets the turn. The holder writes again every
few seconds. If it is silent, the next run has EC2 terminate its server, as with attempts.py, and takes the turn.

Programs of the schedule may write there, too. They can keep runs of this schedule waiting or have them skipped, or end
one of its servers: the role does not allow more.
"""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any, Dict, NamedTuple, Optional

from skylift.agent.job.attempts import SILENCE, put_if
from skylift.agent.job.context import Context
from skylift.agent.job.outcome import Ended
from skylift.agent.machine.console import say
from skylift.agent.program.program import UserProcess
from skylift.agent.remote.aws import Refused, Unreachable
from skylift.agent.remote.terminate_server import end_server
from skylift.contract.record import ScheduleTerms
from skylift.contract.states import State

KEY = "running.json"
_INSTANCE = re.compile(r"i-[0-9a-f]{8,17}")
_JOB = re.compile(r"[a-z0-9-]{1,40}")
_BY_SIGTERM = 143
_LOOKS = 3
"""The most times that a run checks who has the turn before it gives it back: programs may write there, too."""


class ScheduleHolder(NamedTuple):
    """The run that has the turn. Both names are empty if none has, or if the content is not valid."""

    job: str
    instance: str
    etag: str
    free: bool


class Turn:
    """`plan` is None for a job that is not a schedule's run: it always has its turn."""

    def __init__(self, context: Context, plan: Optional[ScheduleTerms], program: UserProcess, max_time: float) -> None:
        self._context, self._plan, self._program = context, plan, program
        self._needed = plan is not None and plan.overlap != "allow"
        # The rest of the server's time is for the program.
        self._until = context.deadline - (plan.lasts if plan is not None else 0) + max_time
        self._etag, self._beats = "", 0
        self._ended = threading.Event()
        self._writing = threading.Lock()

    def take(self) -> None:
        """Raises Ended when an earlier run goes on and this one is skipped, or when somebody ends this one."""
        seen, silent_since = "", time.monotonic()
        while self._needed and not self._begin():
            asked = time.monotonic()
            held = self._read()
            if held.free or self._is_ours(held):
                self._begin(held.etag)
                continue
            now = time.monotonic()
            if held.etag != seen:
                if seen and self._plan is not None and self._plan.overlap == "skip":
                    raise Ended(State.SKIPPED, "%s was still going (--overlap skip)." % held.job, "", _BY_SIGTERM)
                seen, silent_since = held.etag, now
            elif now - asked > self._beat:
                # S3 did not answer, so the holder may not have been able to write either.
                silent_since = now
            elif now - silent_since > SILENCE * self._beat:
                self._pass_by(held)
                continue
            self._wait(held)

    def take_up(self) -> None:
        """Go on with the turn that an earlier supervisor of this server had."""
        if self._needed:
            held = self._read()
            if self._is_ours(held):
                self._begin(held.etag)

    def is_still_held(self) -> bool:
        """Whether this run still has the turn, by reading it again. If this run was silent, another one may have taken
        it. False if it cannot be read."""
        if not self._etag:
            return False
        try:
            return self._is_ours(self._read())
        except (Unreachable, Refused) as error:
            say("whether this run still has the turn is not known: %s" % error)
            return False

    def leave(self) -> None:
        """The program and all that it left have ended."""
        if not self._needed:
            return
        self._ended.set()
        with self._writing:
            if self._etag:
                try:
                    self._context.retry("the turn", self._give_back)
                except (Unreachable, Refused) as error:
                    say("the turn could not be given back: %s" % error)

    def _give_back(self) -> None:
        for _ in range(_LOOKS):
            if self._put(b"{}", {"if-match": self._etag}) is not None:
                return
            # The answer to the last write was lost, or another run has the turn by now.
            held = self._read()
            if not self._is_ours(held):
                return
            self._etag = held.etag
        say("the turn could not be given back: somebody else goes on writing there")

    @property
    def _beat(self) -> float:
        return self._plan.beat if self._plan is not None else 0.0

    def _wait(self, held: ScheduleHolder) -> None:
        if time.time() > self._until:
            words = "%s was still going after as long as this run may take (--overlap queue)." % held.job
            raise Ended(State.SKIPPED, words, "", _BY_SIGTERM)
        self._program.pause(self._beat / 5)
        if self._program.ending:
            raise Ended(self._program.ending, "The job was ended while it waited for its turn.", "", _BY_SIGTERM)

    def _pass_by(self, held: ScheduleHolder) -> None:
        if held.instance:
            say("nothing was heard of %s for a while, and so its server is ended" % held.job)
            end_server(self._context.aws, held.instance, self._context.last)
        self._begin(held.etag)

    def _begin(self, etag: str = "") -> bool:
        """Writes that this run has the turn, over this version, or without one as the first. Whether it succeeded."""
        if self._etag:
            return True
        condition = {"if-match": etag} if etag else {"if-none-match": "*"}
        made = self._context.retry("the turn", lambda: self._put(self._body(), condition))
        if made is None:
            return False
        self._etag = made
        threading.Thread(target=self._go_on, name="turn", daemon=True).start()
        return True

    def _go_on(self) -> None:
        while not self._ended.wait(self._beat):
            with self._writing:
                if self._ended.is_set():
                    return
                try:
                    made = self._put(self._body(), {"if-match": self._etag})
                    if made is None:
                        # The answer to the last write was lost, or another run has the turn by now.
                        held = self._read()
                        made = held.etag if self._is_ours(held) else self._etag
                    self._etag = made
                except (Unreachable, Refused) as error:
                    say("the turn could not be noted: %s" % error)

    def _body(self) -> bytes:
        self._beats += 1
        fields = {"job": self._context.job, "instance": self._context.aws.instance(), "beat": self._beats}
        return json.dumps(fields).encode()

    def _put(self, body: bytes, condition: Dict[str, str]) -> Optional[str]:
        return put_if(self._context.source, KEY, body, condition)

    def _read(self) -> ScheduleHolder:
        def get() -> ScheduleHolder:
            status, headers, body = self._context.source.request("GET", KEY)
            return ScheduleHolder("", "", "", False) if status == 404 else parse(body, headers.get("etag", ""))

        return self._context.retry("the turn", get)

    def _is_ours(self, held: ScheduleHolder) -> bool:
        return held.job == self._context.job and held.instance == self._context.aws.instance()


def parse(body: bytes, etag: str) -> ScheduleHolder:
    """Whatever a program has written there."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if found == {}:
        return ScheduleHolder("", "", etag, True)
    fields = found if isinstance(found, dict) else {}
    job, instance = fields.get("job"), fields.get("instance")
    if isinstance(job, str) and isinstance(instance, str) and _JOB.fullmatch(job) and _INSTANCE.fullmatch(instance):
        return ScheduleHolder(job, instance, etag, False)
    return ScheduleHolder("another run", "", etag, False)
