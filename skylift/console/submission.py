"""Jobs that are submitted from a page: as `skylift.submit` does, with the console's own account and a folder of the
job's. `skylift.submit` itself looks at the working directory, and a server has but one."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from skylift.client.errors import RunError, UsageError
from skylift.client.job.job import Job
from skylift.client.job.outcome import Outcome
from skylift.client.job.repeat import Repeat
from skylift.client.job.settings import Settings
from skylift.client.plan.plan_job import plan_job
from skylift.client.plan.read_options import ParsedOptions, read_options
from skylift.client.plan.resolve_options import resolve_options
from skylift.client.remote.account import Account
from skylift.client.ship.bundle import find_project, plan_bundle
from skylift.client.steps import Clock
from skylift.client.submit import Submit
from skylift.console.fetch_job_files import fetch_files
from skylift.console.job_wish import JobSpec, script_missing
from skylift.contract.record import Environment
from skylift.python.background import Background
from skylift.python.watching import Recorder


@dataclass(frozen=True)
class Whole:
    """A folder that is sent as it is, and the environment that its program has."""

    folder: Path
    environment: Environment


def submit_script(spec: JobSpec, text: str, settings: Settings) -> str:
    """The job's name, once its server has it. The script is in a folder that only this user can enter, and that is
    gone afterwards. Raises SkyliftError."""
    # The page has said the same; the browser need not have listened.
    if wrong := script_missing(spec.program.target, text):
        raise UsageError(wrong[0])
    with tempfile.TemporaryDirectory(prefix="skylift-script-") as made:
        folder = Path(made).resolve()
        project = find_project(folder)
        if project is not None:
            raise UsageError(
                f"Temporary files are in the project {project}, which would be sent along.",
                "Start the console with another TMPDIR.",
            )
        file = os.open(folder / spec.program.target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as script:
            script.write(text.encode())
        return submit_from(folder, spec, settings)


def submit_again(repeat: Repeat, spec: JobSpec, account: Account) -> str:
    """The new job's name, once its server has it. Its files are those of the earlier one. Raises SkyliftError."""
    if repeat.obstacles:
        raise UsageError(repeat.obstacles[0], "Run it from its own folder.")
    with tempfile.TemporaryDirectory(prefix="skylift-again-") as made:
        folder = Path(made).resolve()
        fetch_files(account, repeat.packs, folder)
        cwd = folder / repeat.cwd
        # A folder in which there were no files is in no archive.
        try:
            cwd.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"The working directory of this job cannot be made: {error.strerror}.") from None
        return submit_from(cwd, spec, account.settings, Whole(folder, repeat.environment))


def submit_from(cwd: Path, spec: JobSpec, settings: Settings, whole: Whole | None = None) -> str:
    """The job's name, once its server has it: no file of `cwd` is needed any more. Raises SkyliftError."""
    asked, planned = plan(cwd, spec, whole)
    settings = asked.apply_to(settings)
    watcher = Recorder()
    submission = Submit(resolve_options(planned, settings), settings, watcher, Clock(watcher), detached=True)
    taken = Background(submission).result()
    if isinstance(taken, Outcome):
        raise RunError("The submission was interrupted.", "Nothing of it is left. Submit it again.")
    return taken.job.name


def plan(cwd: Path, spec: JobSpec, whole: Whole | None = None) -> tuple[ParsedOptions, Job]:
    """No variable of the console's own is ever sent. Raises UsageError."""
    asked = read_options(spec.options, spec.program)
    planned = plan_job(asked.order, cwd, {})
    if whole is None:
        return asked, planned
    # What was a project there is none here, without its .git: what was sent is known, and is sent again.
    bundle = plan_bundle(cwd, whole.folder, (), sorted(str(each) for each in whole.folder.iterdir()))
    environment = whole.environment._replace(python=planned.environment.python)
    return asked, replace(planned, program=spec.program, bundle=bundle, environment=environment)
