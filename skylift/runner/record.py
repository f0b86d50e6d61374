"""A job's record in S3: where each thing of it stands, and what the client writes there for the supervisor.

The layout of the prefix is described at the top of supervisor/__init__.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skylift.runner.commands import program_argv
from skylift.runner.job import Job

VERSION = 1
SETUP_ALLOWANCE = 900
"""Seconds beyond --max-time and --keep until the operating system turns the server off: boot, environment, results."""
SPOT_ALLOWANCE = 3600
"""Likewise for a job whose servers may be taken away: each next one has to come and to boot."""
TAG_JOB = "skylift:job"
TAG_FIT = "skylift:fit"
"""On servers that are kept: what the next job must be like to have it."""


def bucket_name(account: str, region: str) -> str:
    return f"skylift-{account}-{region}"


@dataclass(frozen=True)
class Prefix:
    """The keys of one job's record."""

    job: str

    @property
    def base(self) -> str:
        return f"jobs/{self.job}"

    @property
    def record(self) -> str:
        return f"{self.base}/record.json"

    @property
    def supervisor(self) -> str:
        return f"{self.base}/in/supervisor.pyz"

    @property
    def env(self) -> str:
        return f"{self.base}/in/env.json"

    @property
    def s3_inputs(self) -> str:
        return f"{self.base}/in/s3.json"

    @property
    def fleet(self) -> str:
        return f"{self.base}/in/fleet.json"

    @property
    def cancel(self) -> str:
        return f"{self.base}/in/cancel"

    @property
    def host_keys(self) -> str:
        return f"{self.base}/server/hostkeys.json"

    @property
    def claim(self) -> str:
        return f"{self.base}/server/claim.json"

    @property
    def next(self) -> str:
        return f"{self.base}/server/next.json"

    @property
    def status(self) -> str:
        return f"{self.base}/server/status.json"

    @property
    def manifest(self) -> str:
        return f"{self.base}/server/manifest.json"

    def stream(self, name: str) -> str:
        return f"{self.base}/server/{name}/"

    def result(self, path: str) -> str:
        return f"{self.base}/server/results/{path}"


def deadline_of(job: Job, now: float) -> int:
    """Seconds since the epoch at which the server is off, whatever happens."""
    return int(now) + job.max_time + job.keep + (SETUP_ALLOWANCE if job.spot is None else SPOT_ALLOWANCE)


def encode_record(
    job: Job,
    *,
    created: float,
    deadline: int,
    bundle_sha256: str,
    large: Sequence[dict[str, Any]] = (),
    uv: dict[str, str] | None = None,
    prebuilt: dict[str, Any] | None = None,
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
        "instance_type": job.instance_type,
        "bundle_sha256": bundle_sha256,
        "large": list(large),
        **({"choice": job.choice.as_json()} if job.choice is not None else {}),
        **({"terminal": vars(job.terminal)} if job.terminal is not None else {}),
        **({"spot": {"checkpoint": job.spot.checkpoint}} if job.spot is not None else {}),
        **({"uv": uv} if uv is not None else {}),
        **({"prebuilt": prebuilt} if prebuilt is not None else {}),
    }
    return json.dumps(record, indent=2).encode()


def inputs_of(record: dict[str, Any]) -> set[str]:
    """The digests of what a job was given; empty for one whose record is that of a version which had it elsewhere."""
    return {*(each["sha256"] for each in record.get("large", ())), record.get("bundle_sha256", "")} - {""}


def encode_env(job: Job) -> bytes:
    return json.dumps({name: value.reveal() for name, value in job.env}).encode()


def tags_of(job: str) -> dict[str, str]:
    """On everything that is made for a job, by the call that makes it."""
    return {"Name": f"skylift {job}", TAG_JOB: job}
