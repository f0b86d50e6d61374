"""A run in one sentence: check, provision, ship, launch, stream, collect, turn off.

`Submit` (submit.py) is the first half, until a server has the job. `Attach` (attach.py) is the second half, for the
client that watches the job: the one that submitted it, or one that comes later. `Run` is both. Each stage has a type
that is complete when it exists: Checked, Provisioned, Launched, Streamed, Collected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from skylift.client.job.job import Job
from skylift.client.job.settings import Settings
from skylift.client.launch.last_kept import StartedConnection
from skylift.client.launch.stages import Launched
from skylift.client.ship.stdin import Stdin
from skylift.client.steps import Clock
from skylift.client.submit import Submit
from skylift.client.watch.forward import Forwards
from skylift.client.watcher import Keyboard, Watcher
from skylift.contract.states import State

if TYPE_CHECKING:
    from skylift.client.attach import Attach
    from skylift.client.job.outcome import Outcome
    from skylift.client.launch.image_making import ImageMaking
    from skylift.client.watch.monitor import Monitor


class Run:
    """One job, from here to its outcome. `run` may be called once; `interrupt` is Ctrl-C. `begun` is called with the
    job's name once its server has it: a name that nobody chose may be another one by then. `connection` is as in
    Submit."""

    def __init__(
        self,
        job: Job,
        settings: Settings,
        watcher: Watcher,
        keyboard: Keyboard | None = None,
        forwards: Forwards | None = None,
        monitor: Monitor | None = None,
        stdin: Stdin | None = None,
        connection: StartedConnection | None = None,
        begun: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._watcher, self._keyboard, self._monitor, self._stdin = watcher, keyboard, monitor, stdin
        self._begun = begun
        self._forwards = forwards or Forwards(())
        self._clock = Clock(watcher)
        self._submit = Submit(job, settings, watcher, self._clock, connection=connection)
        self._half: Submit | Attach = self._submit
        self._attach: Attach | None = None
        self._making: ImageMaking | None = None

    async def run(self) -> Outcome:
        """Raises SkyliftError when the run failed before its program ended; what had been made is then undone."""
        try:
            await self._forwards.open()
            launched = await self._submit.run()
            if not isinstance(launched, Launched):
                return launched
            self._begun(launched.job.name)
            # Nothing of these is needed before a server has the job, and while it starts the program there is time.
            from skylift.client.attach import Attach  # noqa: PLC0415
            from skylift.client.launch.image_making import ImageMaking  # noqa: PLC0415
            from skylift.client.watch.watched_job import launched_job  # noqa: PLC0415

            job = launched_job(launched)
            watching = (self._keyboard, self._forwards, self._monitor, self._stdin)
            making = self._making = ImageMaking(self._submit.worth_an_image, self._watcher)
            attach = self._half = self._attach = Attach(job, self._watcher, self._clock, *watching)
            async with making:
                outcome = await attach.run()
                if outcome.state is not State.DETACHED:
                    await making.finish()
            return outcome
        finally:
            self._submit.end_connection()
            await self._forwards.close()

    def interrupt(self) -> None:
        """Whoever does not wait for the job does not wait for an image of its environment either."""
        is_over = self._making is not None and self._making.is_awaited
        if self._making is not None:
            self._making.leave()
        if not is_over:
            self._half.interrupt()

    def insist(self) -> None:
        """For a caller that has interrupted the run and cannot do so again: a program that still runs is cancelled."""
        if self._attach is not None:
            self._attach.insist()
