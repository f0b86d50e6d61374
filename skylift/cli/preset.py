"""Options of `skylift run` from `[tool.skylift]`. The key of an option is its flag without dashes.

The command line overrides a script's own header, which overrides the project's pyproject.toml. Lists are replaced, not
joined.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from skylift.client.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from skylift.client.plan.tool_table import ToolTable

_NOT_KEYS = {"help", "module", "program-is-a-command", "trust-project"}
"""Options that are no keys: what to run, and whether to trust the table itself."""
_NEEDS = {"cpu", "memory", "arch", "gpu"}
"""Requirements for the server. A type is one too, so the one that is nearer to the command line counts."""


class Preset(NamedTuple):
    """A default value, and its table and key."""

    value: Any
    table: ToolTable
    key: str


def presets(options: Iterable[Any], script: str | None, cwd: Path) -> dict[str, Preset]:
    """Defaults by parameter, from the tables of this project and script. `options` are click's. Raises UsageError."""
    from skylift.client.plan.tool_table import project_table, script_table
    from skylift.client.text.user_path import user_path

    by_key = keys_of(options)
    found: dict[str, Preset] = {}
    tables = [project_table(cwd), script_table(cwd / user_path(script), script) if script else None]
    for table in tables:
        if table is not None:
            values = {key: _value(table, key, by_key[key]) for key in _checked(table, by_key)}
            if _NEEDS & set(values):
                found.pop(by_key["type"].name, None)
            found.update({by_key[key].name: Preset(value, table, key) for key, value in values.items()})
    return found


def overridden(options: Iterable[Any], words: Sequence[str]) -> set[str]:
    """Parameters whose presets these words of the command line override: a type, when they have requirements."""
    given = {word.partition("=")[0].removeprefix("--") for word in words if word.startswith("--")}
    return {keys_of(options)["type"].name} if _NEEDS & given else set()


def keys_of(options: Iterable[Any]) -> dict[str, Any]:
    """Options by key: `max-time` for `--max-time`."""
    keys = {word.removeprefix("--"): each for each in options for word in each.opts if word.startswith("--")}
    return {key: option for key, option in keys.items() if key not in _NOT_KEYS}


def _checked(table: ToolTable, known: dict[str, Any]) -> Sequence[str]:
    for key in table.values:
        if key not in known:
            near = difflib.get_close_matches(key.replace("_", "-"), known, n=1)
            advice = f"Is it {near[0]}?" if near else f"Keys are: {', '.join(sorted(known))}."
            raise UsageError(f"{table.at(key)}: [tool.skylift] has no key {key!r}.", advice)
    return list(table.values)


def _value(table: ToolTable, key: str, option: Any) -> Any:
    value = table.values[key]
    if option.is_flag:
        if isinstance(value, bool):
            return value
        raise UsageError(f"{table.at(key)}: {key} must be true or false.")
    if option.multiple:
        values = value if isinstance(value, list) else [value]
        if all(isinstance(each, str) for each in values):
            return values
        raise UsageError(f"{table.at(key)}: {key} must be a list of strings.")
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise UsageError(f"{table.at(key)}: {key} must be a string.")
