"""The kept server that this user's last job was on. The next run begins to connect to it before it asks EC2 for
anything: a connection takes as long as all that comes before a server is taken.

Nothing of this is believed. A kept server is taken as EC2 and S3 describe it; a connection that has begun to another
one, or with other host keys, is closed.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skylift.client.errors import ConnectionLost, RecordDamaged
from skylift.client.job.job import NAME_FORM, Job
from skylift.client.job.server_record import parse_host_keys
from skylift.client.remote import ssh
from skylift.client.text.json_object import parse_object
from skylift.contract.document import FOREVER, Malformed
from skylift.contract.stream import HostKeys

if TYPE_CHECKING:
    from skylift.client.job.server import Server
    from skylift.client.job.settings import Settings
    from skylift.client.remote.ssh import SshConnection

_ENTRY = "last-kept"
_LONGEST = 1 << 20
_ACCOUNT = re.compile(r"[0-9]{12}")
_TYPE = re.compile(r"[a-z0-9.-]{1,32}")


@dataclass(frozen=True)
class LastKept:
    """`job` is the server's last job. `until` is when it turns off if no other comes, in seconds since the epoch."""

    account: str
    job: str
    type: str
    address: str
    host_keys: HostKeys
    until: float


class StartedConnection:
    """A connection to a server that the job may have. `connect` may be called once; `end` closes what nobody wants."""

    def __init__(self, to: LastKept, start: ssh.SshStart) -> None:
        self._to, self._start = to, start

    @property
    def instance(self) -> str:
        return self._to.host_keys.instance

    def is_to(self, server: Server, host_keys: HostKeys | None) -> bool:
        found = (server.job, server.address, host_keys)
        return found == (self._to.job, self._to.address, self._to.host_keys)

    def is_gone(self, account: str, there: Iterable[Server]) -> bool:
        """Whether the account that it was in has the server no more. `there` are those that this account has."""
        return self._to.account == account and all(each.instance != self.instance for each in there)

    def is_up(self) -> bool:
        """Whether it is on its way still, or there."""
        return self._start.is_up()

    async def connect(self) -> SshConnection:
        """Raises ConnectionLost."""
        return await self._start.connect()

    def end(self) -> None:
        self._start.end()


def may_take_kept(job: Job) -> bool:
    """Nobody loses a server that is kept for another look by a run that has not asked for it."""
    asked = job.keep > 0 or job.reuse
    return bool(asked) and not job.fresh and job.map is None and job.cluster is None and job.spot is None


def start_connection(job: Job, settings: Settings, now: float, port: int = 22) -> StartedConnection | None:
    """Begin to connect to the server that the last job was on, if this job may have it. It changes nothing there."""
    if not may_take_kept(job) or settings.access.private:
        return None
    to = last_kept(settings)
    if to is None or to.until < now or job.reuse not in ("", to.job) or to.type != job.instance_type:
        return None
    key = settings.key_dir / f"{to.account}-{settings.region}.pem"
    try:
        start = ssh.SshStart(to.address, to.host_keys.user, key, to.host_keys.keys, job.name, port, last=to.job)
    except ConnectionLost:
        return None
    return StartedConnection(to, start)


def remember_kept(settings: Settings, kept: LastKept) -> None:
    content = {
        "account": kept.account,
        "job": kept.job,
        "type": kept.type,
        "address": kept.address,
        "until": kept.until,
        "user": kept.host_keys.user,
        "keys": kept.host_keys.keys,
        "instance": kept.host_keys.instance,
    }
    settings.cache.write(_ENTRY, settings.address, json.dumps(content).encode())


def forget_kept(settings: Settings, instance: str) -> None:
    """This server is another job's, or ends. Its address may be somebody else's soon."""
    kept = last_kept(settings)
    if kept is not None and kept.host_keys.instance == instance:
        settings.cache.remove(_ENTRY)


def last_kept(settings: Settings) -> LastKept | None:
    """None when none is known where jobs run now, and when what is known is damaged."""
    found = settings.cache.read(_ENTRY, settings.address)
    if found is None:
        return None
    try:
        fields = parse_object(found, _LONGEST)
        return LastKept(
            account=_there(fields.text("account", 12, _ACCOUNT)),
            job=_there(fields.text("job", 64, NAME_FORM)),
            type=_there(fields.text("type", 32, _TYPE)),
            address=str(ipaddress.IPv4Address(_there(fields.text("address", 15)))),
            host_keys=parse_host_keys(_ENTRY, found),
            until=fields.number("until", 0, FOREVER) or 0.0,
        )
    except (Malformed, RecordDamaged, ValueError):
        return None


def _there(found: str | None) -> str:
    if found is None:
        raise Malformed("a field is missing")
    return found
