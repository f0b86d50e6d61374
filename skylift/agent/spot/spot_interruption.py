"""A spot server of a schedule's run: if EC2 takes it back, no other server goes on.

The program gets SIGTERM when the notice comes, as in any spot job, and may end by itself until shortly before the
server is taken. The results so far are sent, and the run's outcome says why it ended.
"""

from __future__ import annotations

import time
from typing import Optional

from skylift.agent.job.context import Context
from skylift.agent.job.outcome import Outcome, is_answer
from skylift.agent.job.status import Status, now_iso
from skylift.agent.program.program import UserProcess
from skylift.agent.spot.spot_notice import Notice, Notices
from skylift.contract.states import State

WHY = "EC2 takes its spot server back, and a schedule's run has no other."


class SpotReclaim:
    """`passed_on` is the time of the notice that an earlier supervisor has already passed on to the program."""

    def __init__(self, context: Context, program: UserProcess, status: Status, passed_on: Optional[float]) -> None:
        self._context, self._program, self._status, self._passed_on = context, program, status, passed_on
        heard = (self._heed, self._note, program.kill_session, lambda: status.set(rebalance=now_iso()))
        self._notices = Notices(context.metadata(), context.poll, *heard)

    def _heed(self, notice: Notice) -> None:
        self._note(notice)
        if self._passed_on != notice.when:
            self._context.ledger.note(notice=notice.when)
            self._program.interrupt()
            self._context.ledger.note(passed_on=notice.when)

    def _note(self, notice: Optional[Notice]) -> None:
        self._status.set(notice=None if notice is None else {"action": notice.action, "time": notice.when})

    def explain(self, outcome: Outcome) -> Outcome:
        """With why the program has ended, if it has because of a notice."""
        if outcome.state is not State.FAILED:
            return outcome
        noted = self._context.ledger.read()
        if "notice" not in noted:
            return outcome
        code, when, ended = outcome.exit_code, noted["notice"], noted.get("ended", time.time())
        own = self._program.ended_as_asked(code)
        if own or not is_answer(code, stands=self._notices.stands(), when=when, ended=ended):
            return outcome
        return outcome._replace(reason="%s %s" % (outcome.reason, WHY))
