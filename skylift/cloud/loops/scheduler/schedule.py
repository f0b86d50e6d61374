"""Invokes the targets of schedules when they are due. Each invocation ends in the transaction of what it does: once.

The clock may be set back. What lies more than STEP ahead is then due by the clock as it is now, and may be carried out
twice; a smaller correction repeats nothing.

Of the times that passed while the cloud was away, the last one is made up for, if it is not too old; the log lists the
others. An invocation that fails for want of capacity, or by a fault, is tried again, less and less often. Any other
failure is final, as the same request would fail again.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.metric import Metric, Point, Summary
from skylift.cloud.domain.schedule import Invocation, Schedule, ScheduleGroup, max_age, most_retries
from skylift.cloud.loops.guard import guarded
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.store.metric import record
from skylift.cloud.store.schedule import forget_groups

log = logging.getLogger(__name__)

NextTime = Callable[[str, str, datetime, datetime], datetime | None]
"""(expression, zone, after, anchor) -> the first time after that moment at which the expression is due."""
Invoke = Callable[[Tx, Schedule, Invocation], str]
"""Carries one invocation out and returns a description of it. Raises ServiceError."""
Note = Callable[[Tx, Schedule, Invocation, ServiceError], None]
"""Writes down what an invocation was refused with."""

MARGIN = timedelta(milliseconds=50)
"""Timers go off this much late, so that their time has come."""
STEP = timedelta(minutes=1)
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=15), timedelta(minutes=8)

NAMESPACE = "AWS/Scheduler"
ATTEMPTS, ERRORS, DROPPED = "InvocationAttemptCount", "TargetErrorCount", "InvocationDroppedCount"

PASSING = frozenset(
    {
        "InstanceLimitExceeded",
        "InsufficientAddressCapacity",
        "InsufficientInstanceCapacity",
        "InternalError",
        "InternalFailure",
        "MaxSpotInstanceCountExceeded",
        "RequestLimitExceeded",
        "ScalingActivityInProgress",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "Unavailable",
        "VcpuLimitExceeded",
    }
)
"""Refusals that may not come again at the next attempt."""


@dataclass(frozen=True)
class _Times:
    """A schedule's last due time (None if that is too old), its next one, and a description of what was left out."""

    scheduled: datetime | None
    following: datetime | None
    missed: str


@dataclass(eq=False)
class ScheduleLoop:
    database: Database
    next_time: NextTime
    invoke: Invoke
    note: Note
    wake_in: Callable[[float], None]

    def __post_init__(self) -> None:
        self._seen: datetime | None = None

    def step(self) -> None:
        self._end_groups()
        self._follow_clock()
        due, ready = self._look()
        for schedule in due:
            guarded(f"schedule {schedule.name}", partial(self._come_due, schedule))
        if due:
            _, ready = self._look()
        for invocation in ready:
            guarded(f"schedule {invocation.name}", partial(self._carry_out, invocation))
        if ready:
            self._look()

    def _end_groups(self) -> None:
        with self.database.read() as tx:
            left = bool(tx.find(ScheduleGroup, state="DELETING"))
        while left:
            with self.database.write() as tx:
                left = forget_groups(tx)

    def _follow_clock(self) -> None:
        """After a start, and when the clock was set back: schedules do not wait until it has caught up."""
        with self.database.read() as tx:
            now, seen = tx.now, self._seen
            self._seen = now
            if seen is not None and now > seen - STEP:
                return
            found = [(each, self._by_clock(each, now)) for each in tx.find(Schedule) if each.due is not None]
        for before, after in found:
            if after != before:
                with self.database.write() as tx:
                    if tx.get(Schedule, group=before.group, name=before.name) == before:
                        tx.save(after)
                log.warning("schedule %s: the clock was set back: due at %s", before.name, after.due)

    def _by_clock(self, schedule: Schedule, now: datetime) -> Schedule:
        begins = schedule.start or now
        by_clock = replace(schedule, anchor=schedule.start or min(schedule.anchor, now))
        due = self._following(by_clock, max(now + STEP, begins - timedelta(microseconds=1)))
        sooner = due is not None and schedule.due is not None and due < schedule.due
        return replace(by_clock, due=due) if sooner else schedule

    def _look(self) -> tuple[list[Schedule], list[Invocation]]:
        """The schedules that are due, the earliest first. It looks again when the next one is due, and each STEP."""
        with self.database.read() as tx:
            schedules = [(each.due, each) for each in tx.find(Schedule) if each.due is not None]
            invocations = tx.find(Invocation)
            later = [
                due for due in (*(due for due, _ in schedules), *(each.due for each in invocations)) if due > tx.now
            ]
            if later:
                # No timer notices that the clock was set.
                self.wake_in(min(min(later) - tx.now + MARGIN, STEP).total_seconds())
            due = sorted((one for one in schedules if one[0] <= tx.now), key=lambda one: one[0])
            # If the clock was set back, an invocation's scheduled time may lie in the future. It is ready all the same.
            ready = [each for each in invocations if each.due <= tx.now or each.scheduled > tx.now]
            ready.sort(key=lambda each: each.due)
        return [each for _, each in due], ready

    def _come_due(self, found: Schedule) -> None:
        """Adds an invocation and sets the next time. Does nothing if the schedule was changed since it was read."""
        with self.database.read() as tx:
            times = self._times(found, tx.now)
        with self.database.write() as tx:
            schedule = tx.get(Schedule, group=found.group, name=found.name)
            if schedule != found:
                return
            if times.missed:
                log.warning("schedule %s: %s", schedule.name, times.missed)
            if times.scheduled is not None:
                window = 60 * (schedule.window or 0)
                wait = timedelta(seconds=secrets.randbelow(window + 1))
                due = times.scheduled + wait
                tx.add(Invocation(secrets.token_hex(8), schedule.group, schedule.name, times.scheduled, due))
            changed = replace(schedule, due=times.following)
            tx.save(changed)
            if times.scheduled is None:
                _count(tx, schedule, DROPPED)
                _remove_if_over(tx, changed)

    def _times(self, schedule: Schedule, now: datetime) -> _Times:
        """Looks back no further than an invocation may be old: after a year there are half a million minutes."""
        scheduled = schedule.due
        assert scheduled is not None
        oldest = now - timedelta(seconds=max_age(schedule.target))
        if scheduled < oldest:
            recent = self._following(schedule, oldest - timedelta(microseconds=1))
            if recent is None or recent > now:
                return _Times(None, recent, f"what was due since {scheduled} is too old to be made up for")
            scheduled = recent
        following = self._following(schedule, scheduled)
        while following is not None and following <= now:
            scheduled, following = following, self._following(schedule, following)
        missed = "" if scheduled == schedule.due else f"of what was due since {schedule.due}, the last is made up for"
        return _Times(scheduled, following, missed)

    def _following(self, schedule: Schedule, after: datetime) -> datetime | None:
        found = self.next_time(schedule.expression, schedule.zone, after, schedule.anchor)
        return None if found is None or (schedule.end is not None and found > schedule.end) else found

    def _carry_out(self, invocation: Invocation) -> None:
        try:
            with self.database.write() as tx:
                schedule = tx.get(Schedule, group=invocation.group, name=invocation.name)
                if schedule is None or tx.get(Invocation, id=invocation.id) != invocation:
                    return
                if invocation.is_too_old(schedule.target, tx.now):
                    log.warning("schedule %s: what was due at %s is too old", schedule.name, invocation.scheduled)
                    _count(tx, schedule, DROPPED)
                else:
                    _count(tx, schedule, ATTEMPTS)
                    done = self.invoke(tx, schedule, invocation)
                    log.info("schedule %s: due at %s: %s", schedule.name, invocation.scheduled, done)
                _finish(tx, schedule, invocation)
        except ServiceError as error:
            self._put_off(invocation, error)

    def _put_off(self, invocation: Invocation, error: ServiceError) -> None:
        with self.database.write() as tx:
            schedule = tx.get(Schedule, group=invocation.group, name=invocation.name)
            if schedule is None:
                return
            _count(tx, schedule, ATTEMPTS, ERRORS)
            self.note(tx, schedule, invocation, error)
            wait = min(FIRST_RETRY * 2 ** min(invocation.attempt - 1, 16), LONGEST_RETRY)
            again = replace(invocation, attempt=invocation.attempt + 1, due=tx.now + wait)
            passing = error.code in PASSING
            lasts = again.attempt <= 1 + most_retries(schedule.target)
            if passing and lasts and not again.is_too_old(schedule.target, again.due):
                log.warning(
                    "schedule %s: attempt %d failed, to be tried again at %s: %s",
                    schedule.name,
                    invocation.attempt,
                    again.due,
                    error,
                )
                tx.save(again)
            else:
                log.error("schedule %s: given up what was due at %s: %s", schedule.name, invocation.scheduled, error)
                _count(tx, schedule, DROPPED)
                _finish(tx, schedule, invocation)


def _count(tx: Tx, schedule: Schedule, *names: str) -> None:
    """Count in AWS's metrics of the schedule's group."""
    at, dimensions = int(tx.now.timestamp()), (("ScheduleGroup", schedule.group),)
    record(tx, [Point(Metric(NAMESPACE, name, dimensions), at, Summary.of(1.0), "Count") for name in names])


def _finish(tx: Tx, schedule: Schedule, invocation: Invocation) -> None:
    tx.remove(invocation)
    _remove_if_over(tx, schedule)


def _remove_if_over(tx: Tx, schedule: Schedule) -> None:
    """A schedule goes with its last invocation, where that was asked for."""
    over = schedule.due is None and schedule.state == "ENABLED"
    if over and schedule.after == "DELETE" and not tx.find(Invocation, group=schedule.group, name=schedule.name):
        tx.remove(schedule)
