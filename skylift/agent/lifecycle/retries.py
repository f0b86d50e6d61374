"""Decides whether a failed program is started again on the same server, and after what pause.

Each start has a try with its outcome: {"attempt", "exit_code", "signal", "reason", "began", "ended", "seconds",
"pause"}. `attempt` is the number of a spot job's server, `began` and `ended` are times as in status.json, and `pause`
is there if the program was started again that many seconds later. A server that is taken away does not end a try: the
next server goes on with it, and with what is left of the times.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from skylift.agent.job.outcome import Outcome
from skylift.contract.record import Retry
from skylift.contract.states import State

LONGEST = 60.0
"""Seconds between two times, at the most."""

Try = Dict[str, Any]


class Retries:
    """`tries` are those that have ended, also under earlier supervisors and on earlier servers."""

    def __init__(self, plan: Optional[Retry], tries: List[Try]) -> None:
        self.plan, self.tries = plan, tries if plan is not None else []

    def pause(self, outcome: Outcome, left: float) -> Optional[float]:
        """Seconds until the program is started again; None where it is not. With `left` seconds until the cap, what
        would begin after it is not waited for: how the program has failed says more."""
        plan, times = self.plan, len(self.tries)
        if plan is None or times >= plan.times or not _is_failure(outcome, plan):
            return None
        pause = min(plan.pause * 2.0 ** min(times, 30), LONGEST)
        return pause if pause < left else None

    def add(
        self, outcome: Outcome, attempt: int, began: str, ended: str, seconds: float, pause: Optional[float] = None
    ) -> None:
        """Nothing, of a program that is started once in any case."""
        if self.plan is None:
            return
        entry: Try = {"exit_code": outcome.exit_code, "signal": outcome.signal, "reason": outcome.reason}
        entry.update(attempt=attempt, began=began, ended=ended, seconds=round(seconds, 3))
        # Not in place: a thread that is writing the list has it as it was.
        self.tries = [*self.tries, {**entry, **({} if pause is None else {"pause": pause})}]

    def fields(self) -> Dict[str, Any]:
        return {} if self.plan is None else {"tries": self.tries}


def _is_failure(outcome: Outcome, plan: Retry) -> bool:
    """Whether the program itself has failed. A program that needed more memory than there is would need it again: that
    counts only if its exit code is named.
    """
    named = any(low <= outcome.exit_code <= high for low, high in plan.on)
    return (outcome.state is State.FAILED and not plan.on) or (
        outcome.state in (State.FAILED, State.OUT_OF_MEMORY) and named
    )
