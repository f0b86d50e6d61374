"""A result to a JSON or CBOR document, for the `json` and `smithy-rpc-v2-cbor` protocols.

Sources: Smithy's AWS JSON 1.1 and RPC v2 CBOR protocol documents.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from skylift.cloud.wire.shape import ListShape, MapShape, Shape, Structure
from skylift.cloud.wire.timestamp import FORMATS

Write = Callable[[Any], Any]


class DocumentEncoder:
    """Makes closures that turn one service's output shapes into JSON values, each built once.

    `scalar` says how values of other shapes than lists, maps and structures are written.
    """

    def __init__(self, scalar: Callable[[Shape], Write]) -> None:
        self._scalar = scalar
        self._structures: dict[str, dict[str, tuple[str, Write]]] = {}

    def structure(self, shape: Structure) -> Write:
        def write(value: Any) -> dict[str, Any]:
            members = self._structures.get(shape.name)
            if members is None:
                members = self._structures[shape.name] = self._members(shape)
            found = {}
            for name, item in value.items():
                if item is not None:
                    wire_name, convert = members[name]
                    found[wire_name] = convert(item)
            return found

        return write

    def _members(self, shape: Structure) -> dict[str, tuple[str, Write]]:
        return {
            name: (member.serialization.get("name", name), self._writer(member))
            for name, member in shape.members.items()
        }

    def _writer(self, shape: Shape) -> Write:
        match shape.type_name:
            case "structure":
                return self.structure(cast(Structure, shape))
            case "list":
                item = self._writer(cast(ListShape, shape).member)
                return lambda value: [item(one) for one in value]
            case "map":
                entry = self._writer(cast(MapShape, shape).value)
                return lambda value: {key: entry(one) for key, one in value.items()}
            case _:
                return self._scalar(shape)


def json_scalar(shape: Shape) -> Write:
    """A value that `json.dumps` takes."""
    match shape.type_name:
        case "timestamp":
            return _moment(shape)
        case "blob":
            return lambda value: base64.b64encode(value).decode("ascii")
        case "float" | "double":
            return _floating
        case _:
            return _same


def cbor_scalar(shape: Shape) -> Write:
    """A value that `cbor.dumps` takes: it has its own bytes, dates and numbers."""
    return float if shape.type_name in ("float", "double") else _same


def _moment(shape: Shape) -> Write:
    text = FORMATS.get(shape.serialization.get("timestampFormat", ""))
    return text if text is not None else _seconds


def _seconds(moment: datetime) -> float:
    """AWS writes milliseconds."""
    return round(moment.timestamp(), 3)


def _floating(number: float) -> float | str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _same(value: Any) -> Any:
    return value
