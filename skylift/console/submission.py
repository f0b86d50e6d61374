"""Jobs that are submitted from a page: as `skylift.submit` does, with the console's own account and a folder of the
job's. `skylift.submit` itself looks at the working directory, and a server has but one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from skylift.console.job_wish import JobSpec, script_missing
from skylift.python.background import Background
from skylift.python.watching import Watcher
from skylift.runner.errors import RunError, UsageError
from skylift.runner.flow import Submit
from skylift.runner.job.outcome import Outcome
from skylift.runner.job.settings import Settings
from skylift.runner.plan.plan_job import plan_job
from skylift.runner.plan.read_options import read_options
from skylift.runner.plan.resolve_options import resolve_options
from skylift.runner.ship.bundle import find_project
from skylift.runner.steps import Clock


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


def submit_from(cwd: Path, spec: JobSpec, settings: Settings) -> str:
    """The job's name, once its server has it: no file of `cwd` is needed any more. Raises SkyliftError."""
    asked = read_options(spec.options, spec.program)
    # No variable of the console's own is ever sent.
    planned = plan_job(asked.order, cwd, {})
    settings = asked.dress(settings)
    watcher = Watcher()
    submission = Submit(resolve_options(planned, settings), settings, watcher, Clock(watcher), detached=True)
    taken = Background(submission).result()
    if isinstance(taken, Outcome):
        raise RunError("The submission was interrupted.", "Nothing of it is left. Submit it again.")
    return taken.job.name
