"""What a job's record says about running the job again: its program, files and settings, and what the record lacks.
Values of --env are in no record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

from skylift.runner.job.job import Environment, Program
from skylift.runner.job.record import RECORD_LIMIT
from skylift.runner.job.run_options import RunOptions
from skylift.runner.job.server_record import of_file
from skylift.runner.text.json_object import JsonObject, Malformed, as_object, given, parse_object

MOST_BYTES = 64 << 20
"""The most bytes of files that are fetched to be sent once more."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PYTHON = re.compile(r"(?:3\.\d{1,2}(?:\.\d{1,2})?)?")
_KINDS = ("none", "script", "requirements", "project")


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
    return of_file(key, lambda: _repeat(parse_object(data, RECORD_LIMIT)))


def _repeat(stored: JsonObject) -> Repeat:
    packs = [as_object(each, "an entry of `packs`") for each in stored.list("packs", 1000)]
    digests = [given(each.text("sha256", 64, _SHA256), "sha256") for each in packs]
    size = sum(each.integer("size", 0, 1 << 50) or 0 for each in packs)
    argv = stored.texts("argv", 100_000, 1 << 20)
    if not argv:
        raise Malformed("`argv` is empty")
    return Repeat(
        program=_program(argv, python=stored.flag("python")),
        cwd=_inner_path(stored, "cwd"),
        packs=tuple(each for each in digests if each),
        environment=_environment(stored.inner("environment")),
        instance_type=stored.text("instance_type", 64) or "",
        outputs=stored.texts("outputs", 10_000, 8192),
        options=_options(stored),
        had_env=stored.flag("has_env"),
        obstacles=tuple(_obstacles(stored, size)),
    )


def _program(argv: Sequence[str], *, python: bool) -> Program:
    if python and len(argv) > 2 and argv[1] == "-m":
        return Program("module", argv[2], tuple(argv[3:]))
    if python and len(argv) > 1:
        return Program("script", argv[1], tuple(argv[2:]))
    return Program("command", argv[0], tuple(argv[1:]))


def _environment(stored: JsonObject | None) -> Environment:
    if stored is None:
        return Environment()
    kind = stored.one_of("kind", _KINDS) or "none"
    return Environment(cast(Any, kind), _inner_path(stored, "path"), stored.text("python", 16, _PYTHON) or "")


def _inner_path(stored: JsonObject, name: str) -> str:
    """A path below the job's folder."""
    path = stored.text(name, 4096) or ""
    if path.startswith("/") or ".." in PurePosixPath(path).parts or "\0" in path:
        raise Malformed(f"`{name}` leads out of the job's folder")
    return path


def _options(stored: JsonObject) -> RunOptions:
    found: dict[str, Any] = {
        name: stored.integer(name, 0, 1 << 40) for name in ("max_time", "idle", "sync_every", "keep")
    }
    environment = stored.inner("environment")
    found["python"] = environment.text("python", 16, _PYTHON) if environment is not None else None
    if (spot := stored.inner("spot")) is not None:
        found |= {"spot": True, "checkpoint": spot.text("checkpoint", 4096)}
    if (retry := stored.inner("retry")) is not None:
        found["retries"] = retry.integer("times", 0, 1 << 20)
        found["retry_on"] = [_codes(each) for each in retry.list("on", 256)]
    if (cluster := stored.inner("cluster")) is not None:
        found["servers"] = cluster.integer("servers", 1, 1000)
    return cast(RunOptions, {name: value for name, value in found.items() if value})


def _codes(stored: Any) -> str:
    if not isinstance(stored, list) or len(stored) != 2 or not all(type(each) is int for each in stored):
        raise Malformed("an entry of `on` is not a range of exit codes")
    return f"{stored[0]}-{stored[1]}"


def _obstacles(stored: JsonObject, size: int) -> list[str]:
    found = []
    if stored.inner("map") is not None:
        found.append("It is a map: `skylift map --retry-failed` runs its inputs again.")
    if stored.inner("terminal") is not None:
        found.append("It was interactive: `skylift run -it` has your terminal.")
    if stored.flag("stdin"):
        found.append("It read standard input, which is no part of its files.")
    if stored.flag("has_s3"):
        found.append("It had inputs from S3: name them again with --in.")
    if stored.list("large", 1_000_000) or size > MOST_BYTES:
        found.append(f"Its files are large (one of more than 8 MiB, or more than {MOST_BYTES >> 20} MiB together).")
    if stored.inner("schedule") is not None:
        found.append("It is a schedule's: `skylift schedule run` starts it now.")
    return found
