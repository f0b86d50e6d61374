"""Reads what was recorded on AWS: the members of answers and the codes of errors."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVICES = {"monitoring": "cloudwatch"}
"""Placebo's names of services, where ours are others."""
OURS = ("autoscaling", "cloudwatch", "ec2", "iam", "s3", "scheduler", "ssm", "sts")
_PLACEBO = re.compile(r"([a-z0-9-]+)\.([A-Z][A-Za-z0-9]+)_\d+\.json")
CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{1,99}")
_MEMBER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")


class UsageError(Exception):
    """What was asked cannot be done; the text says why."""


@dataclass
class Recorded:
    """What AWS was recorded with: members by operation, and the services that each code of an error was seen at."""

    members: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    answers: Counter[str] = field(default_factory=Counter)
    codes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    passed_over: int = 0
    """Files that could not be read."""

    def add_answer(self, operation: str, content: Mapping[str, Any]) -> None:
        data = content.get("data")
        if not isinstance(data, dict):
            return
        service = operation.partition(".")[0]
        error = data.get("Error")
        if isinstance(error, dict) and "Code" in error:
            self._add_code(service, error)
            return
        found = set(members(data))
        # Only now: a file that is too deep adds nothing.
        self.answers[operation] += 1
        self.members[operation].update(found)

    def add_errors(self, service: str, content: Any) -> None:
        if isinstance(content, dict):
            error = content.get("Error")
            if isinstance(error, dict):
                self._add_code(service, error)
            content = list(content.values())
        if isinstance(content, list):
            for each in content:
                self.add_errors(service, each)

    def _add_code(self, service: str, error: Mapping[str, Any]) -> None:
        code = error.get("Code")
        if isinstance(code, str) and CODE.fullmatch(code):
            self.codes[code].add(service)


def members(value: Any, place: str = "") -> Iterator[str]:
    """The places of all members that say something: `Vpcs[].VpcId`. A value of placebo's, as a date, is one member.

    What cannot be a member's name is none, such as a key of somebody's own.
    """
    if isinstance(value, dict) and "__class__" not in value:
        for name, inner in value.items():
            if not _MEMBER.fullmatch(name):
                continue
            if name.endswith("Document"):
                # A policy's: what is in it is somebody's own text.
                yield f"{place}.{name}" if place else name
            elif name != "ResponseMetadata":
                yield from members(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for inner in value:
            yield from members(inner, f"{place}[]")
    elif place and value is not None:
        yield place


def read(folders: Iterable[Path]) -> Recorded:
    found = Recorded()
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder. Name folders of recordings.")
        for path in sorted(folder.rglob("*.json")):
            _read_file(found, path)
    if not found.members and not found.codes:
        raise UsageError("no recordings of placebo's or LocalStack's are in these folders.")
    return found


def _read_file(found: Recorded, path: Path) -> None:
    named = _PLACEBO.fullmatch(path.name)
    service = SERVICES.get(named[1], named[1]) if named else path.parent.name
    if service not in OURS or not (named or path.name.endswith(".snapshot.json")):
        return
    try:
        content = json.loads(path.read_bytes())
        if named and isinstance(content, dict):
            found.add_answer(f"{service}.{named[2]}", content)
        elif not named:
            found.add_errors(service, content)
    except (ValueError, OSError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        print(f"recorded: {str(path)!r} is passed over: {why}", file=sys.stderr)
        found.passed_over += 1
