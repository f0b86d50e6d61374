"""A run: provision a server, ship the job, run it, stream its output, collect its results, turn the server off."""

from __future__ import annotations

from skylift.runner.job.job import Job
from skylift.runner.job.outcome import Outcome
from skylift.runner.job.settings import Settings
from skylift.runner.launch.submit import Submission, Taken
from skylift.runner.session import Attendance, Visit
from skylift.runner.steps import Clock
from skylift.runner.watch.forward import Forwards
from skylift.runner.watcher import Keyboard, Watcher


class Run:
    """One job, from here to its outcome. `run` may be called once; `interrupt` is Ctrl-C."""

    def __init__(
        self,
        job: Job,
        settings: Settings,
        watcher: Watcher,
        keyboard: Keyboard | None = None,
        forwards: Forwards | None = None,
    ) -> None:
        self._job, self._watcher = job, watcher
        self._keyboard, self._forwards = keyboard, forwards or Forwards(())
        self._clock = Clock(watcher)
        self._submission = Submission(job, settings, watcher, self._clock)
        self._attendance: Attendance | None = None

    async def run(self) -> Outcome:
        """Raises SkyliftError when the run failed before its program ended; what had been made is then undone."""
        await self._forwards.open()
        try:
            taken = await self._submission.run()
            if isinstance(taken, Outcome):
                return taken
            self._attendance = self._attend(taken)
            return await self._attendance.run()
        finally:
            await self._forwards.close()

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
            interactive=job.terminal is not None,
            choice=job.choice.as_json() if job.choice is not None else None,
            spot=job.spot is not None,
            outputs=job.outputs,
            script=job.program.target if job.program.kind == "script" else "",
            deadline=taken.deadline,
        )
        return Attendance(taken.account, visit, self._watcher, self._clock, self._keyboard, self._forwards)
