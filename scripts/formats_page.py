#!/usr/bin/env python3
"""Writes docs/formats.md: the documents that client and server exchange, from their declarations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from skylift.contract.document import MOMENT
from skylift.contract.map_progress import Progress
from skylift.contract.map_spec import MapSpec
from skylift.contract.record import JobRecord
from skylift.contract.results import SentFiles
from skylift.contract.status import Status
from skylift.contract.stream import Gauge, HostKeys, Offsets, Skip, StdinTaken
from skylift.contract.usage import Usage

PAGE = Path(__file__).parent.parent / "docs" / "formats.md"
DOCUMENTS = {
    "record.json": JobRecord,
    "server/status.json, and the frame `s`": Status,
    "server/manifest.json": SentFiles,
    "server/hostkeys.json": HostKeys,
    "server/stdin.json": StdinTaken,
    "in/map.json": MapSpec,
    "server/map/progress.json": Progress,
    "The frame `b`: where the streams begin": Offsets,
    "The frame `c`: what was cut": Skip,
    "The frame `g`: how the server is": Gauge,
    "The frame `u`: what is used of it": Usage,
}
HEAD = """\
# Formats

`python scripts/formats_page.py` writes this page from `skylift/contract/`. A field without a default is required; any
other one may be missing or null. Fields that are not known are ignored. Anything else makes a document a damaged one.
"""
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "object"}


def page() -> str:
    parts = [HEAD]
    for place, kind in DOCUMENTS.items():
        parts += [f"\n## {place}\n", *(line for each in inside(kind) for line in table(each, kind))]
    return "\n".join(parts) + "\n"


def inside(kind: Any) -> Iterator[Any]:
    """The document, and those in it."""
    found = {kind: None}
    for each in (known := list(found)):
        known += [part for hint in each.__annotations__.values() for part in nested(hint) if part not in known]
    yield from known


def nested(hint: Any) -> Iterator[Any]:
    if isinstance(hint, type) and hasattr(hint, "_fields"):
        yield hint
    for part in get_args(hint):
        if isinstance(part, type) or get_origin(part) is not None:
            yield from nested(part)


def table(kind: Any, document: Any) -> Iterator[str]:
    if kind is not document:
        yield f"\n### {kind.__name__}\n"
    yield "| field | is | default | |\n| --- | --- | --- | --- |"
    for name, hint in kind.__annotations__.items():
        meaning = next((each for each in reversed(get_args(hint)) if isinstance(each, str)), "")
        default = f"`{kind._field_defaults[name]!r}`" if name in kind._field_defaults else "required"
        if hasattr(kind._field_defaults.get(name), "_fields"):
            default = "all of its defaults"
        yield f"| `{name}` | {spelled(hint)} | {default} | {meaning} |"


def spelled(hint: Any) -> str:
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        limits = [str(each) for each in map(limit, parts[1:]) if each]
        return ", ".join([spelled(parts[0]), *limits])
    if kind is Union:
        return spelled(parts[0])
    if kind is Literal:
        return " or ".join(f"`{each}`" for each in parts)
    if kind is tuple:
        return f"list of {spelled(parts[0])}" if parts[-1] is ... else f"list of {len(parts)}: {spelled(parts[0])}"
    return WORDS.get(kind, "text" if issubclass(kind, str) else kind.__name__)


def limit(note: Any) -> str:
    match type(note).__name__:
        case "Text":
            form = f" like `{note.form.pattern}`".replace("|", "\\|") if note.form else ""
            return f"at most {note.most} characters{form}"
        case "Range":
            return f"from {note.low} to {note.high}"
        case "Among":
            return "one of " + ", ".join(f"`{each}`" for each in note.words)
        case "tuple" if note is MOMENT:
            return note[0]
        case "Most":
            return f"at most {note.entries} entries"
    return ""


if __name__ == "__main__":
    PAGE.write_text(page())
