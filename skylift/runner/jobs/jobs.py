"""Jobs of an account: found by their servers and by their records, whoever started them."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from skylift.runner.errors import JobNotFound, NotPermitted, RecordDamaged, RunError, UsageError
from skylift.runner.job.commands import ssh_argv
from skylift.runner.job.job import NAME_FORM
from skylift.runner.job.record import Prefix, Record
from skylift.runner.job.scheduled import parse_run
from skylift.runner.job.server import Server
from skylift.runner.job.server_record import NO_STATUS, Status, encode_status
from skylift.runner.job.settings import Settings
from skylift.runner.job.states import ENDED, State
from skylift.runner.launch.fleet import active_fleets, delete_fleets, remove_fleet, remove_template
from skylift.runner.launch.host_keys import HostKeys
from skylift.runner.launch.job_group import remove_job_groups
from skylift.runner.launch.kept_server import remove_roles
from skylift.runner.launch.server import describe, live_servers, terminate
from skylift.runner.launch.worker_group import remove_workers
from skylift.runner.price.price import hourly_cost
from skylift.runner.price.run_price import run_cost, time_of_server
from skylift.runner.remote.account import Account, open_account
from skylift.runner.text.duration import moment
from skylift.runner.watch.ssh_access import SshAccess

_CANCEL_PATIENCE = 45.0
"""Seconds for the supervisor to see the request (it looks every 5), to end the program, and to send results."""
_KEYS_PATIENCE = 20.0
"""Seconds for a server to publish its host keys."""
_OFF_PATIENCE = 60.0
"""Seconds for a server to turn off when its job has ended and it is not kept."""


@dataclass(frozen=True)
class Listed:
    """A line of `skylift ps`.

    `state` is what the supervisor has reported. It is `starting` before the first report, `lost` when the server has
    gone without a final one, `stranded` when results are on the disk of a stopped server, `waiting` when a spot job has
    no server until its fleet starts the next one, and `damaged` when the job's record cannot be read; `reason` says
    why. `instance_state` is EC2's state. `off_by` is when the server, or the next one, is off at the latest, and
    `hourly_usd` what it costs until then. `created` is when the job was submitted, which on a kept server is long after
    `launched`. `attempt` counts the servers of a spot job, `retries` how often the program was started again after a
    failure. `program` is the command, `seconds` how long it has run, and `cost_usd` what the job's server has cost;
    without `charged` it is what the server would have cost on AWS.
    """

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
    retries: int = 0
    program: str | None = None
    created: str | None = None
    seconds: float | None = None
    cost_usd: float | None = None
    charged: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the job has ended or is lost, and has no server."""
        return self.instance_state is None and self.state in (*ENDED, State.LOST)

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class _Findings:
    """The facts about a job before it is decided whether to read its record too."""

    name: str
    state: State
    status: Status
    server: Server | None
    record: Record | None
    reason: str | None = None
    waiting: bool = False

    @property
    def since(self) -> str:
        """When the job was submitted, or the nearest time that is known."""
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
        """Jobs that have a server, and with `ended` all others too, the newest first. `states` and `like` (a name with
        * and ?) select among them, and `last` is how many of the selected ones to return."""
        return self._listed_of(lambda name: like is None or fnmatchcase(name, like), ended, last, states)

    def runs(self, schedule: str, last: int | None = None) -> list[Listed]:
        """The runs of a schedule, the newest first."""
        return self._listed_of(lambda name: (parse_run(name) or ("",))[0] == schedule, True, last, ())

    def _listed_of(
        self, chosen: Callable[[str], bool], ended: bool, last: int | None, states: Collection[str]
    ) -> list[Listed]:
        servers = {server.job: server for server in live_servers(self._api)}
        waiting = {each.job for each in active_fleets(self._api)}
        names: Iterable[str] = set(servers) | waiting | (set(self._account.recorded()) if ended else set())
        names = [name for name in names if chosen(name)]
        with ThreadPoolExecutor(8) as pool:
            all_jobs = list(pool.map(lambda name: self._find(name, servers.get(name), name in waiting), names))
            found = [each for each in all_jobs if not states or each.state in states]
            found.sort(key=lambda each: (each.since, each.name), reverse=True)
            return list(pool.map(self._line, found[:last]))

    def one(self, name: str) -> Listed:
        servers = self._servers(name)
        return self._line(self._find(name, servers[0] if servers else None, bool(active_fleets(self._api, name))))

    def _find(self, name: str, server: Server | None, waiting: bool) -> _Findings:
        """Read the status, and the record only if the job is alive: for most jobs that have ended, the status is
        enough. A record that cannot be read becomes a line that says so, with what EC2 knows of the job."""
        record = None
        try:
            status = self._account.status(name)
            if status is None or server or waiting:
                record = self._recorded(name)
        except RecordDamaged as error:
            return _Findings(name, State.DAMAGED, NO_STATUS, server, record, reason=error.message)
        state = _state(status, server, waiting=waiting)
        return _Findings(name, state, status or NO_STATUS, server, record, waiting=waiting)

    def _line(self, found: _Findings) -> Listed:
        record = found.record
        if record is None:
            with suppress(RecordDamaged):
                record = self._recorded(found.name)
        return self._listed(found, found.status, found.server, record)

    def _listed(self, found: _Findings, status: Status, server: Server | None, record: Record | None) -> Listed:
        settings, alive = self._account.settings, server is not None
        kind = server.type if server else status.instance_type or (record.instance_type if record else "")
        stays = alive or (found.waiting and not status.final)
        spent = time_of_server(status.booted, status.ended, status.program_seconds, alive=alive)
        return Listed(
            name=found.name,
            state=found.state,
            instance=server.instance if server else status.instance,
            instance_state=server.state if server else None,
            address=server.address if server else None,
            type=kind or None,
            launched=server.launched if server else status.booted,
            exit_code=status.exit_code,
            started=status.started,
            ended=status.ended,
            signal=status.signal,
            reason=found.reason or status.reason,
            off_by=_off_by(record, status, server) if stays and found.state != State.DAMAGED else None,
            attempt=status.attempt,
            retries=status.retries,
            hourly_usd=hourly_cost(server, settings.region) if server and settings.billed else None,
            program=_program(record),
            created=_spell(record.created) if record else status.booted,
            seconds=_seconds(status, alive=alive),
            cost_usd=run_cost(kind or "", settings.region, status.market, spent),
            charged=settings.billed,
        )

    def _recorded(self, name: str) -> Record | None:
        """None when the job has been removed meanwhile."""
        try:
            return self._account.record(name)
        except JobNotFound:
            return None

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

    def cancel(self, name: str) -> str:
        """End a job, its server and its role; safe to repeat. Returns the word for what was done.

        The request is an object in the job's prefix, which the supervisor looks for. So it needs no SSH, and
        results still come to S3. A server that does not end by itself is terminated.
        """
        servers = self._servers(name)
        spot = self._is_spot(name)
        fleets = active_fleets(self._api, name) if spot else []
        # First, so that no new server starts when one ends.
        delete_fleets(self._api, fleets, servers_too=False)
        status = self._readable_status(name)
        ended = status is not None and status.final
        if (servers or fleets) and not ended:
            # Also for a server that may start yet although its fleet is deleted.
            self._api.put(self._bucket, Prefix(name).cancel, b"")
        if servers and status is not None and not ended:
            status = self._await_end(name, servers[0])
            ended = status is not None and status.final
        if fleets:
            # The fleet may have started one meanwhile.
            servers = live_servers(self._api, name) or servers
        workers = self._has_workers(name)
        if workers:
            remove_workers(self._api, name)
        if spot:
            remove_template(self._api, name)
        for server in servers:
            terminate(self._api, server.instance)
        if servers and not ended:
            # The server may have written its final status at the last moment. That one counts.
            status = self._readable_status(name)
            ended = status is not None and status.final
        if (servers or fleets) and not ended:
            before = status or NO_STATUS
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
            raise RunError(f"The job {name} has ended, but its role could not be removed: {error.message}") from None
        if workers:
            remove_job_groups(self._api, name)
        return "cancelled" if servers or fleets else "had ended already"

    def _is_spot(self, name: str) -> bool:
        """Whether the job has, or had, a fleet. True when its record is damaged, so that EC2 is asked."""
        try:
            return self._account.record(name).spot
        except JobNotFound:
            return False
        except RecordDamaged:
            return True

    def _has_workers(self, name: str) -> bool:
        """Whether the job has, or had, a group of other servers. True when its record is damaged."""
        try:
            return self._account.record(name).has_workers
        except JobNotFound:
            return False
        except RecordDamaged:
            return True

    def _readable_status(self, name: str) -> Status | None:
        """The job's status; an empty one when it cannot be read, so that the job can be ended and removed."""
        try:
            return self._account.status(name)
        except RecordDamaged:
            return NO_STATUS

    def _servers(self, name: str) -> list[Server]:
        """The job's servers. Raises JobNotFound when there is neither a server nor a record."""
        servers = live_servers(self._api, name) if NAME_FORM.fullmatch(name) else []
        if not servers:
            with suppress(RecordDamaged):
                self._account.record(name)
        return servers

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
        remove_roles(self._account, name, [])
        remove_job_groups(self._api, name)
        count = self._api.delete_below(self._bucket, f"{Prefix(name).base}/", last=Prefix(name).record)
        return f"removed, {count} object{'s' * (count != 1)}"

    def _goes_off(self, name: str, server: Server) -> bool:
        """Whether the server's job has ended and it turns off soon. Waits until it does."""
        status = self._readable_status(name)
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
        status = self._readable_status(name)
        return status is not None and status.final

    def _await_end(self, name: str, server: Server) -> Status | None:
        until, pause, status = time.monotonic() + _CANCEL_PATIENCE, 0.1, self._readable_status(name)
        while (status is None or not status.final) and time.monotonic() < until:
            found = describe(self._api, server.instance)
            if found is None or found.gone:
                break
            time.sleep(pause)
            pause = min(pause * 1.5, 2)
            status = self._readable_status(name)
        return status

    def _server(self, name: str) -> Server:
        servers = live_servers(self._api, name) if NAME_FORM.fullmatch(name) else []
        if not servers:
            raise JobNotFound(f"There is no server for a job called {name}.", "See `skylift ps`.")
        return servers[0]


def _off_by(record: Record | None, status: Status, server: Server | None) -> str | None:
    """The end of a kept server's wait, or else the deadline at which its operating system turns it off."""
    if record is None:
        return None
    deadline = record.deadline if server is None else record.deadline_on(moment(server.launched))
    return _spell(status.until(deadline).kept_until or deadline)


def _spell(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def _program(record: Record | None) -> str | None:
    return None if record is None else record.program


def _seconds(status: Status, *, alive: bool) -> float | None:
    """How long the program has run. None when it has not ended and has no server."""
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
