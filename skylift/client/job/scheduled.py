"""Runs of a schedule: their names as jobs, and the tag of their servers.

EventBridge Scheduler writes the tag `skylift:job` of a server as SCHEDULE/TIME, because it spells the time that was due
as 2026-11-28T02:00:00Z. The job's name is made of both: nightly-20261128-0200, with seconds only where there are any.
Each of the two can be made from the other.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from skylift.client.job.job import Program, new_name

SCHEDULE_FORM = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,22}[a-z0-9])?")
"""The name of a schedule. With a time it must still be a job's name."""
_RUN = re.compile(rf"({SCHEDULE_FORM.pattern})-([0-9]{{8}}-[0-9]{{4}}(?:[0-9]{{2}})?)")
_TAG = re.compile(rf"({SCHEDULE_FORM.pattern})/([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}Z)")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
RUN_PATTERNS = ("20??????-????", "20??????-??????")
"""The rest of a run's name after `SCHEDULE-`, in the form of a policy. A run of SCHEDULE-OTHER does not match."""
TAG_PATTERN = "20??-??-??T??:??:??Z"
"""The rest of a run's tag after `SCHEDULE/`, in the same form."""


def run_name(schedule: str, due: datetime) -> str:
    return f"{schedule}-{due:%Y%m%d-%H%M}" + (f"{due:%S}" if due.second else "")


def run_tag(schedule: str, due: datetime) -> str:
    return f"{schedule}/{due.strftime(_TIME)}"


def parse_run(job: str) -> tuple[str, datetime] | None:
    """The schedule whose run a job would be by its name, and when that was due."""
    found = _RUN.fullmatch(job)
    if found is None:
        return None
    due = _moment(found[2], "%Y%m%d-%H%M" if len(found[2]) == 13 else "%Y%m%d-%H%M%S")
    return None if due is None or run_name(found[1], due) != job else (found[1], due)


def run_of_tag(value: str) -> str:
    """The job that a tag SCHEDULE/TIME is of; empty when it is no such tag."""
    found = _TAG.fullmatch(value)
    due = None if found is None else _moment(found[2], _TIME)
    return "" if found is None or due is None else run_name(found[1], due)


def tag_values(job: str) -> list[str]:
    """What the tag `skylift:job` of a job's servers may be."""
    run = parse_run(job)
    return [job] if run is None else [job, run_tag(*run)]


def default_schedule(program: Program) -> str:
    """The program's own name, as far as a schedule may be called that."""
    return new_name(program).rpartition("-")[0][:24].strip("-")


def _moment(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None
