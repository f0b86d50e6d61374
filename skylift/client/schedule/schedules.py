"""The schedules of an account: listed, paused, run now, removed. EventBridge Scheduler has the schedules, and the
records of their runs say how these ended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from skylift.client.errors import LaunchFailed, RecordDamaged, Refused, RunError, UsageError
from skylift.client.job.record import SCHEDULES, STARTING, JobKeys
from skylift.client.job.scheduled import SCHEDULE_FORM, parse_run, run_name
from skylift.client.job.settings import Settings
from skylift.client.jobs.jobs import Jobs
from skylift.client.jobs.listing import Listed, spell
from skylift.client.jobs.sweep import Leftover
from skylift.client.launch.scheduler import GROUP, delete_schedule
from skylift.client.launch.server import live_servers
from skylift.client.remote.account import Account, open_account
from skylift.client.schedule.failed_starts import Failures, find_failures
from skylift.client.schedule.recurrence import Recurrence
from skylift.client.schedule.requests import run_now_request
from skylift.client.schedule.roles import remove_roles
from skylift.client.schedule.template import find_template, remove_templates
from skylift.client.schedule.workers import remove_workers
from skylift.contract.map_spec import SPEC_LIMIT
from skylift.contract.record import RECORD_LIMIT, JobRecord
from skylift.contract.states import State

ScheduleState = Literal["active", "failing", "paused", "over", "incomplete", "damaged"]

_KEPT = (
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "EndDate",
    "Description",
    "Target",
    "FlexibleTimeWindow",
    "ActionAfterCompletion",
)
"""UpdateSchedule resets every parameter that is missing to its default."""


@dataclass(frozen=True)
class ListedSchedule:
    """A line of `skylift schedule ls`. `state` is `failing` when the last run that was due could not be started or the
    next one cannot, `over` when what was to happen once has been due, `incomplete` when
    its client was killed while it made it or removed it, and `damaged` when its record cannot be read."""

    name: str
    state: ScheduleState
    when: str | None
    timezone: str | None
    overlap: str | None
    program: str | None
    type: str | None
    created: str | None
    last: str | None
    last_state: str | None
    failed: str | None = None
    """When the last run was due that could not be started, if none was started since."""
    failure: str | None = None
    next: str | None = None
    """When the next run is due, unless it is paused. EventBridge counts a rate from the schedule's start, or from when
    it was made, or changed last, as by `resume`."""

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


class Schedules:
    """The schedules of one account and region."""

    def __init__(self, settings: Settings, account: Account | None = None) -> None:
        self._account = account or open_account(settings)
        self._api, self._bucket = self._account.api, self._account.bucket
        self._jobs = Jobs(settings, self._account)

    def names(self) -> list[str]:
        return sorted({*self._account.scheduled(), *_known_there(self._account)})

    def listed(self) -> list[ListedSchedule]:
        there, names = _known_there(self._account), self.names()
        runs = self._newest_runs() if names else {}
        described = {name: found for name in names if name in there and (found := self._described(name))}
        failures = find_failures(self._account, _roles(described))
        return [self._line(name, described.get(name), runs.get(name), failures.get(name)) for name in names]

    def history(self, name: str, last: int | None = None) -> list[Listed]:
        """Its runs, and those that could not be started, the newest first."""
        self._require(name)
        runs, found = self._jobs.runs(name, last), self._described(name)
        failures = find_failures(self._account, _roles({name: found} if found else {}))
        started, charged = {each.name for each in runs}, self._account.settings.billed
        lines = [*runs]
        for run, reason in failures[name].starts.items() if found else ():
            if run not in started:
                lines.append(Listed(run, State.NOT_STARTED, reason=reason, created=_due(run), charged=charged))
        lines.sort(key=lambda each: (each.created or "", each.name), reverse=True)
        return lines[:last]

    def pause(self, name: str) -> str:
        return self._set(name, "DISABLED", "paused")

    def resume(self, name: str) -> str:
        return self._set(name, "ENABLED", "active")

    def run_now(self, name: str) -> str:
        """Start a run, also of a paused schedule. Returns its name."""
        self._require(name)
        template, now = find_template(self._api, name), datetime.now(UTC)
        if template is None:
            raise RunError(f"The schedule {name} is incomplete.", f"Remove it: skylift schedule rm {name}")
        try:
            self._api.call("ec2", "run_instances", **run_now_request(name, template, now))
        except Refused as error:
            raise LaunchFailed(f"No server could be started: {error.reason} ({error.code})", error.advice) from None
        return run_name(name, now)

    def remove(self, name: str) -> str:
        """Remove a schedule; safe to repeat. Its runs stay, with their records, until they are removed as jobs."""
        self._require(name)
        # From here on nothing starts: a run that is just due needs the template.
        delete_schedule(self._api, GROUP, name)
        remove_templates(self._api, name)
        alive = [each.job for each in live_servers(self._api) if _is_run(each.job, name)]
        if alive:
            raise RunError(
                f"No run of {name} is started any more, but {alive[0]} still has its server.",
                f"When it has ended, or after `skylift cancel {alive[0]}`: skylift schedule rm {name}",
            )
        count = self._keep_records(name)
        remove_workers(self._api, name)
        remove_roles(self._api, name)
        # Now nobody makes another one.
        for each in _names_there(self._account):
            if each.startswith(f"{name}."):
                delete_schedule(self._api, GROUP, each)
        prefix = JobKeys(name, SCHEDULES)
        self._api.delete_below(self._bucket, f"{prefix.base}/", last=prefix.record)
        return f"removed; {count} run{'s' * (count != 1)} of it stay{'s' * (count == 1)}" if count else "removed"

    def leftovers(self) -> Iterator[Leftover]:
        """Schedules that a killed client has left half made or half removed."""
        names = self._account.scheduled()
        there = _known_there(self._account) if names else frozenset()
        for name in names:
            if name not in there and time.time() - self._written(name) > STARTING:
                why = "a client was killed while it made or removed it"
                yield Leftover("schedule", name, "-", why, remove=partial(self.remove, name))

    def _written(self, name: str) -> float:
        try:
            record = self._account.schedule(name)
        except RecordDamaged:
            return 0.0
        return record.created if record is not None else 0.0

    def _set(self, name: str, state: Literal["ENABLED", "DISABLED"], word: str) -> str:
        found = self._described(name) if SCHEDULE_FORM.fullmatch(name) else None
        if found is None:
            self._require(name)
            raise RunError(f"The schedule {name} is incomplete.", f"Remove it: skylift schedule rm {name}")
        if found["State"] == state:
            return f"{word} already"
        kept = {each: found[each] for each in _KEPT if each in found}
        try:
            self._api.call("scheduler", "update_schedule", GroupName=GROUP, Name=name, State=state, **kept)
        except Refused as error:
            if error.code == "ValidationException":
                raise UsageError(f"{name}: {error.reason}") from None
            raise
        return word

    def _described(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._api.call("scheduler", "get_schedule", GroupName=GROUP, Name=name)
        except Refused as error:
            if error.code != "ResourceNotFoundException":
                raise
            return None
        return found

    def _require(self, name: str) -> None:
        """Raises UsageError when there is nothing of such a schedule."""
        if not SCHEDULE_FORM.fullmatch(name) or name not in self.names():
            raise UsageError(f"There is no schedule called {name!r}.", "See `skylift schedule ls`.")

    def _newest_runs(self) -> dict[str, str]:
        """The name of each schedule's newest run."""
        jobs = {*self._account.recorded(), *(each.job for each in live_servers(self._api))}
        runs = sorted((run[1], run[0], job) for job in jobs if (run := parse_run(job)) is not None)
        return {schedule: job for _, schedule, job in runs}

    def _line(
        self, name: str, found: dict[str, Any] | None, last: str | None, failures: Failures | None
    ) -> ListedSchedule:
        record, state = None, _state(found)
        failed, failure = _newest_failure(failures, last)
        if state == "active" and failure is not None:
            state = "failing"
        try:
            record = self._account.schedule(name)
        except RecordDamaged:
            state = "damaged"
        if record is None and state != "damaged":
            state = "incomplete"
        return ListedSchedule(
            name=name,
            state=state,
            when=found["ScheduleExpression"] if found else None,
            timezone=found["ScheduleExpressionTimezone"] if found else None,
            overlap=record.schedule.overlap if record and record.schedule else None,
            program=record.program if record else None,
            type=record.instance_type if record else None,
            created=spell(record.created) if record else None,
            last=last,
            last_state=self._jobs.one(last).state if last else None,
            failed=failed,
            failure=failure,
            next=next_run(found, datetime.now(UTC)) if found and state in ("active", "failing") else None,
        )

    def _keep_records(self, name: str) -> int:
        """Write the records of its runs, so that they are whole without the schedule. Returns the number of runs."""
        runs = [job for job in self._account.recorded() if _is_run(job, name)]
        template = self._api.get(self._bucket, JobKeys(name, SCHEDULES).record, RECORD_LIMIT)
        try:
            record = self._account.schedule(name)
        except RecordDamaged:
            record = None
        if template is None or record is None:
            return len(runs)
        content = json.loads(template)
        spec = self._api.get(self._bucket, JobKeys(name, SCHEDULES).map, SPEC_LIMIT) if record.is_map else None
        for job in runs:
            if spec is not None:
                self._api.put(self._bucket, JobKeys(job).map, spec, first=True)
            self._api.put(self._bucket, JobKeys(job).record, _own_record(content, record, job), first=True)
        return len(runs)


def _own_record(content: dict[str, Any], record: JobRecord, job: str) -> bytes:
    run = parse_run(job)
    assert run is not None
    own = record.of_run(job, run[1].timestamp())
    return json.dumps({**content, "job": job, "created": own.created, "deadline": own.deadline}, indent=2).encode()


def _is_run(job: str, schedule: str) -> bool:
    run = parse_run(job)
    return run is not None and run[0] == schedule


def _known_there(account: Account) -> frozenset[str]:
    """The names of skylift's schedules in EventBridge Scheduler."""
    return frozenset(each for each in _names_there(account) if SCHEDULE_FORM.fullmatch(each))


def _names_there(account: Account) -> list[str]:
    """With those of the caps of their runs, which begin with a schedule's name and a dot."""
    try:
        found = account.api.pages("scheduler", "list_schedules", "Schedules", GroupName=GROUP)
    except Refused as error:
        if error.code != "ResourceNotFoundException":
            raise
        return []
    return [str(each["Name"]) for each in found]


def _state(found: dict[str, Any] | None) -> ScheduleState:
    if found is None:
        return "incomplete"
    if Recurrence(found["ScheduleExpression"], found["ScheduleExpressionTimezone"]).is_over(datetime.now(UTC)):
        return "over"
    return "active" if found["State"] == "ENABLED" else "paused"


def next_run(found: dict[str, Any], now: datetime) -> str | None:
    """When a schedule that EventBridge describes so is due next; None when it is not, or nobody knows."""
    start, end = found.get("StartDate"), found.get("EndDate")
    recurrence = Recurrence(found["ScheduleExpression"], found["ScheduleExpressionTimezone"])
    # At the start itself it is due.
    after = now if start is None else max(now, start - timedelta(seconds=1))
    due = recurrence.next_run(after, start or found["LastModificationDate"])
    return spell(due.timestamp()) if due and not (end and due > end) else None


def _roles(described: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: str(found["Target"]["RoleArn"]) for name, found in described.items()}


def _newest_failure(failures: Failures | None, last: str | None) -> tuple[str | None, str | None]:
    """When the last run was due that failed to start after the `last` one that there was, and why it did; or why the
    next one would. The runs of a schedule are in order by their names."""
    if failures is None:
        return None, None
    newest = max(failures.starts, default="")
    if newest <= (last or ""):
        return None, failures.broken or None
    return _due(newest), failures.broken or failures.starts[newest]


def _due(run: str) -> str | None:
    found = parse_run(run)
    return None if found is None else spell(found[1].timestamp())
