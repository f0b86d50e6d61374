"""What a schedule can run: a job as any other, without what needs somebody to be there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from skylift.runner.errors import UsageError
from skylift.runner.job.job import Job, Program
from skylift.runner.job.scheduled import SCHEDULE_FORM, default_schedule
from skylift.runner.plan.plan_job import plan_job
from skylift.runner.plan.read_options import ParsedOptions

NOT_OF_RUNS = {
    "interactive": "-it needs somebody at a terminal",
    "forward": "--forward is for whoever watches",
    "keep": "--keep would leave a server between runs",
    "spot": "--spot needs a fleet, which a schedule does not make",
    "servers": "--servers needs a group, which a schedule does not make",
}
"""Options of a run that a scheduled one cannot have, and why."""


def check_run(given: Mapping[str, Any], refused: Mapping[str, str] = NOT_OF_RUNS) -> None:
    """Raises UsageError for the first of these that is given."""
    for option, why in refused.items():
        if given.get(option):
            raise UsageError(f"A schedule's run cannot have this: {why}.")


def plan_runs(asked: ParsedOptions, what: Program, name: str | None) -> Job:
    """The job that all runs are like, with the schedule's name. Raises UsageError."""
    name = default_schedule(what) if name is None else name
    if not SCHEDULE_FORM.fullmatch(name):
        raise UsageError(f"--name {name!r} cannot be used.", "Lower-case letters, digits and `-`, at most 24.")
    job = plan_job(replace(asked.order, name=name), Path.cwd(), os.environ)
    if job.s3_inputs:
        raise UsageError(
            f"--in {job.s3_inputs[0].text}: a scheduled run reads no inputs from S3.",
            "They would be those of today. Send files of this machine along.",
        )
    return job
