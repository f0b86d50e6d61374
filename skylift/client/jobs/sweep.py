"""`skylift sweep`: finding and removing what is left of jobs that are no longer alive.

A run that ends well leaves nothing. Something is left when a client was killed, a machine was turned off, or AWS
refused a call in the middle. A job is alive while its server may still work for it, or while its client may still start
one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from skylift.client.errors import JobNotFound, RecordDamaged, Refused, SkyliftError
from skylift.client.job.record import STARTING, JobKeys
from skylift.client.job.server import Server
from skylift.client.job.tags import TAG_JOB, job_of
from skylift.client.launch import role
from skylift.client.launch.cap import GROUP as CAPS
from skylift.client.launch.cap import cap_of_group, capped, caps_of_server, delete_cap
from skylift.client.launch.environment_image import environment_images, remove_image, to_be_removed
from skylift.client.launch.fleet import (
    JobFleet,
    active_fleets,
    delete_fleets,
    job_templates,
    remove_template,
    template_name,
)
from skylift.client.launch.job_group import job_groups, remove_job_group
from skylift.client.launch.server import live_servers, live_workers, terminate
from skylift.client.launch.worker_group import delete_groups, worker_groups
from skylift.client.price.price import DISK, hourly_cost
from skylift.client.remote.account import Account
from skylift.client.remote.repeatable import end_unless_gone
from skylift.client.ship.blob_store import BLOBS as INPUTS
from skylift.client.ship.prebuilt import ENVIRONMENTS
from skylift.client.text.duration import moment
from skylift.client.waiting import Threads
from skylift.contract.record import JobRecord
from skylift.contract.status import Status

_LONGEST_SENDING = 86400
"""Seconds after which an unfinished multipart upload of an input counts as abandoned."""
_SLACK = 120
"""Seconds for a server that has done its work to turn off by itself."""
_KEPT = 31 * 86400
"""Seconds that an environment is kept for jobs that need the same one. After that, the next job builds it again. No
server that could write its pins anew is as old."""
_LONGEST_BUILD = 86400
"""Seconds after which the upload of an environment counts as abandoned."""

Kind = Literal[
    "instance",
    "fleet",
    "auto-scaling-group",
    "launch-template",
    "volume",
    "network-interface",
    "security-group",
    "role",
    "instance-profile",
    "secrets",
    "uploads",
    "record",
    "environment",
    "image",
    "input",
    "schedule",
    "damaged",
]


@dataclass(frozen=True)
class Leftover:
    """One thing that is left over, why, and its price in USD an hour, where it has one that is known."""

    kind: Kind
    id: str
    job: str
    why: str
    hourly: float | None = None
    removable: bool = True
    remove: Callable[[], object] = field(repr=False, default=lambda: None)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("remove", "removable")}


@dataclass(frozen=True)
class _Known:
    """The facts about one job."""

    name: str
    record: JobRecord | None
    status: Status | None
    server: Server | None
    waits: bool = False
    """Whether the job waits for another server from its fleet."""
    damaged: tuple[RecordDamaged, ...] = ()
    unreadable: bool = False
    """Whether the client's own record is damaged, so that the job's deadline is not known."""

    def death(self, now: float) -> str | None:
        """Why the job is not alive any more; None while it may be."""
        if self.status is not None and self.status.final and (self.record is not None or self.unreadable):
            return f"its job has ended ({self.status.state})"
        if self.unreadable:
            return None
        if self.record is None:
            return "its job has no record"
        if now > self.record.deadline + _SLACK:
            return "its job's deadline is over"
        if self.server is None and not self.waits and now > self.record.created + STARTING:
            return "its job has no server"
        return None

    @property
    def is_delivered(self) -> bool:
        """Whether all output and results are in S3."""
        return self.status is not None and self.status.final and self.status.streams is not None

    def busy_until(self) -> float:
        """Until when a server whose job has ended may still run: it is kept, or about to turn off."""
        if self.status is None or not self.status.final:
            return 0.0
        last_report = self.status.updated or self.status.ended
        busy = max(moment(last_report) if last_report else 0.0, self.status.kept_until or 0.0)
        return min(busy, self.record.deadline if self.record is not None else 0.0) + _SLACK


class Sweep:
    """One search of an account. `find` only finds; the caller decides what to remove."""

    def __init__(self, account: Account, now: float | None = None) -> None:
        self._account, self._api = account, account.api
        self._now = time.time() if now is None else now

    def find(self) -> list[Leftover]:
        # Before the records: the record of a job is written before its inputs.
        inputs, uploads = self._stored_inputs()
        # Before the servers, which are started before them.
        caps, found = self._made_caps()
        live, workers = live_servers(self._api), live_workers(self._api)
        servers = {server.job: server for server in live}
        roles = self._made("list_roles", "Roles", "RoleName")
        profiles = self._made("list_instance_profiles", "InstanceProfiles", "InstanceProfileName")
        records = self._account.recorded()
        fleets = active_fleets(self._api)
        templates = job_templates(self._api)
        groups = job_groups(self._api)
        autoscaled = worker_groups(self._api)
        grouped = {job for job, _ in (*groups.values(), *autoscaled.values())} | {each.job for each in workers}
        names = sorted({*servers, *roles, *profiles, *records, *(each.job for each in fleets), *templates, *grouped})
        with Threads(8) as pool:
            known = {each.name: each for each in pool.map(partial(self._know, servers, fleets), names)}
        # Fleets and groups first: a fleet would replace a server that is ended before it.
        found += [*self._fleets(known, fleets), *self._worker_groups(known, autoscaled)]
        found += [*self._templates(known, templates), *self._instances(known, [*live, *workers])]
        found += [*self._roles(known, {each.role for each in live}, roles, profiles)]
        for name in records:
            found += self._objects(known[name])
        found += [*self._unattached(servers), *self._environments(), *self._images()]
        found += self._groups(known, groups, {group for each in live for group in each.groups})
        found += self._inputs(inputs, uploads, known, self._inputs_of_schedules())
        found += self._caps(caps, [*live, *workers], autoscaled)
        return [*found, *(damage for each in known.values() for damage in _damages(each))]

    def _know(self, servers: dict[str, Server], fleets: list[JobFleet], name: str) -> _Known:
        record, status, damaged = None, None, []
        try:
            record = self._account.record(name)
        except JobNotFound:
            pass
        except RecordDamaged as error:
            damaged.append(error)
        unreadable = bool(damaged)
        try:
            status = self._account.status(name)
        except RecordDamaged as error:
            damaged.append(error)
        waits = any(each.job == name for each in fleets)
        return _Known(name, record, status, servers.get(name), waits, tuple(damaged), unreadable)

    def _made(self, operation: str, key: str, name: str) -> dict[str, float]:
        """Roles or profiles by job, and when each was made, in seconds since the epoch."""
        found = self._api.pages("iam", operation, key, PathPrefix=role.PATH)
        return {
            str(each[name]).removeprefix(role.role_name("")): each["CreateDate"].timestamp()
            for each in found
            if role.is_role_name(str(each[name]))
        }

    def _instances(self, known: dict[str, _Known], live: list[Server]) -> Iterator[Leftover]:
        for server in live:
            job = server.job
            # A stopped server keeps results that could not be delivered (promise 5). Not if all was delivered: then
            # only EC2's answer to the request to stop was late or lost.
            waits = server.state == "stopped" and not known[job].is_delivered
            if waits or self._now < known[job].busy_until():
                continue
            why = known[job].death(self._now)
            if why is not None:
                remove = partial(terminate, self._api, server.instance)
                price = self._price(hourly_cost(server, self._account.settings.region))
                yield Leftover("instance", server.instance, job, why, price, remove=remove)

    def _fleets(self, known: dict[str, _Known], fleets: list[JobFleet]) -> Iterator[Leftover]:
        for each in fleets:
            why = known[each.job].death(self._now)
            if why is not None and self._now >= known[each.job].busy_until():
                remove = partial(delete_fleets, self._api, [each], servers_too=False)
                yield Leftover("fleet", each.id, each.job, why, remove=remove)

    def _worker_groups(self, known: dict[str, _Known], groups: dict[str, tuple[str, float]]) -> Iterator[Leftover]:
        """The group of a map that has ended, with all its servers."""
        for name, (job, made) in groups.items():
            why = known[job].death(self._now)
            if why is not None and self._now - made >= self._grace(known[job]):
                yield Leftover("auto-scaling-group", name, job, why, remove=partial(delete_groups, self._api, job))

    def _templates(self, known: dict[str, _Known], templates: dict[str, float]) -> Iterator[Leftover]:
        for job, created in templates.items():
            why = known[job].death(self._now)
            in_use = known[job].server is not None or (known[job].waits and why is None)
            if why is not None and not in_use and self._now - created >= self._grace(known[job]):
                remove = partial(remove_template, self._api, job)
                yield Leftover("launch-template", template_name(job), job, why, remove=remove)

    def _roles(
        self, known: dict[str, _Known], used: set[str], roles: dict[str, float], profiles: dict[str, float]
    ) -> Iterator[Leftover]:
        """`used` are the roles of existing servers. A role belongs to the job in its tag. Its name may be that of an
        earlier job on the same kept server."""
        for kind, made in (("instance-profile", profiles), ("role", roles)):
            for job, created in made.items():
                name = role.role_name(job)
                if name in used or known[job].server is not None or known[job].death(self._now) is None:
                    continue
                owner = role.owner_of(self._api, name)
                now = known.get(owner) or (self._know({}, [], owner) if owner else None)
                why = now.death(self._now) if now is not None and now.server is None else None
                if now is not None and why is not None and self._now - created >= self._grace(now):
                    yield Leftover(
                        "role" if kind == "role" else "instance-profile",
                        name,
                        owner,
                        why,
                        remove=partial(role.remove_role_of, self._api, name, {owner}),
                    )

    def _made_caps(self) -> tuple[dict[str, float], list[Leftover]]:
        """Nothing else depends on EventBridge Scheduler: where it does not answer, the rest is found all the same."""
        try:
            return capped(self._api), []
        except SkyliftError as error:
            why = f"its schedules could not be listed: {error.message}"
            return {}, [Leftover("schedule", CAPS, "-", why, removable=False)]

    def _caps(
        self, caps: dict[str, float], live: list[Server], groups: dict[str, tuple[str, float]]
    ) -> Iterator[Leftover]:
        """Schedules that would end what has ended: the cloud removes them when they are due, which may be in days."""
        wanted = {name for each in live for name in caps_of_server(each.instance)} | {
            cap_of_group(each) for each in groups
        }
        for name, made in caps.items():
            if name not in wanted and self._now - made >= STARTING:
                remove = partial(delete_cap, self._api, name)
                yield Leftover("schedule", name, "-", "what it would end has ended", remove=remove)

    def _grace(self, job: _Known) -> float:
        """A job that is being started may have a role and no record yet: both are made at the same time."""
        return STARTING if job.record is None else 0

    def _objects(self, job: _Known) -> Iterator[Leftover]:
        """Leftovers in the job's prefix: secrets that no server has read, unfinished uploads, and the whole record of a
        job whose server was never started."""
        why = job.death(self._now)
        if why is None or job.server is not None or job.record is None:
            return
        bucket, prefix = self._account.bucket, JobKeys(job.name)
        if job.status is None and not job.damaged:
            remove = partial(self._account.remove, job.name)
            yield Leftover("record", prefix.base, job.name, "its server was never started", remove=remove)
            return
        if self._api.has(bucket, prefix.env):
            remove_env = partial(self._api.call, "s3", "delete_object", Bucket=bucket, Key=prefix.env)
            yield Leftover("secrets", prefix.env, job.name, why, remove=remove_env)
        uploads = self._api.uploads(bucket, f"{prefix.base}/")
        if uploads:
            abort = partial(self._api.abort_uploads, bucket, f"{prefix.base}/")
            yield Leftover("uploads", prefix.base, job.name, f"{why}; {len(uploads)} half done", remove=abort)

    def _stored_inputs(self) -> tuple[list[Any], list[Any]]:
        """The stored inputs of all jobs, and the multipart uploads of inputs."""
        bucket = self._account.bucket
        try:
            inputs = self._api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=INPUTS)
            return inputs, self._api.uploads(bucket, INPUTS)
        except Refused as error:
            if error.code == "NoSuchBucket":
                return [], []
            raise

    def _inputs_of_schedules(self) -> frozenset[str] | None:
        """The inputs of runs that are to come. None when a schedule's record cannot be read."""
        try:
            records = [self._account.schedule(name) for name in self._account.scheduled()]
        except RecordDamaged:
            return None
        return frozenset(digest for each in records if each is not None for digest in each.inputs)

    def _inputs(
        self, stored: list[Any], uploads: list[Any], known: dict[str, _Known], scheduled: frozenset[str] | None
    ) -> Iterator[Leftover]:
        """Inputs that no job with a record has. The next run of a job that has one would use its inputs again."""
        wanted = {digest for job in known.values() if job.record is not None for digest in job.record.inputs}
        wanted |= scheduled or frozenset()
        # An unreadable record may name any of them.
        unreadable = scheduled is None or any(job.unreadable for job in known.values())
        for each in stored if not unreadable else ():
            key = str(each["Key"])
            if key.removeprefix(INPUTS) not in wanted and self._now - each["LastModified"].timestamp() >= STARTING:
                remove = partial(self._forget_input, key, set(known))
                yield Leftover("input", key, "-", "it belongs to no known job", remove=remove)
        for upload in uploads:
            if self._now - upload["Initiated"].timestamp() >= _LONGEST_SENDING:
                which = {"Bucket": self._account.bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                abort = partial(end_unless_gone, self._api, "NoSuchUpload", "s3", "abort_multipart_upload", **which)
                yield Leftover("uploads", str(upload["Key"]), "-", "begun more than a day ago", remove=abort)

    def _forget_input(self, key: str, known: set[str]) -> None:
        """Delete an input, unless a job that was submitted meanwhile has it."""
        for job in set(self._account.recorded()) - known:
            if key.removeprefix(INPUTS) in self._account.record(job).inputs:
                return
        scheduled = self._inputs_of_schedules()
        if scheduled is None or key.removeprefix(INPUTS) in scheduled:
            return
        self._api.call("s3", "delete_object", Bucket=self._account.bucket, Key=key)

    def _unattached(self, servers: dict[str, Server]) -> Iterator[Leftover]:
        filters = [{"Name": "tag-key", "Values": [TAG_JOB]}, {"Name": "status", "Values": ["available"]}]
        kinds: tuple[tuple[Kind, str, str, str, str], ...] = (
            ("volume", "Volume", "Tags", "describe_volumes", "delete_volume"),
            (
                "network-interface",
                "NetworkInterface",
                "TagSet",
                "describe_network_interfaces",
                "delete_network_interface",
            ),
        )
        for kind, noun, tags, listing, deletion in kinds:
            for each in self._api.pages("ec2", listing, f"{noun}s", Filters=filters):
                job, found = job_of(each[tags]), str(each[f"{noun}Id"])
                if job and job not in servers:
                    which: dict[str, Any] = {f"{noun}Id": found}
                    remove = partial(end_unless_gone, self._api, r".*\.NotFound", "ec2", deletion, **which)
                    price = self._price(each["Size"] * DISK) if kind == "volume" else None
                    yield Leftover(kind, found, job, "it is attached to nothing", price, remove=remove)

    def _groups(
        self, known: dict[str, _Known], groups: dict[str, tuple[str, float]], used: set[str]
    ) -> Iterator[Leftover]:
        """A cluster's group may outlive the job that it was made for, while others of its servers are there."""
        for group, (job, made) in groups.items():
            why = known[job].death(self._now)
            if why is not None and group not in used and self._now - made >= self._grace(known[job]):
                yield Leftover("security-group", group, job, why, remove=partial(remove_job_group, self._api, group))

    def _environments(self) -> Iterator[Leftover]:
        """Stored environments, which belong to no job. An environment is written once, when it is built."""
        if not self._account.recorded():
            return
        bucket = self._account.bucket
        newest: dict[str, float] = {}
        whole: set[str] = set()
        packed: set[str] = set()
        for each in self._api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=f"{ENVIRONMENTS}/"):
            place, _, name = str(each["Key"]).rpartition("/")
            newest[place] = max(newest.get(place, 0), each["LastModified"].timestamp())
            whole |= {place} if name == "index.json" else set()
            packed |= {place} if name.startswith("pack-") else set()
        for place, written in sorted(newest.items()):
            old = self._now - written > _KEPT
            if old or (place in packed - whole and self._now - written > _LONGEST_BUILD):
                why = "it was built long ago" if place in whole else "it was never whole"
                # Its pins stay: a program that still runs there could write others.
                remove = partial(self._api.delete_below, bucket, f"{place}/" if old else f"{place}/pack-")
                yield Leftover("environment", place, "-", why, remove=remove)

    def _images(self) -> Iterator[Leftover]:
        """Images of environments, which belong to no job."""
        if self._account.settings.environment_images:
            found = environment_images(self._api, self._account.number)
            for image, why in to_be_removed(found, self._now).items():
                yield Leftover("image", image.id, "-", why, remove=partial(remove_image, self._api, image))

    def _price(self, hourly: float | None) -> float | None:
        return hourly if self._account.settings.billed else None


def _damages(job: _Known) -> Iterator[Leftover]:
    """Damaged records are only reported, because they may be all that is left of a job's results."""
    for each in job.damaged:
        yield Leftover("damaged", each.key, job.name, f"{each.why}: `skylift rm {job.name}`", removable=False)
