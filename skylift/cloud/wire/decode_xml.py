"""Request documents to a parameter dictionary, for `rest-xml`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from skylift.cloud.wire.scalar import READERS
from skylift.cloud.wire.shape import ListShape, MapShape, Shape, Structure
from skylift.cloud.wire.unreadable import Unreadable, read_inside

Read = Callable[[list[Element]], Any]
"""Reads a member from all elements of its name."""


class _WithoutDoctype(TreeBuilder):
    """Entities can only be declared in a DOCTYPE, which no AWS client sends: refused before its content is read."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise Unreadable("A document type declaration is not allowed")


def document(body: bytes) -> Element:
    """The root element. Unreadable when the body is not well-formed."""
    parser = XMLParser(target=_WithoutDoctype())  # noqa: S314 - no DOCTYPE, no entities
    try:
        parser.feed(body)
        return parser.close()
    except (ParseError, LookupError, ValueError) as problem:
        # The last two: it declares an encoding that is unknown, or that the parser cannot read.
        raise Unreadable(f"The XML is not well-formed: {problem}") from None


class XmlDecoder:
    """Makes closures that read one service's input shapes from elements."""

    def __init__(self) -> None:
        self._structures: dict[str, dict[str, tuple[str, Read]]] = {}

    def structure(self, shape: Structure) -> Callable[[Element], dict[str, Any]]:
        attributes = {
            member.serialization["name"].rpartition(":")[2]: name
            for name, member in shape.members.items()
            if member.serialization.get("xmlAttribute")
        }

        # In XML, an empty list may be no element at all. Whether it may be empty, the operation decides, which finds
        # the bucket first: recorded on AWS in LocalStack's test_s3_api.snapshot.json, in
        # `test_s3_default_bucket_encryption_exc` and `test_put_bucket_tagging_none_value`.
        lists = [name for name in shape.metadata.get("required", ()) if _is_list_in_document(shape.members[name])]

        def read(node: Element) -> dict[str, Any]:
            members = self._structures.get(shape.name)
            if members is None:
                members = self._structures[shape.name] = self._members(shape)
            params: dict[str, Any] = {
                attributes[local]: text
                for name, text in node.attrib.items()
                if (local := local_name(name)) in attributes
            }
            params.update(_read_members(members, node))
            for name in lists:
                params.setdefault(name, [])
            return params

        return read

    def _members(self, shape: Structure) -> dict[str, tuple[str, Read]]:
        return {
            _element_name(name, member): (name, self._reader(member))
            for name, member in shape.members.items()
            if not member.serialization.get("xmlAttribute") and not member.serialization.get("location")
        }

    def _reader(self, shape: Shape) -> Read:
        match shape.type_name:
            case "structure":
                return _once(self.structure(cast(Structure, shape)))
            case "list":
                return self._list(cast(ListShape, shape))
            case "map":
                return self._map(cast(MapShape, shape))
            case _:
                return _once(_text(READERS[shape.type_name]))

    def _list(self, shape: ListShape) -> Read:
        item = self._reader(shape.member)
        if shape.serialization.get("flattened"):
            return lambda nodes: [item([node]) for node in nodes]
        name = shape.member.serialization.get("name", "member")
        return _once(lambda node: [item([child]) for child in _children(node, name)])

    def _map(self, shape: MapShape) -> Read:
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        members = {key_name: ("key", self._reader(shape.key)), value_name: ("value", self._reader(shape.value))}

        def read(nodes: list[Element]) -> dict[str, Any]:
            entries = [_read_members(members, node) for node in nodes]
            if any(entry.keys() != {"key", "value"} for entry in entries):
                raise Unreadable(f"must have {key_name} and {value_name}")
            return {entry["key"]: entry["value"] for entry in entries}

        return read if shape.serialization.get("flattened") else _once(lambda node: read(_children(node, "entry")))


def _read_members(members: dict[str, tuple[str, Read]], node: Element) -> dict[str, Any]:
    found: dict[str, list[Element]] = {}
    for child in node:
        found.setdefault(local_name(child.tag), []).append(child)
    params = {}
    for element, nodes in found.items():
        member = members.get(element)
        if member is None:
            raise Unreadable("is not an element that belongs here", element, unknown=True)
        params[member[0]] = read_inside(element, member[1], nodes)
    return params


def _once(read: Callable[[Element], Any]) -> Read:
    def read_one(nodes: list[Element]) -> Any:
        if len(nodes) > 1:
            raise Unreadable("occurs more than once")
        return read(nodes[0])

    return read_one


def _text(reader: Callable[[str], Any]) -> Callable[[Element], Any]:
    def read(node: Element) -> Any:
        if len(node):
            raise Unreadable("must be text, without elements")
        return reader(node.text or "")

    return read


def _children(node: Element, name: str) -> list[Element]:
    for child in node:
        if local_name(child.tag) != name:
            raise Unreadable("is not an element that belongs here", local_name(child.tag), unknown=True)
    return list(node)


def _element_name(member: str, shape: Shape) -> str:
    # S3's serializers name the elements of a flattened list after the member itself, and so do its documents.
    return cast(str, shape.serialization.get("name", member))


def _is_list_in_document(shape: Shape) -> bool:
    return shape.type_name == "list" and not shape.serialization.get("location")


def local_name(name: str) -> str:
    """A name without its namespace: clients differ in which they send."""
    return name.rpartition("}")[2]
