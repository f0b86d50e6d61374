"""What a job's record says about running the job again: its program, files and settings, and what the record lacks.
Values of --env are in no record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from skylift.client.errors import RecordDamaged
from skylift.client.job.job import Program
from skylift.client.job.record import parse_record
from skylift.client.job.run_options import RunOptions
from skylift.contract.record import Environment, JobRecord

MOST_BYTES = 64 << 20
"""The most bytes of files that are fetched to be sent once more."""


@dataclass(frozen=True)
class Repeat:
    """`packs` are the digests of the archives with its files, and `cwd` is where in them it runs. `options` are those
    that the record has, besides type and outputs. `obstacles` say why it cannot be run again from its record."""

    program: Program
    cwd: str
    packs: tuple[str, ...]
    environment: Environment
    instance_type: str
    outputs: tuple[str, ...]
    options: RunOptions
    had_env: bool
    obstacles: tuple[str, ...] = ()


def parse_repeat(key: str, data: bytes) -> Repeat:
    """Raises RecordDamaged."""
    record = parse_record(key, data)
    if not record.argv:
        raise RecordDamaged(key, "`argv` is empty")
    return Repeat(
        program=_program(record),
        cwd=record.cwd,
        packs=tuple(each.sha256 for each in record.packs),
        environment=record.environment,
        instance_type=record.instance_type,
        outputs=record.outputs,
        options=_options(record),
        had_env=record.has_env,
        obstacles=tuple(_obstacles(record)),
    )


def _program(record: JobRecord) -> Program:
    argv = record.argv
    if record.python and len(argv) > 2 and argv[1] == "-m":
        return Program("module", argv[2], argv[3:])
    if record.python and len(argv) > 1:
        return Program("script", argv[1], argv[2:])
    return Program("command", argv[0], argv[1:])


def _options(record: JobRecord) -> RunOptions:
    found: dict[str, Any] = {name: getattr(record, name) for name in ("max_time", "idle", "sync_every", "keep")}
    found["python"] = record.environment.python
    if record.spot is not None:
        found |= {"spot": True, "checkpoint": record.spot.checkpoint}
    if record.retry is not None:
        found |= {"retries": record.retry.times, "retry_on": [f"{low}-{high}" for low, high in record.retry.on]}
    if record.cluster is not None:
        found["servers"] = record.cluster.servers
    return cast(RunOptions, {name: value for name, value in found.items() if value})


def _obstacles(record: JobRecord) -> Iterator[str]:
    if record.map is not None:
        yield "It is a map: `skylift map --retry-failed` runs its inputs again."
    if record.terminal is not None:
        yield "It was interactive: `skylift run -it` has your terminal."
    if record.stdin:
        yield "It read standard input, which is not one of its files."
    if record.has_s3:
        yield "It had inputs from S3: name them again with --in."
    if record.large or sum(each.size for each in record.packs) > MOST_BYTES:
        yield f"Its files are large (one of more than 8 MiB, or more than {MOST_BYTES >> 20} MiB together)."
    if record.schedule is not None:
        yield "It is a schedule's: `skylift schedule run` starts it now."
