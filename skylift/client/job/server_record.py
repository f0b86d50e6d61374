"""What a job's server has written: parsed here, strictly, and nowhere else.

Everything below `server/` in a job's record can be written by any program of the job: the role's credentials are in the
metadata service, and each image's login user may become root. So can what comes over SSH. It must not harm the user of
the job's client: bytes become one of the types below, with lengths, forms and ranges checked, or RecordDamaged is
raised, and nothing else. What is in these types is a claim: of what is done because of it, the limits are in the record
that the client wrote itself (see record.py).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from skylift.client.errors import RecordDamaged
from skylift.contract.document import FOREVER, Malformed, as_integer, as_number, parse, parse_json, read, shown
from skylift.contract.results import MANIFEST_LIMIT, SentFiles
from skylift.contract.states import State
from skylift.contract.status import STATUS_LIMIT, Status
from skylift.contract.stream import FRAME_LIMIT, HostKeys, Name, Offsets, StdinTaken
from skylift.contract.usage import LONGEST_STREAM

T = TypeVar("T")

_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
_PIECE = re.compile(r"[0-9]{20}")
_LONGEST_RUN = 1e9
"""Seconds."""


@dataclass(frozen=True)
class Try:
    """What came of a program one of the times that it was started; `number` counts them, over all servers. Times are
    like those of a status; `pause` is there when it was started again so many seconds later."""

    number: int
    exit_code: int
    reason: str
    signal: str | None = None
    began: str | None = None
    ended: str | None = None
    seconds: float | None = None
    pause: float | None = None

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


NO_STATUS = Status(State.BOOTING)
"""Stands in the place of a status that is missing, or cannot be read."""


def of_file(key: str, parsed: Callable[[], T]) -> T:
    """What is parsed of an object of the bucket. Raises RecordDamaged in the place of Malformed."""
    try:
        return parsed()
    except Malformed as error:
        raise RecordDamaged(key, str(error)) from None


def parse_status(key: str, data: bytes) -> Status:
    """server/status.json, or the status that comes over SSH."""
    return of_file(key, lambda: parse(Status, data, STATUS_LIMIT))


def tries_of(status: Status) -> tuple[Try, ...]:
    """Each with its number: servers before its own ended no try, as they were taken away."""
    found = ((before, each._asdict()) for before, each in enumerate(status.tries))
    return tuple(Try(each.pop("attempt") + before, **each) for before, each in found)


def parse_host_keys(key: str, data: bytes) -> HostKeys:
    """server/hostkeys.json: of its keys those whose type is known, each as its type and its base64; at least one."""
    return of_file(key, lambda: _host_keys(parse(HostKeys, data, FRAME_LIMIT)))


def _host_keys(found: HostKeys) -> HostKeys:
    keys = tuple(key for line in found.keys for key in _host_key(line))
    if not keys:
        raise Malformed("`keys` has no host key of a known type")
    return found._replace(keys=keys)


def _host_key(line: str) -> list[str]:
    """Of a public key as sshd has it in a file: its type and its base64, without the comment. None of another type."""
    words = line.split(" ")
    if words[0] not in _KEY_TYPES:
        return []
    try:
        blob = base64.b64decode(words[1] if len(words) > 1 else "", validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(f"`keys` has a key that is not base64: {shown(line)}") from None
    name = words[0].encode()
    if not blob.startswith(len(name).to_bytes(4, "big") + name):
        raise Malformed(f"`keys` has a key that is not of its type: {shown(line)}")
    return [f"{words[0]} {words[1]}"]


def parse_manifest(key: str, data: bytes) -> SentFiles:
    """server/manifest.json"""
    return of_file(key, lambda: parse(SentFiles, data, MANIFEST_LIMIT))


def piece_offset(key: str) -> int | None:
    """Where a piece of a stream begins, by its key; None for an object that is no piece."""
    name = key.rsplit("/", 1)[-1]
    return int(name) if _PIECE.fullmatch(name) else None


def parse_times(key: str, text: str) -> tuple[float, tuple[tuple[float, int], ...]]:
    """When the bytes of a piece were written: the grain, and from which time on those from which offset on."""
    return of_file(key, lambda: _times(parse_json(text.encode(errors="replace"), FRAME_LIMIT)))


def _times(reported: Any) -> tuple[float, tuple[tuple[float, int], ...]]:
    if not (isinstance(reported, list) and len(reported) == 2 and isinstance(reported[1], list)):
        raise Malformed("its times are not [GRAIN, [[TIME, OFFSET], ...]]")
    marks = []
    for each in reported[1]:
        if not (isinstance(each, list) and len(each) == 2):
            raise Malformed("one of its times is not [TIME, OFFSET]")
        marks.append((as_number(each[0], "a time", 0, FOREVER), as_integer(each[1], "an offset", 0, LONGEST_STREAM)))
    return as_number(reported[0], "the grain", 0, _LONGEST_RUN), tuple(marks)


def parse_stdin_taken(key: str, data: bytes) -> int:
    """Bytes of its standard input that the program has."""
    return of_file(key, lambda: parse(StdinTaken, data, FRAME_LIMIT)).taken


def parse_bases(data: bytes) -> dict[Name, int] | None:
    """Where an attempt's output begins; None for one that was only claimed, and for what is no attempt."""
    try:
        return read(Offsets, parse_json(data, MANIFEST_LIMIT)["bases"], "`bases`").by_name()
    except (Malformed, KeyError, TypeError):
        return None
