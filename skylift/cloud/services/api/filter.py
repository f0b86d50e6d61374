"""Filters of describe operations, applied to what the operation would answer.

A filter's name leads to a path of member names in the answer, so that a filter always agrees with what a client sees.
Values of one filter are alternatives, several filters must all match; `*` stands for any text, `?` for one character,
a backslash takes their meaning away.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.refusal import invalid, missing, values_at
from skylift.cloud.services.api.wildcard import Wildcard, wildcard

if TYPE_CHECKING:
    from aws_shapes import ec2

Item = TypeVar("Item", bound=Mapping[str, object])

MAX_VALUES = 200

_SPECIAL = re.compile(r"[*?\\]")
_ESCAPED = re.compile(r"\\.|.", re.DOTALL)


def matching(
    items: list[Item], filters: list[ec2.Filter] | None, paths: Mapping[str, str], tags: str = ""
) -> list[Item]:
    """The items that all `filters` match. `tags` names the member that holds the tags, where there are any."""
    if not filters:
        return items
    if sum(len(given.get("Values", ())) for given in filters) > MAX_VALUES:
        raise ServiceError(
            "FilterLimitExceeded", f"The maximum number of filter values specified on a single call is {MAX_VALUES}"
        )
    for number, given in enumerate(filters, start=1):
        if not given.get("Values"):
            raise missing(f"Filter.{number}.Value")
        wanted = [_wildcard(value) for value in given["Values"]]
        items = [item for item in items if _matches(_found(item, given.get("Name"), paths, tags), wanted)]
    # Names are checked even where nothing is left to look at.
    for given in filters:
        _found({}, given.get("Name"), paths, tags)
    return items


def same_named(names: str, above: str = "", above_in_answer: str = "") -> dict[str, str]:
    """Filters that are called as the members that they lead to: `volume-size` leads to `VolumeSize`. With `above`, a
    member that filters call so, and answers `above_in_answer`, holds them: `route.state`, `Routes.State`."""
    members = {
        name: ".".join("".join(map(str.capitalize, part.split("-"))) for part in name.split("."))
        for name in names.split()
    }
    if not above:
        return members
    return {f"{above}.{name}": f"{above_in_answer}.{member}" for name, member in members.items()}


def exact_values(filters: list[ec2.Filter] | None, columns: Mapping[str, str]) -> dict[str, list[str]]:
    """By column, the texts of which one must stand in it for an item to match: of those filters whose `columns` hold
    what an answer shows, and whose values have no wildcard. A store that is asked for these reads what may match only;
    `matching` still decides."""
    wanted: dict[str, list[str]] = {}
    for given in filters or ():
        column, values = columns.get(given.get("Name", "")), given.get("Values", [])
        if column and 0 < len(values) <= MAX_VALUES and not any(_SPECIAL.search(value) for value in values):
            wanted.setdefault(column, values)
    return wanted


def spelled(value: Any) -> str:
    """The spelling that a filter value must have for what an answer holds."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    return str(value)


def _matches(found: list[str], wanted: list[Wildcard]) -> bool:
    return any(each.matches(value) for value in found for each in wanted)


def _found(item: Mapping[str, object], name: str | None, paths: Mapping[str, str], tags: str) -> list[str]:
    if name is not None and name in paths:
        return [spelled(value) for value in values_at(item, tuple(paths[name].split(".")))]
    if tags and name is not None:
        pairs = cast("list[ec2.Tag]", item.get(tags, []))
        if name == "tag-key":
            return [pair["Key"] for pair in pairs]
        if name == "tag-value":
            return [pair["Value"] for pair in pairs]
        if name.startswith("tag:"):
            return [pair["Value"] for pair in pairs if pair["Key"] == name.removeprefix("tag:")]
    raise invalid(f"The filter '{'null' if name is None else name}' is invalid")


def _wildcard(value: str) -> Wildcard:
    pieces = _ESCAPED.findall(value)
    return wildcard(tuple((piece[-1], len(piece) == 1) for piece in pieces))
