"""A run: provision a server, ship the job, run it, stream its output, collect its results, turn the server off."""

from __future__ import annotations

from skylift.runner.attend import Attendance, Visit
from skylift.runner.job import Job, Outcome, Settings
from skylift.runner.steps import Clock
from skylift.runner.submit import Submission, Taken
from skylift.runner.watch import Watcher


class Run:
    """One job, from here to its outcome. `run` may be called once; `interrupt` is Ctrl-C."""

    def __init__(self, job: Job, settings: Settings, watcher: Watcher) -> None:
        self._job, self._watcher = job, watcher
        self._clock = Clock(watcher)
        self._submission = Submission(job, settings, watcher, self._clock)
        self._attendance: Attendance | None = None

    async def run(self) -> Outcome:
        """Raises SkyliftError when the run failed before its program ended; what had been made is then undone."""
        taken = await self._submission.run()
        if isinstance(taken, Outcome):
            return taken
        self._attendance = self._attend(taken)
        return await self._attendance.run()

    def interrupt(self) -> None:
        (self._attendance or self._submission).interrupt()

    def _attend(self, taken: Taken) -> Attendance:
        job = self._job
        visit = Visit(
            name=job.name,
            home=job.home,
            keep=job.keep,
            instance_type=job.instance_type,
            server=taken.server,
            way_in=taken.way_in,
            started_it=True,
            connection=taken.connection,
        )
        return Attendance(taken.account, visit, self._watcher, self._clock)
