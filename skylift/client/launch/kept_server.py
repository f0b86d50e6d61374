"""Servers that an earlier run has left running (`--keep`), and what the next run does to take one of them over.

A run takes a server only if it says `--keep` or `--reuse`, and nothing but the job differs: project, image, type,
subnet and groups, supervisor, the address that SSH is open to, and the key that it was started with. The key belongs to
one user on one machine, so nobody gets a server on which another user's program has run.

Two objects in the prefix of the server's last job decide who takes it. Each is written only if it is not there yet.
`claim.json` names the one client that may prepare the server for its job. `next.json` is written by that client when
everything is ready, or by the server when it waits no longer; the first one counts. So a client that is killed has
either started a complete job or none.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from skylift.client.errors import JobNotFound, RecordDamaged, Refused, UsageError
from skylift.client.job.job import Job
from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.job.settings import Settings
from skylift.client.job.tags import job_tags
from skylift.client.launch import role
from skylift.client.launch.host_keys import HostKeys, find_host_keys
from skylift.client.launch.key import key_here
from skylift.client.launch.server import describe_kept, live_servers
from skylift.client.remote.account import Account
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import end_unless_gone
from skylift.client.ship.archive import whole_archive
from skylift.client.ship.bundle import find_project
from skylift.client.waiting import Threads
from skylift.contract.record import JobRecord
from skylift.contract.status import Status

_LEAST_LEFT = 5.0
"""Seconds that a server must still wait, so that it is not taken while it turns off."""
_AT_A_TIME = 4
_NOT_TO_BE_HAD = r".*\.NotFound|NoSuchEntity|ConcurrentModification"


@dataclass(frozen=True)
class KeptServer:
    """`until` is when it turns off if no job comes, in seconds since the epoch."""

    server: Server
    host_keys: HostKeys | None
    until: float

    def waits(self, now: float) -> bool:
        return self.until > now + _LEAST_LEFT


def configuration_of(job: Job, image: str, settings: Settings, caller: str | None, buckets: Sequence[str]) -> str:
    """Two digests: of the project's folder, and of all else that a kept server and a job must have in common. `buckets`
    are the buckets of the user's own that the role may read."""
    access, project = settings.access, os.path.realpath(find_project(job.home) or job.home)
    supervisor = hashlib.sha256(whole_archive(settings.cache)).hexdigest()
    place = [access.private, access.subnet, list(access.groups), caller, settings.login_user]
    parts = ([project], [image, job.instance_type, place, list(buckets), supervisor])
    return "-".join(hashlib.sha256(json.dumps(each).encode()).hexdigest()[:32] for each in parts)


def check_reuse(job: Job, waiting: Sequence[KeptServer], configuration: str) -> None:
    """Check that the server that --reuse names waits, and fits. Raises UsageError."""
    if not waiting:
        raise UsageError(f"No server waits after the job {job.reuse}.", "`skylift ps` shows the servers that are kept.")
    found = waiting[0].server
    if found.configuration.partition("-")[0] != configuration.partition("-")[0]:
        raise UsageError(f"The server of {job.reuse} is of another project.", "Run in that project's folder.")
    if found.configuration != configuration:
        what = f"{found.type} with the image, network, address, buckets and version of skylift of then"
        raise UsageError(f"The server of {job.reuse} is a {what}, which this run does not have.")


def waiting_servers(account: Account, kept: Iterable[Server], now: float) -> list[KeptServer]:
    """The servers among these that this user has started and that wait for a job."""
    key = key_here(account.settings.key_dir, account.number, account.settings.region)
    ours = [each for each in kept if key is not None and each.key == key.name]
    with Threads(_AT_A_TIME) as pool:
        keys = [pool.submit(find_host_keys, account.api, account.bucket, JobKeys(each.job)) for each in ours]
        records = [pool.submit(account.record, each.job) for each in ours]
        looks = zip([pool.submit(account.status, each.job) for each in ours], keys, records, strict=True)
        found = (_if_waiting(server, *look) for server, look in zip(ours, looks, strict=True))
        return [each for each in found if each is not None and each.waits(now)]


def _if_waiting(
    server: Server, reported: Future[Status | None], published: Future[HostKeys | None], recorded: Future[JobRecord]
) -> KeptServer | None:
    """None when the server does not wait, or the record of its last job is damaged."""
    try:
        status, host_keys, deadline = reported.result(), published.result(), recorded.result().deadline
    except (JobNotFound, RecordDamaged):
        return None
    if status is None or not status.final:
        return None
    # The next job's deadline is made of it, and a program may have written the status.
    return KeptServer(server, host_keys, status.until(deadline).kept_until or 0.0)


def claim_server(account: Account, job: str, servers: Iterable[KeptServer]) -> KeptServer | None:
    """Claim the first of these that nobody else has claimed. From then on only this client may take or change it."""
    body = json.dumps({"job": job}).encode()
    for each in servers:
        if account.api.put(account.bucket, JobKeys(each.server.job).claim, body, first=True):
            return each
    return None


def take_server(account: Account, job: str, last: str) -> bool:
    """Take the server that was kept after the job `last`. False when it has stopped waiting and is turning off."""
    return account.api.put(account.bucket, JobKeys(last).next, json.dumps({"job": job}).encode(), first=True)


def kept_servers(api: Api) -> list[Server]:
    """All kept servers, the newest first."""
    return sorted(describe_kept(api), key=lambda each: each.launched, reverse=True)


def assign_server(api: Api, server: Server, job: str, policy: dict[str, Any]) -> bool:
    """Give the server's role the job's policy, and tag the server's parts with the job. False when the server has ended
    meanwhile: uploading may have taken longer than the server waited. Also when others change the role all the time."""
    with Threads(1) as pool:
        tagged = pool.submit(tag_server, api, server, job)
        document = {"RoleName": server.role, "PolicyName": "job", "PolicyDocument": json.dumps(policy)}
        return end_unless_gone(api, _NOT_TO_BE_HAD, "iam", "put_role_policy", **document) & tagged.result()


def tag_server(api: Api, server: Server, job: str) -> bool:
    """Tag a server with a job, and its disks, interfaces and role too. False when any of them is not to be had."""
    tags = job_tags(job)
    try:
        with Threads(2) as pool:
            kinds = (("tag_role", "RoleName"), ("tag_instance_profile", "InstanceProfileName")) if server.role else ()
            role_too = [
                pool.submit(api.retry_concurrent, "iam", tag, **{name: server.role}, Tags=tags) for tag, name in kinds
            ]
            api.call("ec2", "create_tags", Resources=[server.instance, *server.parts], Tags=tags)
            for each in role_too:
                each.result()
    except Refused as error:
        if re.fullmatch(_NOT_TO_BE_HAD, error.code) is None:
            raise
        return False
    return True


def remove_roles(account: Account, job: str, servers: Sequence[Server]) -> None:
    """Remove the roles of a job and of its servers, which are ending or gone. A role that another job's server uses by
    now stays. The name of the last server's role comes from the server itself, so IAM is asked whose that role is."""
    ending = {each.instance for each in servers}
    others = {each.role for each in live_servers(account.api) if each.instance not in ending}
    of_servers = {each.role for each in servers}
    had = {_reported_role(account, job), role.role_name(job), *of_servers}
    for name in sorted({each for each in had if each} - others):
        # EC2 knows which role the job's server has. A client that was killed while it handed the server over to this
        # job may have left the role's tags as they were for the job before.
        before = {role.owner_of(account.api, name)} if name in of_servers else set()
        role.remove_role_of(account.api, name, {job} | before)


def _reported_role(account: Account, job: str) -> str | None:
    try:
        status = account.status(job)
    except RecordDamaged:
        return None
    return None if status is None else status.role
