"""Has the loop of schedules invoke this cloud's own operations, in the words that wire has of them.

A request comes as JSON in the model's own names, and is looked at like any other: its shape, what the operation takes,
and what the schedule's role may do.
"""

from __future__ import annotations

from collections.abc import Callable

from skylift.catalogue.schedule_expression import next_time
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.schedule import Invocation, Schedule
from skylift.cloud.loops.scheduler.schedule import ScheduleLoop
from skylift.cloud.services.api.authorize import authorize
from skylift.cloud.services.scheduler import target
from skylift.cloud.services.scheduler.event_history import refused_call
from skylift.cloud.services.table import TABLE
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.wire.named_request import named_request


class Invoker:
    """Invokes targets, each with its schedule's role."""

    def __init__(self, account: str, region: str) -> None:
        self._account = account
        self._region = region

    def invoke(self, tx: Tx, schedule: Schedule, invocation: Invocation) -> str:
        """Carry out the invocation and return it in words. Raises ServiceError if it fails."""
        service, name = target.operation_of(schedule.target)
        caller = self._assume(tx, schedule, invocation)
        given = target.filled_in(schedule.target.input or "{}", schedule, invocation)
        params = named_request(service, name, target.request_of(given))
        operation = TABLE[service, name]
        if unsupported := operation.unsupported(params):
            raise ServiceError("UnsupportedOperation", f"{name} does not support: {', '.join(unsupported)}.")
        authorize(tx, caller, operation.checks(tx, caller, params), service=service)
        for number, handler in enumerate(operation.prepared(tx, caller, params)):
            if number:
                raise ServiceError(
                    "ResourceCountExceeded", f"A schedule's {name} changes more than one transaction may."
                )
            handler(tx, caller, params)
        return name

    def note(self, tx: Tx, schedule: Schedule, invocation: Invocation, error: ServiceError) -> None:
        """Write down a refusal, for CloudTrail."""
        tx.add(refused_call(tx, schedule, invocation, error, account=self._account, region=self._region))

    def _assume(self, tx: Tx, schedule: Schedule, invocation: Invocation) -> Caller:
        role = target.role_of(tx, schedule, self._account)
        if role is None:
            raise ServiceError("AccessDenied", f"{target.PRINCIPAL} may not assume {schedule.target.role_arn}.")
        return role.in_session(
            invocation.id,
            account=self._account,
            region=self._region,
            source_ip=target.PRINCIPAL,
            request_id=invocation.id,
            now=tx.now,
        )


def make_schedules(database: Database, account: str, region: str, wake_in: Callable[[float], None]) -> ScheduleLoop:
    invoker = Invoker(account, region)
    return ScheduleLoop(database, next_time, invoker.invoke, invoker.note, wake_in)
