"""A Job, with its program, its files and its environment."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from skylift.client.job.choice import Choice
from skylift.client.job.requirements import NOTHING, Requirements
from skylift.client.job.settings import Secret
from skylift.contract.record import Environment, Retry, Terminal

BUILDER_FORM = re.compile(r"environment-[0-9a-f]{8}")
"""The names of servers that skylift makes images of environments on. They are nobody's jobs."""
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
class SentFile:
    """A file that is sent, and its identity when it was chosen.

    `place` is its path in the job's root, `path` its path here, and `real` the same with all links resolved: it is
    opened without following links, and must have the same `device` and `inode`. `size` is in bytes, 0 for a link to a
    folder. `link` is the target of a link.
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
    """The files that are sent, sorted by place.

    `cwd` is the path of the working directory in the job's root (`.` when they are the same). `notes` tell the user
    what was taken or left out. `large` are the places of files that are uploaded each by itself, so that they are not
    uploaded again when the code changes.
    """

    root: Path
    cwd: str
    files: tuple[SentFile, ...]
    size: int
    notes: tuple[str, ...] = ()
    large: frozenset[str] = frozenset()


@dataclass(frozen=True)
class S3Input:
    """Objects of a bucket as inputs, as `text` names them. `key` is an object's key, a prefix or a glob."""

    text: str
    bucket: str
    key: str


@dataclass(frozen=True)
class Spot:
    """A cheaper server that EC2 may take away. `max_price` is in USD an hour, and by default the on-demand price.
    `checkpoint` is the path of the program's checkpoint, relative to the working directory, or empty. `or_on_demand` is
    whether to take an on-demand server when there is no spot server. `types` are the possible types."""

    max_price: float | None = None
    checkpoint: str = ""
    or_on_demand: bool = False
    types: tuple[str, ...] = ()


@dataclass(frozen=True)
class MapPart:
    """What makes a job a map. `spec` is what its coordinator reads, as client/map/spec.py encodes it. `send_inputs` is
    called with the API, the bucket's name and the job's, and sends local inputs; the job has its name by then, and
    there is no server yet. `program` and `outputs` of such a job are in the spec. `arns` are objects of S3 that its
    inputs name, as a policy names them, and `buckets` those that have them. `servers` is the most servers at once.
    `take_back` is called in the same way when the job could not be started, after all else has been undone. `listed`
    are the places that its server looks up: a bucket, and what all keys there begin with. With `may_do_with_one`,
    nobody has asked for several servers: where the user may not have them, the map has one."""

    spec: bytes
    send_inputs: Callable[[Any, str, str], None]
    arns: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    servers: int = 1
    take_back: Callable[[Any, str, str], None] = lambda _api, _bucket, _job: None
    listed: tuple[tuple[str, str], ...] = ()
    may_do_with_one: bool = False


@dataclass(frozen=True)
class ClusterPart:
    """What gives a job's program a Dask cluster. `servers` is how many there are, the program's own among them."""

    servers: int


@dataclass(frozen=True)
class Job:
    """One run of a program. Times are in seconds. `max_time` counts from the program's start, and `cap` is the option
    that set it. `idle` and `sync_every` are 0 when they were not given. With `fresh`, no kept server is taken; with
    `reuse`, none but the one that is kept after the job of this name. `wanted`
    are the requirements for the server, by which `resolve_options` chooses a type when none was given. `notes` are for
    the user, before the job starts. `stdin` is whether the client has standard input for the program. `groups` are
    security groups that the server is in besides. `name_was_drawn` is whether nobody chose the name.

    `outputs` are globs relative to the working directory, on the server as here. With `spares_tracked` they are those
    of a table, and nobody has agreed that results replace what git tracks.
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
    reuse: str = ""
    stdin: bool = False
    terminal: Terminal | None = None
    spot: Spot | None = None
    retry: Retry | None = None
    map: MapPart | None = None
    cluster: ClusterPart | None = None
    groups: tuple[str, ...] = ()
    wanted: Requirements = NOTHING
    type_was_said: bool = False
    choice: Choice | None = None
    notes: tuple[str, ...] = ()
    name_was_drawn: bool = False
    spares_tracked: bool = False

    @property
    def has_workers(self) -> bool:
        """Whether it may have other servers besides its own, and a group that they come from."""
        return self.cluster is not None or (self.map is not None and self.map.servers > 1)

    @property
    def depends_on_place(self) -> bool:
        """Whether its type or its cap is made of the types and prices of the place where it runs."""
        return bool(self.wanted) or self.spot is not None or self.max_cost is not None

    @property
    def most_servers(self) -> int:
        part = self.cluster or self.map
        return 1 if part is None else part.servers


def new_name(program: Program) -> str:
    """A readable name that is probably unique: `fileprocessor-7k2f`. The record's conditional write decides; where the
    name is taken, another one is drawn."""
    base = program.target
    if program.kind == "script":
        base = Path(base).stem
    elif program.kind == "command":
        base = Path(base).name
    slug = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")[:30].strip("-") or "job"
    return f"{slug}-{''.join(secrets.choice(_SUFFIX_LETTERS) for _ in range(4))}"
