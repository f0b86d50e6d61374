"""A run: provision a server, ship the job, run it, stream its output, collect its results, turn the server off."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import secrets
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from skylift.runner import commands, launch, role
from skylift.runner.archive import boot_archive, whole_archive
from skylift.runner.bucket import ensure_bucket
from skylift.runner.bundle import write_archive
from skylift.runner.collect import Manifest, bring_home, read_manifest
from skylift.runner.duration import spell_duration
from skylift.runner.ec2 import Api
from skylift.runner.errors import SKYLIFT_FAILED, ConnectionLost, LaunchFailed, NameTaken, RunError, SkyliftError
from skylift.runner.job import Job, Outcome, Settings
from skylift.runner.key import KeyPair, ensure_key
from skylift.runner.launch import Server
from skylift.runner.lifeline import Lifeline
from skylift.runner.network import Network, ensure_network, find_network, open_ssh
from skylift.runner.record import Prefix, bucket_name, deadline_of, encode_env, encode_record
from skylift.runner.size import spell_size
from skylift.runner.steps import Clock, Step, in_thread, made, together
from skylift.runner.stream import Follower, Status
from skylift.runner.watch import Watcher

if TYPE_CHECKING:
    from skylift.runner.ssh import Connection

INTERRUPTED = 130
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


class Run:
    """One job, from here to its outcome. `run` may be called once; `interrupt` is Ctrl-C."""

    def __init__(self, job: Job, settings: Settings, watcher: Watcher) -> None:
        self._job = job
        self._settings = settings
        self._watcher = watcher
        self._clock = Clock(watcher)
        self._began = time.monotonic()
        self._prefix = Prefix(job.name)
        self._deadline = deadline_of(job, time.time())
        self._account = settings.account or ""
        self._api: Api | None = None
        self._server: Server | None = None
        self._follower: Follower | None = None
        self._task: asyncio.Task[Outcome] | None = None
        self._phase = "preparing"
        self._interrupts = 0
        self._host_keys: list[str] = []
        self._open_steps: dict[str, float] = {}

    async def run(self) -> Outcome:
        """Raises SkyliftError when the run failed before its program ended; what had been made is then undone."""
        self._task = asyncio.ensure_future(self._run())
        try:
            return await self._task
        except asyncio.CancelledError:
            if not self._interrupts:
                raise
            reason = "Interrupted." if self._phase != "detached" else "Left running; nobody is watching it here."
            return self._outcome("detached" if self._phase == "detached" else "cancelled", INTERRUPTED, reason)

    async def _run(self) -> Outcome:
        with tempfile.TemporaryFile(prefix="skylift-") as archive:
            with self._clock.step("check") as step:
                image = await self._check(step, archive)
            async with AsyncExitStack() as undo:
                try:
                    site = await self._provision_and_ship(undo, image, archive)
                    await self._launch(undo, site)
                    status = await self._follow(site)
                    self._phase = "collecting"
                    manifest = await self._collect(site, status)
                finally:
                    # A program that runs does not depend on us, so neither our error nor our leaving ends it.
                    # A kept server goes on needing its role; `skylift cancel` takes both away.
                    if self._phase in {"running", "detached"} or (self._phase == "collecting" and self._job.keep):
                        undo.pop_all()
        return self._conclude(status, manifest)

    # Before anything is made.

    async def _check(self, step: Step, archive: Any) -> str:
        """Credentials, image, type and bundle: what can be wrong is told while there is nothing to undo."""
        self._api = api = await in_thread(Api, self._settings)
        image, _, account, _, _ = await together(
            in_thread(launch.find_image, api, self._settings.image),
            in_thread(launch.check_type, api, self._job.instance_type),
            in_thread(self._find_account, api),
            in_thread(write_archive, self._job.bundle, archive),
            in_thread(api.warm),
        )
        self._account = account
        step.detail = f"{self._job.instance_type} in {self._settings.region} ({self._settings.place})"
        return str(image)

    def _find_account(self, api: Api) -> str:
        return self._settings.account or str(api.call("sts", "get_caller_identity")["Account"])

    # What must be there, and what is sent.

    async def _provision_and_ship(self, undo: AsyncExitStack, image: str, archive: Any) -> Site:
        api, bucket = self._use_api(), bucket_name(self._account, self._settings.region)
        ready = asyncio.ensure_future(in_thread(ensure_bucket, api, bucket))
        try:
            network, key, job_role, _, user_data = await together(
                self._network(ready, bucket),
                self._key(),
                self._role(undo, bucket),
                self._upload(ready, bucket, archive),
                in_thread(self._boot_script, bucket),
            )
        finally:
            await asyncio.gather(ready, return_exceptions=True)
        return Site(bucket, image, network, key, job_role, user_data)

    def _boot_script(self, bucket: str) -> str:
        user, region = self._settings.image.login_user, self._settings.region
        digest = hashlib.sha256(whole_archive()).hexdigest()
        argv = commands.boot_argv(bucket, self._prefix.base, region, self._deadline, user, digest)
        return commands.boot_script(boot_archive(), argv)

    async def _network(self, bucket_ready: asyncio.Future[None], bucket: str) -> Network:
        api = self._use_api()
        with self._clock.step("network") as step:
            caller = await in_thread(self._settings.caller_address)
            network = await in_thread(find_network, api)
            if network is None:
                await asyncio.shield(bucket_ready)
                network = await in_thread(ensure_network, api, bucket, caller)
            network = await in_thread(open_ssh, api, network, caller)
            step.detail = f"{network.vpc}, SSH from {caller} only"
        return network

    async def _key(self) -> KeyPair:
        with self._clock.step("key") as step:
            key = await in_thread(ensure_key, self._use_api(), self._settings.key_dir, self._account)
            step.detail = key.name
        return key

    async def _role(self, undo: AsyncExitStack, bucket: str) -> role.JobRole:
        api, name, account = self._use_api(), self._job.name, self._account
        with self._clock.step("role") as step:
            await in_thread(role.ensure_boundary, api, account)
            make, unmake = partial(role.create_role, api, name, account), lambda _: role.remove_role(api, name)
            await made(undo, make, unmake, self._tell_undo_failed)
            found = await in_thread(role.equip_role, api, name, bucket, account)
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

    def _send(self, bucket: str, archive: Any, size: int) -> None:
        api, job = self._use_api(), self._job
        archive.seek(0)
        digest = hashlib.file_digest(archive, "sha256").hexdigest()
        record = encode_record(job, created=time.time(), deadline=self._deadline, bundle_sha256=digest)
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
        api, job = self._use_api(), self._job
        token = secrets.token_hex(16)
        with self._clock.step("server") as step:
            started, _ = await together(
                made(
                    undo,
                    lambda: launch.run_instance(
                        api, job, token, site.network, site.key, site.role, site.image, site.user_data
                    ),
                    lambda server: self._end_server(server, site.bucket),
                    self._tell_undo_failed,
                ),
                in_thread(importlib.import_module, "skylift.runner.ssh"),
            )
            self._server = started
            await self._await_server(site.bucket)
            server = self._require_server()
            step.detail = f"{server.instance} at {server.address or 'no public address'}"

    def _tell_undo_failed(self, error: SkyliftError) -> None:
        self._watcher.note(f"Not everything could be taken down: {error.message} {error.advice}".rstrip())
        self._watcher.note(f"The server turns itself off. For the rest: `skylift cancel {self._job.name}`.")

    def _end_server(self, server: Server, bucket: str) -> None:
        """The undo of a launch, and the last step of a run. A job that never came to its end is written off."""
        api = self._use_api()
        launch.terminate(api, server.instance)
        if self._phase in {"preparing", "running"}:
            status = {
                "job": self._job.name,
                "state": "cancelled" if self._interrupts else "broken",
                "final": True,
                "instance": server.instance,
                "exit_code": INTERRUPTED if self._interrupts else SKYLIFT_FAILED,
                "reason": "The run was interrupted." if self._interrupts else "The run failed.",
            }
            api.put(bucket, self._prefix.status, json.dumps(status).encode())

    async def _await_server(self, bucket: str) -> None:
        """The server shows its host keys in its prefix when it is up, or takes the job without them where there is no
        sshd; one that ends before either is an error at once."""
        began = looked = time.monotonic()
        while not await in_thread(self._find_host_keys, bucket):
            waited = time.monotonic() - began
            if waited > _BOOT_PATIENCE:
                raise LaunchFailed(
                    f"The server {self._require_server().instance} has not taken the job within"
                    f" {spell_duration(_BOOT_PATIENCE)}.",
                    "Its image may lack python3, or its role or network may not let it reach S3.",
                )
            if began + waited - looked > _LOOK_AROUND:
                if await in_thread(self._use_api().get, bucket, self._prefix.status) is not None:
                    break
                if await in_thread(self._server_is_gone):
                    raise await in_thread(self._explain_lost_server)
                looked = time.monotonic()
            # The same share of a boot here, which takes a third of a second, and of one that takes half a minute.
            await asyncio.sleep(min(max(0.025, waited / 12), 2))
        await in_thread(self._server_is_gone)

    def _find_host_keys(self, bucket: str) -> bool:
        found = self._use_api().get(bucket, self._prefix.host_keys)
        if found is not None:
            self._host_keys = list(json.loads(found)["keys"])
        return found is not None

    def _explain_lost_server(self) -> LaunchFailed:
        assert self._server is not None
        tail = launch.console_tail(self._use_api(), self._server.instance)
        words = f"\nThe end of its console:\n{tail}" if tail else ""
        return LaunchFailed(
            f"The server {self._server.instance} is {self._server.state} before it took the job"
            f" ({self._server.reason or 'no reason given'}).{words}"
        )

    # The program.

    async def _follow(self, site: Site) -> Status | None:
        self._lifeline = Lifeline(self._use_api(), self._watcher, self._settings.revive)

        async def connect() -> Connection:
            return await self._connect(site)

        self._follower = Follower(
            self._use_api(),
            site.bucket,
            self._prefix,
            connect,
            self._server_is_gone,
            self._lifeline,
            self._watcher,
            self._see_status,
            self._see_start,
        )
        return await self._follower.run()

    async def _connect(self, site: Site) -> Connection:
        """One try at SSH. Its import is slow, and was begun while the server booted."""
        from skylift.runner import ssh  # noqa: PLC0415

        assert self._server is not None
        if not self._host_keys and not await in_thread(self._find_host_keys, site.bucket):
            raise ConnectionLost("The server has shown no host key.")
        if self._server.address is None:
            raise ConnectionLost("The server has no public address.")
        user, key = self._settings.image.login_user, site.key.private
        return await ssh.connect(self._server.address, user, key, self._host_keys, self._job.name)

    def _server_is_gone(self) -> bool:
        assert self._server is not None
        found = launch.describe(self._use_api(), self._server.instance)
        if found is not None:
            self._server = found
        return found is None or found.gone

    def _see_status(self, status: Status) -> None:
        """Steps that happen on the server, told as they begin and end."""
        state = status["state"]
        if state == "environment":
            self._begin("environment")
        if "started" in status:
            self._end("environment", "ready")
            self._begin("program")
            self._see_start()
        if state == "uploading" or status["final"]:
            self._end("environment", "not made")
            self._end("program", f"exit code {status.get('exit_code')}", status.get("program_seconds"))

    def _see_start(self) -> None:
        """The program has been started: a status says so, or its output, which may be here sooner."""
        if self._phase == "preparing":
            self._phase = "running"

    def _begin(self, name: str) -> None:
        if name not in self._open_steps and name not in self._clock.seconds:
            self._open_steps[name] = time.monotonic()
            self._watcher.begin(name)

    def _end(self, name: str, detail: str, seconds: float | None = None) -> None:
        """`seconds` is the server's own measure, where it has one: a short step may be over before we hear of it."""
        began = self._open_steps.pop(name, None)
        if began is not None:
            self._clock.seconds[name] = time.monotonic() - began if seconds is None else seconds
            self._watcher.done(name, detail, self._clock.seconds[name])

    # Ctrl-C.

    def interrupt(self) -> None:
        """First: SIGINT to the program, or the end of a run whose program has not started. Second: the job is
        cancelled. Third: it is left running."""
        self._interrupts += 1
        assert self._task is not None
        if self._phase == "collecting":
            self._watcher.note(f"Stopped bringing results home; they stay in the job's prefix, {self._prefix.base}.")
            self._task.cancel()
        elif self._phase != "running" or self._follower is None:
            self._watcher.note("Interrupted before the program started; taking everything down.")
            self._task.cancel()
        elif self._interrupts == 1:
            sent = self._follower.order(signal="INT")
            how = "sent to the program" if sent else "will reach the program when SSH is back"
            self._watcher.note(f"SIGINT {how}. Press Ctrl-C again to cancel the job.")
        elif self._interrupts == 2:
            self._follower.order(cancel=True)
            self._watcher.note("Cancelling: SIGTERM, and SIGKILL after 10 s. Press Ctrl-C again to leave it alone.")
        else:
            self._phase = "detached"
            self._watcher.note(f"Left {self._job.name} running: see `skylift ps`, `skylift cancel {self._job.name}`.")
            self._task.cancel()

    # Home again.

    async def _collect(self, site: Site, status: Status | None) -> Manifest:
        api = self._use_api()
        if status is None or "streams" not in status:
            return Manifest()
        with self._clock.step("results") as step:
            manifest = await self._lifeline.reach(read_manifest, api, site.bucket, self._prefix)
            total = manifest.size

            def fetch() -> None:
                come = 0

                def progress(more: int) -> None:
                    nonlocal come
                    come += more
                    self._watcher.progress("results", come, total)

                bring_home(api, site.bucket, self._prefix, manifest, self._job.home, progress)

            await self._lifeline.reach(fetch)
            count = len(manifest.results)
            step.detail = (
                f"{count} file{'s' * (count != 1)}, {spell_size(total)}" if count else "none asked for or made"
            )
        return manifest

    def _conclude(self, status: Status | None, manifest: Manifest) -> Outcome:
        assert self._server is not None
        if status is None:
            state = "stopped; what it had is on its disk" if self._server.state.startswith("stop") else "gone"
            raise RunError(
                f"The server {self._server.instance} is {state}, and the job's end was never reported"
                f" ({self._server.reason or 'no reason given'}).",
                "Output and results that it had sent are kept in the job's prefix.",
            )
        kept = status.get("kept_until") if self._job.keep else None
        return replace(
            self._outcome(status["state"], status["exit_code"], status["reason"]),
            signal=status.get("signal"),
            detail=status.get("detail") or "",
            results=manifest.results,
            unmatched=manifest.unmatched,
            left_behind=manifest.left_behind,
            started=status.get("started"),
            ended=status.get("ended"),
            program_seconds=status.get("program_seconds"),
            kept_until=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept)) if kept else None,
        )

    def _outcome(self, state: str, exit_code: int, reason: str) -> Outcome:
        return Outcome(
            name=self._job.name,
            state=state,
            exit_code=exit_code,
            reason=reason,
            instance=self._server.instance if self._server else None,
            instance_type=self._job.instance_type,
            seconds=time.monotonic() - self._began,
            steps=dict(self._clock.seconds),
        )

    def _require_server(self) -> Server:
        assert self._server is not None
        return self._server

    def _use_api(self) -> Api:
        assert self._api is not None
        return self._api
