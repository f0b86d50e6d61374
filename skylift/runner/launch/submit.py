"""The first half of a run: provision, ship, launch, until the server has taken the job over."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import secrets
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from skylift.runner.errors import (
    SKYLIFT_FAILED,
    ConnectionLost,
    LaunchFailed,
    NameTaken,
    Refused,
    SkyliftError,
    UsageError,
)
from skylift.runner.job import commands
from skylift.runner.job.job import Job
from skylift.runner.job.outcome import INTERRUPTED, Outcome
from skylift.runner.job.record import Prefix, deadline_of, encode_env, encode_record
from skylift.runner.job.server import Server
from skylift.runner.job.settings import Settings
from skylift.runner.launch import fleet, role
from skylift.runner.launch import kept_server as warm
from skylift.runner.launch import server as launch
from skylift.runner.launch.bucket import ensure_bucket
from skylift.runner.launch.host_keys import WayIn, find_way_in
from skylift.runner.launch.image import find_images, pick_image
from skylift.runner.launch.key import KeyPair, ensure_key, ensure_key_file
from skylift.runner.launch.network import Network, ensure_network, find_caller, find_network, open_network
from skylift.runner.launch.service_role import ensure_fleet_roles
from skylift.runner.remote.account import Account, open_account
from skylift.runner.remote.api import Api
from skylift.runner.remote.reconnect import Lifeline
from skylift.runner.ship.archive import boot_archive, whole_archive
from skylift.runner.ship.blob_store import LargeFile, Parcel, Shelf, large_files, parcel_of_archive
from skylift.runner.ship.bundle import write_archive
from skylift.runner.ship.prebuilt import Prebuilt, find_prebuilt
from skylift.runner.ship.recipe import recipe_of
from skylift.runner.ship.s3_input import S3Source, find_sources
from skylift.runner.ship.uv import WHEELS, Wheel, ensure_uv
from skylift.runner.steps import Clock, Step, in_thread, made, together
from skylift.runner.text.duration import spell_duration
from skylift.runner.text.size import spell_size
from skylift.runner.watcher import Watcher

if TYPE_CHECKING:
    from skylift.runner.remote.ssh import Connection

_BOOT_PATIENCE = 600.0
"""Seconds from RunInstances until the server must have shown its host key."""
_HANDOVER_PATIENCE = 90.0
"""Likewise for a server that runs already."""
_LOOK_AROUND = 0.2
"""Seconds between two looks at how a server that has shown no host keys is doing otherwise."""


@dataclass(frozen=True)
class Cargo:
    """What a job takes along: the bundle, the files that travel by themselves, and what waits in S3 already."""

    bundle: Parcel
    large: tuple[LargeFile, ...]
    sources: tuple[S3Source, ...]

    @property
    def parcels(self) -> list[Parcel]:
        return [self.bundle, *(each.parcel for each in self.large)]

    def arns(self, bucket: str) -> list[str]:
        """What the job's role has to be allowed to read."""
        shelf = {f"arn:aws:s3:::{bucket}/{each.key}" for each in self.parcels}
        return sorted(shelf | {each.arn for each in self.sources})

    def buckets(self, own: str) -> list[str]:
        """Those besides skylift's own."""
        return sorted({each.bucket for each in self.sources} - {own})

    @property
    def size(self) -> int:
        return sum(each.size for each in self.parcels)


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
    deadline: float
    connection: Connection | None = None


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
        self._connection: Connection | None = None
        self._kept: list[Server] = []
        self._named = False
        self._fit = ""
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
                image, cargo = await self._check(step, archive)
            async with AsyncExitStack() as undo:
                if not await self._take_over(undo, cargo):
                    site = await self._provision_and_ship(undo, image, cargo)
                    await (self._launch if self._job.spot is None else self._launch_fleet)(undo, site)
                undo.pop_all()
        return Taken(self._account, self._require_server(), self._way_in, self._deadline, self._connection)

    # Before anything is made.

    async def _check(self, step: Step, archive: IO[bytes]) -> tuple[str, Cargo]:
        """Credentials, image, type and bundle: what can be wrong is told while there is nothing to undo."""
        if self._job.terminal is not None and self._settings.access.private:
            raise UsageError("-it needs SSH, and --private means that the server is not reached by it.")
        if not self._settings.access.private:
            # It takes as long as all of this step, and there is nothing else to do while answers are waited for. Python
            # waits for it at its end: modules written in other languages abort the process when they are cut off.
            threading.Thread(target=importlib.import_module, args=("skylift.runner.remote.ssh",)).start()
        api = await in_thread(Api, self._settings)
        images, processors, self._open, self._caller, parcels, sources, kept, types, *_ = await together(
            in_thread(find_images, api, self._settings.image),
            in_thread(launch.check_type, api, self._job.instance_type),
            in_thread(open_account, self._settings, api),
            in_thread(find_caller, self._settings),
            in_thread(self._pack, archive),
            in_thread(find_sources, api, self._job.s3_inputs, self._job.bundle),
            in_thread(warm.kept_servers, api),
            in_thread(self._spot_types, api),
            in_thread(fleet.check_price, api, self._job.spot),
            in_thread(api.warm),
            in_thread(ensure_fleet_roles, api) if self._job.spot is not None else _nothing(),
        )
        if self._job.spot is not None:
            self._job = replace(self._job, spot=replace(self._job.spot, types=types))
        step.detail = f"{self._job.instance_type} in {self._settings.region} ({self._settings.place})"
        processor, image = pick_image(images, processors, self._job.instance_type)
        wanted = self._job.environment
        if wanted.kind != "none" or wanted.python:
            if not self._settings.image.has_uv:
                self._uv = WHEELS[processor]
            recipe = recipe_of(self._job, processor, [each.place for source in sources for each in source.objects])
            if recipe is not None:
                bucket = self._account.bucket
                self._prebuilt = await in_thread(find_prebuilt, api, bucket, recipe, image, time.time())
        bundle, large = parcels
        cargo = Cargo(bundle, large, sources)
        buckets = cargo.buckets(self._account.bucket)
        self._fit = warm.fit_of(self._job, image, self._settings, self._caller, buckets)
        self._kept = [] if self._job.fresh else [each for each in kept if each.fit == self._fit]
        return image, cargo

    def _spot_types(self, api: Api) -> tuple[str, ...]:
        """The catalogue may have some that the region has not, and for these a whole fleet might be refused."""
        spot = self._job.spot
        return () if spot is None else launch.types_there(api, spot.types) or spot.types

    def _pack(self, archive: IO[bytes]) -> tuple[Parcel, tuple[LargeFile, ...]]:
        write_archive(self._job.bundle, archive)
        return parcel_of_archive(archive), large_files(self._job.bundle)

    @property
    def _account(self) -> Account:
        assert self._open is not None
        return self._open

    # What must be there, and what is sent.

    async def _provision_and_ship(self, undo: AsyncExitStack, image: str, cargo: Cargo) -> Site:
        api, bucket = self._account.api, self._account.bucket
        ready = asyncio.ensure_future(in_thread(ensure_bucket, api, bucket))
        try:
            network, key, job_role, _, user_data, _ = await together(
                self._network(ready, bucket),
                self._key(),
                self._role(undo, bucket, cargo),
                self._upload(ready, bucket, cargo),
                in_thread(self._boot_script, bucket),
                self._tools(ready, bucket),
            )
        finally:
            await asyncio.gather(ready, return_exceptions=True)
        return Site(bucket, image, network, key, job_role, user_data)

    def _boot_script(self, bucket: str) -> str:
        user, region = self._settings.login_user, self._settings.region
        digest = hashlib.sha256(whole_archive(self._settings.cache)).hexdigest()
        argv = commands.boot_argv(bucket, self._prefix.base, region, self._deadline, user, digest)
        return commands.boot_script(boot_archive(self._settings.cache), argv, self._deadline)

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

    async def _role(self, undo: AsyncExitStack, bucket: str, cargo: Cargo) -> role.JobRole:
        api, name, account = self._account.api, self._job.name, self._account.number
        with self._clock.step("role") as step:
            make = partial(role.create_role, api, name, account, cargo.buckets(bucket))
            await made(undo, make, lambda _: role.remove_role(api, name), self._tell_undo_failed)
            inputs = cargo.arns(bucket)
            spot = self._job.spot is not None
            found = await in_thread(role.equip_role, api, name, bucket, account, self._prebuilt, inputs, spot=spot)
            step.detail = found.name
        return found

    async def _upload(
        self, bucket_ready: asyncio.Future[None], bucket: str, cargo: Cargo, *, kept: bool = False
    ) -> None:
        """The record first: its conditional write claims the job's name, so that nothing of another job is touched. A
        server that was kept has the supervisor already."""
        await asyncio.shield(bucket_ready)
        with self._clock.step("upload") as step:
            await in_thread(self._claim_name, bucket, cargo)
            _, sent = await together(
                in_thread(self._send_own, bucket, cargo, kept),
                self._send_inputs(Shelf(self._account.api, bucket), cargo),
            )
            count = len(self._job.bundle.files)
            step.detail = f"{count} file{'s' * (count != 1)}, {_spell_sent(cargo.size, sent)}{_spell_s3(cargo)}"

    async def _tools(self, bucket_ready: asyncio.Future[None], bucket: str) -> None:
        if self._uv is not None:
            await asyncio.shield(bucket_ready)
            await in_thread(ensure_uv, self._account.api, bucket, self._uv)

    def _claim_name(self, bucket: str, cargo: Cargo) -> None:
        record = encode_record(
            self._job,
            created=time.time(),
            deadline=self._deadline,
            bundle_sha256=cargo.bundle.sha256,
            large=[each.as_record() for each in cargo.large],
            uv={"key": self._uv.key, "sha256": self._uv.sha256} if self._uv is not None else None,
            prebuilt=self._prebuilt.encode() if self._prebuilt is not None else None,
        )
        if not self._account.api.put(bucket, self._prefix.record, record, first=not self._named):
            raise NameTaken(self._job.name)
        self._named = True

    def _send_own(self, bucket: str, cargo: Cargo, kept: bool) -> None:
        """What no other job has."""
        api, job = self._account.api, self._job
        if not kept:
            api.put(bucket, self._prefix.supervisor, whole_archive(self._settings.cache))
        if job.env:
            api.put(bucket, self._prefix.env, encode_env(job))
        if cargo.sources:
            sources = json.dumps([each.as_record() for each in cargo.sources]).encode()
            api.put(bucket, self._prefix.s3_inputs, sources)

    async def _send_inputs(self, shelf: Shelf, cargo: Cargo) -> int:
        """What no job before had. The bytes that were sent."""
        sending = asyncio.ensure_future(in_thread(self._send_missing, shelf, cargo))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            shelf.stop()
            await asyncio.gather(sending, return_exceptions=True)
            raise

    def _send_missing(self, shelf: Shelf, cargo: Cargo) -> int:
        missing = shelf.missing(cargo.parcels)
        size, sent, counting = sum(each.size for each in missing), 0, threading.Lock()

        def progress(more: int) -> None:
            nonlocal sent
            with counting:
                sent += more
                self._watcher.progress("upload", sent, size)

        for parcel in missing:
            shelf.send(parcel, progress)
        return size

    # A server that is there.

    async def _take_over(self, undo: AsyncExitStack, cargo: Cargo) -> bool:
        """Whether one that an earlier run has left up is this job's now. All that it needs is there before that: a
        server that has been taken waits for nobody, and a client that is killed has started a job or none."""
        account, name, prebuilt = self._account, self._job.name, self._prebuilt
        kept = self._kept if self._job.spot is None else []
        waiting = await in_thread(warm.waiting, account, kept, time.time()) if kept else []
        if not waiting:
            return False
        if prebuilt is not None and not prebuilt.sha256:
            self._prebuilt = replace(prebuilt, shared=False)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ready.set_result(None)
        async with self._connecting(waiting[0]) as connecting:
            await together(self._upload(ready, account.bucket, cargo, kept=True), self._tools(ready, account.bucket))
            claimed = await in_thread(warm.claim, account, name, waiting)
            if claimed is None or not await self._make_ready_and_take(undo, claimed.server, cargo):
                self._prebuilt = prebuilt
                return False
            server = claimed.server
            self._server, self._way_in = server, claimed.way_in
            with self._clock.step("server") as step:
                if claimed is waiting[0] and (connection := await connecting) is not None:
                    await self._knock(connection, server.job)
                if self._connection is None or self._alone:
                    await self._await_server(account.bucket, _HANDOVER_PATIENCE)
                step.detail = f"{server.instance} at {server.address or 'no public address'}, kept since {server.job}"
        return True

    async def _make_ready_and_take(self, undo: AsyncExitStack, server: Server, cargo: Cargo) -> bool:
        """A server that does not wait any longer, or is not there, ends as that of the job which it had."""
        account, name, last = self._account, self._job.name, server.job
        undo.push_async_callback(self._give_up, server)
        there = await in_thread(warm.pass_on, account.api, server, name, self._policy(cargo, last))
        taken = there and await in_thread(warm.take, account, name, last)
        if not taken:
            undo.pop_all()
            await in_thread(warm.tag, account.api, server, last)
        return taken

    def _policy(self, cargo: Cargo, last: str) -> dict[str, Any]:
        """The job's own, and to agree with us on it where the last job's record is."""
        account, bucket, name = self._account, self._account.bucket, self._job.name
        inputs = cargo.arns(bucket)
        return role.job_policy(name, bucket, account.number, account.api.region, self._prebuilt, inputs, last)

    @asynccontextmanager
    async def _connecting(self, kept: warm.Warm) -> AsyncIterator[asyncio.Task[Connection | None]]:
        """SSH to a server, which takes its time, beside all else; what of it nobody has taken is closed at the end."""
        connecting = asyncio.ensure_future(self._connect(kept))
        try:
            yield connecting
        finally:
            connecting.cancel()
            (found,) = await asyncio.gather(connecting, return_exceptions=True)
            if found is not None and not isinstance(found, BaseException) and found is not self._connection:
                await found.close()

    async def _connect(self, kept: warm.Warm) -> Connection | None:
        """Where that does not work, the server comes to S3 soon."""
        if kept.server.address is None or kept.way_in is None:
            return None
        ssh = await in_thread(importlib.import_module, "skylift.runner.remote.ssh")
        key = ensure_key_file(self._settings.key_dir, self._account.number, self._settings.region)
        try:
            found: Connection = await ssh.connect(
                kept.server.address, kept.way_in.user, key.private, kept.way_in.keys, self._job.name
            )
        except ConnectionLost:
            return None
        return found

    async def _knock(self, connection: Connection, last: str) -> None:
        """From then on the connection is this job's."""
        try:
            await connection.hand_over(last)
        except ConnectionLost:
            await connection.close()
        else:
            self._connection = connection

    async def _give_up(self, server: Server) -> None:
        """The undo of taking a server over: it is nobody else's any more."""
        jobs = {self._job.name, server.job}
        remove_role = partial(role.remove_role_of, self._account.api, server.role, jobs)
        for step in (partial(self._write_off, server), remove_role):
            await self._try_to_undo(step)

    async def _try_to_undo(self, step: Callable[[], object]) -> None:
        try:
            await in_thread(step)
        except SkyliftError as error:
            self._tell_undo_failed(error)

    # A server of its own.

    async def _launch(self, undo: AsyncExitStack, site: Site) -> None:
        api, job = self._account.api, self._job
        token = secrets.token_hex(16)
        fit = self._fit if job.keep else ""
        with self._clock.step("server") as step:
            self._server, _ = await together(
                made(
                    undo,
                    lambda: launch.run_instance(
                        api, job, token, site.network, site.key, site.role, site.image, site.user_data, fit
                    ),
                    self._write_off,
                    self._tell_undo_failed,
                ),
                in_thread(importlib.import_module, "skylift.runner.remote.ssh"),
            )
            await self._await_server(site.bucket)
            server = self._require_server()
            step.detail = f"{server.instance} at {server.address or 'no public address'}"

    async def _launch_fleet(self, undo: AsyncExitStack, site: Site) -> None:
        """A server that may be taken away, of a fleet that brings another one then."""
        api, job = self._account.api, self._job
        request = fleet.template_request(job, site.network, site.key, site.role, site.image, site.user_data)
        with self._clock.step("server") as step:
            template = await made(
                undo,
                lambda: fleet.make_template(api, request),
                lambda _: fleet.remove_template(api, job.name),
                self._tell_undo_failed,
            )
            # After the fleets, and not with each: a job that has ended is begun by no server of a second one.
            undo.push_async_callback(self._try_to_undo, self._write_job_off)
            bought = await self._buy(undo, site, template)
            await self._await_server(site.bucket)
            server = self._require_server()
            step.detail = f"{server.instance} ({server.type}, {bought}) at {server.address or 'no public address'}"

    async def _buy(self, undo: AsyncExitStack, site: Site, template: str) -> str:
        """How the server was bought: as asked for, or at the full price where that was allowed."""
        job, spot = self._job, self._job.spot
        assert spot is not None
        for on_demand in (False, True) if spot.or_on_demand else (False,):
            token = secrets.token_hex(16)
            request = fleet.fleet_request(job, spot, template, site.network, token, self._deadline, on_demand=on_demand)
            try:
                await self._await_fleet(undo, request)
            except (LaunchFailed, Refused) as error:
                passes = isinstance(error, LaunchFailed) or fleet.is_refused_for_now(error)
                if on_demand or not spot.or_on_demand or not passes:
                    raise
                self._watcher.note(f"{error.message} A server at the full price is taken (--or-on-demand).")
            else:
                return "on demand" if on_demand else "spot"
        raise AssertionError("one of the ways has a server or an error")

    async def _await_fleet(self, undo: AsyncExitStack, request: dict[str, Any]) -> None:
        """A fleet, until it has brought its first server; one that does not is taken back."""
        api = self._account.api
        async with AsyncExitStack() as own:
            start = partial(fleet.start_fleet, api, request)
            found = await made(own, start, self._take_fleet_back, self._tell_undo_failed)
            told = json.dumps({"fleet": found.id}).encode()
            self._server, *_ = await together(
                in_thread(fleet.await_server, api, found),
                in_thread(api.put, self._account.bucket, self._prefix.fleet, told),
                in_thread(importlib.import_module, "skylift.runner.remote.ssh"),
            )
            undo.push_async_exit(own.pop_all())

    def _take_fleet_back(self, found: fleet.Fleet) -> None:
        api = self._account.api
        fleet.delete_fleets(api, [found], servers_too=True)
        for server in launch.live_servers(api, self._job.name):
            launch.terminate(api, server.instance)

    def _write_job_off(self) -> None:
        instance = self._server.instance if self._server is not None else None
        write_off(self._account, self._job.name, instance, interrupted=self._interrupted)

    def _tell_undo_failed(self, error: SkyliftError) -> None:
        self._watcher.note(f"Not everything could be taken down: {error.message} {error.advice}".rstrip())
        self._watcher.note(f"The server turns itself off. For the rest: `skylift cancel {self._job.name}`.")

    def _write_off(self, server: Server) -> None:
        """The undo of a launch: a job that never came to its end says so."""
        launch.terminate(self._account.api, server.instance)
        write_off(self._account, self._job.name, server.instance, interrupted=self._interrupted)

    async def _await_server(self, bucket: str, patience: float = _BOOT_PATIENCE) -> None:
        """The server shows its host keys in its prefix when it is up, and its status once it has claimed the job; where
        there is no sshd, that is all it shows, and it is all that somebody who leaves it alone wants to see. One that
        ends before is an error at once, a cloud that is away none."""
        api = self._account.api
        lifeline = Lifeline(api, self._watcher, self._settings.revive)
        began = looked = time.monotonic()
        while True:
            waited = time.monotonic() - began
            around = began + waited - looked > _LOOK_AROUND
            # At the same time: from far away, each of them takes a while.
            shown, status, gone = await together(
                _nothing() if self._alone else lifeline.reach(self._find_way_in, bucket),
                lifeline.reach(api.get, bucket, self._prefix.status) if self._alone or around else _nothing(),
                lifeline.reach(self._server_is_gone) if around else _nothing(),
            )
            if status is not None or shown:
                break
            if gone:
                # A short job may have begun and ended since its status was looked for.
                if await lifeline.reach(api.get, bucket, self._prefix.status) is not None:
                    break
                raise await in_thread(self._explain_lost_server)
            if waited > patience:
                raise LaunchFailed(
                    f"The server {self._require_server().instance} has not taken the job within"
                    f" {spell_duration(patience)}.",
                    "Its image may lack python3, or its role or network may not let it reach S3.",
                )
            if around:
                looked = time.monotonic()
            # The same share of a boot here, which takes a third of a second, and of one that takes half a minute.
            await asyncio.sleep(min(max(0.025, waited / 12), 2))
        if self._require_server().state != "running":
            await lifeline.reach(self._server_is_gone)

    def _find_way_in(self, bucket: str) -> bool:
        instance = self._require_server().instance if self._job.spot is not None else ""
        self._way_in = find_way_in(self._account.api, bucket, self._prefix, instance)
        return self._way_in is not None

    def _server_is_gone(self) -> bool:
        """A server that EC2 does not describe yet has just been launched; its end would be described for an hour."""
        api = self._account.api
        found = launch.describe(api, self._require_server().instance)
        if found is not None and found.gone and self._job.spot is not None:
            # It was taken away before it was there; the fleet brings another one.
            servers = [each for each in launch.live_servers(api, self._job.name) if not each.gone]
            found = servers[0] if servers else replace(found, state="pending")
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


async def _nothing() -> None:
    return None


def _spell_sent(size: int, sent: int) -> str:
    if spell_size(sent) == spell_size(size):
        return spell_size(size)
    return f"{spell_size(size)}, {spell_size(sent) if sent else 'nothing'} of it new"


def _spell_s3(cargo: Cargo) -> str:
    objects = [each for source in cargo.sources for each in source.objects]
    if not objects:
        return ""
    return f"; {len(objects)} object{'s' * (len(objects) != 1)} of S3, {spell_size(sum(each.size for each in objects))}"


def write_off(account: Account, job: str, instance: str | None, *, interrupted: bool) -> None:
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
    account.forget_secrets(job)
