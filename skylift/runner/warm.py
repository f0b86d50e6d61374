"""Servers that an earlier run has left up (`--keep`), and how the next one takes one of them over.

A server is taken only where nothing but the job is different: image, type, place, supervisor, the address that SSH is
open to, and the key that it was started with. That key is one user's on one machine, so that nobody gets a server on
which somebody else's program has run. Who takes it says so in the record of the job that has ended, where the server
says it as well when it does not wait any longer: the first of both decides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from skylift.runner import role
from skylift.runner.account import Account
from skylift.runner.archive import whole_archive
from skylift.runner.ec2 import Api
from skylift.runner.job import Job, Settings
from skylift.runner.key import key_here
from skylift.runner.launch import Server, describe_kept, live_servers
from skylift.runner.record import Prefix, tags_of
from skylift.runner.way_in import WayIn, find_way_in

_LEAST = 5.0
"""Seconds that a server must have left, so that it is not taken in the moment in which it goes."""


@dataclass(frozen=True)
class Warm:
    server: Server
    way_in: WayIn | None


def fit_of(job: Job, image: str, settings: Settings, caller: str | None, buckets: Sequence[str]) -> str:
    """What a server has to be for a job, as one word. `buckets` are those of the user's that its role may be opened
    to."""
    access = settings.access
    supervisor = hashlib.sha256(whole_archive(settings.cache)).hexdigest()
    place = [access.private, access.subnet, list(access.groups), caller, settings.login_user]
    told = json.dumps([image, job.instance_type, place, list(buckets), supervisor])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def waiting(account: Account, kept: Iterable[Server], now: float) -> list[Warm]:
    """Those of these that this user has started, and that do nothing but wait."""
    key = key_here(account.settings.key_dir, account.number, account.settings.region)
    found = []
    for server in kept:
        if key is not None and server.key == key.name:
            status = account.status(server.job)
            if status.get("final") and (status.get("kept_until") or 0) > now + _LEAST:
                found.append(Warm(server, find_way_in(account.api, account.bucket, Prefix(server.job))))
    return found


def take(account: Account, job: str, servers: Iterable[Warm]) -> Warm | None:
    """The first of these that nobody else has taken by now, which is this job's from here on."""
    claim = json.dumps({"job": job}).encode()
    for each in servers:
        if account.api.put(account.bucket, Prefix(each.server.job).next, claim, first=True):
            return each
    return None


def kept_servers(api: Api) -> list[Server]:
    """The one that was started last comes first."""
    return sorted(describe_kept(api), key=lambda each: each.launched, reverse=True)


def pass_on(api: Api, server: Server, job: str, policy: dict[str, Any]) -> None:
    """The server's role is for this job now, and what the server consists of is tagged with it."""
    tags = [{"Key": name, "Value": value} for name, value in tags_of(job).items()]
    with ThreadPoolExecutor(2) as pool:
        tagged = pool.submit(api.call, "ec2", "create_tags", Resources=[server.instance, *server.parts], Tags=tags)
        document = json.dumps(policy)
        api.call("iam", "put_role_policy", RoleName=server.role, PolicyName="job", PolicyDocument=document)
        tagged.result()


def put_roles_away(account: Account, job: str, servers: Sequence[Server]) -> None:
    """Those of a job and of its servers, which are ending or gone; but no role that another job's server has by now."""
    ending = {each.instance for each in servers}
    others = {each.role for each in live_servers(account.api) if each.instance not in ending}
    had = [account.status(job).get("role"), role.role_name(job), *(each.role for each in servers)]
    for name in sorted({each for each in had if each} - others):
        role.remove_named(account.api, name)
