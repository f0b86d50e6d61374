"""A JSON or CBOR document to a parameter dictionary, for the `json` and `smithy-rpc-v2-cbor` protocols.

Sources: Smithy's AWS JSON 1.1 and RPC v2 CBOR protocol documents.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, cast

from skylift.cloud.wire import scalar
from skylift.cloud.wire.shape import ListShape, MapShape, Shape, Structure
from skylift.cloud.wire.unreadable import Unreadable, read_inside

Read = Callable[[Any], Any]

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bytes: "bytes",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    datetime: "a timestamp",
}


def document(text: bytes) -> dict[str, Any]:
    """The JSON object in a request's body; empty without a body. ValueError if the body is something else."""
    if not text.strip():
        return {}
    found = json.loads(text.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_each_once)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


class DocumentDecoder:
    """Makes closures that read one service's input shapes, each built once. `scalars` read the values in them.

    With `by_member`, keys are the model's member names, not the protocol's names.
    """

    def __init__(self, scalars: Mapping[str, Read], *, by_member: bool = False) -> None:
        self._scalars = scalars
        self._by_member = by_member
        self._structures: dict[str, dict[str, tuple[str, Read]]] = {}

    def structure(self, shape: Structure) -> Read:
        def read(value: Any) -> dict[str, Any]:
            members = self._structures.get(shape.name)
            if members is None:
                members = self._structures[shape.name] = self._members(shape)
            return _structure(members, value)

        return read

    def _members(self, shape: Structure) -> dict[str, tuple[str, Read]]:
        return {
            name if self._by_member else member.serialization.get("name", name): (name, self._reader(member))
            for name, member in shape.members.items()
        }

    def _reader(self, shape: Shape) -> Read:
        match shape.type_name:
            case "structure":
                return self.structure(cast(Structure, shape))
            case "list":
                return _list(self._reader(cast(ListShape, shape).member))
            case "map":
                return _map(self._reader(cast(MapShape, shape).value))
            case kind:
                return self._scalars[kind]


def _structure(members: dict[str, tuple[str, Read]], value: Any) -> dict[str, Any]:
    found = {}
    for name, item in _of(dict, value).items():
        if item is None:
            continue
        if name not in members:
            raise Unreadable("is not recognized", name, unknown=True)
        member, read = members[name]
        found[member] = read_inside(name, read, item)
    return found


def _list(read: Read) -> Read:
    return lambda value: [read_inside(str(number), read, item) for number, item in enumerate(_of(list, value))]


def _map(read: Read) -> Read:
    def entries(value: Any) -> dict[str, Any]:
        return {key: read_inside(key, read, item) for key, item in _of(dict, value).items() if item is not None}

    return entries


def _of(kind: type[Any], value: Any) -> Any:
    # True is an int in Python, but not a number in JSON.
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise Unreadable(f"must be {_KINDS[kind]}, not {_KINDS.get(type(value), 'null')}")
    return value


def _string(value: Any) -> str:
    text = cast(str, _of(str, value))
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Unreadable("has half of a surrogate pair")
    return text


def _whole(bits: int) -> Read:
    def read(value: Any) -> int:
        number = cast(int, _of(int, value))
        if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
            raise Unreadable(f"must be a whole number of {bits} bits")
        return number

    return read


def _floating(value: Any) -> float:
    if isinstance(value, str):
        if value not in ("NaN", "Infinity", "-Infinity"):
            raise Unreadable("must be a number, not a string")
        return scalar.floating(value)
    if isinstance(value, int):
        value = float(_of(int, value))
    return cast(float, _of(float, value))


def _moment(value: Any) -> datetime:
    """Seconds since 1970, which is this protocol's default; text is a date."""
    if isinstance(value, str):
        return cast(datetime, scalar.moment(value))
    try:
        return datetime.fromtimestamp(_floating(value), UTC)
    except (ValueError, OverflowError, OSError):
        raise Unreadable("must be seconds since 1970") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs more than once")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


JSON_SCALARS: dict[str, Read] = {
    "string": _string,
    "character": _string,
    "boolean": lambda value: _of(bool, value),
    "integer": _whole(32),
    "long": _whole(64),
    "float": _floating,
    "double": _floating,
    "timestamp": _moment,
    "blob": lambda value: scalar.blob(_string(value)),
}
CBOR_SCALARS: dict[str, Read] = {
    **JSON_SCALARS,
    "float": lambda value: value if isinstance(value, float) else float(_of(int, value)),
    "double": lambda value: value if isinstance(value, float) else float(_of(int, value)),
    "timestamp": lambda value: _of(datetime, value),
    "blob": lambda value: _of(bytes, value),
}
