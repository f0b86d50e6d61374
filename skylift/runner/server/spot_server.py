"""A server that may be taken away, of a job that another one goes on with: what only it hears, and others must."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Optional

from skylift.runner.server.attempts import Attempt
from skylift.runner.server.checkpoint import Checkpoint
from skylift.runner.server.context import Context
from skylift.runner.server.job_record import SpotPlan
from skylift.runner.server.outcome import is_answer
from skylift.runner.server.program import Program
from skylift.runner.server.spot_notice import Notice, Notices
from skylift.runner.server.status import Status, now_iso


class SpotServer:
    """From the first moment on, the attempt says in each beat that we live and `how_far` the job is, and notices are
    heeded. `told` is the time of the notice that an earlier supervisor has told the program of, which it is not told
    again."""

    def __init__(
        self,
        context: Context,
        attempt: Attempt,
        checkpoint: Optional[Checkpoint],
        program: Program,
        status: Status,
        plan: SpotPlan,
        told: Optional[float],
        how_far: Callable[[], Dict[str, Any]],
    ) -> None:
        self.attempt, self.checkpoint = attempt, checkpoint
        self._context, self._program, self._status, self._told = context, program, status, told
        self._notice: Optional[Notice] = None
        attempt.beat(plan.beat, how_far)
        heard = (self._heed, self._note, program.kill_session, self._foresee)
        self._notices = Notices(context.metadata(), context.poll, *heard)

    def _heed(self, notice: Notice) -> None:
        self._note(notice)
        if self._told != notice.when:
            if self.checkpoint is not None:
                self.checkpoint.mark()
            self._context.ledger.note(notice=notice.when)
            self._program.interrupt()
            self._context.ledger.note(told=notice.when)

    def _note(self, notice: Optional[Notice]) -> None:
        """Also one that has another time now, or None that was taken back: of that the program is not told."""
        self._notice = notice
        self._status.set(notice=None if notice is None else {"action": notice.action, "time": notice.when})

    def _foresee(self) -> None:
        """The server may be taken away before long, or never: nothing ends by that."""
        self._status.set(rebalance=now_iso())
        if self.checkpoint is not None:
            self.checkpoint.hurry()

    def tell_checkpoint(self) -> None:
        if self.checkpoint is not None:
            told = {"checkpoint": self.attempt.fields.get("checkpoint")}
            self._status.set(**told, checkpoint_refused=self.checkpoint.refused or None)

    def goes_on_elsewhere(self, code: int) -> bool:
        """Whether a program that was told that its server is taken away has ended because of that."""
        said = self._context.ledger.read()
        if self._program.ended_as_asked(code):
            return False
        when, ended = said.get("notice", 0.0), said.get("ended", time.time())
        return is_answer(code, stands=self._notices.stands(), when=when, ended=ended)

    def ends_at(self, otherwise: float) -> float:
        """When the server is taken away, as far as that is known."""
        return otherwise if self._notice is None else self._notice.when
