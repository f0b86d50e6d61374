"""The first half of a run, until a server has the job: check, provision, ship, launch.

A run that takes over a kept server imports nothing of what a new one needs.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING

from skylift.client.errors import INTERRUPTED, LaunchFailed, LaunchUnclear, NameTaken, SkyliftError
from skylift.client.job.job import Job, new_name
from skylift.client.job.last_job import remember_job
from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.check import check
from skylift.client.launch.kept_connection import KeptConnection
from skylift.client.launch.last_kept import StartedConnection
from skylift.client.launch.server_reuse import ServerReuse
from skylift.client.launch.stages import Checked, Launched, Provisioned
from skylift.client.launch.undo import Undo
from skylift.client.ship.stdin import Stdin
from skylift.client.ship.upload import Shipping
from skylift.client.steps import Clock, in_thread, together
from skylift.client.watcher import Watcher
from skylift.contract.states import State

if TYPE_CHECKING:
    from skylift.client.job.outcome import Outcome


class Submit:
    """Check, provision, ship, launch. `run` may be called once; `interrupt` is Ctrl-C.

    With `detached`, nobody stays to watch: the server must have reported that the job is its own. `stdin` is sent to
    its end before there is a server. `connection` has begun, to a kept server that the job may have.
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
        connection: StartedConnection | None = None,
    ) -> None:
        self._job, self._settings, self._watcher, self._clock = job, settings, watcher, clock
        self._detached, self._stdin, self._connection = detached, stdin, connection
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
        finally:
            # Whoever is interrupted at once never comes to it.
            self.end_connection()
        from skylift.client.job.outcome import Outcome  # noqa: PLC0415

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

    def end_connection(self) -> None:
        """For whoever has made this and does not come to `run`: end the connection that has begun."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end()

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
        remember_job(self._settings, self._job.home, launched.job.name)
        return launched

    def _draw_another_name(self) -> None:
        taken, self._job = self._job.name, replace(self._job, name=new_name(self._job.program))
        self._watcher.note(f"There is a job called {taken} already. This one is called {self._job.name}.")

    async def _submit(self) -> Launched | None:
        """None when a name that nobody chose is another job's; nothing is left then. The client that writes the record
        first has the name, so two clients that have drawn the same one do not share it."""
        # Without a buffer: a full disk is told where it is written to, and not once more where it is closed.
        with tempfile.TemporaryFile(prefix="skylift-", buffering=0) as archive:
            connection, self._connection = self._connection, None
            async with KeptConnection(self._job.name, started=connection) as connecting:
                return await self._check_and_launch(archive, connecting)

    async def _check_and_launch(self, archive: IO[bytes], connecting: KeptConnection) -> Launched | None:
        checked = await check(self._job, self._settings, self._clock, archive, connecting)
        await connecting.keep_only(checked.kept)
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
            if self._instance is None and (self._job.reuse or not checked.kept) and undo.is_whole:
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
            undo.add(partial(self._write_off, shipping, undo))
            if self._job.map is not None:
                account = checked.account
                undo.add(partial(self._job.map.take_back, account.api, account.bucket, self._job.name))
            try:
                launched = await self._take_over(checked, shipping, undo, connecting)
                if launched is None and self._job.reuse:
                    raise LaunchFailed(f"Another run has the server of {self._job.reuse} now, or it has turned off.")
                if launched is None:
                    await connecting.keep_only(())
                    provisioned = await self._provision_and_ship(checked, shipping, undo)
                    launched = await self._launch(checked, provisioned, undo)
                    self.worth_an_image = checked if checked.may_have_image and checked.image == checked.base else None
            finally:
                self._instance = undo.instance
            undo.keep()
        return launched

    @staticmethod
    def _write_off(shipping: Shipping, undo: Undo) -> None:
        """What has a record has an end: a job that nothing more is heard of would be called lost."""
        if shipping.name_is_ours:
            undo.write_off()

    async def _take_over(
        self, checked: Checked, shipping: Shipping, undo: Undo, connecting: KeptConnection
    ) -> Launched | None:
        how = (self._watcher, self._clock)
        return await ServerReuse(checked, shipping, undo, connecting, *how, detached=self._detached).run()

    async def _provision_and_ship(self, checked: Checked, shipping: Shipping, undo: Undo) -> Provisioned:
        """At the same time; both wait for the bucket where they need it."""
        from skylift.client.launch.provision import provision  # noqa: PLC0415

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
        from skylift.client.launch.start import Start  # noqa: PLC0415
        from skylift.client.launch.worker_group import make_workers  # noqa: PLC0415

        provisioned = await make_workers(checked, provisioned, undo, self._clock, self._watcher)
        return await Start(checked, undo, self._watcher, self._clock, detached=self._detached).run(provisioned)
