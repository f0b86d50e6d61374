"""Cuts out of an XML answer what nobody reads, before it is parsed. Parsing takes most of the time of an answer, and
nearly all of an instance is what no list shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Shapes = Mapping[str, Any]
"""Of a service model, as botocore's data has them."""


def unread_elements(shapes: Shapes, narrow: Shapes, output: str) -> tuple[bytes, ...]:
    """Names of the elements with others in them of which nothing is read. `narrow` is what the reader knows of
    `shapes`, and `output` is the shape of the answer. An element that may contain one of its own name is not among
    them."""
    read = {name for name, _ in _elements(narrow, output)}
    found = {
        name: None
        for name, shape in _elements(shapes, output)
        if name not in read
        and shapes[shape]["type"] in ("structure", "list")
        and name not in {inner for inner, _ in _elements(shapes, shape)}
    }
    return tuple(each.encode() for each in found)


def _elements(shapes: Shapes, shape: str) -> Iterator[tuple[str, str]]:
    """Names of elements below one of this shape, with their shapes; the outer ones first."""
    todo, seen = [shape], {shape}
    while todo:
        of = shapes[todo.pop(0)]
        for name, member in _members(of):
            yield name, member
            if member not in seen:
                seen.add(member)
                todo.append(member)


def _members(shape: Any) -> Iterable[tuple[str, str]]:
    if shape["type"] == "list":
        return [(shape["member"].get("locationName", "member"), shape["member"]["shape"])]
    return [(each.get("locationName", name), each["shape"]) for name, each in shape.get("members", {}).items()]


def cut_out(body: bytes, elements: Iterable[bytes]) -> bytes:
    """The answer without these elements. Text in XML has no <, so that what looks like an element is one."""
    if b"<![CDATA[" in body:
        return body
    for name in elements:
        first, *rest = body.split(b"<%b>" % name)
        if rest:
            body = b"".join([first, *(each.partition(b"</%b>" % name)[2] for each in rest)])
    return body
