"""The second half of a run, for a client that watches its job: stream, collect, turn off."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext

from skylift.client.collect.collecting import Collected, Collecting
from skylift.client.collect.watched_outcome import left_outcome, outcome_of
from skylift.client.job.outcome import Outcome
from skylift.client.jobs.jobs import Jobs
from skylift.client.launch.last_kept import LastKept, remember_kept
from skylift.client.launch.turn_off import TurnOff
from skylift.client.price.run_price import read_prices
from skylift.client.ship.stdin import Stdin
from skylift.client.steps import Clock, in_thread, together
from skylift.client.watch.forward import Forwards
from skylift.client.watch.monitor import Monitor
from skylift.client.watch.streaming import Streamed, Streaming
from skylift.client.watch.watched_job import WatchedJob
from skylift.client.watcher import Keyboard, NoKeyboard, Watcher
from skylift.contract.states import State


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
        if self._job.keep and (streamed.status.kept_until or not streamed.status.final):
            kept: Collected
            kept, _ = await together(collecting.run(), in_thread(self._remember, streamed))
            return kept
        turn_off = self._turn_off()
        try:
            collected: Collected
            collected, _ = await together(collecting.run(), turn_off.begin())
        finally:
            await turn_off.finish()
        return collected

    def _remember(self, streamed: Streamed) -> None:
        """The next run begins to connect to this server before it asks for anything."""
        job, server, until = self._job, streamed.server, streamed.status.until(self._job.deadline).kept_until
        if not job.launched_here or until is None or server is None or server.address is None or job.host_keys is None:
            return
        if job.host_keys.instance == server.instance:
            kept = LastKept(job.account.number, job.name, server.type, server.address, job.host_keys, until)
            remember_kept(job.account.settings, kept)

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
