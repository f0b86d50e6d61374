"""Makes a Job from the user's request, and finds every error that can be found before anything is started."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from skylift.client.errors import UsageError
from skylift.client.job.job import NAME_FORM, ClusterPart, Job, Program, S3Input, Spot, new_name
from skylift.client.job.requirements import NOTHING, Requirements
from skylift.client.job.settings import Secret
from skylift.client.job.spot import check_company
from skylift.client.plan.require_dask import require_dask
from skylift.client.ship.bundle import find_project, plan_bundle
from skylift.client.ship.needs import Needs, find_needs
from skylift.client.ship.pep723 import ScriptHeader, read_header
from skylift.client.text.s3_glob import S3Glob
from skylift.client.text.toml_text import SCRIPT_LIMIT, read_text
from skylift.client.text.user_path import user_path
from skylift.client.text.visible import shown
from skylift.contract.record import Environment, Retry, Terminal

DEFAULT_TYPE = "t3.small"
DEFAULT_MAX_TIME = 3600
LONGEST = 30 * 86400
"""Seconds; a longer cap is more likely a slip than a wish, and systemd's timers are in minutes."""
MOST_SERVERS = 1000
_LONGEST_OF_SEVERAL = 38
"""The role of the other servers has a longer name."""

_S3_FORM = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_PYTHON_FORM = re.compile(r"3\.\d{1,2}(?:\.\d{1,2})?")
ENV_NAME_FORM = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PYTHON_COMMAND = re.compile(r"python[\d.]*")
_TYPE_FORM = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+")
_MODULE_FORM = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class Order:
    """A run as it was asked for; `inputs`, `outputs` and `env` are the texts of --in, --out and --env. A type that is
    given counts before one that would be chosen for the needs. `servers` are those of a Dask cluster; 0 for none.
    `spares_tracked` is as in Job.
    """

    program: Program
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    env: Sequence[str] = ()
    instance_type: str | None = None
    max_time: int = DEFAULT_MAX_TIME
    keep: int = 0
    name: str | None = None
    max_cost: float | None = None
    idle: int = 0
    sync_every: int = 0
    python: str | None = None
    fresh: bool = False
    reuse: str = ""
    stdin: bool = False
    terminal: Terminal | None = None
    wanted: Requirements = NOTHING
    spot: Spot | None = None
    retry: Retry | None = None
    servers: int = 0
    spares_tracked: bool = False


def plan_job(order: Order, cwd: Path, environ: Mapping[str, str]) -> Job:
    """The job, checked. resolve_options.py does what depends on where it runs. Raises UsageError; touches nothing."""
    instance_type = DEFAULT_TYPE if order.instance_type is None else order.instance_type
    if not _TYPE_FORM.fullmatch(instance_type):
        raise UsageError(f"--type {instance_type!r} is not an instance type.", "A type is like t3.small.")
    if order.max_time + order.keep > LONGEST:
        raise UsageError("--max-time and --keep together may be 30 days at most.")
    if order.name is not None and not NAME_FORM.fullmatch(order.name):
        raise UsageError(f"The name {order.name!r} cannot be used.", "Lower-case letters, digits and `-`, at most 40.")
    if order.reuse and (order.fresh or order.spot or order.servers):
        raise UsageError("--reuse takes a server that is there, so it excludes --fresh, --spot and --servers.")
    check_company(order.spot, keep=order.keep > 0, interactive=order.terminal is not None)
    if order.servers:
        _check_cluster(order)
    outputs = tuple(_check_output(pattern) for pattern in order.outputs)
    env = tuple(_read_env(text, environ) for text in order.env)
    planner = {"script": _plan_script, "module": _plan_module, "command": _plan_command}[order.program.kind]
    program, project, alone, needs = planner(order.program, cwd)
    if order.servers:
        require_dask(needs, program.target if program.kind == "script" else "")
    inputs = [text for text in order.inputs if not text.startswith("s3:")]
    bundle = plan_bundle(cwd, project, alone, inputs, needs.alone if needs is not None else ())
    return Job(
        name=order.name or new_name(order.program),
        name_was_drawn=order.name is None,
        program=program,
        bundle=bundle,
        environment=_place_environment(needs, bundle.root, cwd)._replace(python=_check_python(order.python)),
        outputs=outputs,
        env=env,
        instance_type=instance_type,
        type_was_said=order.instance_type is not None,
        wanted=order.wanted,
        max_time=order.max_time,
        keep=order.keep,
        home=cwd,
        idle=order.idle,
        sync_every=order.sync_every,
        max_cost=order.max_cost,
        fresh=order.fresh,
        reuse=order.reuse,
        stdin=order.stdin and order.terminal is None,
        terminal=order.terminal,
        spot=order.spot,
        retry=order.retry,
        cluster=ClusterPart(order.servers) if order.servers else None,
        spares_tracked=order.spares_tracked,
        s3_inputs=tuple(read_s3(text) for text in order.inputs if text.startswith("s3:")),
    )


def _check_cluster(order: Order) -> None:
    """What does not go with several servers."""
    if order.keep:
        raise UsageError("--keep and --servers exclude each other: the servers end with the program.")
    if order.idle:
        raise UsageError("--idle and --servers exclude each other: it does not see what the other servers do.")
    if order.name is not None:
        check_length(order.name)


_Plan = tuple[Program, Path | None, list[Path], Needs | None]
"""The program, the project that is sent, single files of the program, and the source of the environment."""


def _plan_script(program: Program, cwd: Path) -> _Plan:
    path = Path(os.path.normpath(cwd / user_path(program.target)))
    header = _read_script(path, program.target)
    project = None if header is not None else find_project(cwd)
    if project is not None and not path.is_relative_to(project):
        project = None
    inside = path.is_relative_to(project or cwd)
    place = os.path.relpath(path, cwd) if inside else path.name
    found = Program("script", PurePosixPath(place).as_posix(), program.args)
    if header is not None:
        # An empty header asks for nothing, so no environment has to be made.
        wanted = header.dependencies or header.requires_python
        return found, None, [path], Needs("script", path) if wanted else None
    needs = find_needs(path.parent, project)
    return found, project, [path], needs


def _read_script(path: Path, given: str) -> ScriptHeader | None:
    name = shown(given)
    if path.is_dir():
        raise UsageError(f"{name} is a folder, not a script.", "Name the script in it, or use `-m MODULE`.")
    try:
        source = read_text(path, SCRIPT_LIMIT)
    except FileNotFoundError:
        raise UsageError(f"There is no script {name}.", _instead_of(given, path)) from None
    except NotADirectoryError:
        raise UsageError(f"There is no script {name}: a part of its path is not a folder.") from None
    except OSError as error:
        raise UsageError(f"The script {name} cannot be read: {error.strerror}.", f"chmod u+r {shown(path)}") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"{name} is not Python source: it is not UTF-8 text.", "For a program, use `-- COMMAND`."
        ) from None
    if path.suffix == ".ipynb":
        raise UsageError(
            f"{name} is a notebook, not a script.",
            f"Make one of it: `jupyter nbconvert --to script {shlex.quote(name)}`",
        )
    return read_header(source, name)


def _instead_of(given: str, path: Path) -> str:
    """What to do where there is no such script: the word may have been meant as a command."""
    if _PYTHON_COMMAND.fullmatch(given):
        return f"Leave {given} out: `skylift run SCRIPT` runs a script with Python."
    with suppress(OSError):
        scripts = [each.name for each in path.parent.glob("*.py")]
        if near := difflib.get_close_matches(path.name, scripts, n=1, cutoff=0.75):
            return f"Did you mean {shown(str(Path(given).with_name(near[0])))}?"
    looked = f"It was looked for at {shown(path)}."
    if "/" not in given and shutil.which(given) is not None:
        return f"{looked} For a command, use `-- COMMAND`."
    return looked


def _plan_module(program: Program, cwd: Path) -> _Plan:
    if not _MODULE_FORM.fullmatch(program.target):
        raise UsageError(f"-m {program.target!r} is not the name of a module.", "A module is like package.tool.")
    project = find_project(cwd)
    needs = find_needs(cwd, project)
    alone: list[Path] = []
    if project is None:
        top = program.target.split(".")[0]
        alone += [path for path in (cwd / f"{top}.py", cwd / top) if path.exists()]
    return program, project, alone, needs


def _plan_command(program: Program, cwd: Path) -> _Plan:
    if not program.target:
        raise UsageError("There is no command after `--`.")
    project = find_project(cwd)
    needs = find_needs(cwd, project)
    alone: list[Path] = []
    if project is None and "/" in program.target and not Path(program.target).is_absolute():
        path = Path(os.path.normpath(cwd / program.target))
        if not path.is_file():
            raise UsageError(f"There is no file {program.target}.", f"It was looked for at {path}.")
        alone.append(path)
    return program, project, alone, needs


def _place_environment(needs: Needs | None, root: Path, cwd: Path) -> Environment:
    if needs is None:
        return Environment()
    path = needs.path
    place = path.relative_to(root) if path.is_relative_to(root) else cwd.relative_to(root) / path.name
    return Environment(needs.kind, place.as_posix())


def read_s3(text: str, option: str = "--in ") -> S3Input:
    """`option` is what the text belongs to, for messages. Raises UsageError."""
    found = _S3_FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"{option}{text}: this is not a place in S3.", "A place is like s3://bucket/folder/.")
    if not S3Glob(found[2] or "").is_valid:
        raise UsageError(f"{option}{text}: this is not a glob.", "A class of characters is like [a-z].")
    return S3Input(text, found[1], found[2] or "")


def fits_several(job: Job) -> bool:
    """Whether the name is short enough for a job with several servers."""
    return len(job.name) <= _LONGEST_OF_SEVERAL


def check_length(name: str) -> None:
    """Raises UsageError for a name that is too long for a job with several servers."""
    if len(name) > _LONGEST_OF_SEVERAL:
        raise UsageError(
            f"--name {name} is too long for several servers.", f"It has {_LONGEST_OF_SEVERAL} letters at most."
        )


def read_servers(text: str | None, most: int = MOST_SERVERS) -> int:
    """Of --servers; 0 without a value. Raises UsageError."""
    if text is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise UsageError(f"--servers {text} is not a number from 1 to {most}.")
    return int(text)


def _check_python(version: str | None) -> str:
    if version is not None and not _PYTHON_FORM.fullmatch(version):
        raise UsageError(f"--python {version!r} is not a version of Python.", "A version is like 3.12 or 3.12.4.")
    return version or ""


def _check_output(pattern: str) -> str:
    if pattern.startswith("s3:"):
        raise UsageError(f"--out {pattern}: skylift sends no results to S3.", "Have the program upload it.")
    path = PurePosixPath(pattern)
    if not pattern or path.is_absolute() or ".." in path.parts or pattern.startswith("~"):
        raise UsageError(
            f"--out {pattern!r} must be a path or glob below the working directory.",
            "Have the program write there; the same path is used on the server and at home.",
        )
    return str(path)


def _read_env(text: str, environ: Mapping[str, str]) -> tuple[str, Secret]:
    name, equals, value = text.partition("=")
    if not ENV_NAME_FORM.fullmatch(name):
        raise UsageError(f"--env {name!r} is not the name of an environment variable.")
    if not equals:
        if name not in environ:
            raise UsageError(f"--env {name}: there is no such variable here.", f"Set it, or write --env {name}=VALUE.")
        value = environ[name]
    if "\0" in value:
        raise UsageError(f"--env {name}: the value has a NUL character.")
    return name, Secret(value)
