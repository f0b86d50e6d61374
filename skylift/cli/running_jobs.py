"""Jobs that run on this machine's cloud when the cloud is stopped."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import typer

from skylift.cli.say import say

if TYPE_CHECKING:
    from skylift.client.jobs.jobs import Jobs
    from skylift.client.jobs.listing import Listed
    from skylift.cloud.state.home import Home

_AT_A_TIME = 8


class RunningJobs:
    """The jobs that a cloud has now; none when it does not run. Where they cannot be listed, there may be some, also
    where it runs on without its data."""

    def __init__(self, home: Home) -> None:
        self._jobs: Jobs | None = None
        self._found: list[Listed] = []
        self._unlisted = ""
        """Why they cannot be listed."""
        self._look(home)

    def _look(self, home: Home) -> None:
        from skylift.client.errors import SkyliftError
        from skylift.client.jobs.jobs import Jobs
        from skylift.contract.states import ENDED
        from skylift.place.local import local_settings
        from skylift.place.lost_cloud import claimed_pid
        from skylift.place.start import running_pid

        try:
            if running_pid(home) is None:
                pid = claimed_pid(home)
                # A cloud that begins has its lock before it has a claim.
                if pid is not None and not home.data.lock.exists():
                    self._unlisted = (
                        f"The jobs of this cloud cannot be listed: it runs as process {pid}, and its data are not in"
                        f" {home.data.path}."
                    )
                return
            self._jobs = Jobs(local_settings(start=False))
            listed = self._jobs.listed()
        except SkyliftError as error:
            self._unlisted = f"The jobs of this cloud cannot be listed: {error.message}"
            return
        gone = (*ENDED, "stranded", "waiting")
        self._found = [each for each in listed if each.instance_state and each.state not in gone]

    def __bool__(self) -> bool:
        return bool(self._found or self._unlisted)

    def agree(self) -> None:
        """Show the jobs and ask for consent. Raises UsageError without it."""
        from skylift.client.errors import UsageError

        if self._unlisted:
            trouble = self._unlisted
            advice = "Jobs that run would end without their results. To take the cloud down all the same:"
            question = "Take the cloud down? Jobs that run end without their results."
        else:
            names = [each.name for each in self._found]
            count = f"{len(names)} job{'s' * (len(names) != 1)}"
            trouble = f"{count} would end with the cloud: {', '.join(names)}."
            advice = f"Wait for them (skylift wait {' '.join(names)}), or end them, with the results so far:"
            which = "this job" if len(names) == 1 else f"these {count}"
            question = f"End {which}, with the results so far, and take the cloud down?"
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(trouble, f"{advice} skylift cloud down --force")
        self._show()
        if not typer.confirm(question, default=False, err=True):
            raise UsageError("The cloud stays up, and its jobs run.")

    def _show(self) -> None:
        from skylift.cli.ps import show_jobs

        if self._unlisted:
            say(self._unlisted, to_stderr=True)
        else:
            show_jobs(self._found)

    def end(self) -> None:
        """End all jobs at the same time: SIGTERM, SIGKILL after the grace period, results to S3, server off."""
        from skylift.cli.second_interrupt import SecondInterrupt

        if self._unlisted:
            say(self._unlisted, to_stderr=True)
        with SecondInterrupt() as insist, ThreadPoolExecutor(_AT_A_TIME) as pool:
            for line in pool.map(lambda job: self._end(job, insist.at_once), self._found):
                say(line, to_stderr=True)

    def _end(self, job: Listed, at_once: threading.Event) -> str:
        from skylift.client.errors import SkyliftError

        def tell(words: str) -> None:
            say(f"{job.name}: {words}", to_stderr=True)

        assert self._jobs is not None
        try:
            return f"{job.name}: {self._jobs.cancel(job.name, tell, at_once)}"
        except SkyliftError as error:
            return f"{job.name}: {error.message}"
