"""The first half of a run: provision, ship, launch, until the server has taken the job over."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import secrets
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from skylift.runner import commands, launch, price, role
from skylift.runner.account import Account, open_account
from skylift.runner.archive import boot_archive, whole_archive
from skylift.runner.bucket import ensure_bucket
from skylift.runner.bundle import write_archive
from skylift.runner.duration import spell_duration
from skylift.runner.ec2 import Api
from skylift.runner.errors import SKYLIFT_FAILED, LaunchFailed, NameTaken, SkyliftError
from skylift.runner.image import find_images, pick_image
from skylift.runner.job import INTERRUPTED, Job, Outcome, Settings
from skylift.runner.key import KeyPair, ensure_key
from skylift.runner.launch import Server
from skylift.runner.network import Network, ensure_network, find_caller, find_network, open_network
from skylift.runner.prebuilt import Prebuilt, find_prebuilt, recipe_of
from skylift.runner.record import Prefix, deadline_of, encode_env, encode_record
from skylift.runner.size import spell_size
from skylift.runner.steps import Clock, Step, in_thread, made, together
from skylift.runner.uv import WHEELS, Wheel, ensure_uv
from skylift.runner.watch import Watcher
from skylift.runner.way_in import WayIn, find_way_in

_BOOT_PATIENCE = 600.0
"""Seconds from RunInstances until the server must have shown its host key."""
_LOOK_AROUND = 0.2
"""Seconds between two looks at how a server that has shown no host keys is doing otherwise."""


@dataclass(frozen=True)
class Site:
    """What a job needs to be there before its server can start."""

    bucket: str
    image: str
    network: Network
    key: KeyPair
    role: role.JobRole
    user_data: str


@dataclass(frozen=True)
class Taken:
    """A job that its server has: from here on it needs nobody."""

    account: Account
    server: Server
    way_in: WayIn | None


class Submission:
    """One job, from here to its server. `run` may be called once; `interrupt` is Ctrl-C.

    With `alone`, nobody stays to watch: the server must have said that the job is its own.
    """

    def __init__(self, job: Job, settings: Settings, watcher: Watcher, clock: Clock, *, alone: bool = False) -> None:
        self._job = job
        self._alone = alone
        self._settings = settings
        self._watcher = watcher
        self._clock = clock
        self._prefix = Prefix(job.name)
        self._deadline = deadline_of(job, time.time())
        self._open: Account | None = None
        self._server: Server | None = None
        self._caller: str | None = None
        self._uv: Wheel | None = None
        self._prebuilt: Prebuilt | None = None
        self._way_in: WayIn | None = None
        self._task: asyncio.Task[Taken] | None = None
        self._interrupted = False

    async def run(self) -> Taken | Outcome:
        """An outcome when it was interrupted. Raises SkyliftError when it failed; what had been made is then undone."""
        self._task = asyncio.ensure_future(self._run())
        try:
            return await self._task
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
        instance = self._server.instance if self._server else None
        return Outcome(
            name=self._job.name,
            state="cancelled",
            exit_code=INTERRUPTED,
            reason="Interrupted.",
            instance=instance,
            instance_type=self._job.instance_type,
            seconds=self._clock.elapsed(),
            steps=dict(self._clock.seconds),
        )

    def interrupt(self) -> None:
        assert self._task is not None
        self._interrupted = True
        self._watcher.note("Interrupted before the program started; taking everything down.")
        self._task.cancel()

    async def _run(self) -> Taken:
        with tempfile.TemporaryFile(prefix="skylift-") as archive:
            with self._clock.step("check") as step:
                image = await self._check(step, archive)
            async with AsyncExitStack() as undo:
                site = await self._provision_and_ship(undo, image, archive)
                await self._launch(undo, site)
                undo.pop_all()
        assert self._server is not None
        return Taken(self._account, self._server, self._way_in)

    # Before anything is made.

    async def _check(self, step: Step, archive: Any) -> str:
        """Credentials, image, type and bundle: what can be wrong is told while there is nothing to undo."""
        price.check_region(self._job.max_cost, self._settings.region)
        api = await in_thread(Api, self._settings)
        images, processors, self._open, self._caller, _, _ = await together(
            in_thread(find_images, api, self._settings.image),
            in_thread(launch.check_type, api, self._job.instance_type),
            in_thread(open_account, self._settings, api),
            in_thread(find_caller, self._settings),
            in_thread(write_archive, self._job.bundle, archive),
            in_thread(api.warm),
        )
        step.detail = f"{self._job.instance_type} in {self._settings.region} ({self._settings.place})"
        processor, image = pick_image(images, processors, self._job.instance_type)
        wanted = self._job.environment
        if wanted.kind != "none" or wanted.python:
            if not self._settings.image.has_uv:
                self._uv = WHEELS[processor]
            recipe = recipe_of(self._job, processor)
            if recipe is not None:
                bucket = self._account.bucket
                self._prebuilt = await in_thread(find_prebuilt, api, bucket, recipe, image, time.time())
        return image

    @property
    def _account(self) -> Account:
        assert self._open is not None
        return self._open

    # What must be there, and what is sent.

    async def _provision_and_ship(self, undo: AsyncExitStack, image: str, archive: Any) -> Site:
        api, bucket = self._account.api, self._account.bucket
        ready = asyncio.ensure_future(in_thread(ensure_bucket, api, bucket))
        try:
            network, key, job_role, _, user_data, _ = await together(
                self._network(ready, bucket),
                self._key(),
                self._role(undo, bucket),
                self._upload(ready, bucket, archive),
                in_thread(self._boot_script, bucket),
                self._tools(ready, bucket),
            )
        finally:
            await asyncio.gather(ready, return_exceptions=True)
        return Site(bucket, image, network, key, job_role, user_data)

    def _boot_script(self, bucket: str) -> str:
        user, region = self._settings.login_user, self._settings.region
        digest = hashlib.sha256(whole_archive()).hexdigest()
        argv = commands.boot_argv(bucket, self._prefix.base, region, self._deadline, user, digest)
        return commands.boot_script(boot_archive(), argv)

    async def _network(self, bucket_ready: asyncio.Future[None], bucket: str) -> Network:
        api = self._account.api
        with self._clock.step("network") as step:
            network = await in_thread(find_network, api, self._settings.access)
            if network is None:
                await asyncio.shield(bucket_ready)
                network = await in_thread(ensure_network, api, bucket)
            network = await in_thread(open_network, api, network, self._settings.access, self._caller)
            step.detail = network.spell(self._caller)
        return network

    async def _key(self) -> KeyPair:
        with self._clock.step("key") as step:
            key = await in_thread(ensure_key, self._account.api, self._settings.key_dir, self._account.number)
            step.detail = key.name
        return key

    async def _role(self, undo: AsyncExitStack, bucket: str) -> role.JobRole:
        api, name, account = self._account.api, self._job.name, self._account.number
        with self._clock.step("role") as step:
            await in_thread(role.ensure_boundary, api, account)
            make, unmake = partial(role.create_role, api, name, account), lambda _: role.remove_role(api, name)
            await made(undo, make, unmake, self._tell_undo_failed)
            found = await in_thread(role.equip_role, api, name, bucket, account, self._prebuilt)
            step.detail = found.name
        return found

    async def _upload(self, bucket_ready: asyncio.Future[None], bucket: str, archive: Any) -> None:
        """The record first: its conditional write claims the job's name, so that nothing of another job is touched."""
        await asyncio.shield(bucket_ready)
        with self._clock.step("upload") as step:
            size = archive.seek(0, 2)
            await in_thread(self._send, bucket, archive, size)
            count = len(self._job.bundle.files)
            step.detail = f"{count} file{'s' * (count != 1)}, {spell_size(size)}"

    async def _tools(self, bucket_ready: asyncio.Future[None], bucket: str) -> None:
        if self._uv is not None:
            await asyncio.shield(bucket_ready)
            await in_thread(ensure_uv, self._account.api, bucket, self._uv)

    def _send(self, bucket: str, archive: Any, size: int) -> None:
        api, job = self._account.api, self._job
        archive.seek(0)
        digest = hashlib.file_digest(archive, "sha256").hexdigest()
        uv = {"key": self._uv.key, "sha256": self._uv.sha256} if self._uv is not None else None
        prebuilt = self._prebuilt.encode() if self._prebuilt is not None else None
        record = encode_record(
            job, created=time.time(), deadline=self._deadline, bundle_sha256=digest, uv=uv, prebuilt=prebuilt
        )
        if not api.put(bucket, self._prefix.record, record, first=True):
            raise NameTaken(job.name)
        api.put(bucket, self._prefix.supervisor, whole_archive())
        if job.env:
            api.put(bucket, self._prefix.env, encode_env(job))
        sent = 0

        def progress(more: int) -> None:
            nonlocal sent
            sent += more
            self._watcher.progress("upload", sent, size)

        archive.seek(0)
        api.upload(archive, size, bucket, self._prefix.bundle, progress)

    # The server.

    async def _launch(self, undo: AsyncExitStack, site: Site) -> None:
        api, job = self._account.api, self._job
        token = secrets.token_hex(16)
        with self._clock.step("server") as step:
            self._server, _ = await together(
                made(
                    undo,
                    lambda: launch.run_instance(
                        api, job, token, site.network, site.key, site.role, site.image, site.user_data
                    ),
                    self._write_off,
                    self._tell_undo_failed,
                ),
                in_thread(importlib.import_module, "skylift.runner.ssh"),
            )
            await self._await_server(site.bucket)
            server = self._require_server()
            step.detail = f"{server.instance} at {server.address or 'no public address'}"

    def _tell_undo_failed(self, error: SkyliftError) -> None:
        self._watcher.note(f"Not everything could be taken down: {error.message} {error.advice}".rstrip())
        self._watcher.note(f"The server turns itself off. For the rest: `skylift cancel {self._job.name}`.")

    def _write_off(self, server: Server) -> None:
        """The undo of a launch: a job that never came to its end says so."""
        launch.terminate(self._account.api, server.instance)
        write_off(self._account, self._job.name, server.instance, interrupted=self._interrupted)

    async def _await_server(self, bucket: str) -> None:
        """The server shows its host keys in its prefix when it is up, and its status once it has claimed the job; where
        there is no sshd, that is all it shows. One that ends before is an error at once."""
        api = self._account.api
        began = looked = time.monotonic()
        while not await in_thread(self._find_way_in, bucket) or self._alone:
            waited = time.monotonic() - began
            if waited > _BOOT_PATIENCE:
                raise LaunchFailed(
                    f"The server {self._require_server().instance} has not taken the job within"
                    f" {spell_duration(_BOOT_PATIENCE)}.",
                    "Its image may lack python3, or its role or network may not let it reach S3.",
                )
            if began + waited - looked > _LOOK_AROUND:
                if await in_thread(api.get, bucket, self._prefix.status) is not None:
                    break
                if await in_thread(self._server_is_gone):
                    raise await in_thread(self._explain_lost_server)
                looked = time.monotonic()
            # The same share of a boot here, which takes a third of a second, and of one that takes half a minute.
            await asyncio.sleep(min(max(0.025, waited / 12), 2))
        await in_thread(self._server_is_gone)

    def _find_way_in(self, bucket: str) -> bool:
        self._way_in = find_way_in(self._account.api, bucket, self._prefix)
        return self._way_in is not None

    def _server_is_gone(self) -> bool:
        """A server that EC2 does not describe yet has just been launched; its end would be described for an hour."""
        found = launch.describe(self._account.api, self._require_server().instance)
        if found is not None:
            self._server = found
        return found is not None and found.gone

    def _explain_lost_server(self) -> LaunchFailed:
        server = self._require_server()
        tail = launch.console_tail(self._account.api, server.instance)
        words = f"\nThe end of its console:\n{tail}" if tail else ""
        return LaunchFailed(
            f"The server {server.instance} is {server.state} before it took the job"
            f" ({server.reason or 'no reason given'}).{words}"
        )

    def _require_server(self) -> Server:
        assert self._server is not None
        return self._server


def write_off(account: Account, job: str, instance: str, *, interrupted: bool) -> None:
    """The final status of a job whose server was ended by its client before the program began."""
    status = {
        "job": job,
        "state": "cancelled" if interrupted else "broken",
        "final": True,
        "instance": instance,
        "exit_code": INTERRUPTED if interrupted else SKYLIFT_FAILED,
        "reason": "The run was interrupted." if interrupted else "The run failed.",
    }
    account.api.put(account.bucket, Prefix(job).status, json.dumps(status).encode())
