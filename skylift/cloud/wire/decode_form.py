"""Query parameters to a parameter dictionary, for the `query` and `ec2` protocols.

`Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-1` is first made a tree by its dots, which the compiled decoders then walk.
Sources: Smithy's awsQuery and ec2Query protocol documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.scalar import READERS
from skylift.cloud.wire.shape import ListShape, MapShape, Shape, Structure
from skylift.cloud.wire.unreadable import Unreadable, read_inside

Tree = dict[str, Any]
"""Branches are Trees, leaves are the text of the request."""
Read = Callable[[Any], Any]

_MOST_FIELDS = 20_000
_MOST_LISTED = 1000
"""The most ids that EC2's reference names for a request."""


def fields(text: str) -> list[tuple[str, str]]:
    """The decoded pairs of a form body or query string, in order. ValueError when it is not one."""
    return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)


def tree(pairs: Iterable[tuple[str, str]]) -> Tree:
    """Nest pairs by the dots in their names. Unreadable when a name occurs twice or is both a value and a parent."""
    root: Tree = {}
    for name, value in pairs:
        branch = root
        *parents, leaf = name.split(".")
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise Unreadable("has both a value and members", name.rsplit(".", 1)[0])
        if leaf in branch:
            raise Unreadable("occurs more than once", name)
        branch[leaf] = value
    return root


class FormDecoder:
    """Makes closures that read one service's input shapes from a Tree.

    `ec2` selects that protocol's deviations: names are `queryName`, or capitalised, and every list is flat.
    """

    def __init__(self, *, ec2: bool) -> None:
        self._ec2 = ec2
        self._structures: dict[str, dict[str, tuple[str, Read]]] = {}

    def structure(self, shape: Structure) -> Read:
        def read(node: Any) -> dict[str, Any]:
            members = self._structures.get(shape.name)
            if members is None:
                members = self._structures[shape.name] = self._members(shape)
            return _read_structure(members, node)

        return read

    def _members(self, shape: Structure) -> dict[str, tuple[str, Read]]:
        return {self._wire_name(name, member): (name, self._reader(member)) for name, member in shape.members.items()}

    def _wire_name(self, member: str, shape: Shape) -> str:
        serialization = shape.serialization
        if self._ec2:
            if "queryName" in serialization:
                return cast(str, serialization["queryName"])
            name = cast(str, serialization.get("name", member))
            return name[0].upper() + name[1:]
        if shape.type_name == "list" and serialization.get("flattened"):
            item_name = cast(ListShape, shape).member.serialization.get("name")
            if item_name:
                return cast(str, item_name)
        return cast(str, serialization.get("name", member))

    def _reader(self, shape: Shape) -> Read:
        match shape.type_name:
            case "structure":
                return self.structure(cast(Structure, shape))
            case "list":
                return self._list(cast(ListShape, shape))
            case "map":
                return self._map(cast(MapShape, shape))
            case _:
                return _scalar(READERS[shape.type_name])

    def _list(self, shape: ListShape) -> Read:
        item = self._reader(shape.member)
        if self._ec2:
            return lambda node: [read_inside(number, item, value) for number, value in _few(_loosely_numbered(node))]
        if shape.serialization.get("flattened"):
            return lambda node: [read_inside(number, item, value) for number, value in _numbered(node)]
        wrapper = shape.member.serialization.get("name", "member")

        def read(node: Any) -> list[Any]:
            return [
                read_inside(f"{wrapper}.{number}", item, value) for number, value in _numbered(_only(node, wrapper))
            ]

        return read

    def _map(self, shape: MapShape) -> Read:
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        members = {key_name: ("key", self._reader(shape.key)), value_name: ("value", self._reader(shape.value))}
        flattened = shape.serialization.get("flattened")

        def read(node: Any) -> dict[str, Any]:
            found = {}
            for number, pair in _numbered(node if flattened else _only(node, "entry")):
                entry = read_inside(number, lambda branch: _read_structure(members, branch), pair)
                if entry.keys() != {"key", "value"}:
                    raise Unreadable(f"must have {key_name} and {value_name}", number)
                found[entry["key"]] = entry["value"]
            return found

        return read


def _read_structure(members: Mapping[str, tuple[str, Read]], node: Any) -> dict[str, Any]:
    if not isinstance(node, dict):
        if node == "":
            return {}
        raise Unreadable("must have members, not a value")
    params = {}
    for wire_name, value in node.items():
        member = members.get(wire_name)
        if member is None:
            raise Unreadable("is not recognized", wire_name, unknown=True)
        params[member[0]] = read_inside(wire_name, member[1], value)
    return params


def _scalar(reader: Callable[[str], Any]) -> Read:
    def read(node: Any) -> Any:
        if isinstance(node, dict):
            name, below = next(iter(node.items()))
            deeper = f"{name}.{next(iter(below))}" if isinstance(below, dict) else name
            raise Unreadable("is not recognized", deeper, unknown=True)
        return reader(node)

    return read


def _numbered(node: Any, first: int = 1) -> list[tuple[str, Any]]:
    """A list's items in the order of their numbers. An empty value is an empty list, as query clients send it."""
    if node == "":
        return []
    if not isinstance(node, dict):
        raise Unreadable("must be numbered, as in Name.1")
    for number in node:
        if not re.fullmatch("[0-9]{1,9}", number) or int(number) < first:
            raise Unreadable("is not recognized", number, unknown=True)
    return sorted(node.items(), key=lambda item: int(item[0]))


def _loosely_numbered(node: Any) -> list[tuple[str, Any]]:
    """Read numbers as EC2 does: one item may lack one, and they may begin with 0. Older clients rely on both."""
    if isinstance(node, str) and node:
        return [("1", node)]
    return _numbered(node, first=0)


def _few(numbered: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    if len(numbered) > _MOST_LISTED:
        raise ServiceError(
            "ResourceCountExceeded",
            f"You have exceeded the number of resources allowed in the request: a list has {len(numbered)} items, and "
            f"may have {_MOST_LISTED}.",
        )
    return numbered


def _only(node: Any, wrapper: str) -> Any:
    """The value under `wrapper`, which must be the only one."""
    if not isinstance(node, dict):
        return node
    other = next((name for name in node if name != wrapper), None)
    if other is not None:
        raise Unreadable("is not recognized", other, unknown=True)
    return node[wrapper]
