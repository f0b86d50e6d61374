"""A run in one sentence: check, provision, ship, launch, stream, collect, turn off.

`Submit` is the first half, until a server has the job. `Attach` is the second half, for the client that watches the
job: the one that submitted it, or one that comes later. `Run` is both. Each stage has a type that is complete when it
exists: Checked, Provisioned, Launched, Streamed, Collected.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import IO

from skylift.runner.collect.collecting import Collected, Collecting
from skylift.runner.collect.watched_outcome import left_outcome, outcome_of
from skylift.runner.errors import LaunchFailed, LaunchUnclear, NameTaken, SkyliftError
from skylift.runner.job.job import Job, new_name
from skylift.runner.job.outcome import INTERRUPTED, Outcome
from skylift.runner.job.settings import Settings
from skylift.runner.job.states import State
from skylift.runner.jobs.jobs import Jobs
from skylift.runner.launch.bucket import ensure_bucket
from skylift.runner.launch.check import check
from skylift.runner.launch.image_making import ImageMaking
from skylift.runner.launch.kept_connection import KeptConnection
from skylift.runner.launch.provision import provision
from skylift.runner.launch.stages import Checked, Launched, Provisioned
from skylift.runner.launch.start import Start
from skylift.runner.launch.take_over import TakeOver
from skylift.runner.launch.turn_off import TurnOff
from skylift.runner.launch.undo import Undo
from skylift.runner.launch.worker_group import make_workers
from skylift.runner.price.run_price import read_prices
from skylift.runner.ship.stdin import Stdin
from skylift.runner.ship.upload import Shipping
from skylift.runner.steps import Clock, in_thread, together
from skylift.runner.watch.forward import Forwards
from skylift.runner.watch.monitor import Monitor
from skylift.runner.watch.streaming import Streamed, Streaming
from skylift.runner.watch.watched_job import WatchedJob, launched_job
from skylift.runner.watcher import Keyboard, NoKeyboard, Watcher


class Run:
    """One job, from here to its outcome. `run` may be called once; `interrupt` is Ctrl-C. `begun` is called with the
    job's name once its server has it: a name that nobody chose may be another one by then."""

    def __init__(
        self,
        job: Job,
        settings: Settings,
        watcher: Watcher,
        keyboard: Keyboard | None = None,
        forwards: Forwards | None = None,
        monitor: Monitor | None = None,
        stdin: Stdin | None = None,
        begun: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._watcher, self._keyboard, self._monitor, self._stdin = watcher, keyboard, monitor, stdin
        self._begun = begun
        self._forwards = forwards or Forwards(())
        self._clock = Clock(watcher)
        self._submit = Submit(job, settings, watcher, self._clock)
        self._half: Submit | Attach = self._submit
        self._making: ImageMaking | None = None

    async def run(self) -> Outcome:
        """Raises SkyliftError when the run failed before its program ended; what had been made is then undone."""
        await self._forwards.open()
        try:
            launched = await self._half.run()
            if isinstance(launched, Outcome):
                return launched
            self._begun(launched.job.name)
            job = launched_job(launched)
            watching = (self._keyboard, self._forwards, self._monitor, self._stdin)
            making = self._making = ImageMaking(self._submit.worth_an_image, self._watcher)
            self._half = Attach(job, self._watcher, self._clock, *watching)
            async with making:
                outcome = await self._half.run()
                if outcome.state is not State.DETACHED:
                    await making.finish()
            return outcome
        finally:
            await self._forwards.close()

    def interrupt(self) -> None:
        if self._making is not None and self._making.is_awaited:
            self._making.leave()
        else:
            self._half.interrupt()

    def insist(self) -> None:
        """For a caller that has interrupted the run and cannot do so again: a program that still runs is cancelled."""
        if isinstance(self._half, Attach):
            self._half.insist()


class Submit:
    """Check, provision, ship, launch. `run` may be called once; `interrupt` is Ctrl-C.

    With `detached`, nobody stays to watch: the server must have reported that the job is its own. `stdin` is sent to
    its end before there is a server.
    """

    def __init__(
        self,
        job: Job,
        settings: Settings,
        watcher: Watcher,
        clock: Clock,
        *,
        detached: bool = False,
        stdin: Stdin | None = None,
    ) -> None:
        self._job, self._settings, self._watcher, self._clock = job, settings, watcher, clock
        self._detached, self._stdin = detached, stdin
        self._interrupted = False
        self._instance: str | None = None
        self._task: asyncio.Task[Launched] | None = None
        self.worth_an_image: Checked | None = None
        """The job, once it is on a new server that starts from an image without its environment."""

    async def run(self) -> Launched | Outcome:
        """An outcome when it was interrupted. Raises SkyliftError when it failed; what had been made is then undone."""
        self._task = asyncio.ensure_future(self._run())
        if self._interrupted:
            self._task.cancel()
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
        """Interrupt the run, also before `run`, while forwarded ports are opened."""
        self._interrupted = True
        self._watcher.note("Interrupted before the program started; taking everything down.")
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> Launched:
        launched = await self._submit()
        while launched is None:
            self._draw_another_name()
            launched = await self._submit()
        return launched

    def _draw_another_name(self) -> None:
        taken, self._job = self._job.name, replace(self._job, name=new_name(self._job.program))
        self._watcher.note(f"There is a job called {taken} already. This one is called {self._job.name}.")

    async def _submit(self) -> Launched | None:
        """None when a name that nobody chose is another job's; nothing is left then. The client that writes the record
        first has the name, so two clients that have drawn the same one do not share it."""
        with tempfile.TemporaryFile(prefix="skylift-") as archive:
            async with KeptConnection(self._job.name) as connecting:
                return await self._check_and_launch(archive, connecting)

    async def _check_and_launch(self, archive: IO[bytes], connecting: KeptConnection) -> Launched | None:
        checked = await check(self._job, self._settings, self._clock, archive, connecting)
        shipping = Shipping(checked.account, self._watcher, self._clock, self._stdin)
        undo = Undo(checked.account, self._job.name, self._watcher, lambda: self._interrupted)
        try:
            return await self._provision_and_launch(checked, shipping, connecting, undo)
        except NameTaken:
            if not self._job.name_was_drawn:
                raise
            await shipping.take_back(self._job.name)
            if not shipping.may_send_again:
                raise
            return None
        except LaunchUnclear:
            self._watcher.note(
                f"It is not certain that no server was started. `skylift cancel {self._job.name}` ends it, if there is"
                " one."
            )
            raise
        except LaunchFailed:
            if self._instance is None and not checked.kept and undo.is_whole:
                await self._forget(shipping)
            raise

    async def _forget(self, shipping: Shipping) -> None:
        """EC2 has refused the job. Nothing is known of it, and the same command may be given again."""
        try:
            await shipping.take_back(self._job.name)
        except SkyliftError as error:
            self._watcher.note(
                f"The job's record could not be removed: {error.message} `skylift rm {self._job.name}` tries again."
            )

    async def _provision_and_launch(
        self, checked: Checked, shipping: Shipping, connecting: KeptConnection, undo: Undo
    ) -> Launched:
        async with undo:
            if self._job.map is not None:
                account = checked.account
                undo.add(partial(self._job.map.take_back, account.api, account.bucket, self._job.name))
            try:
                launched = await self._take_over(checked, shipping, undo, connecting)
                if launched is None:
                    provisioned = await self._provision_and_ship(checked, shipping, undo)
                    launched = await self._launch(checked, provisioned, undo)
                    self.worth_an_image = checked if checked.may_have_image and checked.image == checked.base else None
            finally:
                self._instance = undo.instance
            undo.keep()
        return launched

    async def _take_over(
        self, checked: Checked, shipping: Shipping, undo: Undo, connecting: KeptConnection
    ) -> Launched | None:
        how = (self._watcher, self._clock)
        return await TakeOver(checked, shipping, undo, connecting, *how, detached=self._detached).run()

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
        provisioned = await make_workers(checked, provisioned, undo, self._clock, self._watcher)
        return await Start(checked, undo, self._watcher, self._clock, detached=self._detached).run(provisioned)


class Attach:
    """Stream, collect, turn off. `run` may be called once; `interrupt` is Ctrl-C, and `leave` the wish to leave the job
    running. `stdin` is sent to the program while it runs."""

    def __init__(
        self,
        job: WatchedJob,
        watcher: Watcher,
        clock: Clock,
        keyboard: Keyboard | None = None,
        forwards: Forwards | None = None,
        monitor: Monitor | None = None,
        stdin: Stdin | None = None,
    ) -> None:
        self._job, self._watcher, self._clock, self._stdin = job, watcher, clock, stdin
        self._keyboard, self._forwards = keyboard or NoKeyboard(), forwards or Forwards(())
        cancel = Jobs(job.account.settings, job.account).cancel
        self._streaming = Streaming(job, watcher, clock, cancel, self._keyboard, self._forwards, monitor)
        self._stage: Streaming | Collecting = self._streaming
        self._left: State | None = None
        """How the user's own run ends, when the user does not wait for the job's end."""
        self._task: asyncio.Task[Outcome] | None = None

    async def run(self) -> Outcome:
        """Raises SkyliftError when the job's end cannot be known, or its results cannot be had."""
        self._task = asyncio.ensure_future(self._run())
        try:
            return await self._task
        except asyncio.CancelledError:
            if self._left is None:
                raise
        if self._stdin is not None and not self._stdin.ended and self._left is State.DETACHED:
            self._watcher.note(
                "Standard input has not come to its end: the program waits for the rest, which nobody sends now. "
                f"`skylift cancel {self._job.name}` ends it."
            )
        return left_outcome(self._job, self._streaming.server, self._left, self._clock)

    def interrupt(self) -> None:
        self._end(self._left or self._stage.interrupt())

    def insist(self) -> None:
        if self._streaming.program_runs:
            self.interrupt()

    def leave(self) -> None:
        self._end(self._left or self._stage.leave())

    def _end(self, state: State | None) -> None:
        if state is not None and self._left is None:
            assert self._task is not None
            self._left = state
            self._close_keyboard()
            self._task.cancel()

    def _close_keyboard(self) -> None:
        self._keyboard.give_back()
        self._keyboard.close()

    async def _run(self) -> Outcome:
        await self._forwards.open()
        # What the run has cost is told at its end. Now, while the server starts the program, there is time.
        pricing = asyncio.ensure_future(in_thread(read_prices, self._job.account.settings))
        try:
            streamed = await self._stream()
            collected = await self._collect_and_turn_off(streamed)
        finally:
            self._close_keyboard()
            await self._forwards.close()
            await asyncio.gather(pricing, return_exceptions=True)
        return await in_thread(outcome_of, collected, self._clock)

    async def _stream(self) -> Streamed:
        """A program that runs does not need us: neither our error nor our leaving ends it. Before it has started, the
        client that launched it takes everything down."""
        try:
            async with self._sending():
                return await self._streaming.run(self.leave)
        finally:
            if self._job.launched_here and not self._streaming.program_has_started:
                await self._turn_off().take_back(interrupted=self._left is not None)

    def _sending(self) -> AbstractAsyncContextManager[None]:
        if self._stdin is None:
            return nullcontext()
        account, name, billed = self._job.account, self._job.name, self._job.account.settings.billed
        where = (account.api, account.bucket, name)
        return self._stdin.sending(*where, self._watcher.note, self._streaming.tell_of_stdin, billed=billed)

    async def _collect_and_turn_off(self, streamed: Streamed) -> Collected:
        """At the same time: when a job has ended, its results are in S3. A server that is kept stays on."""
        self._stage = collecting = Collecting(streamed, self._watcher, self._clock)
        if self._job.keep:
            return await collecting.run()
        turn_off = self._turn_off()
        try:
            collected: Collected
            collected, _ = await together(collecting.run(), turn_off.begin())
        finally:
            await turn_off.finish()
        return collected

    def _turn_off(self) -> TurnOff:
        job = self._job
        return TurnOff(
            job.account,
            job.name,
            self._streaming.server,
            self._watcher,
            spot=job.spot,
            workers=job.has_workers,
            launched_here=job.launched_here,
        )
