"""Types of a service's model, and whether parameters fit them.

A model names its types and lets them refer to each other; each is made when something first asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, cast

_ON_THE_WIRE = {
    "locationName": "name",
    "queryName": "queryName",
    "flattened": "flattened",
    "location": "location",
    "payload": "payload",
    "streaming": "streaming",
    "timestampFormat": "timestampFormat",
    "xmlNamespace": "xmlNamespace",
    "resultWrapper": "resultWrapper",
    "xmlAttribute": "xmlAttribute",
}
_CONSTRAINTS = ("required", "min", "max", "pattern", "enum", "union", "sensitive", "error", "exception")

SAID = frozenset(("type", "shape", "members", "member", "key", "value", *_ON_THE_WIRE, *_CONSTRAINTS))
"""The keys that are read of a model's type, or of a reference to one."""

_KINDS: dict[str, type[Any] | tuple[type[Any], ...]] = {
    "structure": dict,
    "map": dict,
    "list": (list, tuple),
    "string": str,
    "character": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (float, int),
    "double": (float, int),
    "timestamp": datetime,
    # Bytes or, when it was streamed to disk, a Spool: the decoders make nothing else.
    "blob": object,
}
_MEASURED = {
    "string": "length",
    "list": "length",
    "integer": "range",
    "long": "range",
    "float": "range",
    "double": "range",
}


class Shape:
    """One type of a service's model. `serialization` says how it looks on the wire, `metadata` what it must satisfy;
    both have the model's own keys, but for `locationName`, which is `name`."""

    def __init__(self, name: str, described: Mapping[str, Any], shapes: Shapes) -> None:
        self.name = name
        self.type_name: str = described["type"]
        self.serialization = {ours: described[its] for its, ours in _ON_THE_WIRE.items() if its in described}
        self.metadata = {each: described[each] for each in _CONSTRAINTS if each in described}
        self._described = described
        self._shapes = shapes


class Structure(Shape):
    @cached_property
    def members(self) -> Mapping[str, Shape]:
        return {name: self._shapes.referred(each) for name, each in self._described.get("members", {}).items()}


class ListShape(Shape):
    @cached_property
    def member(self) -> Shape:
        return self._shapes.referred(self._described["member"])


class MapShape(Shape):
    @cached_property
    def key(self) -> Shape:
        return self._shapes.referred(self._described["key"])

    @cached_property
    def value(self) -> Shape:
        return self._shapes.referred(self._described["value"])


_CLASSES: dict[str, type[Shape]] = {"structure": Structure, "list": ListShape, "map": MapShape}


class Shapes:
    """The types of one model, by what its `shapes` say: JSON each, which is read when the type is first asked for. Most
    never are, and read they take six times the memory.
    """

    def __init__(self, described: Mapping[str, str]) -> None:
        self._described = described
        self._read: dict[str, Mapping[str, Any]] = {}
        self._made: dict[str, Shape] = {}

    def named(self, name: str) -> Shape:
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = self._make(name, self._description(name))
        return found

    def referred(self, reference: Mapping[str, Any]) -> Shape:
        """The type that `{"shape": NAME, ...}` refers to. The reference's keys override the type's."""
        name = reference["shape"]
        if len(reference) == 1:
            return self.named(name)
        return self._make(name, {**self._description(name), **reference})

    def _description(self, name: str) -> Mapping[str, Any]:
        found = self._read.get(name)
        if found is None:
            found = self._read[name] = json.loads(self._described[name])
        return found

    def _make(self, name: str, described: Mapping[str, Any]) -> Shape:
        return _CLASSES.get(described["type"], Shape)(name, described, self)


@dataclass(frozen=True)
class Problem:
    """One reason why parameters do not fit their shape.

    `kind` is one of `missing`, `type`, `length`, `range`, `unknown`, `union`; `path` names the parameter by the model's
    member names (`Filters[0].Name`); `value` is what was sent; `minimum` is the model's bound for `length` and `range`.
    """

    kind: str
    path: str
    value: Any = None
    minimum: Any = None


def problems(params: Mapping[str, Any], shape: Structure) -> list[Problem]:
    """Why `params` do not fit `shape`; empty when they do. Least lengths and values are looked at, and no patterns: see
    limits.py for the rest."""
    found: list[Problem] = []
    _look(params, shape, "", found)
    return found


def _look(value: Any, shape: Shape, path: str, found: list[Problem]) -> None:
    kind = shape.type_name
    if not isinstance(value, _KINDS[kind]):
        found.append(Problem("type", path, value))
        return
    if kind == "structure":
        _look_at_members(value, cast(Structure, shape), path, found)
    elif kind == "map":
        mapped = cast(MapShape, shape)
        for key, item in value.items():
            _look(key, mapped.key, f"{path} (key: {key})", found)
            _look(item, mapped.value, f"{path}.{key}", found)
    elif kind in _MEASURED:
        measured, least = _MEASURED[kind], shape.metadata.get("min")
        if least is not None and (len(value) if measured == "length" else value) < least:
            found.append(Problem(measured, path, len(value) if measured == "length" else value, least))
        if kind == "list":
            member = cast(ListShape, shape).member
            for number, item in enumerate(value):
                _look(item, member, f"{path}[{number}]", found)


def _look_at_members(value: Mapping[str, Any], shape: Structure, path: str, found: list[Problem]) -> None:
    within, members = f"{path}." if path else "", shape.members
    if shape.metadata.get("union") and len(value) != 1:
        found.append(Problem("union", path))
    for name in shape.metadata.get("required", ()):
        if name not in value:
            found.append(Problem("missing", within + name))
    for name in value:
        if name not in members:
            found.append(Problem("unknown", within + name))
    for name, item in value.items():
        if name in members:
            _look(item, members[name], within + name, found)
