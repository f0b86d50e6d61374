"""A job's record in S3: its keys, and what the client writes there for the supervisor.

The layout of the prefix is described at the top of server/__init__.py. Only clients write `record.json`: a job's role
may read it, but may write only below `server/` (see role.py). So the client trusts the record about which files are
results, when the job must end, and what runs on which type. What the server reports can only narrow that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from skylift.client.job.commands import program_argv
from skylift.client.job.job import Job
from skylift.client.job.server_record import of_file
from skylift.contract.document import parse, write
from skylift.contract.record import (
    RECORD_LIMIT,
    ClusterTerms,
    JobRecord,
    LargeInput,
    MapTerms,
    Overlap,
    Pack,
    ScheduleTerms,
    Succession,
)

SETUP_ALLOWANCE = 900
"""Seconds beyond --max-time and --keep until the operating system turns the server off: boot, environment, results."""
SPOT_ALLOWANCE = 3600
"""The same for a spot job: each next server has to be found and to boot."""
STARTING = SETUP_ALLOWANCE
"""Seconds that a client may take to start a server. Until then, the things that it has made are not left over."""

SCHEDULES = "schedules"
OVERLAPS: tuple[Overlap, ...] = get_args(Overlap)


def schedule_terms(job: Job, overlap: Overlap) -> ScheduleTerms:
    """A run that waits may do so for as long as a program may run."""
    lasts = job.max_time + SETUP_ALLOWANCE + (job.max_time if overlap == "queue" else 0)
    return ScheduleTerms(overlap, lasts, job.spot is not None)


def may_be_starting(created: float, now: float) -> bool:
    """Whether a client may be about to start a job's first server: the record is there before it. This machine's clock
    may be behind that of the client."""
    return abs(now - created) < STARTING


def bucket_name(account: str, region: str) -> str:
    return f"skylift-{account}-{region}"


def workers_name(job: str) -> str:
    """The Auto Scaling group with a job's other servers, and its launch template. No job's own template has a dot."""
    return f"skylift-workers.{job}"


def workers_on_demand(job: str) -> str:
    """The group that has servers on demand where EC2 has no room for spot servers."""
    return on_demand_of(workers_name(job))


def on_demand_of(group: str) -> str:
    return f"{group}.on-demand"


def workers_of_schedule(schedule: str) -> str:
    """The Auto Scaling group with the other servers of a schedule's runs, and what goes with it. A job's name has no
    dot, so no job has such a group."""
    return f"skylift-schedule-workers.{schedule}"


INDEX = "index/"
"""Below it, each job has an empty object that is as old as the job: a listing of its folder does not tell ages."""


class RecordKey:
    """A key in a record's folder."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, prefix: JobKeys, kind: object = None) -> str:
        return f"{prefix.base}/{self._path}"


@dataclass(frozen=True)
class JobKeys:
    """The keys of one job's record. In the folder SCHEDULES, they are what a schedule has for all of its runs."""

    job: str
    folder: str = "jobs"

    @property
    def base(self) -> str:
        return f"{self.folder}/{self.job}"

    record = RecordKey("record.json")
    supervisor = RecordKey("in/supervisor.pyz")
    env = RecordKey("in/env.json")
    s3_inputs = RecordKey("in/s3.json")
    recipe = RecordKey("in/environment.json")
    map = RecordKey("in/map.json")
    dask = RecordKey("in/dask.json")
    """The keys of a job's several servers; its own server removes them before a program runs."""
    resumed = RecordKey("in/map/resumed.json")
    """The map that goes on where this one has ended; the first that writes it does."""
    attempts = RecordKey("server/attempts/")
    """The beginning of the keys of all attempts, of a job that may have several servers, one after the other."""
    progress = RecordKey("server/map/progress.json")
    """What a job's own server reports of the others now and then; the coordinator of a map also how far it is."""
    fleet = RecordKey("in/fleet.json")
    cancel = RecordKey("in/cancel")
    host_keys = RecordKey("server/hostkeys.json")
    claim = RecordKey("server/claim.json")
    next = RecordKey("server/next.json")
    status = RecordKey("server/status.json")
    manifest = RecordKey("server/manifest.json")
    stdin_taken = RecordKey("server/stdin.json")

    def next_server(self, token: str) -> str:
        """Which server a client has started for a map that has lost its own; the first that writes it counts."""
        return f"{self.base}/in/map/servers/{token}.json"

    def attempt(self, number: int) -> str:
        return f"{self.attempts}{number}.json"

    def stdin(self, offset: int) -> str:
        return f"{self.base}/in/stdin/{offset:020}"

    def stream(self, name: str) -> str:
        return f"{self.base}/server/{name}/"

    def result(self, path: str) -> str:
        return f"{self.base}/server/results/{path}"

    def shared(self, key: str) -> str:
        """An object that a manifest names: a pack of results, or a result whose path cannot be a key."""
        return f"{self.base}/server/{key}"


def deadline_of(job: Job, now: float) -> int:
    """When the server is off at the latest, in seconds since the epoch."""
    return int(now) + job.max_time + job.keep + (SETUP_ALLOWANCE if job.spot is None else SPOT_ALLOWANCE)


def encode_record(
    job: Job,
    *,
    created: float,
    deadline: int,
    packs: Sequence[Pack],
    large: Sequence[LargeInput] = (),
    uv: dict[str, str] | None = None,
    prebuilt: dict[str, Any] | None = None,
    tools: dict[str, Any] | None = None,
    image: str = "",
    seal: bool = False,
    promised: float = 0.0,
    schedule: ScheduleTerms | None = None,
) -> bytes:
    """What the supervisor needs to know. Values of --env are not in it; they travel by themselves."""
    map_part, spot = job.map, job.spot if schedule is None else None
    group = workers_name(job.name) if schedule is None else workers_of_schedule(job.name)
    record = JobRecord(
        job=job.name,
        created=created,
        deadline=deadline,
        argv=tuple(program_argv(job.program)),
        python=job.program.kind != "command",
        cwd=job.bundle.cwd,
        environment=job.environment,
        outputs=job.outputs,
        has_env=bool(job.env),
        has_s3=bool(job.s3_inputs),
        max_time=job.max_time,
        cap=job.cap,
        idle=job.idle,
        sync_every=job.sync_every,
        keep=job.keep,
        promised=promised,
        capped=schedule is None,
        instance_type=job.instance_type,
        packs=tuple(packs),
        large=tuple(large),
        stdin=job.stdin,
        choice=job.choice.as_json() if job.choice is not None else None,
        terminal=job.terminal,
        spot=Succession(spot.checkpoint) if spot is not None else None,
        retry=job.retry,
        uv=uv,
        prebuilt=prebuilt,
        map=None
        if map_part is None
        else MapTerms(tools, group if map_part.servers > 1 else "", job.spot is None and schedule is None),
        cluster=ClusterTerms(job.cluster.servers, workers_name(job.name)) if job.cluster is not None else None,
        image=image,
        seal=seal,
        spares_tracked=job.spares_tracked,
        schedule=schedule,
    )
    return json.dumps(write(record), indent=2).encode()


def parse_record(key: str, data: bytes) -> JobRecord:
    """Raises RecordDamaged."""
    return of_file(key, lambda: parse(JobRecord, data, RECORD_LIMIT))


def encode_env(job: Job) -> bytes:
    return json.dumps({name: value.reveal() for name, value in job.env}).encode()
