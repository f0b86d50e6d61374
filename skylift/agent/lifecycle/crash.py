"""After a defect of the supervisor, or with a prefix that cannot be used: report the job's end, and turn off."""

from __future__ import annotations

import json
import time
import traceback
from types import TracebackType
from typing import Any, Dict, Optional, Type

from skylift.agent.job.context import Context
from skylift.agent.job.fleet import release_fleet
from skylift.agent.job.outcome import FAILED
from skylift.agent.job.status import Status
from skylift.agent.lifecycle.claim import STATUS, Claim, claim_first
from skylift.agent.machine.console import say
from skylift.agent.machine.power import power_off
from skylift.agent.remote.aws import Refused, Unreachable
from skylift.contract.record import JobRecord
from skylift.contract.states import State

_TRYING = 60.0
"""Seconds in which reporting the end is tried."""


class CrashReport:
    """The excepthook, one for each stage: `record` is None until it has been read, and `claim` until the job is
    ours."""

    def __init__(self, context: Context, status: Status, record: Optional[JobRecord], claim: Optional[Claim]) -> None:
        self._context, self._status, self._record, self._claim = context, status, record, claim

    def __call__(self, kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
        trouble = "".join(traceback.format_exception(kind, error, trace))
        say(trouble)
        if self._record is not None and self._record.succession is not None and self._claim is None:
            # Another server may have the job. It continues.
            return power_off()
        if self._status.fields.final or self._context.ledger.read().get("delivered"):
            # The job's end has been reported. An error after that does not change it.
            return power_off()
        return self._tell(
            {
                "state": State.BROKEN,
                "final": True,
                "exit_code": FAILED,
                "reason": "skylift's supervisor failed: %s" % error,
                "detail": trouble[-4096:],
            }
        )

    def _tell(self, end: Dict[str, Any]) -> None:
        context, claim = self._context, self._claim
        body, until = self._status.encoded(**end), time.time() + _TRYING
        attempt = claim.attempt if claim is not None else None
        try:
            if claim is None and not claim_first(context, until, over={"final": json.loads(body)}):
                # Another server has the job, and reports its end.
                return
            if attempt is not None:
                attempt.end(until, over={"final": json.loads(body)})
            context.retry("status", lambda: context.prefix.put(STATUS, body), until)
        except (Unreachable, Refused) as second:
            say("the failure could not be reported: %s" % second)
        finally:
            self._status.set(**end)
            if attempt is not None and self._record is not None and self._record.fleet:
                release_fleet(context)
            power_off()
