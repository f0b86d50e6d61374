"""The job's record.json, as the client has written it. The package's docstring describes the fields."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from skylift.runner.server.attempts import BEAT
from skylift.runner.server.aws import Refused
from skylift.runner.server.context import Context
from skylift.runner.server.stream import DEFAULT_CAP

PAUSE = 1.0
"""Seconds before a program is started again for the first time; each later time it is twice as long."""


class SpotPlan(NamedTuple):
    """Of a job that another server may go on with: a spot job, or a map. `checkpoint` is a path, or empty."""

    checkpoint: str
    beat: float


class RetryPlan(NamedTuple):
    """How often a program that failed is started again; of which exit codes, from one up to another one, where it is
    not of any; and how many seconds lie before the first time."""

    times: int
    on: List[Tuple[int, int]]
    pause: float

    @classmethod
    def parse(cls, found: Dict[str, Any]) -> RetryPlan:
        return cls(found["times"], [(low, high) for low, high in found["on"]], float(found.get("pause", PAUSE)))


class SchedulePlan(NamedTuple):
    """Of a schedule's run: `overlap` is skip, queue or allow; its server turns off `lasts` seconds after its first
    boot. `spot` is whether it may be a spot server. `caps` are requests that have the cloud end it then (cap.py)."""

    overlap: str
    lasts: float
    beat: float
    spot: bool = False
    caps: Tuple[Dict[str, Any], ...] = ()

    @classmethod
    def parse(cls, found: Dict[str, Any]) -> SchedulePlan:
        beat = float(found.get("beat", BEAT))
        return cls(found["overlap"], float(found["lasts"]), beat, bool(found.get("spot")), tuple(found.get("caps", ())))


class TerminalSize(NamedTuple):
    term: str
    rows: int
    columns: int


class JobRecord(NamedTuple):
    """`cluster` is of a program that has a Dask cluster: how many servers, its own among them."""

    argv: List[str]
    python: bool
    cwd: str
    packs: List[Dict[str, Any]]
    large: List[Dict[str, Any]]
    environment: Dict[str, Any]
    uv: Optional[Dict[str, str]]
    prebuilt: Optional[Dict[str, Any]]
    outputs: List[str]
    has_env: bool
    has_s3: bool
    max_time: float
    cap: str
    idle: int
    sync_every: int
    log_cap: int
    stdin: bool
    terminal: Optional[TerminalSize]
    spot: Optional[SpotPlan]
    fleet: bool
    retry: Optional[RetryPlan]
    schedule: Optional[SchedulePlan]
    tools: Optional[Dict[str, Any]]
    cluster: Optional[int]
    group: Optional[str]
    keep: float
    seal: bool

    @property
    def keeps_disk(self) -> bool:
        """Whether the server may be stopped with results that could not be sent. A fleet would start another one at
        once, and EC2 stops no one-time spot server."""
        return not (self.fleet or (self.schedule is not None and self.schedule.spot))

    @property
    def script(self) -> str:
        """The path of the program, where it is a script of Python's; else empty."""
        return self.argv[1] if self.python and self.argv[1:2] not in ([], ["-m"]) else ""

    @classmethod
    def parse(cls, text: bytes) -> JobRecord:
        """Raises Refused. Fields that an older client does not write have defaults."""
        found = json.loads(text)
        if found["version"] != 1:
            raise Refused(200, "the record has version %s, not 1" % found["version"])
        terminal, spot, retry = found.get("terminal"), found.get("spot"), found.get("retry")
        schedule, of_map, cluster = found.get("schedule"), found.get("map") or {}, found.get("cluster")
        has_fleet = spot is not None
        if of_map.get("relaunch"):
            spot = of_map
        try:
            return cls(
                argv=found["argv"],
                python=found["python"],
                cwd=found["cwd"],
                packs=found["packs"],
                large=found.get("large", []),
                environment=found["environment"],
                uv=found.get("uv"),
                prebuilt=found.get("prebuilt"),
                outputs=found["outputs"],
                has_env=found["has_env"],
                has_s3=found.get("has_s3", False),
                max_time=found["max_time"],
                cap=found.get("cap", "--max-time"),
                idle=found.get("idle", 0),
                sync_every=found.get("sync_every", 0),
                log_cap=found.get("log_cap") or DEFAULT_CAP,
                stdin=bool(found.get("stdin")),
                terminal=TerminalSize(terminal["term"], terminal["rows"], terminal["columns"]) if terminal else None,
                spot=None if spot is None else SpotPlan(spot.get("checkpoint") or "", float(spot.get("beat", BEAT))),
                fleet=has_fleet,
                retry=None if retry is None else RetryPlan.parse(retry),
                schedule=None if schedule is None else SchedulePlan.parse(schedule),
                tools=of_map["tools"] if of_map else None,
                cluster=None if cluster is None else int(cluster["servers"]),
                group=(of_map or cluster or {}).get("group"),
                keep=found["keep"],
                seal=bool(found.get("seal")),
            )
        except KeyError as error:
            raise Refused(200, "the record has no %s" % error) from None


def read_record(context: Context) -> JobRecord:
    """Raises Unreachable and Refused."""
    found = context.retry("record", lambda: context.source.get("record.json"))
    if found is None:
        raise Refused(404, "the job has no record")
    return JobRecord.parse(found)
