"""The nouns of a run: what is to be done (Job), where (Settings), and what came of it (Outcome)."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from skylift.runner.errors import UsageError
from skylift.runner.job.cache import NOWHERE, Cache
from skylift.runner.job.requirements import NOTHING, Requirements

if TYPE_CHECKING:
    from skylift.runner.price.choice import Choice
    from skylift.runner.price.run_price import RunPrice

NAME_FORM = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
INTERRUPTED = 130
_REGION_FORM = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d")
_SUFFIX_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"


class Secret:
    """A value that is never shown: its repr and str are stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True)
class Credentials:
    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None


@dataclass(frozen=True)
class NewestImage:
    """The newest available image whose name matches `pattern`. `has_uv` is known of skylift's own."""

    pattern: str
    owners: tuple[str, ...]
    has_uv: bool = False


@dataclass(frozen=True)
class PublishedImage:
    """The image that a publisher's public parameter names; `parameters` are by processor (x86_64, arm64)."""

    name: str
    parameters: Mapping[str, str]
    has_uv: ClassVar[bool] = False


@dataclass(frozen=True)
class OneImage:
    """The image with this id, or whose id is in this parameter."""

    id: str = ""
    parameter: str = ""
    has_uv: ClassVar[bool] = False


ImageChoice = NewestImage | PublishedImage | OneImage


@dataclass(frozen=True)
class Access:
    """How a job's server can be reached, and where it stands if not in skylift's own network.

    `ssh_from` is who may open SSH, instead of the address that this machine is seen to come from. `private` is no
    public address. `subnet` and `groups` are the user's own; without groups, skylift makes one in the subnet's VPC.
    """

    private: bool = False
    ssh_from: str | None = None
    subnet: str | None = None
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ssh_from is not None:
            try:
                ipaddress.IPv4Network(self.ssh_from)
            except ValueError as error:
                raise UsageError(
                    f"--ssh-from {self.ssh_from!r}: {error}.", "An address is like 203.0.113.7, a range 203.0.113.0/24."
                ) from None
        if self.private and self.ssh_from is not None:
            raise UsageError("--private and --ssh-from exclude each other: a private server is not reached by SSH.")
        if self.subnet is not None and not re.fullmatch(r"subnet-[0-9a-f]{8,17}", self.subnet):
            raise UsageError(f"--subnet {self.subnet!r} is not the id of a subnet.", "An id is like subnet-0123abcd.")
        for group in self.groups:
            if not re.fullmatch(r"sg-[0-9a-f]{8,17}", group):
                raise UsageError(f"--security-group {group!r} is not the id of a group.", "An id is like sg-0123abcd.")
        if self.groups and self.subnet is None:
            raise UsageError("--security-group needs --subnet: a group belongs to the subnet's VPC.")


@dataclass(frozen=True)
class Machine:
    """The one machine that all servers of a place share, and what it has; `name` is how the place is spoken of."""

    name: str
    processor: Literal["x86_64", "arm64"]
    cpus: int
    memory_mib: int


@dataclass(frozen=True)
class Settings:
    """Where jobs run: read once, validated here, before anything is done.

    `endpoint_url` None is AWS itself, `credentials` None is boto3's own chain. `account` is asked of STS when it is
    not known. `caller_address` gives the IPv4 address that servers see this machine come from. `revive` brings a
    local cloud back that has ended and gives the URL where it is now; None where nothing can. `login_user` is who
    is logged in as where an image has that user; a job's server says who it is there. `billed` is whether servers cost
    money there. `cache` keeps what would take long to make anew. `machine` is None where servers have machines of their
    own.
    """

    region: str
    key_dir: Path
    image: ImageChoice
    caller_address: Callable[[], str]
    endpoint_url: str | None = None
    credentials: Credentials | None = None
    account: str | None = None
    place: str = "AWS"
    login_user: str = "ec2-user"
    access: Access = Access()
    revive: Callable[[], str | None] | None = None
    billed: bool = True
    cache: Cache = NOWHERE
    machine: Machine | None = None

    def __post_init__(self) -> None:
        if not _REGION_FORM.fullmatch(self.region):
            raise UsageError(f"{self.region!r} is not the name of a region.", "A region is like us-east-1.")
        if self.endpoint_url is not None and not self.endpoint_url.startswith(("http://", "https://")):
            raise UsageError(f"The endpoint {self.endpoint_url!r} is not an http or https URL.")
        if self.account is not None and not re.fullmatch(r"\d{12}", self.account):
            raise UsageError(f"{self.account!r} is not an account: it must be 12 digits.")
        if self.access.private and self.access.subnet is None and self.endpoint_url is None:
            raise UsageError(
                "--private needs --subnet on AWS: in skylift's own network, only a public address leads to S3.",
                "Name a subnet that has a gateway endpoint for S3, or a NAT gateway.",
            )


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
    `wanted` is what its server has to have; where no type was said, one is chosen for it by the place (`settle`).
    `notes` are what the user should know before it starts.

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
    terminal: Terminal | None = None
    spot: Spot | None = None
    wanted: Requirements = NOTHING
    type_was_said: bool = False
    choice: Choice | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """One file that came home; `path` is relative to the working directory. A byte of it that is not UTF-8 is in it as
    in Python's file names."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Missing:
    """A result that did not come home, and why: its server could not read it, or no file here can have its name."""

    path: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """How it went. `exit_code` is what skylift exits with: the program's own, or 128+n, 121 to 125 as documented.

    `state` is one of succeeded, failed, out-of-memory, timed-out, idle, cancelled, rebooted, environment-failed and
    broken; `reason` is one sentence.
    `left_behind` is what was new on the server and not asked for, `not_written` what the server sent all the same.
    `missing` are results that are not here, and `changed` those that changed while the server read them; neither
    touches the exit code.
    `steps` are seconds by step name. The tails are the last 64 KiB of each stream, as far as the one who watched has
    seen it; `home` is the folder that results are in, `choice` why the server is of its type, where that was
    chosen. `market` is `spot` or `on-demand`, as its last server was bought. `booted` is when that began with it, and
    `price` what its time costs.
    """

    name: str
    state: str
    exit_code: int
    reason: str
    signal: str | None = None
    detail: str = ""
    instance: str | None = None
    instance_type: str = ""
    results: tuple[Result, ...] = ()
    unmatched: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()
    not_written: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    changed: tuple[str, ...] = ()
    started: str | None = None
    ended: str | None = None
    program_seconds: float | None = None
    attempts: int = 1
    seconds: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)
    kept_until: str | None = None
    stdout_tail: str = ""
    stderr_tail: str = ""
    home: Path | None = None
    choice: dict[str, Any] | None = None
    market: str = "on-demand"
    booted: str | None = None
    price: RunPrice | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The results, where they are on this machine; empty when they were not brought home."""
        return () if self.home is None else tuple(self.home / each.path for each in self.results)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": self.state,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "signal": self.signal,
            "detail": self.detail,
            "instance": self.instance,
            "instance_type": self.instance_type,
            "market": self.market,
            "choice": self.choice,
            "results": [{"path": each.path, "size": each.size, "sha256": each.sha256} for each in self.results],
            "unmatched": list(self.unmatched),
            "left_behind": list(self.left_behind),
            "not_written": list(self.not_written),
            "missing": [{"path": each.path, "reason": each.reason} for each in self.missing],
            "changed": list(self.changed),
            "booted": self.booted,
            "started": self.started,
            "ended": self.ended,
            "program_seconds": self.program_seconds,
            "attempts": self.attempts,
            "seconds": round(self.seconds, 3),
            "steps": {name: round(seconds, 3) for name, seconds in self.steps.items()},
            "kept_until": self.kept_until,
            "price": self.price.as_json() if self.price is not None else None,
        }


def new_name(program: Program) -> str:
    """A name people can say, unique enough to try: `fileprocessor-7k2f`. The record's conditional write decides."""
    base = program.target
    if program.kind == "script":
        base = Path(base).stem
    elif program.kind == "command":
        base = Path(base).name
    slug = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")[:30].strip("-") or "job"
    return f"{slug}-{''.join(secrets.choice(_SUFFIX_LETTERS) for _ in range(4))}"
