"""Servers that an earlier run has left up (`--keep`), and how the next one takes one of them over.

A server is taken only where nothing but the job is different: image, type, place, supervisor, the address that SSH is
open to, and the key that it was started with. That key is one user's on one machine, so that nobody gets a server on
which somebody else's program has run. Of the clients that want it one may make it ready for its job: the first that
says so in the record of the job that has ended. Only when all is ready it takes the server, by another object there,
which the server itself writes when it does not wait any longer: the first of both decides. So a client that dies has
started a job, with all that it needs, or none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from skylift.runner.errors import RecordDamaged, Refused
from skylift.runner.job.job import Job
from skylift.runner.job.record import Prefix
from skylift.runner.job.server import Server
from skylift.runner.job.server_record import Status
from skylift.runner.job.settings import Settings
from skylift.runner.job.tags import job_tags
from skylift.runner.launch import role
from skylift.runner.launch.host_keys import HostKeys, find_host_keys
from skylift.runner.launch.key import key_here
from skylift.runner.launch.server import describe_kept, live_servers
from skylift.runner.remote.account import Account
from skylift.runner.remote.api import Api
from skylift.runner.ship.archive import whole_archive

_LEAST = 5.0
"""Seconds that a server must have left, so that it is not taken in the moment in which it goes."""
_AT_A_TIME = 4


@dataclass(frozen=True)
class KeptServer:
    server: Server
    host_keys: HostKeys | None


def fit_of(job: Job, image: str, settings: Settings, caller: str | None, buckets: Sequence[str]) -> str:
    """What a server has to be for a job, as one word. `buckets` are those of the user's that its role may be opened
    to."""
    access = settings.access
    supervisor = hashlib.sha256(whole_archive(settings.cache)).hexdigest()
    place = [access.private, access.subnet, list(access.groups), caller, settings.login_user]
    told = json.dumps([image, job.instance_type, place, list(buckets), supervisor])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def waiting(account: Account, kept: Iterable[Server], now: float) -> list[KeptServer]:
    """Those of these that this user has started, and that do nothing but wait."""
    key = key_here(account.settings.key_dir, account.number, account.settings.region)
    ours = [each for each in kept if key is not None and each.key == key.name]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        looks = [(pool.submit(account.status, each.job), pool.submit(_host_keys, account, each.job)) for each in ours]
        found = (_look(server, *look, now) for server, look in zip(ours, looks, strict=True))
        return [each for each in found if each is not None]


def _host_keys(account: Account, job: str) -> HostKeys | None:
    return find_host_keys(account.api, account.bucket, Prefix(job))


def _look(server: Server, told: Future[Status | None], shown: Future[HostKeys | None], now: float) -> KeptServer | None:
    """One whose record is damaged is nobody's next."""
    try:
        status, host_keys = told.result(), shown.result()
    except RecordDamaged:
        return None
    waits = status is not None and status.final and (status.kept_until or 0) > now + _LEAST
    return KeptServer(server, host_keys) if waits else None


def claim(account: Account, job: str, servers: Iterable[KeptServer]) -> KeptServer | None:
    """The first of these that nobody else has claimed by now: nobody but us may take it from here on, or change
    anything about it."""
    body = json.dumps({"job": job}).encode()
    for each in servers:
        if account.api.put(account.bucket, Prefix(each.server.job).claim, body, first=True):
            return each
    return None


def take(account: Account, job: str, last: str) -> bool:
    """Whether the server that was kept after `last` is this job's from here on; else it is going off."""
    return account.api.put(account.bucket, Prefix(last).next, json.dumps({"job": job}).encode(), first=True)


def kept_servers(api: Api) -> list[Server]:
    """The one that was started last comes first."""
    return sorted(describe_kept(api), key=lambda each: each.launched, reverse=True)


def pass_on(api: Api, server: Server, job: str, policy: dict[str, Any]) -> bool:
    """The server's role is for this job now, and what the server consists of is tagged with it. False when the server
    has ended meanwhile: what was sent for the job may have taken longer than the server waited."""
    with ThreadPoolExecutor(1) as pool:
        tagged = pool.submit(tag, api, server, job)
        return _allow(api, server, policy) & tagged.result()


def _allow(api: Api, server: Server, policy: dict[str, Any]) -> bool:
    document = json.dumps(policy)
    try:
        api.undisturbed("iam", "put_role_policy", RoleName=server.role, PolicyName="job", PolicyDocument=document)
    except Refused as error:
        if error.code != "NoSuchEntity":
            raise
        return False
    return True


def tag(api: Api, server: Server, job: str) -> bool:
    """Say whose a server is, disks, role and all. False when it, or a part of it, is not there any more."""
    tags = job_tags(job)
    try:
        api.call("ec2", "create_tags", Resources=[server.instance, *server.parts], Tags=tags)
        if server.role:
            api.undisturbed("iam", "tag_role", RoleName=server.role, Tags=tags)
            api.undisturbed("iam", "tag_instance_profile", InstanceProfileName=server.role, Tags=tags)
    except Refused as error:
        if not error.code.endswith(".NotFound") and error.code != "NoSuchEntity":
            raise
        return False
    return True


def put_roles_away(account: Account, job: str, servers: Sequence[Server]) -> None:
    """Those of a job and of its servers, which are ending or gone; but no role that another job's server has by now.
    Which role its last server had, only that server can tell; so it is asked of IAM whose the role is."""
    ending = {each.instance for each in servers}
    others = {each.role for each in live_servers(account.api) if each.instance not in ending}
    of_servers = {each.role for each in servers}
    had = {_role_told(account, job), role.role_name(job), *of_servers}
    for name in sorted({each for each in had if each} - others):
        # EC2 says which one the job's own server has. A client that was killed while it gave the server to this job may
        # have left that role to the job before.
        before = {role.owner_of(account.api, name)} if name in of_servers else set()
        role.remove_role_of(account.api, name, {job} | before)


def _role_told(account: Account, job: str) -> str | None:
    try:
        status = account.status(job)
    except RecordDamaged:
        return None
    return None if status is None else status.role
