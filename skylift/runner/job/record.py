"""A job's record in S3: its keys, and what the client writes there for the supervisor.

The layout of the prefix is described at the top of server/__init__.py. Only clients write `record.json`: a job's role
may read it, but may write only below `server/` (see role.py). So the client trusts the record about which files are
results, when the job must end, and what runs on which type. What the server reports can only narrow that.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from skylift.runner.job.commands import program_argv
from skylift.runner.job.job import ClusterPart, Job, MapPart
from skylift.runner.job.server_record import of_file
from skylift.runner.text.json_object import FOREVER, JsonObject, as_object, given, parse_object

VERSION = 1
RECORD_LIMIT = 64 << 20
"""The most bytes of a record, which has the digest of each large input."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
SETUP_ALLOWANCE = 900
"""Seconds beyond --max-time and --keep until the operating system turns the server off: boot, environment, results."""
SPOT_ALLOWANCE = 3600
"""The same for a spot job: each next server has to be found and to boot."""
STARTING = SETUP_ALLOWANCE
"""Seconds that a client may take to start a server. Until then, the things that it has made are not left over."""

SCHEDULES = "schedules"
LATEST_START = 86400
"""Seconds after its time in which EventBridge Scheduler starts a run that could not be started before."""
Overlap = Literal["skip", "queue", "allow"]
OVERLAPS: tuple[Overlap, ...] = ("skip", "queue", "allow")


@dataclass(frozen=True)
class ScheduleTerms:
    """How the runs of a schedule are. `overlap` is what happens to a run that is due while an earlier one still goes. A
    run's server turns off `lasts` seconds after its first boot; with `spot`, EC2 may take it back before. `caps` are
    requests to have the cloud end it then (launch/cap.py): none where its network has no way to ask."""

    overlap: Overlap
    lasts: int
    spot: bool = False
    caps: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, job: Job, overlap: Overlap) -> ScheduleTerms:
        """A run that waits may do so for as long as a program may run."""
        lasts = job.max_time + SETUP_ALLOWANCE + (job.max_time if overlap == "queue" else 0)
        return cls(overlap, lasts, job.spot is not None)


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


class Key:
    """A key in a record's folder."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, prefix: Prefix, kind: object = None) -> str:
        return f"{prefix.base}/{self._path}"


@dataclass(frozen=True)
class Prefix:
    """The keys of one job's record. In the folder SCHEDULES, they are what a schedule has for all of its runs."""

    job: str
    folder: str = "jobs"

    @property
    def base(self) -> str:
        return f"{self.folder}/{self.job}"

    record = Key("record.json")
    supervisor = Key("in/supervisor.pyz")
    env = Key("in/env.json")
    s3_inputs = Key("in/s3.json")
    recipe = Key("in/environment.json")
    map = Key("in/map.json")
    dask = Key("in/dask.json")
    """The keys of a job's several servers; its own server removes them before a program runs."""
    resumed = Key("in/map/resumed.json")
    """The map that goes on where this one has ended; the first that writes it does."""
    attempts = Key("server/attempts/")
    """The beginning of the keys of all attempts, of a job that may have several servers, one after the other."""
    progress = Key("server/map/progress.json")
    """What a job's own server reports of the others now and then; the coordinator of a map also how far it is."""
    fleet = Key("in/fleet.json")
    cancel = Key("in/cancel")
    host_keys = Key("server/hostkeys.json")
    claim = Key("server/claim.json")
    next = Key("server/next.json")
    status = Key("server/status.json")
    manifest = Key("server/manifest.json")
    stdin_taken = Key("server/stdin.json")

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
    packs: Sequence[dict[str, Any]],
    large: Sequence[dict[str, Any]] = (),
    uv: dict[str, str] | None = None,
    prebuilt: dict[str, Any] | None = None,
    tools: dict[str, Any] | None = None,
    image: str = "",
    seal: bool = False,
    schedule: ScheduleTerms | None = None,
) -> bytes:
    """What the supervisor needs to know. Values of --env are not in it; they travel by themselves."""
    record: dict[str, Any] = {
        "version": VERSION,
        "job": job.name,
        "created": created,
        "deadline": deadline,
        "argv": program_argv(job.program),
        "python": job.program.kind != "command",
        "cwd": job.bundle.cwd,
        "environment": {"kind": job.environment.kind, "path": job.environment.path, "python": job.environment.python},
        "outputs": list(job.outputs),
        "has_env": bool(job.env),
        "has_s3": bool(job.s3_inputs),
        "max_time": job.max_time,
        "cap": job.cap,
        "idle": job.idle,
        "sync_every": job.sync_every,
        "keep": job.keep,
        "capped": schedule is None,
        "instance_type": job.instance_type,
        "packs": list(packs),
        "large": list(large),
        **({"stdin": True} if job.stdin else {}),
        **({"choice": job.choice.as_json()} if job.choice is not None else {}),
        **({"terminal": vars(job.terminal)} if job.terminal is not None else {}),
        **({"spot": {"checkpoint": job.spot.checkpoint}} if job.spot is not None and schedule is None else {}),
        **({"retry": {"times": job.retry.times, "on": job.retry.on}} if job.retry is not None else {}),
        **({"uv": uv} if uv is not None else {}),
        **({"prebuilt": prebuilt} if prebuilt is not None else {}),
        **({"map": _map_terms(job, job.map, tools, schedule)} if job.map is not None else {}),
        **({"cluster": _cluster_terms(job.cluster, job.name)} if job.cluster is not None else {}),
        **({"image": image} if image else {}),
        **({"seal": True} if seal else {}),
        **({"spares_tracked": True} if job.spares_tracked else {}),
        **({"schedule": vars(schedule)} if schedule is not None else {}),
    }
    return json.dumps(record, indent=2).encode()


def _map_terms(job: Job, part: MapPart, tools: dict[str, Any] | None, schedule: ScheduleTerms | None) -> dict[str, Any]:
    group = workers_name(job.name) if schedule is None else workers_of_schedule(job.name)
    return {
        "tools": tools,
        **({"group": group} if part.servers > 1 else {}),
        **({"relaunch": True} if job.spot is None and schedule is None else {}),
    }


def _cluster_terms(part: ClusterPart, job: str) -> dict[str, Any]:
    return {"servers": part.servers, "group": workers_name(job)}


@dataclass(frozen=True)
class Record:
    """What the client needs to know of a job that somebody started: times in seconds since the epoch, `outputs` as they
    were asked for, `inputs` the digests of what the job was given (none in records of a version that had it elsewhere).
    `choice` is why its server is of its type, if that was chosen; `max_time` the program's cap in seconds, 0 where the
    record has none; `cwd` where in the job's folder the program runs. `is_map` is whether the program is the
    coordinator of a map, `has_workers` whether the job may have other servers, and `relaunched` whether it is a map for
    which a client that watches starts another server when its own is lost. `has_env` is whether there were values of
    --env, which are not in the record. `terms` are of a schedule, in its own record and in those of its runs.
    `spares_tracked` is as in Job. `capped` is whether the cloud may end its server after the deadline: not that of a
    schedule's run, nor one of an earlier version, which does not tell that it keeps results."""

    created: float
    deadline: float
    argv: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    instance_type: str = ""
    keep: int = 0
    interactive: bool = False
    spot: bool = False
    choice: dict[str, Any] | None = None
    max_time: int = 0
    inputs: frozenset[str] = frozenset()
    cwd: str = "."
    is_map: bool = False
    has_env: bool = False
    has_workers: bool = False
    relaunched: bool = False
    terms: ScheduleTerms | None = None
    spares_tracked: bool = False
    capped: bool = False

    def of_run(self, due: float) -> Record:
        """Of a schedule's record: that of its run that was due at this time."""
        assert self.terms is not None
        return replace(self, created=due, deadline=due + LATEST_START + self.terms.lasts)

    def deadline_on(self, launched: float) -> float:
        """The deadline on a server that was launched at this time."""
        return self.deadline if self.terms is None else min(self.deadline, launched + self.terms.lasts)

    @property
    def program(self) -> str:
        """The command as a user would type it; only the name and arguments of a script."""
        return shlex.join(self.argv[1:] if self.script else self.argv)

    @property
    def script(self) -> str:
        """The program's own file, relative to the working directory; empty where it is none of the job's."""
        is_script = len(self.argv) > 1 and self.argv[0] == "python" and self.argv[1] != "-m"
        return self.argv[1] if is_script else ""


def parse_record(key: str, data: bytes) -> Record:
    """Raises RecordDamaged."""
    return of_file(key, lambda: _record(parse_object(data, RECORD_LIMIT)))


def _record(stored: JsonObject) -> Record:
    inputs = [
        as_object(each, f"an entry of `{name}`").text("sha256", 64, _SHA256)
        for name in ("packs", "large")
        for each in stored.list(name, 1_000_000)
    ]
    choice, terms, of_map = stored.inner("choice"), stored.inner("schedule"), stored.inner("map")
    many = of_map or stored.inner("cluster")
    return Record(
        created=given(stored.number("created", 0, FOREVER), "created"),
        deadline=given(stored.number("deadline", 0, FOREVER), "deadline"),
        argv=stored.texts("argv", 100_000, 1 << 20),
        outputs=stored.texts("outputs", 10_000, 8192),
        instance_type=stored.text("instance_type", 64) or "",
        keep=stored.integer("keep", 0, 1 << 40) or 0,
        interactive=stored.inner("terminal") is not None,
        spot=stored.inner("spot") is not None,
        choice=choice.content if choice is not None else None,
        max_time=stored.integer("max_time", 0, 1 << 40) or 0,
        inputs=frozenset(each for each in inputs if each),
        cwd=stored.text("cwd", 4096) or ".",
        is_map=of_map is not None,
        has_workers=many is not None and bool(many.text("group", 255)),
        relaunched=of_map is not None and of_map.flag("relaunch"),
        has_env=stored.flag("has_env"),
        terms=None if terms is None else _terms(terms),
        spares_tracked=stored.flag("spares_tracked"),
        capped=stored.flag("capped"),
    )


def _terms(stored: JsonObject) -> ScheduleTerms:
    overlap = given(stored.one_of("overlap", OVERLAPS), "overlap")
    lasts = given(stored.integer("lasts", 1, 1 << 40), "lasts")
    return ScheduleTerms(cast("Overlap", overlap), lasts, stored.flag("spot"))


def encode_env(job: Job) -> bytes:
    return json.dumps({name: value.reveal() for name, value in job.env}).encode()
