"""Jobs that are there: found by their servers and by their records, whoever started them."""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from skylift.runner.errors import JobNotFound, NotPermitted, RecordDamaged, RunError
from skylift.runner.job.commands import ssh_argv
from skylift.runner.job.job import NAME_FORM
from skylift.runner.job.record import Prefix, Record
from skylift.runner.job.server import Server
from skylift.runner.job.server_record import NOTHING_TOLD, Status, encode_status
from skylift.runner.job.settings import Settings
from skylift.runner.job.states import ENDED, State
from skylift.runner.launch.fleet import active_fleets, delete_fleets, remove_fleet, remove_template
from skylift.runner.launch.host_keys import HostKeys
from skylift.runner.launch.kept_server import remove_roles
from skylift.runner.launch.server import describe, live_servers, terminate
from skylift.runner.price.price import hourly_cost
from skylift.runner.price.run_price import run_cost, time_of_server
from skylift.runner.remote.account import Account, open_account
from skylift.runner.watch.ssh_access import SshAccess

"""What `skylift ps` may say of a job."""
_CANCEL_PATIENCE = 45.0
"""Seconds for the supervisor to see the wish (it looks every 5), to give the program its grace, and to send results."""
_KEYS_PATIENCE = 20.0
"""Seconds for a server that has come to be reachable to show its host keys."""
_OFF_PATIENCE = 60.0
"""Seconds for a server whose job has ended, and is not kept, to be off."""


@dataclass(frozen=True)
class Listed:
    """A line of `skylift ps`. `state` is the supervisor's word, `starting` before it has one, `lost` when a server went
    without one, `stranded` when results wait on a stopped server's disk, `waiting` when a spot
    job has no server until its fleet brings the next, and `damaged` when its record cannot be read, with the reason;
    `instance_state` is EC2's. `off_by` is when the server, or the next one, is off at the latest, `hourly_usd` what it
    costs until then. `created` is when the job was submitted, which on a kept server is long after `launched`;
    `program` what runs, `seconds` how long it has run, and `cost_usd` what its server has cost for it, or would have on
    AWS where it is not `charged`."""

    name: str
    state: State
    instance: str | None
    instance_state: str | None
    address: str | None
    type: str | None
    launched: str | None
    exit_code: int | None
    started: str | None
    ended: str | None
    signal: str | None = None
    reason: str | None = None
    off_by: str | None = None
    hourly_usd: float | None = None
    attempt: int = 1
    program: str | None = None
    created: str | None = None
    seconds: float | None = None
    cost_usd: float | None = None
    charged: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is to come of it any more, and no server is its own."""
        return self.instance_state is None and self.state in (*ENDED, State.LOST)

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class _Look:
    """What was found of a job, before it is decided whether more is to be read of it."""

    name: str
    state: State
    status: Status
    server: Server | None
    record: Record | None
    reason: str | None = None
    waiting: bool = False

    @property
    def since(self) -> str:
        """When the job was submitted, or what there is that is near that."""
        created = _spell(self.record.created) if self.record else None
        return created or self.status.booted or (self.server.launched if self.server else "")


class Jobs:
    """The jobs of one account and region."""

    def __init__(self, settings: Settings, account: Account | None = None) -> None:
        self._account = account = account or open_account(settings)
        self._api, self._bucket = account.api, account.bucket

    def listed(
        self, *, ended: bool = False, last: int | None = None, states: Collection[str] = (), like: str | None = None
    ) -> list[Listed]:
        """Jobs that have a server, and with `ended` all others too; the newest first. Of those that are in one of the
        `states`, and called `like` that (with * and ?), the `last` ones."""
        servers = {server.job: server for server in live_servers(self._api)}
        waiting = {each.job for each in active_fleets(self._api)}
        names: Iterable[str] = set(servers) | waiting | (set(self._account.recorded()) if ended else set())
        names = [name for name in names if like is None or fnmatchcase(name, like)]
        with ThreadPoolExecutor(8) as pool:
            looks = list(pool.map(lambda name: self._look(name, servers.get(name), name in waiting), names))
            found = [each for each in looks if not states or each.state in states]
            found.sort(key=lambda each: (each.since, each.name), reverse=True)
            return list(pool.map(self._tell, found[:last]))

    def one(self, name: str) -> Listed:
        servers = self._servers(name)
        return self._tell(self._look(name, servers[0] if servers else None, bool(active_fleets(self._api, name))))

    def _look(self, name: str, server: Server | None, waiting: bool) -> _Look:
        """A record that cannot be read is a line that says so; what EC2 tells of the job is in it all the same. Of most
        jobs that have ended the status tells enough, as long as nobody asks for more."""
        record = None
        try:
            status = self._account.status(name)
            if status is None or server or waiting:
                record = self._recorded(name)
        except RecordDamaged as error:
            return _Look(name, State.DAMAGED, NOTHING_TOLD, server, record, reason=error.message)
        state = _state(status, server, waiting=waiting)
        return _Look(name, state, status or NOTHING_TOLD, server, record, waiting=waiting)

    def _tell(self, look: _Look) -> Listed:
        record = look.record
        if record is None:
            with suppress(RecordDamaged):
                record = self._recorded(look.name)
        return self._listed(look, look.status, look.server, record)

    def _listed(self, look: _Look, status: Status, server: Server | None, record: Record | None) -> Listed:
        settings, alive = self._account.settings, server is not None
        kind = server.type if server else status.instance_type or (record.instance_type if record else "")
        stays = alive or (look.waiting and not status.final)
        spent = time_of_server(status.booted, status.ended, status.program_seconds, alive=alive)
        return Listed(
            name=look.name,
            state=look.state,
            instance=server.instance if server else status.instance,
            instance_state=server.state if server else None,
            address=server.address if server else None,
            type=kind or None,
            launched=server.launched if server else status.booted,
            exit_code=status.exit_code,
            started=status.started,
            ended=status.ended,
            signal=status.signal,
            reason=look.reason or status.reason,
            off_by=_off_by(record, status) if stays and look.state != State.DAMAGED else None,
            attempt=status.attempt,
            hourly_usd=hourly_cost(server, settings.region) if server and settings.billed else None,
            program=_program(record),
            created=_spell(record.created) if record else status.booted,
            seconds=_seconds(status, alive=alive),
            cost_usd=run_cost(kind or "", settings.region, status.market, spent),
            charged=settings.billed,
        )

    def _recorded(self, name: str) -> Record | None:
        """None where it has been forgotten meanwhile."""
        try:
            return self._account.record(name)
        except JobNotFound:
            return None

    def shell(self, name: str, command: tuple[str, ...] = (), *, terminal: bool = False) -> list[str]:
        """The argv of OpenSSH to a job's server, with its host key pinned in a file beside our key."""
        access = SshAccess(self._account, name, self._server(name))
        address, host_keys = self._open_ssh(access)
        known = self._pin(name, address, host_keys.keys)
        return ssh_argv(access.key.private, known, host_keys.user, address, command, terminal=terminal)

    def _open_ssh(self, access: SshAccess) -> tuple[str, HostKeys]:
        """The server's address and what it shows of itself, when it can be reached from here."""
        server = access.server
        assert server is not None
        if server.address is None:
            raise RunError(f"The server of {server.job} has no public address (it is {server.state}).")
        host_keys = _await_host_keys(access)
        if host_keys is None:
            raise RunError(f"The server of {server.job} has not shown its host key yet.", "Try again in a moment.")
        access.open_ssh()
        access.ensure_key_accepted(host_keys)
        return server.address, host_keys

    def _pin(self, name: str, address: str, keys: tuple[str, ...]) -> Path:
        folder = self._account.settings.key_dir / "known_hosts.d"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = "".join(f"{address} {key}\n" for key in keys)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write(lines)
        return Path(file.name).rename(folder / name)

    def cancel(self, name: str) -> str:
        """End a job, its server and its role; safe to repeat. The word for what was done.

        The wish is put into the job's prefix, where the supervisor sees it, so that it needs no SSH and results still
        come to S3. A server that does not end by itself is terminated.
        """
        servers = self._servers(name)
        spot = self._is_spot(name)
        fleets = active_fleets(self._api, name) if spot else []
        # None is to come in the place of one that goes.
        delete_fleets(self._api, fleets, servers_too=False)
        status = self._told(name)
        ended = status is not None and status.final
        if (servers or fleets) and not ended:
            # Also for a server that comes yet, whatever its fleet has heard.
            self._api.put(self._bucket, Prefix(name).cancel, b"")
        if servers and status is not None and not ended:
            status = self._await_end(name, servers[0])
            ended = status is not None and status.final
        if fleets:
            # One may have come meanwhile.
            servers = live_servers(self._api, name) or servers
        if spot:
            remove_template(self._api, name)
        for server in servers:
            terminate(self._api, server.instance)
        if servers and not ended:
            # It may have told of its end in the last moment, and that stays.
            status = self._told(name)
            ended = status is not None and status.final
        if (servers or fleets) and not ended:
            before = status or NOTHING_TOLD
            last = replace(
                before,
                state=State.CANCELLED,
                final=True,
                exit_code=137,
                reason="The job was cancelled and its server terminated.",
                instance=servers[0].instance if servers else before.instance,
            )
            self._api.put(self._bucket, Prefix(name).status, json.dumps(encode_status(last, job=name)).encode())
            self._account.forget_secrets(name)
        try:
            remove_roles(self._account, name, servers)
        except NotPermitted as error:
            raise RunError(f"The job {name} is ended, but its role stays: {error.message}") from None
        return "cancelled" if servers or fleets else "had ended already"

    def _is_spot(self, name: str) -> bool:
        """Whether it has, or had, a fleet that brings its servers; EC2 is asked where the record cannot tell."""
        try:
            return self._account.record(name).spot
        except JobNotFound:
            return False
        except RecordDamaged:
            return True

    def _told(self, name: str) -> Status | None:
        """What the server says, for who ends or forgets the job; of what cannot be read, that there is something."""
        try:
            return self._account.status(name)
        except RecordDamaged:
            return NOTHING_TOLD

    def _servers(self, name: str) -> list[Server]:
        """Those that a job has. Raises JobNotFound where there is neither a server nor a record."""
        servers = live_servers(self._api, name) if NAME_FORM.fullmatch(name) else []
        if not servers:
            with suppress(RecordDamaged):
                self._account.record(name)
        return servers

    def remove(self, name: str) -> str:
        """Forget a job that has ended: its record, logs and results in S3, and its role. The word for what was done.
        A server that has nothing left to do but to go off is waited for."""
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
        remove_roles(self._account, name, [])
        count = self._api.delete_below(self._bucket, f"{Prefix(name).base}/", last=Prefix(name).record)
        return f"removed, {count} object{'s' * (count != 1)}"

    def _goes_off(self, name: str, server: Server) -> bool:
        """Whether its job is over and it is on its way, or will be within the time that this takes."""
        status = self._told(name)
        if status is None or not status.final or status.kept_until:
            return False
        until, pause = time.monotonic() + _OFF_PATIENCE, 0.1
        while True:
            found = describe(self._api, server.instance)
            if found is None or found.state in {"shutting-down", "terminated"}:
                return True
            if time.monotonic() > until:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 2)

    def _has_ended(self, name: str) -> bool:
        status = self._told(name)
        return status is not None and status.final

    def _await_end(self, name: str, server: Server) -> Status | None:
        until, pause, status = time.monotonic() + _CANCEL_PATIENCE, 0.1, self._told(name)
        while (status is None or not status.final) and time.monotonic() < until:
            found = describe(self._api, server.instance)
            if found is None or found.gone:
                break
            time.sleep(pause)
            pause = min(pause * 1.5, 2)
            status = self._told(name)
        return status

    def _server(self, name: str) -> Server:
        servers = live_servers(self._api, name) if NAME_FORM.fullmatch(name) else []
        if not servers:
            raise JobNotFound(f"There is no server for a job called {name}.", "See `skylift ps`.")
        return servers[0]


def _off_by(record: Record | None, status: Status) -> str | None:
    """A kept server's own end, else the deadline that its operating system keeps."""
    if record is None:
        return None
    return _spell(status.until(record.deadline).kept_until or record.deadline)


def _spell(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def _program(record: Record | None) -> str | None:
    """As one would type it; a script by its name."""
    return None if record is None else shlex.join(record.argv[1:] if record.script else record.argv)


def _seconds(status: Status, *, alive: bool) -> float | None:
    """How long the program has run; of one that has not ended, and has no server, nobody knows."""
    if status.program_seconds is not None and status.final:
        return status.program_seconds
    return time_of_server(status.started, status.ended, status.program_seconds, alive=alive)


def _await_host_keys(access: SshAccess) -> HostKeys | None:
    until, pause = time.monotonic() + _KEYS_PATIENCE, 0.1
    while (found := access.find_host_keys()) is None and time.monotonic() < until:
        time.sleep(pause)
        pause = min(pause * 1.5, 2)
    return found


def _state(status: Status | None, server: Server | None, *, waiting: bool) -> State:
    if status is not None and status.final:
        return status.state
    if server is None:
        return State.WAITING if waiting else State.LOST
    if server.state == "stopped":
        return State.STRANDED
    return State.STARTING if status is None else status.state
