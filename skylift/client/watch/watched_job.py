"""A job that its server has, for the client that watches it: the one that launched it, or one that comes later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skylift.client.job.server import Server
from skylift.client.launch.host_keys import HostKeys
from skylift.client.launch.server import live_servers
from skylift.client.launch.stages import Launched
from skylift.client.remote.account import Account
from skylift.client.remote.connection import Connection
from skylift.client.text.duration import moment
from skylift.contract.document import FOREVER


@dataclass(frozen=True)
class WatchedJob:
    """What is known of a job when somebody begins to watch it.

    `launched_here` is true for the client that launched it: it takes everything down when the job fails before its
    program starts. `home` is the folder that results go to, `connection` an SSH connection that is open already, and
    `choice` the reason for the server's type, if it was chosen. The server of a `spot` job may be followed by others.
    `outputs`, `script` (the program's own file), `deadline` (seconds since the epoch), `max_time` (seconds) and
    `spares_tracked` are as in the job's record; `has_workers` is whether it may have other servers besides,
    `relaunched` whether it is a map that goes on on another server when its own is lost. `capped` is whether the cloud
    ends its server after the deadline, None where this client does not know.
    """

    account: Account
    name: str
    home: Path
    keep: bool
    instance_type: str
    server: Server | None
    host_keys: HostKeys | None = None
    launched_here: bool = False
    connection: Connection | None = None
    interactive: bool = False
    choice: dict[str, Any] | None = None
    spot: bool = False
    outputs: tuple[str, ...] = ()
    script: str = ""
    deadline: float = FOREVER
    max_time: int = 0
    is_map: bool = False
    has_workers: bool = False
    relaunched: bool = False
    spares_tracked: bool = False
    capped: bool | None = None
    may_be_capped: bool = False

    def type_of(self, server: Server | None) -> str:
        """The instance type that the job ran on, when `server` was its last one. A spot job's types may differ."""
        return server.type if self.spot and server is not None else self.instance_type


def launched_job(launched: Launched) -> WatchedJob:
    """The job that this client has just launched."""
    job = launched.job
    return WatchedJob(
        account=launched.account,
        name=job.name,
        home=job.home,
        keep=bool(job.keep or job.reuse),
        instance_type=job.instance_type,
        server=launched.server,
        host_keys=launched.host_keys,
        launched_here=True,
        connection=launched.connection,
        interactive=job.terminal is not None,
        choice=job.choice.as_json() if job.choice is not None else None,
        spot=job.spot is not None,
        outputs=job.outputs,
        script=job.program.target if job.program.kind == "script" else "",
        deadline=launched.deadline,
        max_time=job.max_time,
        is_map=job.map is not None,
        has_workers=job.has_workers,
        relaunched=job.map is not None and job.spot is None,
        spares_tracked=job.spares_tracked,
        capped=launched.capped,
    )


def find_job(account: Account, name: str, home: Path) -> WatchedJob:
    """A job of the account, whoever launched it. Raises JobNotFound, RecordDamaged."""
    record = account.record(name)
    servers = live_servers(account.api, name)
    return WatchedJob(
        account=account,
        name=name,
        home=home,
        keep=bool(record.keep or record.promised),
        instance_type=record.instance_type,
        server=servers[0] if servers else None,
        interactive=record.terminal is not None,
        choice=record.choice,
        spot=record.fleet,
        outputs=record.outputs,
        script=record.script,
        deadline=record.deadline_on(moment(servers[0].launched)) if servers else record.deadline,
        max_time=record.max_time,
        is_map=record.is_map,
        has_workers=bool(record.group),
        relaunched=record.relaunched,
        spares_tracked=record.spares_tracked,
        may_be_capped=record.capped,
    )
