"""The options of a run, each written once: its name in Python, what it may be, its words on the command line, its help.

`skylift run` is made of them (cli/options.py), and so are `skylift.run` and `skylift.submit` (python/keywords.py).
What they come to stands in plan/read_options.py. None is as if an option had not been given.
"""

# Without `annotations` of the future: what stands here is looked at, and need not be evaluated first.

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypedDict, cast, get_args, get_origin

Duration = str | int | float
"""`"1h30m"`, or seconds."""
Texts = str | Sequence[str]
"""One text, or several."""
Path = str | os.PathLike[str]
Paths = Path | Sequence[Path]

WHAT, FILES, SERVER = "What runs", "Inputs and outputs", "Server"
LIMITS, SPOT, NETWORK = "Limits", "Spot", "Network"
INPUTS, GOING_ON = "Inputs", "Going on"
HEADINGS = (WHAT, FILES, SERVER, LIMITS, SPOT, NETWORK)


class Option(NamedTuple):
    """`heading` is what it stands under in the help. `help` is in the command line's words; python/wording.py rewords
    it. `metavar` is its value's name there; what is no flag and has none, the command line says in another way.
    `short` is another word for it. `default` is text, as on the command line. `complete` is who knows the words that
    may be meant (cli/complete.py), `environ` the variable that counts without a value, `least` the least that a whole
    number may be. `words` are all of the command line's, and a value is of one of `types`, of which the last is None's.
    """

    heading: str
    help: str
    metavar: str | None = None
    short: str | None = None
    default: str | None = None
    complete: str = ""
    environ: str | None = None
    least: int | None = None
    words: tuple[str, ...] = ()
    types: tuple[Any, ...] = ()


class SharedOptions(TypedDict, total=False):
    """The options of a run that do not say how many servers it has: maps and clusters have a word of their own for
    that."""

    module: Annotated[str | None, Option(WHAT, "Run a module, like python -m.", "MODULE", short="-m")]
    command: Annotated[Sequence[str] | None, Option(WHAT, 'Run a command: a list of words, like ["make", "report"].')]
    args: Annotated[
        Sequence[Path] | None, Option(WHAT, "The program's own arguments; they may also follow the script.")
    ]
    python: Annotated[str | None, Option(WHAT, "The version of Python, like 3.12.", "VERSION")]
    env: Annotated[
        Mapping[str, str] | Texts | None, Option(WHAT, "An environment variable.", "NAME[=VALUE]", short="-e")
    ]
    interactive: Annotated[
        bool | None, Option(WHAT, "The program has a terminal, and your keys are its own.", short="-it")
    ]
    name: Annotated[str | None, Option(WHAT, "The job's name; made of the program's name by default.", "NAME")]
    trust_project: Annotated[bool | None, Option(WHAT, "Agree to all that [tool.skylift] asks for, for this run.")]

    in_: Annotated[
        Paths | None, Option(FILES, "A file, folder, glob or s3:// place to take along.", "PATH", short="-i")
    ]
    out: Annotated[Paths | None, Option(FILES, "A file, folder or glob to bring home.", "GLOB", short="-o")]
    sync_every: Annotated[Duration | None, Option(FILES, "Send results to S3 this often while it runs.", "DURATION")]

    type: Annotated[
        str | None,
        Option(SERVER, "The instance type; t3.small by default.", "TYPE", short="-t", complete="instance_type"),
    ]
    cpu: Annotated[int | str | None, Option(SERVER, "The least number of vCPUs.", "N")]
    memory: Annotated[str | None, Option(SERVER, "The least memory, like 16GiB.", "SIZE")]
    arch: Annotated[str | None, Option(SERVER, "x86_64 or arm64.", "ARCH", complete="architecture")]
    gpu: Annotated[int | str | None, Option(SERVER, "A number of GPUs, a name, or both: T4:2.", "GPU")]
    image: Annotated[
        str | None,
        Option(SERVER, "debian-13, an AMI's id, or an SSM parameter; see README.", "IMAGE", complete="image"),
    ]
    plain_image: Annotated[bool | None, Option(SERVER, "Neither use nor make an image that has the environment.")]
    keep: Annotated[
        Duration | None,
        Option(SERVER, "Keep the server this long after the run, and use one that this project has kept.", "DURATION"),
    ]
    reuse: Annotated[
        str | None,
        Option(
            SERVER, "Empty and use the server that this project has kept after this job.", "NAME", complete="job_name"
        ),
    ]
    fresh: Annotated[bool | None, Option(SERVER, "Start a new server, even if a kept one could be used.")]
    on: Annotated[
        str | None,
        Option(SERVER, "local (this machine, the default) or aws.", "PLACE", complete="place", environ="SKYLIFT_ON"),
    ]

    max_time: Annotated[Duration | None, Option(LIMITS, "End the program after this long.", "DURATION", default="1h")]
    max_cost: Annotated[float | None, Option(LIMITS, "End it when the server would have cost this much.", "USD")]
    idle: Annotated[
        Duration | None, Option(LIMITS, "End it after this long without output and without work.", "DURATION")
    ]

    retries: Annotated[
        int | str | None, Option(LIMITS, "If the program fails, start it again on its server, up to N times.", "N")
    ]
    retry_on: Annotated[
        int | str | Sequence[int | str] | None,
        Option(LIMITS, "With --retries: only after these exit codes, like 1,75,130-140.", "CODES"),
    ]

    spot: Annotated[
        bool | None, Option(SPOT, "Use a cheaper server, which EC2 may take back; another one then continues the job.")
    ]
    max_price: Annotated[float | None, Option(SPOT, "With --spot: the highest hourly price of a server.", "USD")]
    checkpoint: Annotated[
        Path | None,
        Option(SPOT, "With --spot: the file or folder from which the program resumes on another server.", "PATH"),
    ]
    or_on_demand: Annotated[
        bool | None, Option(SPOT, "With --spot: use an on-demand server if no spot server is available.")
    ]

    private: Annotated[bool | None, Option(NETWORK, "Give the server no public address; output comes through S3.")]
    ssh_from: Annotated[
        str | None,
        Option(
            NETWORK,
            "The address that may connect by SSH, instead of this machine's.",
            "ADDRESS",
            environ="SKYLIFT_SSH_FROM",
        ),
    ]
    subnet: Annotated[str | None, Option(NETWORK, "One of your subnets, instead of skylift's network.", "ID")]
    security_group: Annotated[Texts | None, Option(NETWORK, "With --subnet: one of your security groups.", "ID")]


class RunOptions(SharedOptions, total=False):
    """What `skylift.run` and `skylift.submit` take, by keyword: the options of `skylift run`."""

    servers: Annotated[
        int | str | None,
        Option(SERVER, "Give the program a Dask cluster of this many servers, its own among them.", "N"),
    ]


class ScheduledMapOptions(SharedOptions, total=False):
    """What `skylift.schedule_map` takes, by keyword."""

    split: Annotated[
        str | None, Option(INPUTS, "Cut CSV and JSON lines into parts of at most this, like 64MiB.", "SIZE")
    ]
    servers: Annotated[
        int | None,
        Option(
            LIMITS,
            "The most servers; they start as the inputs need them. By default as with auto, and 8 at the most.",
            "N|auto",
        ),
    ]
    per_server: Annotated[
        int | None, Option(LIMITS, "Inputs that run at once on a server; its number of vCPUs by default.", "K", least=1)
    ]
    batch: Annotated[
        int | None, Option(LIMITS, "Inputs handed out at once; by their durations by default.", "N", least=1)
    ]
    halt: Annotated[int | str | None, Option(LIMITS, "End early when N inputs, or P percent, have failed.", "N|P%")]


class MapOptions(ScheduledMapOptions, total=False):
    """What `skylift.map` and `skylift.submit_map` take, by keyword: the options of `skylift map`."""

    resume: Annotated[
        str | None, Option(GOING_ON, "Run the inputs that have no outcome in this map.", "NAME", complete="job_name")
    ]
    retry_failed: Annotated[
        str | None, Option(GOING_ON, "Run the inputs that have failed in this map.", "NAME", complete="job_name")
    ]
    force: Annotated[
        bool | None, Option(GOING_ON, "With --resume or --retry-failed: allow another script or other arguments.")
    ]


def _option(name: str, noted: Any) -> Option:
    option: Option = noted.__metadata__[0]
    types = get_args(noted.__origin__)
    said = option.metavar is not None or bool in types
    words = (f"--{name.rstrip('_').replace('_', '-')}", option.short) if said else ()
    return option._replace(words=tuple(each for each in words if each), types=types)


def _table(options: type) -> dict[str, Option]:
    return {name: _option(name, noted) for name, noted in options.__annotations__.items()}


OPTIONS = _table(RunOptions)
TYPES = {name: each.types for name, each in OPTIONS.items()}

MAP_OPTIONS = (
    *("module", "python", "env", "name", "trust_project", "in_", "out"),
    *("type", "cpu", "memory", "arch", "gpu", "image", "on"),
    *("spot", "max_price", "or_on_demand"),
    *("retries", "max_time", "max_cost", "private", "ssh_from", "subnet", "security_group"),
)
"""The options that a map has, too: for each input, or for the map as a whole."""
_SHARED = {name: OPTIONS[name] for name in MAP_OPTIONS}
_OWN = {name: each for name, each in _table(MapOptions).items() if name not in SharedOptions.__annotations__}
OF_MAPS = {**_OWN, **_SHARED}
OF_SCHEDULED_MAPS = {**{name: _OWN[name] for name in _OWN if name in ScheduledMapOptions.__annotations__}, **_SHARED}
"""All that a map has, and a scheduled one; its own come first."""


def is_list(name: str) -> bool:
    return any(get_origin(kind) is Sequence for kind in TYPES[name])


def is_flag(name: str) -> bool:
    return bool in TYPES[name]


def shared_part(options: ScheduledMapOptions) -> SharedOptions:
    """Of a map's options: those that are not its own."""
    return cast(SharedOptions, {name: value for name, value in options.items() if name not in _OWN})
