"""An image of a job's environment, made while the job's program runs, for the jobs that need the same environment.

It is made of a server of its own, on which no program ever runs: what a job's program has written can be in no image.
That server is a job without a program, so that `skylift ps`, `cancel` and `sweep` know it, and it turns itself off like
any other.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import TracebackType

from skylift.client.errors import LaunchFailed, Refused, SkyliftError
from skylift.client.job.job import Bundle, Job, Program
from skylift.client.job.record import deadline_of
from skylift.client.launch.environment_image import (
    EnvironmentImage,
    environment_images,
    image_key,
    make_request,
    remove_image,
    to_be_removed,
)
from skylift.client.launch.provision import provision
from skylift.client.launch.role import remove_role
from skylift.client.launch.server import live_servers, terminate
from skylift.client.launch.stages import Checked
from skylift.client.launch.start import Start
from skylift.client.launch.undo import Undo
from skylift.client.ship.prebuilt import EnvironmentPlace, stored_environment
from skylift.client.ship.upload import InputUpload, Shipment, Shipping
from skylift.client.steps import Clock, in_thread, together, until_done
from skylift.client.watcher import NoWatcher, Watcher
from skylift.contract.record import Environment
from skylift.contract.states import State

LEAST = 32 << 20
"""The least bytes of an environment that is worth an image. A smaller one is fetched in a moment."""
_PATIENCE = 120.0
"""Seconds after the job's end in which the image must be there."""
_SILENCE = 1.0
"""Seconds of waiting that nobody needs to be told of."""
_LONGEST = 300
"""Seconds that the server may take, and then wait for its image to be made."""


class ImageMaking:
    """The making of one image, in the background of its block. Leaving the block ends it.

    No error of it is one of the job's: the user sees a note, and the next job fetches its environment as this one did.
    """

    def __init__(self, checked: Checked | None, watcher: Watcher) -> None:
        """Without `checked` there is nothing to make."""
        self._checked, self._watcher = checked, watcher
        self._job_has_ended, self._is_left = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._begun = self._is_made = False
        self._creating: asyncio.Task[None] | None = None
        """What EC2 does, from CreateImage on."""

    @property
    def is_awaited(self) -> bool:
        return self._job_has_ended.is_set() and self._task is not None and not self._task.done()

    async def __aenter__(self) -> ImageMaking:
        if self._checked is not None and not self._is_left.is_set():
            self._task = asyncio.ensure_future(self._run(self._checked))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_left.is_set():
            self.leave()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=_SILENCE)
        creating = self._creating
        if creating is not None and not creating.done() and not creating.cancelling():
            self._watcher.note("The cloud copies the image of the environment already. Ctrl-C leaves it out.")
        await asyncio.wait([self._task])

    def leave(self) -> None:
        """Make no image, and take back what there is of it. An image that EC2 has begun is waited for, until this is
        said again."""
        if not self._is_left.is_set():
            self._is_left.set()
            if self._task is not None:
                self._task.cancel()
        elif self._creating is not None:
            self._creating.cancel()

    async def finish(self) -> None:
        """The job has ended: wait until the image is there, if one is being made, or is left."""
        self._job_has_ended.set()
        if self._task is None or self._is_left.is_set():
            return
        # A look at the bucket shows whether there is anything to do.
        await asyncio.wait([self._task], timeout=0.5)
        is_shown, began = self._begun and not self._task.done(), time.monotonic()
        if is_shown:
            self._watcher.note("An image of the environment is made for the next runs. Ctrl-C leaves it out.")
            self._watcher.begin("image")
        left = asyncio.ensure_future(self._is_left.wait())
        await asyncio.wait([self._task, left], timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        if is_shown and self._is_made:
            self._watcher.done("image", "has the environment", time.monotonic() - began)

    async def _run(self, checked: Checked) -> None:
        try:
            found = await self._stored(checked)
            if found is not None:
                await self._make(checked, found)
        except SkyliftError as error:
            self._watcher.note(f"No image of the environment was made: {error.message}")

    async def _stored(self, checked: Checked) -> EnvironmentPlace | None:
        """The environment, once all of it is in the bucket. None when it is small, or is not going to be there."""
        account, prebuilt = checked.account, checked.shipment.prebuilt
        assert prebuilt is not None
        pause = 0.1
        while True:
            over = self._job_has_ended.is_set()
            found = await in_thread(stored_environment, account.api, account.bucket, prebuilt.place)
            if found is not None:
                return found[0] if found[1] >= LEAST else None
            if over:
                return None
            with suppress(TimeoutError):
                await asyncio.wait_for(self._job_has_ended.wait(), pause)
            pause = min(pause * 1.4, 5)

    async def _make(self, checked: Checked, prebuilt: EnvironmentPlace) -> None:
        account, key = checked.account, image_key(prebuilt, checked.base)
        for each in await in_thread(environment_images, account.api, account.number, key):
            if each.state != "failed":
                return  # another client's, perhaps in a moment
            await in_thread(remove_image, account.api, each)
        self._begun = True
        builder = sealed(checked, prebuilt, f"environment-{secrets.token_hex(4)}")
        try:
            server = await self._launch(builder)
            creating = self._creating = asyncio.create_task(_create(builder, server, key))
            try:
                await asyncio.shield(creating)
            except asyncio.CancelledError:
                # What EC2 has begun is copied from the server's disk, in a few seconds. Without that it fails.
                await until_done(creating)
                raise
            self._is_made = True
        finally:
            await in_thread(_put_away, builder)
        await in_thread(_thin_out, checked)

    async def _launch(self, builder: Checked) -> str:
        """The id of a server that has the environment, and nothing else."""
        account, silent = builder.account, NoWatcher()
        clock = Clock(silent)
        bucket_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        bucket_ready.set_result(None)
        async with Undo(account, builder.job.name, silent, lambda: True) as undo:
            provisioned, _ = await together(
                provision(builder, undo, clock, bucket_ready),
                Shipping(account, silent, clock).send(builder.shipment, bucket_ready),
            )
            launched = await Start(builder, undo, silent, clock, detached=True).run(provisioned)
            await _await(partial(_is_sealed, builder), "The server for it was not ready in time.")
            undo.keep()
        return launched.server.instance


def sealed(checked: Checked, prebuilt: EnvironmentPlace, name: str) -> Checked:
    """What starts the server that an image is made of: a job with the same server, an environment, and nothing else."""
    job = Job(
        name=name,
        program=Program("command", "(an image of an environment)"),
        bundle=Bundle(checked.job.bundle.root, ".", (), 0),
        environment=Environment(),
        outputs=(),
        env=(),
        instance_type=checked.job.instance_type,
        max_time=_LONGEST,
        keep=_LONGEST,
        home=checked.job.home,
        fresh=True,
    )
    shipment = Shipment(
        job, deadline_of(job, time.time()), InputUpload((), (), ()), None, prebuilt, image=checked.base, seal=True
    )
    return replace(checked, shipment=shipment, image=checked.base, configuration="", kept=(), tools=None)


def _is_sealed(builder: Checked) -> bool:
    status = builder.account.status(builder.job.name)
    if status is None or not status.final:
        return False
    if status.state is not State.SUCCEEDED:
        raise LaunchFailed(status.reason or f"Its server is {status.state}.")
    return True


async def _create(builder: Checked, instance: str, key: str) -> None:
    """Another client that has been quicker has made the same image."""
    api, number = builder.account.api, builder.account.number
    request = partial(api.call, "ec2", "create_image", **make_request(instance, key, builder.base))
    try:
        await in_thread(request)
    except Refused as error:
        if error.code == "InvalidAMIName.Duplicate":
            return
        raise
    await _await(lambda: _is_made(environment_images(api, number, key)), "EC2 has not made it in time.")


def _is_made(found: list[EnvironmentImage]) -> bool:
    for each in found:
        if each.state in ("failed", "error", "invalid"):
            raise LaunchFailed(f"EC2 could not make it: {each.reason or 'no reason given'}")
    return any(each.state == "available" for each in found)


async def _await(is_there: Callable[[], bool], late: str) -> None:
    """Between two looks it can be cancelled."""
    until, pause = time.monotonic() + _PATIENCE, 0.05
    while not await in_thread(is_there):
        if time.monotonic() > until:
            raise LaunchFailed(late)
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, 2)


def _put_away(builder: Checked) -> None:
    """The server, its role and its record: nothing of them is left but the image."""
    account, job = builder.account, builder.job.name
    for server in live_servers(account.api, job):
        terminate(account.api, server.instance)
    remove_role(account.api, job)
    account.remove(job)


def _thin_out(checked: Checked) -> None:
    api = checked.account.api
    for each in to_be_removed(environment_images(api, checked.account.number), time.time()):
        remove_image(api, each)
