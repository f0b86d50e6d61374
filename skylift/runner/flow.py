"""A run: check, provision, ship, launch, stream, collect, turn off. `session.py` has the second half."""

from __future__ import annotations

import asyncio
import tempfile

from skylift.runner.job.job import Job
from skylift.runner.job.outcome import INTERRUPTED, Outcome
from skylift.runner.job.settings import Settings
from skylift.runner.job.states import State
from skylift.runner.launch.bucket import ensure_bucket
from skylift.runner.launch.check import check
from skylift.runner.launch.provision import provision
from skylift.runner.launch.stages import Checked, Launched, Provisioned
from skylift.runner.launch.start import Start
from skylift.runner.launch.take_over import TakeOver
from skylift.runner.launch.undo import Undo
from skylift.runner.session import Session, WatchedJob
from skylift.runner.ship.upload import Shipping
from skylift.runner.steps import Clock, in_thread, together
from skylift.runner.watch.dial import Dial
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
        dial: Dial | None = None,
    ) -> None:
        self._job, self._watcher, self._dial = job, watcher, dial
        self._keyboard, self._forwards = keyboard, forwards or Forwards(())
        self._clock = Clock(watcher)
        self._stage: Submission | Session = Submission(job, settings, watcher, self._clock)

    async def run(self) -> Outcome:
        """Raises SkyliftError when the run failed before its program ended; what had been made is then undone."""
        await self._forwards.open()
        try:
            launched = await self._stage.run()
            if isinstance(launched, Outcome):
                return launched
            self._stage = self._session(launched)
            return await self._stage.run()
        finally:
            await self._forwards.close()

    def interrupt(self) -> None:
        self._stage.interrupt()

    def _session(self, launched: Launched) -> Session:
        job = self._job
        watched = WatchedJob(
            name=job.name,
            home=job.home,
            keep=job.keep,
            instance_type=job.instance_type,
            server=launched.server,
            host_keys=launched.host_keys,
            started_it=True,
            connection=launched.connection,
            interactive=job.terminal is not None,
            choice=job.choice.as_json() if job.choice is not None else None,
            spot=job.spot is not None,
            outputs=job.outputs,
            script=job.program.target if job.program.kind == "script" else "",
            deadline=launched.deadline,
            max_time=job.max_time,
        )
        return Session(
            launched.account, watched, self._watcher, self._clock, self._keyboard, self._forwards, self._dial
        )


class Submission:
    """The first half: one job, from here to its server. `run` may be called once; `interrupt` is Ctrl-C.

    With `alone`, nobody stays to watch: the server must have said that the job is its own.
    """

    def __init__(self, job: Job, settings: Settings, watcher: Watcher, clock: Clock, *, alone: bool = False) -> None:
        self._job, self._settings, self._watcher, self._clock = job, settings, watcher, clock
        self._alone = alone
        self._interrupted = False
        self._instance: str | None = None
        self._task: asyncio.Task[Launched] | None = None

    async def run(self) -> Launched | Outcome:
        """An outcome when it was interrupted. Raises SkyliftError when it failed; what had been made is then undone."""
        self._task = asyncio.ensure_future(self._run())
        try:
            return await self._task
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
        return Outcome(
            name=self._job.name,
            state=State.CANCELLED,
            exit_code=INTERRUPTED,
            reason="Interrupted.",
            instance=self._instance,
            instance_type=self._job.instance_type,
            watched_seconds=self._clock.elapsed(),
            steps=dict(self._clock.seconds),
        )

    def interrupt(self) -> None:
        assert self._task is not None
        self._interrupted = True
        self._watcher.note("Interrupted before the program started; taking everything down.")
        self._task.cancel()

    async def _run(self) -> Launched:
        with tempfile.TemporaryFile(prefix="skylift-") as archive:
            checked = await check(self._job, self._settings, self._clock, archive)
            shipping = Shipping(checked.account, self._watcher, self._clock)
            async with Undo(checked.account, self._job.name, self._watcher, lambda: self._interrupted) as undo:
                try:
                    launched = await self._take_over(checked, shipping, undo)
                    if launched is None:
                        provisioned = await self._provision_and_ship(checked, shipping, undo)
                        launched = await self._launch(checked, provisioned, undo)
                finally:
                    self._instance = undo.instance
                undo.keep()
        return launched

    async def _take_over(self, checked: Checked, shipping: Shipping, undo: Undo) -> Launched | None:
        return await TakeOver(checked, shipping, undo, self._watcher, self._clock, alone=self._alone).run()

    async def _provision_and_ship(self, checked: Checked, shipping: Shipping, undo: Undo) -> Provisioned:
        """At the same time; both wait for the bucket where they need it."""
        api, bucket = checked.account.api, checked.account.bucket
        bucket_ready = asyncio.ensure_future(in_thread(ensure_bucket, api, bucket))
        try:
            provisioned: Provisioned
            provisioned, _ = await together(
                provision(checked, undo, self._clock, bucket_ready), shipping.send(checked.shipment, bucket_ready)
            )
        finally:
            await asyncio.gather(bucket_ready, return_exceptions=True)
        return provisioned

    async def _launch(self, checked: Checked, provisioned: Provisioned, undo: Undo) -> Launched:
        return await Start(checked, undo, self._watcher, self._clock, alone=self._alone).run(provisioned)
