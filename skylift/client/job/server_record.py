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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

from skylift.client.errors import RecordDamaged
from skylift.client.job.states import ENDED, UNDER_WAY, State
from skylift.client.text.json_object import JsonObject, as_object, given, parse_object
from skylift.contract.document import FOREVER, Malformed, as_integer, as_number, parse, parse_json, shown
from skylift.contract.usage import LONGEST_STREAM, USAGE_LIMIT, Usage

T = TypeVar("T")

STATUS_LIMIT, HOST_KEYS_LIMIT, MANIFEST_LIMIT = 1 << 20, 1 << 16, 64 << 20
"""The most bytes of each file. A manifest of 64 MiB names some 400,000 results."""
STREAMS: tuple[Literal["stdout", "stderr"], ...] = ("stdout", "stderr")
MOST_TRIES = 101

_INSTANCE = re.compile(r"i-[0-9a-z]{1,32}")
_TYPE = re.compile(r"[a-z0-9-]{1,32}\.[a-z0-9-]{1,32}")
_SIGNAL = re.compile(r"SIG[A-Z0-9+-]{1,12}")
_ROLE = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
_PIECE = re.compile(r"[0-9]{20}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHARED = re.compile(r"packs/[0-9a-f]{64}\.tar|files/[0-9a-f]{64}")
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


@dataclass(frozen=True)
class Status:
    """The progress of a job, by its server. Times are like 2026-01-31T12:00:00.000Z, or seconds since the epoch.

    `cut` is what lies between head and tail of a long stream, by its name: [from, to). `sent_streams` is whether all
    output was sent; `checkpoint` the attempt whose checkpoint this one went on from, and `checkpoint_refused` why
    there is no new one; `notice` when EC2 will take a spot server away. `tries` are those of a program that is started
    again when it fails, as far as they have ended.
    """

    state: State
    final: bool = False
    attempt: int = 1
    instance: str | None = None
    instance_type: str | None = None
    market: str | None = None
    updated: str | None = None
    booted: str | None = None
    started: str | None = None
    ended: str | None = None
    program_seconds: float | None = None
    environment: str | None = None
    environment_seconds: float | None = None
    exit_code: int | None = None
    signal: str | None = None
    reason: str | None = None
    detail: str | None = None
    role: str | None = None
    kept_until: float | None = None
    notice: float | None = None
    checkpoint: int | None = None
    checkpoint_refused: str | None = None
    sent_streams: bool = False
    tries: tuple[Try, ...] = ()
    cut: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def retries(self) -> int:
        """How often the program was started again after a failure."""
        return sum(each.pause is not None for each in self.tries)

    def until(self, deadline: float) -> Status:
        """No server is kept beyond the deadline in its record."""
        return self if self.kept_until is None else replace(self, kept_until=min(self.kept_until, deadline))


NO_STATUS = Status(State.BOOTING)
"""Stands in the place of a status that is missing, or cannot be read."""


@dataclass(frozen=True)
class HostKeys:
    """Whom to log in as by SSH, and the host keys of which the server must have one: each a type and its base64."""

    user: str
    keys: tuple[str, ...]
    instance: str = ""


@dataclass(frozen=True)
class UploadedFile:
    """One file that a server says it has sent; `path` is relative and below, and of its bytes those that are not UTF-8
    are as in Python's file names. It is in the object `key` below `server/`, from `offset` on, or without a key in one
    of its own."""

    path: str
    size: int
    sha256: str
    key: str = ""
    offset: int = 0


@dataclass(frozen=True)
class NotSent:
    path: str
    reason: str


@dataclass(frozen=True)
class SentFiles:
    """A manifest. `unmatched` outputs named nothing; `left_behind` are new files that nobody asked for, `not_sent`
    those that could not be read, and `changed` those that changed meanwhile."""

    files: tuple[UploadedFile, ...] = ()
    unmatched: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()
    not_sent: tuple[NotSent, ...] = ()
    changed: tuple[str, ...] = ()


def of_file(key: str, read: Callable[[], T]) -> T:
    """What is parsed of an object of the bucket. Raises RecordDamaged in the place of Malformed."""
    try:
        return read()
    except Malformed as error:
        raise RecordDamaged(key, str(error)) from None


# server/status.json, and the status that comes over SSH.


def parse_status(key: str, data: bytes) -> Status:
    return of_file(key, lambda: _status(parse_object(data, STATUS_LIMIT)))


def _status(reported: JsonObject) -> Status:
    state, final = given(reported.one_of("state", (*UNDER_WAY, *ENDED)), "state"), reported.flag("final")
    if final != (state in ENDED):
        raise Malformed(f"the state {state} is {'not ' if final else ''}the last one")
    notice, checkpoint, cut = reported.inner("notice"), reported.inner("checkpoint"), reported.inner("cut")
    return Status(
        state=State(state),
        final=final,
        attempt=reported.integer("attempt", 1, 1_000_000) or 1,
        instance=reported.text("instance", 64, _INSTANCE),
        instance_type=reported.text("instance_type", 64, _TYPE),
        market=reported.one_of("market", ("spot", "on-demand")),
        updated=reported.moment("updated"),
        booted=reported.moment("booted"),
        started=reported.moment("started"),
        ended=reported.moment("ended"),
        program_seconds=reported.number("program_seconds", 0, _LONGEST_RUN),
        environment=reported.one_of("environment", ("kept", "imaged", "taken", "built")),
        environment_seconds=reported.number("environment_seconds", 0, _LONGEST_RUN),
        exit_code=reported.integer("exit_code", 0, 255),
        signal=reported.text("signal", 16, _SIGNAL),
        reason=reported.text("reason", 65536),
        detail=reported.text("detail", 262144),
        role=reported.text("role", 64, _ROLE),
        kept_until=reported.number("kept_until", 0, FOREVER),
        notice=given(notice.number("time", 0, FOREVER), "notice") if notice is not None else None,
        checkpoint=given(checkpoint.integer("attempt", 1, 1_000_000), "checkpoint") if checkpoint else None,
        checkpoint_refused=reported.text("checkpoint_refused", 16384),
        sent_streams=reported.inner("streams") is not None,
        tries=tuple(
            _try(as_object(each, "an entry of `tries`"), before)
            for before, each in enumerate(reported.list("tries", MOST_TRIES))
        ),
        cut={name: span for name in STREAMS for span in _span(cut, name)} if cut is not None else {},
    )


def _try(reported: JsonObject, before: int) -> Try:
    return Try(
        number=given(reported.integer("attempt", 1, 1_000_000), "attempt") + before,
        exit_code=given(reported.integer("exit_code", 0, 255), "exit_code"),
        reason=reported.text("reason", 4096) or "",
        signal=reported.text("signal", 16, _SIGNAL),
        began=reported.moment("began"),
        ended=reported.moment("ended"),
        seconds=reported.number("seconds", 0, _LONGEST_RUN),
        pause=reported.number("pause", 0, _LONGEST_RUN),
    )


def _encode_try(each: Try, before: int) -> dict[str, object]:
    reported = {**each.as_json(), "attempt": each.number - before}
    del reported["number"]
    return reported


def _span(cut: JsonObject, name: str) -> list[tuple[int, int]]:
    """One, or none where nothing of a stream was cut."""
    found = cut.list(name, 2)
    if not found:
        return []
    if len(found) != 2:
        raise Malformed(f"`cut` of {name} has no end")
    low, high = (as_integer(each, f"`cut` of {name}", 0, LONGEST_STREAM) for each in found)
    return [(low, high)]


def encode_status(status: Status, **more: object) -> dict[str, object]:
    """The status as JSON, with other fields beside these or in their place; unknown ones are left out."""
    plain = {each.name: getattr(status, each.name) for each in fields(status)}
    for name in ("notice", "checkpoint", "sent_streams", "cut", "tries"):
        del plain[name]
    reported: dict[str, object] = {name: value for name, value in plain.items() if value is not None}
    if status.cut:
        reported["cut"] = {name: list(span) for name, span in status.cut.items()}
    if status.sent_streams:
        reported["streams"] = {}
    if status.tries:
        reported["tries"] = [_encode_try(each, before) for before, each in enumerate(status.tries)]
    return {**reported, **more}


# server/hostkeys.json


def parse_host_keys(key: str, data: bytes) -> HostKeys:
    return of_file(key, lambda: _host_keys(parse_object(data, HOST_KEYS_LIMIT)))


def _host_keys(reported: JsonObject) -> HostKeys:
    user = given(reported.text("user", 32, _USER), "user")
    lines = reported.texts("keys", 32, 16384)
    keys = tuple(found for line in lines for found in _host_key(line))
    if not keys:
        raise Malformed("`keys` has no host key of a known type")
    return HostKeys(user, keys, reported.text("instance", 64, _INSTANCE) or "")


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


# server/manifest.json


def parse_manifest(key: str, data: bytes) -> SentFiles:
    return of_file(key, lambda: _manifest(parse_object(data, MANIFEST_LIMIT)))


def _manifest(reported: JsonObject) -> SentFiles:
    files = tuple(_sent(as_object(each, "an entry of `results`")) for each in reported.list("results", 1_000_000))
    if len({each.path for each in files}) < len(files):
        raise Malformed("`results` names a file twice")
    return SentFiles(
        files,
        reported.texts("unmatched", 10_000, 4096),
        reported.texts("left_behind", 10_000, 8192),
        tuple(_not_sent(as_object(each, "an entry of `not_sent`")) for each in reported.list("not_sent", 10_000)),
        reported.texts("changed", 10_000, 8192),
    )


def _sent(entry: JsonObject) -> UploadedFile:
    path = given(entry.text("path", 4096), "path")
    if not _is_below(path):
        raise Malformed(f"`results` names a place that is not below the working directory: {shown(path)}")
    size = given(entry.integer("size", 0, LONGEST_STREAM), "size")
    return UploadedFile(path, size, given(entry.text("sha256", 64, _SHA256), "sha256"), *_at(entry.list("at", 2)))


def _at(place: list[Any]) -> tuple[str, int]:
    if not place:
        return "", 0
    if len(place) != 2 or not isinstance(place[0], str) or _SHARED.fullmatch(place[0]) is None:
        raise Malformed("`at` is not [KEY, OFFSET]")
    return place[0], as_integer(place[1], "the offset in `at`", 0, LONGEST_STREAM)


def _not_sent(entry: JsonObject) -> NotSent:
    return NotSent(given(entry.text("path", 8192), "path"), given(entry.text("reason", 1024), "reason"))


def _is_below(path: str) -> bool:
    """A path as the supervisor writes them: relative, in its shortest form, and of names that a file may have. Bytes
    that are not UTF-8 have one spelling each, so that no two paths are the same file."""
    try:
        name = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    if name.decode("utf-8", "surrogateescape") != path:
        return False
    parts = name.split(b"/")
    return "\0" not in path and all(part not in (b"", b".", b"..") and len(part) <= 255 for part in parts)


# server/stdout and server/stderr


def piece_offset(key: str) -> int | None:
    """Where a piece of a stream begins, by its key; None for an object that is no piece."""
    name = key.rsplit("/", 1)[-1]
    return int(name) if _PIECE.fullmatch(name) else None


def parse_times(key: str, text: str) -> tuple[float, tuple[tuple[float, int], ...]]:
    """When the bytes of a piece were written: the grain, and from which time on those from which offset on."""
    return of_file(key, lambda: _times(parse_json(text.encode(errors="replace"), HOST_KEYS_LIMIT)))


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
    return of_file(key, lambda: _bytes_taken(parse_object(data, HOST_KEYS_LIMIT)))


def _bytes_taken(reported: JsonObject) -> int:
    return given(reported.integer("taken", 0, LONGEST_STREAM), "taken")


# What comes over SSH beside the output.


@dataclass(frozen=True)
class Gauge:
    """What a server measures of itself while somebody watches: the share of its processors that is at work, memory in
    bytes, what is being `doing` about the environment, and of the results that are on their way to S3, how
    many and their size in bytes: of all of them, and of those that have been sent."""

    processor: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    doing: str = ""
    files: int = 0
    files_sent: int = 0
    size: int = 0
    size_sent: int = 0


def parse_gauge(data: bytes) -> Gauge:
    reported = parse_object(data, HOST_KEYS_LIMIT)
    sending = reported.inner("sending") or JsonObject({})
    counts = {name: sending.integer(name, 0, LONGEST_STREAM) or 0 for name in ("files", "size")}
    sent = {f"{name}_sent": sending.integer(f"{name}_sent", 0, most) or 0 for name, most in counts.items()}
    return Gauge(
        reported.number("processor", 0, 1),
        reported.integer("memory", 0, LONGEST_STREAM),
        reported.integer("memory_limit", 1, LONGEST_STREAM),
        reported.text("doing", 200) or "",
        **counts,
        **sent,
    )


def parse_usage(data: bytes) -> Usage:
    return parse(Usage, data, USAGE_LIMIT)


def parse_offsets(data: bytes) -> dict[Literal["stdout", "stderr"], int]:
    return _offsets(parse_object(data, HOST_KEYS_LIMIT))


def _offsets(reported: JsonObject) -> dict[Literal["stdout", "stderr"], int]:
    return {name: given(reported.integer(name, 0, LONGEST_STREAM), name) for name in STREAMS}


def parse_bases(data: bytes) -> dict[Literal["stdout", "stderr"], int] | None:
    """Where an attempt's output begins; None for one that was only claimed, and for what is no attempt."""
    try:
        bases = parse_object(data, MANIFEST_LIMIT).inner("bases")
        return _offsets(bases) if bases is not None else None
    except Malformed:
        return None


def parse_cut(data: bytes) -> tuple[Literal["stdout", "stderr"], int]:
    """The stream, and where it goes on."""
    reported = parse_object(data, HOST_KEYS_LIMIT)
    name = given(reported.one_of("stream", STREAMS), "stream")
    return "stdout" if name == "stdout" else "stderr", given(reported.integer("to", 0, LONGEST_STREAM), "to")
