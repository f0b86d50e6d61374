"""Results to XML: one closure per shape, made when first needed, that appends pieces of text to a list.

Building text directly is an order of magnitude quicker than an element tree, and a describe call writes thousands of
elements.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from skylift.cloud.domain.shared_part import SharedPart
from skylift.cloud.wire.limits import UNFIT
from skylift.cloud.wire.shape import ListShape, MapShape, Shape, Structure
from skylift.cloud.wire.timestamp import FORMATS

XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
Write = Callable[[Any, list[str]], None]
_REFERENCES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;", "\x7f": "&#x7F;"}
"""The ampersand comes first, because the other references contain one."""
MOST_KNOWN = 256
"""The most shared parts whose text is kept, of one element."""
_SPECIAL = re.compile(f"[{''.join(_REFERENCES)}]|{UNFIT.pattern}")


def escape(text: str) -> str:
    """Text as XML content or attribute value. What XML cannot hold is shown as U+FFFD, so that the rest can be read.

    A carriage return would be read as a line feed, were it not a reference.
    """
    return text if _SPECIAL.search(text) is None else _with_references(UNFIT.sub("\ufffd", text))


def escape_key(text: str) -> str:
    """The same, but characters that XML cannot hold become character references, which XML does not allow either.

    S3 writes keys with such characters so; a client that lists them can ask for `encoding-type=url`.
    """
    if _SPECIAL.search(text) is None:
        return text
    return UNFIT.sub(lambda found: f"&#x{ord(found.group()):X};", _with_references(text))


def _with_references(text: str) -> str:
    for character, reference in _REFERENCES.items():
        text = text.replace(character, reference)
    return text


class UnknownMember(TypeError):
    """A result has a member that the model's output shape does not: a fault of the service that made it."""


Member = tuple[Write | None, str, Callable[[Any], str], str]
"""How one member of a structure is written: by its function, or, a scalar, as its text between two tags, without a call
more for each of thousands. A tuple and no more: it is taken apart as often."""

Members = Mapping[str, Member]


class XmlEncoder:
    """Makes closures that write values of a service's shapes; structures are compiled once per service.

    `timestamp` is the protocol's default format. Members at the locations in `elsewhere` stay out of the
    document, because they travel as headers. `text` is how strings are escaped.
    """

    def __init__(
        self,
        timestamp: Callable[[datetime], str],
        elsewhere: frozenset[str] = frozenset(),
        text: Callable[[str], str] = escape,
    ) -> None:
        self._timestamp = timestamp
        self._elsewhere = elsewhere
        self._structures: dict[str, Members] = {}
        self._scalars: dict[str, Callable[[Any], str]] = {
            "string": text,
            "character": text,
            "boolean": lambda value: "true" if value else "false",
            "integer": lambda value: str(int(value)),
            "long": lambda value: str(int(value)),
            "float": lambda value: repr(float(value)),
            "double": lambda value: repr(float(value)),
            "blob": lambda value: base64.b64encode(value).decode("ascii"),
        }

    def content(self, shape: Structure) -> Write:
        """Writes a structure's members, without an element around them."""
        members: Members | None = None

        def write(value: Any, out: list[str]) -> None:
            nonlocal members
            if members is None:
                members = self._members(shape)
            _write_members(shape, members, value, out)

        return write

    def element(self, name: str, shape: Shape) -> Write:
        """Writes `<name>value</name>`, or for flattened lists and maps one such element per item."""
        match shape.type_name:
            case "structure":
                return self._structure(name, cast(Structure, shape))
            case "list":
                return self._list(name, cast(ListShape, shape))
            case "map":
                return self._map(name, cast(MapShape, shape))
            case _:
                return self._scalar(name, shape)

    def _scalar(self, name: str, shape: Shape) -> Write:
        _, start, text, end = self._tagged(name, shape)

        def write(value: Any, out: list[str]) -> None:
            out.append(f"{start}{text(value)}{end}")

        return write

    def _tagged(self, name: str, shape: Shape) -> Member:
        return None, f"<{name}{_namespace(shape)}>", self._text(shape), f"</{name}>"

    def _text(self, shape: Shape) -> Callable[[Any], str]:
        if shape.type_name == "timestamp":
            chosen = shape.serialization.get("timestampFormat")
            return FORMATS[chosen.lower()] if chosen else self._timestamp
        return self._scalars[shape.type_name]

    def _structure(self, name: str, shape: Structure) -> Write:
        if any(member.serialization.get("xmlAttribute") for member in shape.members.values()):
            return self._structure_with_attributes(name, shape)
        start, end = f"<{name}{_namespace(shape)}>", f"</{name}>"
        content = self.content(shape)

        known: dict[int, tuple[SharedPart, str]] = {}

        def write(value: Any, out: list[str]) -> None:
            if type(value) is SharedPart:
                out.append(_text_of(value))
                return
            out.append(start)
            content(value, out)
            out.append(end)

        def _text_of(part: SharedPart) -> str:
            found = known.get(id(part))
            if found is None:
                pieces = [start]
                content(part, pieces)
                pieces.append(end)
                if len(known) >= MOST_KNOWN:
                    known.clear()
                # With the part itself: while it is there, no other has its id.
                found = known[id(part)] = part, "".join(pieces)
            return found[1]

        return write

    def _structure_with_attributes(self, name: str, shape: Structure) -> Write:
        attributes = {
            member: inner.serialization["name"]
            for member, inner in shape.members.items()
            if inner.serialization.get("xmlAttribute")
        }
        content = self.content(shape)
        namespace = _namespace(shape)

        def write(value: Any, out: list[str]) -> None:
            out.append(f"<{name}{namespace}")
            out.extend(f' {attributes[key]}="{escape(item)}"' for key, item in value.items() if key in attributes)
            out.append(">")
            content({key: item for key, item in value.items() if key not in attributes}, out)
            out.append(f"</{name}>")

        return write

    def _members(self, shape: Structure) -> Members:
        members = self._structures.get(shape.name)
        if members is None:
            members = self._structures[shape.name] = {
                member: self._member(_element_name(member, inner), inner)
                for member, inner in shape.members.items()
                if inner.serialization.get("location") not in self._elsewhere
            }
        return members

    def _member(self, name: str, shape: Shape) -> Member:
        compound = shape.type_name in ("structure", "list", "map")
        return (self.element(name, shape), "", str, "") if compound else self._tagged(name, shape)

    def _list(self, name: str, shape: ListShape) -> Write:
        if shape.serialization.get("flattened"):
            item = self.element(name, shape.member)

            def write_items(value: Any, out: list[str]) -> None:
                for each in value:
                    item(each, out)

            return write_items
        start, empty, end = f"<{name}{_namespace(shape)}>", f"<{name}{_namespace(shape)}/>", f"</{name}>"
        item = self.element(shape.member.serialization.get("name", "member"), shape.member)

        def write(value: Any, out: list[str]) -> None:
            if not value:
                out.append(empty)
                return
            out.append(start)
            for each in value:
                item(each, out)
            out.append(end)

        return write

    def _map(self, name: str, shape: MapShape) -> Write:
        key = self.element(shape.key.serialization.get("name", "key"), shape.key)
        item = self.element(shape.value.serialization.get("name", "value"), shape.value)
        flattened = shape.serialization.get("flattened")
        entry = name if flattened else "entry"
        around = ("", "") if flattened else (f"<{name}{_namespace(shape)}>", f"</{name}>")

        def write(value: Any, out: list[str]) -> None:
            out.append(around[0])
            for one_key, one_value in value.items():
                out.append(f"<{entry}>")
                key(one_key, out)
                item(one_value, out)
                out.append(f"</{entry}>")
            out.append(around[1])

        return write


def _write_members(shape: Structure, members: Members, value: Any, out: list[str]) -> None:
    special = _SPECIAL.search
    for key, item in value.items():
        if item is None:
            continue
        member = members.get(key)
        if member is None:
            if key not in shape.members:
                raise UnknownMember(f"{shape.name} has no member {key}")
            continue
        write, start, text, end = member
        if write is not None:
            write(item, out)
        elif text is escape and special(item) is None:
            # What `escape` would find, without the call.
            out.append(f"{start}{item}{end}")
        else:
            out.append(f"{start}{text(item)}{end}")


def _element_name(member: str, shape: Shape) -> str:
    """A member's element is named by its own location name, except that flattened lists take their items' name."""
    if shape.type_name == "list" and shape.serialization.get("flattened"):
        item_name = cast(ListShape, shape).member.serialization.get("name")
        if item_name:
            return cast(str, item_name)
    return cast(str, shape.serialization.get("name", member))


def _namespace(shape: Shape) -> str:
    """The `xmlns` attribute that the model wants on this element, with a space before it."""
    namespace = shape.serialization.get("xmlNamespace")
    if not namespace:
        return ""
    prefix = f":{namespace['prefix']}" if namespace.get("prefix") else ""
    return f' xmlns{prefix}="{namespace["uri"]}"'
