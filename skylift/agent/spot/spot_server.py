"""A server that EC2 may take away: it follows the notices, and keeps the attempt up to date for the next server."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Optional

from skylift.agent.job.attempts import Attempt
from skylift.agent.job.context import Context
from skylift.agent.job.outcome import is_answer
from skylift.agent.job.status import Status, now_iso
from skylift.agent.machine.console import say
from skylift.agent.program.program import UserProcess
from skylift.agent.remote.aws import Refused, Unreachable
from skylift.agent.spot.checkpoint import Checkpoint
from skylift.agent.spot.spot_notice import Notice, Notices
from skylift.contract.record import Succession


class SpotServer:
    """From its start on, the attempt is written at each beat with what `how_far` returns, and notices are followed.
    `passed_on` is the time of the notice that an earlier supervisor has already passed on to the program."""

    def __init__(
        self,
        context: Context,
        attempt: Attempt,
        checkpoint: Optional[Checkpoint],
        program: UserProcess,
        status: Status,
        plan: Succession,
        passed_on: Optional[float],
        how_far: Callable[[], Dict[str, Any]],
    ) -> None:
        self.attempt, self.checkpoint = attempt, checkpoint
        self._context, self._program, self._status, self._passed_on = context, program, status, passed_on
        self._how_far = how_far
        self._notice: Optional[Notice] = None
        attempt.beat(plan.beat, how_far)
        heard = (self._heed, self._note, program.kill_session, self._note_rebalance)
        self._notices = Notices(context.metadata(), context.poll, *heard)

    def _heed(self, notice: Notice) -> None:
        self._note(notice)
        if self._passed_on != notice.when:
            if self.checkpoint is not None:
                self.checkpoint.mark()
            self._context.ledger.note(notice=notice.when)
            self._program.interrupt()
            self._context.ledger.note(passed_on=notice.when)

    def _note(self, notice: Optional[Notice]) -> None:
        """Note a notice, also one with another time, or None when it was withdrawn. The program is not informed."""
        self._notice = notice
        self._status.set(notice=None if notice is None else {"action": notice.action, "time": notice.when})

    def _note_rebalance(self) -> None:
        """EC2 says that an interruption is more likely. Nothing ends because of that."""
        self._status.set(rebalance=now_iso())
        if self.checkpoint is not None:
            self.checkpoint.hurry()

    def note_try(self, until: float) -> None:
        """What came of the program before it is started again: a next server is not to start it once more than that. If
        it does not come in time, a beat brings it."""
        try:
            self.attempt.note(until, **self._how_far())
        except (Unreachable, Refused) as error:
            say("an attempt could not be recorded: %s" % error)

    def tell_checkpoint(self) -> None:
        if self.checkpoint is not None:
            checkpoint = {"checkpoint": self.attempt.fields.get("checkpoint")}
            self._status.set(**checkpoint, checkpoint_refused=self.checkpoint.refused or None)

    def goes_on_elsewhere(self, code: int) -> bool:
        """Whether the program has ended because it was notified of an interruption."""
        noted = self._context.ledger.read()
        if self._program.ended_as_asked(code):
            return False
        when, ended = noted.get("notice", 0.0), noted.get("ended", time.time())
        return is_answer(code, stands=self._notices.stands(), when=when, ended=ended)

    def ends_at(self, otherwise: float) -> float:
        """When the server will be taken away, if that is known, or else `otherwise`."""
        return otherwise if self._notice is None else self._notice.when
