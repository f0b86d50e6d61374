"""What is to be done: a Job, with its program, its files and its environment."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skylift.runner.job.choice import Choice
from skylift.runner.job.requirements import NOTHING, Requirements
from skylift.runner.job.settings import Secret

NAME_FORM = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_SUFFIX_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"


@dataclass(frozen=True)
class Program:
    """What runs on the server. `target` is a path relative to the job's working directory for a script, a dotted name
    for a module, and the command's first word for a command."""

    kind: Literal["script", "module", "command"]
    target: str
    args: tuple[str, ...] = ()


@dataclass(frozen=True)
class Environment:
    """How the Python on the server is made: `path`, relative to the job's root, is what uv reads it from, and `python`
    the version that was asked for."""

    kind: Literal["none", "script", "requirements", "project"] = "none"
    path: str = ""
    python: str = ""


@dataclass(frozen=True)
class SentFile:
    """A file that goes along, and which one that was when it was chosen.

    `place` is where in the job's root it goes, `path` what it is called here, and `real` the same without links: who
    opens it follows none, and finds the same `device` and `inode`. `size` is in bytes, 0 for a link to a folder;
    `link` what it says if it is a link.
    """

    place: str
    path: Path
    real: Path
    device: int
    inode: int
    size: int
    link: str = ""
    is_folder: bool = False


@dataclass(frozen=True)
class Bundle:
    """What is sent. `files` are sorted by place.

    `cwd` is the working directory's place in the job's root (`.` when they are the same); `notes` are what the user
    should know about what was left out or taken. `large` are the places of files that travel each by itself, so that a
    change of the code does not send them again.
    """

    root: Path
    cwd: str
    files: tuple[SentFile, ...]
    size: int
    notes: tuple[str, ...] = ()
    large: frozenset[str] = frozenset()


@dataclass(frozen=True)
class S3Input:
    """Objects of a bucket that go along, as `text` names them: `key` is an object's, a prefix or a glob."""

    text: str
    bucket: str
    key: str


@dataclass(frozen=True)
class Terminal:
    """What an interactive program is started before; it hears when the size changes."""

    term: str = "xterm-256color"
    rows: int = 24
    columns: int = 80


@dataclass(frozen=True)
class Spot:
    """A server that EC2 may take away, for less. `max_price` is in USD an hour, the on-demand price where there is
    none; `checkpoint` is where the program keeps what it goes on from, relative to the working directory, or empty;
    `or_on_demand` is to take a server at the full price when no other can be had; `types` are those that would do."""

    max_price: float | None = None
    checkpoint: str = ""
    or_on_demand: bool = False
    types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One program, once. Times are in seconds; `max_time` counts from the program's start, and `cap` is the option that
    set it. `idle` and `sync_every` are 0 where they were not asked for. `fresh` is not to take a server that is kept.
    `wanted` is what its server has to have; `resolve_options` chooses a type by it where no type was said.
    `notes` are what the user should know before it starts. `stdin` is whether its client has a standard input for it.

    `outputs` are globs relative to the working directory, on the server as at home.
    """

    name: str
    program: Program
    bundle: Bundle
    environment: Environment
    outputs: tuple[str, ...]
    env: tuple[tuple[str, Secret], ...]
    instance_type: str
    max_time: int
    keep: int
    home: Path
    cap: str = "--max-time"
    idle: int = 0
    sync_every: int = 0
    max_cost: float | None = None
    s3_inputs: tuple[S3Input, ...] = ()
    fresh: bool = False
    stdin: bool = False
    terminal: Terminal | None = None
    spot: Spot | None = None
    wanted: Requirements = NOTHING
    type_was_said: bool = False
    choice: Choice | None = None
    notes: tuple[str, ...] = ()


def new_name(program: Program) -> str:
    """A name people can say, unique enough to try: `fileprocessor-7k2f`. The record's conditional write decides."""
    base = program.target
    if program.kind == "script":
        base = Path(base).stem
    elif program.kind == "command":
        base = Path(base).name
    slug = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")[:30].strip("-") or "job"
    return f"{slug}-{''.join(secrets.choice(_SUFFIX_LETTERS) for _ in range(4))}"
