"""Whether a job's environment has Dask, for a program that gets a cluster, and bokeh, for a cluster with Dask's pages:
found before anything is started.

Program, scheduler and workers have the same environment, so their versions are the same. What is not locked is known by
the names that the environment is made of: a package that only another one asks for has to be named as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from skylift.client.errors import UsageError
from skylift.client.ship.needs import Needs
from skylift.client.ship.pep723 import read_header
from skylift.client.text.toml_text import SCRIPT_LIMIT, parse_toml, read_text, table_of
from skylift.client.text.visible import shown

_NAMED = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_EXTRAS = frozenset({"distributed", "complete"})
"""Extras of `dask` that ask for distributed."""
_INCLUDED = re.compile(r"(?:-r|--requirement)(?:\s+|=)(\S+)")
_WHY = "A program with --servers computes on Dask, and its environment has no `distributed`"


def require_dask(needs: Needs | None, script: str = "") -> None:
    """Raises UsageError. `needs` is what the environment is made of; `script` is the program, where it is one."""
    if needs is None:
        advice = f"uv add --script {shown(script)} distributed" if script else "uv init --bare && uv add distributed"
        raise UsageError(f"{_WHY}: the job has no environment of its own.", advice)
    try:
        _require(needs.kind, needs.path, shown(needs.path.name))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown(str(needs.path))} cannot be read: {error}.") from None


def require_pages(needs: Needs | None) -> None:
    """Raises UsageError for an environment that certainly has no bokeh. What is not locked may have it through another
    package: then Dask's page itself says what it needs."""
    if needs is None or needs.kind != "project":
        return
    try:
        locked = _locked(needs.path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown(str(needs.path / 'uv.lock'))} cannot be read: {error}.") from None
    if locked is not None and "bokeh" not in locked:
        raise UsageError("--dashboard: Dask's pages need bokeh, and this project's uv.lock has none.", "uv add bokeh")


def _require(kind: str, path: Path, name: str) -> None:
    if kind == "script":
        header = read_header(read_text(path, SCRIPT_LIMIT), name)
        if header is None or not _any_is_dask(header.dependencies):
            raise UsageError(f"{_WHY}: {name} does not ask for it.", f"uv add --script {name} distributed")
    elif kind == "requirements":
        if not _any_is_dask(_lines(path, set())):
            raise UsageError(f"{_WHY}: {name} does not name it.", f"Add a line to {name}: distributed")
    elif not _project_has_dask(path):
        raise UsageError(f"{_WHY}: the project {name} does not ask for it.", "uv add distributed")


def _project_has_dask(folder: Path) -> bool:
    locked = _locked(folder)
    if locked is not None:
        return "distributed" in locked
    content = parse_toml(read_text(folder / "pyproject.toml"), shown(str(folder / "pyproject.toml")))
    default = table_of(content, "dependency-groups").get("dev", [])
    return _any_is_dask([*_texts(table_of(content, "project").get("dependencies")), *_texts(default)])


def _locked(folder: Path) -> set[str] | None:
    """The packages of a project's lock; None where it has none."""
    lock = folder / "uv.lock"
    if not lock.is_file():
        return None
    packages = parse_toml(read_text(lock, SCRIPT_LIMIT), shown(str(lock))).get("package")
    named = packages if isinstance(packages, list) else []
    return {each["name"] for each in named if isinstance(each, dict) and isinstance(each.get("name"), str)}


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _lines(path: Path, seen: set[Path]) -> Iterable[str]:
    """The requirements of a file, and of those that it includes and that are there."""
    if path in seen or not path.is_file():
        return
    seen.add(path)
    for line in read_text(path, errors="replace").split("\n"):
        included = _INCLUDED.match(line.strip())
        if included is not None:
            yield from _lines(path.parent / included[1], seen)
        else:
            yield line


def _any_is_dask(requirements: Iterable[str]) -> bool:
    for each in requirements:
        found = _NAMED.match(each)
        if found is None:
            continue
        name = re.sub(r"[-_.]+", "-", found[1]).lower()
        extras = {extra.strip().lower() for extra in (found[2] or "").split(",")}
        if name == "distributed" or (name == "dask" and extras & _EXTRAS):
            return True
    return False
