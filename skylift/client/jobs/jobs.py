"""What is done with a job later: a shell on its server, its end, its removal."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from skylift.client.errors import JobNotFound, NotPermitted, RecordDamaged, Refused, RunError, UsageError
from skylift.client.job.commands import ssh_argv
from skylift.client.job.job import NAME_FORM
from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.job.server_record import NO_STATUS
from skylift.client.jobs.listing import JobListing, spell
from skylift.client.launch.cap import uncap_server
from skylift.client.launch.fleet import active_fleets, delete_fleets, remove_fleet, remove_template
from skylift.client.launch.host_keys import HostKeys
from skylift.client.launch.job_group import remove_job_groups
from skylift.client.launch.kept_server import remove_roles
from skylift.client.launch.last_kept import forget_kept
from skylift.client.launch.server import describe, live_servers, terminate
from skylift.client.launch.worker_group import remove_workers
from skylift.client.remote.account import Account
from skylift.client.text.duration import moment, spell_duration
from skylift.client.waiting import pauses
from skylift.client.watch.ssh_access import SshAccess
from skylift.contract.document import write
from skylift.contract.record import JobRecord
from skylift.contract.states import State
from skylift.contract.status import Status

T = TypeVar("T")
_CANCEL_PATIENCE = 45.0
"""Seconds for the supervisor to see the request (it looks every 5), and to end the program."""
_STALLED = 600.0
"""Seconds without anything new in S3, after which a server that says that it sends results is taken to hang."""
_MOST_UPLOADS = 1000
"""Unfinished uploads whose parts are counted. A supervisor has a few at a time."""
_SILENCE = 2.0
"""Seconds of waiting that nobody needs to be told of."""
_KEYS_PATIENCE = 20.0
"""Seconds for a server to publish its host keys."""
_OFF_PATIENCE = 60.0
"""Seconds for a server to turn off when its job has ended and it is not kept."""


class Jobs(JobListing):
    """The listing of jobs, and what is done with a job later."""

    def shell(self, name: str, command: tuple[str, ...] = (), *, terminal: bool = False) -> list[str]:
        """The argv of OpenSSH to a job's server. Its host key is pinned in a file beside this machine's key."""
        server = self._server(name)
        access = SshAccess(self._account, name, server)
        address, host_keys = self._open_ssh(access, server)
        access.ensure_key_accepted(host_keys)
        known = self._pin(name, address, host_keys.keys)
        return ssh_argv(access.key.private, known, host_keys.user, address, command, terminal=terminal)

    def access(self, name: str) -> SshAccess:
        """Open SSH from here to a job's server. Raises UsageError for a job that has none any more."""
        servers = self._servers(name)
        if not servers:
            status = self._readable_status(name)
            if status is not None and status.final:
                raise UsageError(
                    f"The job {name} has ended, and its server is gone.", f"What it left: skylift results {name}"
                )
            raise UsageError(f"The job {name} has no server at the moment.", "See `skylift ps --all`.")
        access = SshAccess(self._account, name, servers[0])
        self._open_ssh(access, servers[0])
        return access

    def _open_ssh(self, access: SshAccess, server: Server) -> tuple[str, HostKeys]:
        """Open SSH from here: the server's address and host keys. Raises RunError when it cannot be reached."""
        if server.address is None:
            raise RunError(f"The server of {server.job} has no public address (it is {server.state}).")
        host_keys = _await_host_keys(access)
        if host_keys is None:
            raise RunError(f"The server of {server.job} has not published its host key yet.", "Try again in a moment.")
        access.open_ssh()
        return server.address, host_keys

    def _pin(self, name: str, address: str, keys: tuple[str, ...]) -> Path:
        folder = self._account.settings.key_dir / "known_hosts.d"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = "".join(f"{address} {key}\n" for key in keys)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write(lines)
        return Path(file.name).rename(folder / name)

    def cancel(
        self, name: str, tell: Callable[[str], object] = lambda words: None, at_once: threading.Event | None = None
    ) -> str:
        """End a job, its server and its role; safe to repeat. Returns the word for what was done.

        The request is an object in the job's prefix, which the supervisor looks for. So it needs no SSH, and
        results still come to S3. A server that does not end by itself is terminated. `tell` is called with words for
        what is waited for, when that takes a while. Once `at_once` is set, the server is terminated.
        """
        servers = self._servers(name)
        spot = self._is_spot(name)
        fleets = active_fleets(self._api, name) if spot else []
        # First, so that no new server starts when one ends.
        delete_fleets(self._api, fleets, servers_too=False)
        status = self._readable_status(name)
        ended = status is not None and status.final
        # A client that watches may start another server for a map that has lost its own.
        goes_on = bool(servers or fleets) or (status is not None and not ended and self._is_relaunched(name))
        if goes_on and not ended:
            # Also for a server that may start yet although its fleet is deleted.
            self._api.put(self._bucket, JobKeys(name).cancel, b"")
        if servers and status is not None and not ended:
            status = self._await_end(name, servers[0], tell, at_once or threading.Event())
            ended = status is not None and status.final
        if fleets or (goes_on and not servers):
            # One may have been started meanwhile.
            servers = live_servers(self._api, name) or servers
        workers = self._has_workers(name)
        if workers:
            remove_workers(self._api, name)
        if spot:
            remove_template(self._api, name)
        for server in servers:
            terminate(self._api, server.instance)
            forget_kept(self._account.settings, server.instance)
        if servers and not ended:
            # The server may have written its final status at the last moment. That one counts.
            status = self._readable_status(name)
            ended = status is not None and status.final
        if goes_on and not ended:
            before = status or NO_STATUS
            last = before._replace(
                job=name,
                state=State.CANCELLED,
                final=True,
                exit_code=137,
                reason="The job was cancelled and its server terminated.",
                instance=servers[0].instance if servers else before.instance,
            )
            self._api.put(self._bucket, JobKeys(name).status, json.dumps(write(last)).encode())
            self._account.forget_secrets(name)
        try:
            remove_roles(self._account, name, servers)
        except NotPermitted as error:
            raise RunError(f"The job {name} has ended, but its role could not be removed: {error.message}") from None
        if workers:
            remove_job_groups(self._api, name)
        return "cancelled" if goes_on else "had ended already"

    def _of_record(self, name: str, asked: Callable[[JobRecord], T], *, damaged: T, gone: T) -> T:
        try:
            return asked(self._account.record(name))
        except JobNotFound:
            return gone
        except RecordDamaged:
            return damaged

    def _is_relaunched(self, name: str) -> bool:
        return self._of_record(name, lambda record: record.relaunched, damaged=False, gone=False)

    def _is_spot(self, name: str) -> bool:
        """Whether the job has, or had, a fleet. True when its record is damaged, so that EC2 is asked."""
        return self._of_record(name, lambda record: record.fleet, damaged=True, gone=False)

    def _has_workers(self, name: str) -> bool:
        """Whether the job has, or had, a group of other servers. True when its record is damaged."""
        return self._of_record(name, lambda record: bool(record.group), damaged=True, gone=False)

    def _readable_status(self, name: str) -> Status | None:
        """The job's status; an empty one when it cannot be read, so that the job can be ended and removed."""
        try:
            return self._account.status(name)
        except RecordDamaged:
            return NO_STATUS

    def remove(self, name: str) -> str:
        """Remove a job that has ended: its record, logs and results in S3, and its role. Returns the word for what was
        done. Waits for a server that is about to turn off."""
        for server in self._servers(name):
            if self._goes_off(name, server):
                continue
            raise RunError(
                f"The job {name} has a server still ({server.instance}, {server.state}).",
                f"End it first: skylift cancel {name}",
            )
        if self._is_spot(name):
            if active_fleets(self._api, name) and not self._has_ended(name):
                raise RunError(f"The job {name} waits for another server.", f"End it first: skylift cancel {name}")
            remove_fleet(self._api, name)
        if self._has_workers(name):
            remove_workers(self._api, name)
        self._remove_cap(name)
        remove_roles(self._account, name, [])
        remove_job_groups(self._api, name)
        count = self._account.remove(name)
        return f"removed, {count} object{'s' * (count != 1)}"

    def _remove_cap(self, name: str) -> None:
        """That of the job's last server, which has ended by itself. The status, which says what server that was, is the
        server's own: the cap of another job's stays."""
        status = self._readable_status(name)
        if status is None or status.instance is None:
            return
        found = describe(self._api, status.instance)
        if found is None or found.job == name:
            uncap_server(self._api, status.instance)

    def _goes_off(self, name: str, server: Server) -> bool:
        """Whether the server's job has ended and it turns off soon. Waits until it does."""
        status = self._readable_status(name)
        if status is None or not status.final or status.kept_until:
            return False
        looks = (describe(self._api, server.instance) for _ in pauses(_OFF_PATIENCE, 2))
        return any(found is None or found.state in {"shutting-down", "terminated"} for found in looks)

    def _has_ended(self, name: str) -> bool:
        status = self._readable_status(name)
        return status is not None and status.final

    def _await_end(
        self, name: str, server: Server, tell: Callable[[str], object], at_once: threading.Event
    ) -> Status | None:
        """Until the job has ended, or `at_once` is set. As long as its results are sent, nothing but the time at which
        the server turns itself off limits that: ended before, it would lose them. A server that has sent nothing for a
        while is taken to hang."""
        began, pause, reported = time.monotonic(), 0.1, ""
        sending: _Sending | None = None
        status = self._readable_status(name)
        while status is None or not status.final:
            found, waited = describe(self._api, server.instance), time.monotonic() - began
            if found is None or found.gone:
                break
            if status is not None and status.state is State.UPLOADING:
                deadline, sending = self._deadline(name, server), sending or _Sending(self._account, name)
                if time.time() > deadline:
                    break
                if sending.has_stalled():
                    tell(f"it has sent nothing for {spell_duration(_STALLED)}; its server is terminated")
                    break
                latest = f"until {spell(deadline)} at the latest"
                words = f"its program has ended; waiting until its results are in S3, {latest}"
            elif waited > _CANCEL_PATIENCE:
                tell(f"it has not answered for {_CANCEL_PATIENCE:.0f} s; its server is terminated")
                break
            else:
                words = "waiting until its program has ended"
            if waited > _SILENCE and words != reported:
                tell(words)
                reported = words
            if at_once.wait(pause):
                tell("its server is terminated, without what is not in S3 yet")
                break
            pause = min(pause * 1.5, 2)
            status = self._readable_status(name)
        return status

    def _deadline(self, name: str, server: Server) -> float:
        """When the server turns itself off; 0 when only the server itself could say so."""
        launched = moment(server.launched)
        return self._of_record(name, lambda record: record.deadline_on(launched), damaged=0.0, gone=0.0)

    def _server(self, name: str) -> Server:
        servers = live_servers(self._api, name) if NAME_FORM.fullmatch(name) else []
        if not servers:
            raise JobNotFound(f"There is no server for a job called {name}.", "See `skylift ps`.")
        return servers[0]


class _Sending:
    """Whether a server sends: by what S3 has of it, and not by what it says. S3 is asked seldom, because a listing of
    many results is long."""

    def __init__(self, account: Account, name: str) -> None:
        self._account, self._below = account, f"{JobKeys(name).base}/server/"
        self._before, self._looked = self._there(), time.monotonic()

    def has_stalled(self) -> bool:
        if time.monotonic() - self._looked < _STALLED:
            return False
        before, self._before, self._looked = self._before, self._there(), time.monotonic()
        return self._before == before

    def _there(self) -> tuple[object, ...]:
        """How many objects and bytes there are, the time of the newest one, and the bytes of unfinished uploads."""
        api, bucket = self._account.api, self._account.bucket
        objects = api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=self._below)
        newest = max((each["LastModified"] for each in objects), default=None)
        return len(objects), sum(each["Size"] for each in objects), newest, self._unfinished()

    def _unfinished(self) -> int:
        api, bucket, size = self._account.api, self._account.bucket, 0
        for each in api.uploads(bucket, self._below)[:_MOST_UPLOADS]:
            where = {"Bucket": bucket, "Key": each["Key"], "UploadId": each["UploadId"]}
            try:
                size += sum(part["Size"] for part in api.pages("s3", "list_parts", "Parts", **where))
            except Refused as error:
                if error.code == "AccessDenied":
                    # Whether more of it comes cannot be known, so it is taken to come.
                    return time.monotonic_ns()
                # It has been completed meanwhile; or its key, which a program may have chosen, cannot be asked for.
        return size


def _await_host_keys(access: SshAccess) -> HostKeys | None:
    looks = (access.find_host_keys() for _ in pauses(_KEYS_PATIENCE, 2))
    return next((found for found in looks if found is not None), None)
