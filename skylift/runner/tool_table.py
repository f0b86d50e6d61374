"""The table `[tool.skylift]`: what a project's pyproject.toml, or a script's own PEP 723 header, says of its runs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skylift.runner.bundle import find_project
from skylift.runner.errors import UsageError
from skylift.runner.pep723 import find_block

_HEADER = re.compile(r"\s*\[\s*tool\s*\.\s*skylift\s*\]")


@dataclass(frozen=True)
class ToolTable:
    """Keys with their values, and the line of `source` that each stands in."""

    source: str
    values: Mapping[str, object]
    lines: Mapping[str, int]

    def at(self, key: str) -> str:
        return f"{self.source}:{self.lines[key]}" if key in self.lines else self.source


def project_table(cwd: Path) -> ToolTable | None:
    """The table in the pyproject.toml of the project around `cwd`."""
    project = find_project(cwd)
    path = project / "pyproject.toml" if project is not None else None
    if path is None or not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    return _read(text, str(path), str(path), 1)


def script_table(path: Path, shown: str) -> ToolTable | None:
    """The table in a script's header. A script that is not there, or is not text, is for others to complain about."""
    try:
        block = find_block(path.read_text(encoding="utf-8"), shown)
    except (OSError, UnicodeDecodeError):
        return None
    return _read(block[1], shown, f"{shown}: the PEP 723 header", block[0] + 1) if block is not None else None


def _read(text: str, source: str, whole: str, first_line: int) -> ToolTable | None:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{whole} is not valid TOML: {error}.") from None
    tool = content.get("tool", {})
    table = tool.get("skylift") if isinstance(tool, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise UsageError(f"{source}: tool.skylift must be a table.", "Write [tool.skylift], and its keys below.")
    return ToolTable(source, table, _lines(text, table, first_line))


def _lines(text: str, keys: Mapping[str, object], first_line: int) -> dict[str, int]:
    """Where each key stands below `[tool.skylift]`; tomllib does not tell. A table written another way has none."""
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
