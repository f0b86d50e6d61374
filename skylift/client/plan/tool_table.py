"""Reads the table `[tool.skylift]`, options for runs, of a pyproject.toml or of a script's PEP 723 header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from skylift.client.errors import UsageError
from skylift.client.ship.bundle import find_project
from skylift.client.ship.git import read_tracked
from skylift.client.ship.pep723 import find_block
from skylift.client.text.toml_text import SCRIPT_LIMIT, parse_toml, read_text
from skylift.client.text.visible import shown

_HEADER = re.compile(r"\s*\[\s*tool\s*\.\s*skylift\s*\]")


@dataclass(frozen=True)
class ToolTable:
    """Keys with their values, and the line of `source` that each stands in; `source` is `path` as people call it. A
    script's `is_header`."""

    path: Path
    source: str
    values: Mapping[str, object]
    lines: Mapping[str, int]
    is_header: bool = False

    def at(self, key: str) -> str:
        return f"{self.source}:{self.lines[key]}" if key in self.lines else self.source


def project_table(cwd: Path) -> ToolTable | None:
    """The table in the pyproject.toml of the project around `cwd`."""
    project = find_project(cwd)
    path = project / "pyproject.toml" if project is not None else None
    if path is None or not path.is_file():
        return None
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown(path)} cannot be read: {error}.") from None
    return _read(text, path, shown(path), shown(path), 1)


def script_table(path: Path, given: str, *, tracked: bool = False) -> ToolTable | None:
    """The table in a script's header, or in that which git has of it, `tracked`. Other code reports a script that is
    missing or is not text."""
    name = shown(given)
    try:
        text = read_tracked(path, SCRIPT_LIMIT) if tracked else read_text(path, SCRIPT_LIMIT)
    except (OSError, UnicodeDecodeError):
        return None
    block = find_block(text or "", name)
    found = block and _read(block[1], path, name, f"{name}: the PEP 723 header", block[0] + 1)
    return replace(found, is_header=True) if found is not None else None


def _read(text: str, path: Path, source: str, whole: str, first_line: int) -> ToolTable | None:
    tool = parse_toml(text, whole).get("tool", {})
    table = tool.get("skylift") if isinstance(tool, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise UsageError(f"{source}: tool.skylift must be a table.", "Write [tool.skylift], and its keys below.")
    return ToolTable(path, source, table, _lines(text, table, first_line))


def _lines(text: str, keys: Mapping[str, object], first_line: int) -> dict[str, int]:
    """The line of each key below `[tool.skylift]`; tomllib does not give it. A table written another way has none."""
    found: dict[str, int] = {}
    inside = False
    for number, line in enumerate(text.splitlines(), first_line):
        if line.lstrip().startswith("["):
            inside = _HEADER.match(line) is not None
        elif inside:
            name = re.match(r"""\s*["']?([^\s"'=]+)["']?\s*=""", line)
            if name is not None and name[1] in keys:
                found.setdefault(name[1], number)
    return found
