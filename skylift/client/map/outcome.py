"""Outcomes of inputs, and the log that holds them.

An entry of the log is an object with `version`, `epoch`, `written` (seconds since the epoch of 1970), and

    began       of the first entry of an epoch: {"instance"}, the coordinator's server
    lost        inputs whose server was lost under them, by their index
    back        inputs that their server has handed back, by their index: it could run none
    begun       inputs that were handed out, [index, attempt] each; together with the outcomes of those before them
    outcomes    of inputs that have ended
    ended       of the last entry of a map: {"reason"} and, if it was ended early, {"halted": true}
    stopped     of the last entry of a coordinator that was stopped: true
    noticed     likewise, if EC2 takes its server back: true

So the log has the losses of an input even where the coordinator was lost each time: what was begun in an epoch that has
neither `ended` nor `stopped`, and has no outcome, was lost with its coordinator. A coordinator that is told to stop
does not know whether the map goes on. Its successor says in its first entry what was lost.

A fold is FOLD entries as they are, a line each, in one object: whoever reads the log from its start need not ask for
each. Entries never change, so a fold may be written by anybody who has read them, and be missing: they are all there.

What a server writes is hostile until it is parsed: every field has a form, a range or a limit.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from skylift.client.text.json_object import JsonObject, as_object, given, parse_object
from skylift.contract.document import FOREVER, Malformed, as_integer, shown
from skylift.contract.map_progress import MOST_INPUTS

VERSION = 1
ENTRY_LIMIT = 32 << 20
MOST_IN_AN_ENTRY = 10_000
FOLD = 512
"""Entries. A log of 100,000 takes the fewest requests, for folds and for the entries after the last, at about this."""
INLINE = 4096
"""The most bytes of a stream that are in the log itself."""
MOST_RESULTS = 100_000
_RUN = re.compile(r"[0-9a-f]{8,32}")
_INSTANCE = re.compile(r"i-[0-9a-z]{1,32}")
_SIGNAL = re.compile(r"SIG[A-Z0-9+-]{1,12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class InputState(str, Enum):  # noqa: UP042 (Dask's environment may have Python 3.10)
    """How an input has ended. `lost`: it has lost as many servers as are allowed; nothing is known of the program."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OUT_OF_MEMORY = "out-of-memory"
    TIMED_OUT = "timed-out"
    BROKEN = "broken"
    LOST = "lost"

    __str__ = str.__str__


@dataclass(frozen=True)
class RunStream:
    """One stream of a run: its size in bytes, and its content if that is short; longer content is an object in the
    run's folder. `kept` is the number of bytes kept there, from the beginning, of a stream that was too long."""

    size: int = 0
    content: bytes | None = b""
    kept: int = 0

    @property
    def is_inline(self) -> bool:
        return self.content is not None


@dataclass(frozen=True)
class RunResult:
    """A file that matched --out: where it is relative to the program's working directory."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class InputOutcome:
    """The outcome of an input. `attempt` is the number of the attempt that led to it, from 1; `losses` is how many
    servers were lost under it. `run` names the folder of this run. `server` is the instance, `started` is in seconds
    since the epoch, `seconds` is the program's own time. `exit_code` is the program's, 128+n for signal n,
    and 125 where it has none. `reason` is one sentence, empty for success. `missing` are results that could not be
    sent."""

    index: int
    state: InputState
    exit_code: int
    attempt: int = 1
    losses: int = 0
    signal: str | None = None
    run: str | None = None
    server: str | None = None
    started: float | None = None
    seconds: float = 0.0
    reason: str = ""
    stdout: RunStream = field(default_factory=RunStream)
    stderr: RunStream = field(default_factory=RunStream)
    results: tuple[RunResult, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        return self.state is InputState.SUCCEEDED

    @property
    def last_line(self) -> str:
        """Of standard error, where it is in the log itself; or the reason."""
        lines = (self.stderr.content or b"").decode(errors="replace").splitlines()
        return next((each.strip() for each in reversed(lines) if each.strip()), self.reason)

    def as_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"index": self.index, "state": str(self.state), "exit_code": self.exit_code}
        if self.attempt != 1:
            fields["attempt"] = self.attempt
        for name in ("losses", "signal", "run", "server", "started", "reason"):
            if (value := getattr(self, name)) not in (None, 0, ""):
                fields[name] = value
        fields["seconds"] = round(self.seconds, 4)
        for name, stream in (("stdout", self.stdout), ("stderr", self.stderr)):
            if stream.size:
                fields[name] = _stream_fields(stream)
        if self.results:
            fields["results"] = [[each.path, each.size, each.sha256] for each in self.results]
        if self.missing:
            fields["missing"] = list(self.missing)
        return fields


def _stream_fields(stream: RunStream) -> dict[str, Any]:
    if stream.content is not None:
        return {"size": stream.size, "content": base64.b64encode(stream.content).decode()}
    return {"size": stream.size, "kept": stream.kept}


@dataclass(frozen=True)
class MapEnd:
    """Why a map has ended, one sentence; `halted` before all inputs had an outcome."""

    reason: str
    halted: bool = False


@dataclass(frozen=True)
class LogEntry:
    epoch: int
    written: float
    began: str | None = None
    outcomes: tuple[InputOutcome, ...] = ()
    ended: MapEnd | None = None
    begun: tuple[tuple[int, int], ...] = ()
    lost: tuple[int, ...] = ()
    stopped: bool = False
    noticed: bool = False
    back: tuple[int, ...] = ()


def encode_entry(entry: LogEntry) -> bytes:
    fields: dict[str, Any] = {"version": VERSION, "epoch": entry.epoch, "written": entry.written}
    if entry.began is not None:
        fields["began"] = {"instance": entry.began}
    for name in ("lost", "back", "begun", "stopped", "noticed"):
        if value := getattr(entry, name):
            fields[name] = value
    if entry.outcomes:
        fields["outcomes"] = [each.as_fields() for each in entry.outcomes]
    if entry.ended is not None:
        fields["ended"] = {"reason": entry.ended.reason, **({"halted": True} if entry.ended.halted else {})}
    return json.dumps(fields).encode()


def parse_entry(data: bytes) -> LogEntry:
    """Raises Malformed."""
    fields = parse_object(data, ENTRY_LIMIT)
    version = fields.integer("version", 0, 1 << 31)
    if version != VERSION:
        raise Malformed(f"it has version {version}, not {VERSION}")
    began, ended = fields.inner("began"), fields.inner("ended")
    return LogEntry(
        given(fields.integer("epoch", 1, 1 << 31), "epoch"),
        given(fields.number("written", 0, FOREVER), "written"),
        given(began.text("instance", 40, _INSTANCE), "instance") if began is not None else None,
        tuple(
            parse_outcome(as_object(each, "an entry of `outcomes`"))
            for each in fields.list("outcomes", MOST_IN_AN_ENTRY)
        ),
        MapEnd(ended.text("reason", 4096) or "", ended.flag("halted")) if ended is not None else None,
        tuple(_begun(each) for each in fields.list("begun", MOST_INPUTS)),
        tuple(_index(each, "lost") for each in fields.list("lost", MOST_INPUTS)),
        fields.flag("stopped"),
        fields.flag("noticed"),
        tuple(_index(each, "back") for each in fields.list("back", MOST_INPUTS)),
    )


def _begun(pair: object) -> tuple[int, int]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise Malformed("an entry of `begun` is not [index, attempt]")
    return _index(pair[0], "begun"), as_integer(pair[1], "`attempt`", 1, 10_000)


def _index(value: object, name: str) -> int:
    return as_integer(value, f"`{name}`", 0, MOST_INPUTS - 1)


def parse_outcome(fields: JsonObject) -> InputOutcome:
    """Raises Malformed."""
    index = given(fields.integer("index", 0, MOST_INPUTS - 1), "index")
    state = given(fields.one_of("state", [str(each) for each in InputState]), "state")
    exit_code = given(fields.integer("exit_code", 0, 255), "exit_code")
    if (state == InputState.SUCCEEDED) != (exit_code == 0):
        raise Malformed(f"`exit_code` {exit_code} is not that of an input that has {state}")
    run = fields.text("run", 32, _RUN)
    streams = [_stream(fields.inner(name), name) for name in ("stdout", "stderr")]
    results = tuple(_result(each) for each in fields.list("results", MOST_RESULTS))
    if run is None and (results or not all(each.is_inline for each in streams)):
        raise Malformed("`run` is missing")
    if len({each.path for each in results}) < len(results):
        raise Malformed("`results` has a path twice")
    return InputOutcome(
        index=index,
        state=InputState(state),
        exit_code=exit_code,
        attempt=fields.integer("attempt", 1, 10_000) or 1,
        losses=fields.integer("losses", 0, 10_000) or 0,
        signal=fields.text("signal", 16, _SIGNAL),
        run=run,
        server=fields.text("server", 40, _INSTANCE),
        started=fields.number("started", 0, FOREVER),
        seconds=fields.number("seconds", 0, 1e9) or 0.0,
        reason=fields.text("reason", 4096) or "",
        stdout=streams[0],
        stderr=streams[1],
        results=results,
        missing=fields.texts("missing", MOST_RESULTS, 8192),
    )


def _stream(fields: JsonObject | None, name: str) -> RunStream:
    if fields is None:
        return RunStream()
    size = given(fields.integer("size", 0, 1 << 62), "size")
    text = fields.text("content", INLINE * 4 // 3 + 4)
    if text is None:
        kept = fields.integer("kept", 0, size)
        return RunStream(size, None, size if kept is None else kept)
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(f"the content of `{name}` is not Base64") from None
    if len(content) != size:
        raise Malformed(f"the content of `{name}` has not {size} bytes")
    return RunStream(size, content, size)


def _result(found: object) -> RunResult:
    if not isinstance(found, list) or len(found) != 3:
        raise Malformed("an entry of `results` is not [path, size, sha256]")
    entry = JsonObject({"path": found[0], "size": found[1], "sha256": found[2]})
    path, size, sha256 = entry.text("path", 4096), entry.integer("size", 0, 1 << 50), entry.text("sha256", 64, _SHA256)
    if path is None or size is None or sha256 is None:
        raise Malformed("an entry of `results` is not [path, size, sha256]")
    if not is_below(path):
        raise Malformed(f"`results` names a place that is not below the working directory: {shown(path)}")
    return RunResult(path, size, sha256)


def is_below(path: str) -> bool:
    """A relative path in its shortest form, of names that a file may have. Only UTF-8: other names are not sent."""
    try:
        parts = path.encode().split(b"/")
    except UnicodeEncodeError:
        return False
    return "\0" not in path and all(part not in (b"", b".", b"..") and len(part) <= 255 for part in parts)


class MapLog:
    """The state of a map, from the entries of its log in their order. A second outcome of an input is ignored, as is an
    entry of an epoch that is over; no coordinator writes either.

    `running` has the attempt of each input that was begun and has no outcome, as long as the coordinator neither ended
    nor stopped. `interrupted` are those that ran when it stopped without a notice. `attempts` has the last one of each
    input that was begun, `losses` how many servers, or coordinators, were lost under an input in all."""

    def __init__(self) -> None:
        self.next = 0
        self.epoch = 0
        self.outcomes: dict[int, InputOutcome] = {}
        self.running: dict[int, int] = {}
        self.interrupted: tuple[int, ...] = ()
        self.attempts: dict[int, int] = {}
        self.losses: Counter[int] = Counter()
        self._stopped = False
        self.ended: MapEnd | None = None

    def add(self, entry: LogEntry) -> list[InputOutcome]:
        """The outcomes that are new."""
        self.next += 1
        if entry.epoch < self.epoch or (entry.epoch > self.epoch and entry.began is None):
            return []
        if entry.epoch > self.epoch:
            self.losses = self.losses_so_far()
            self.running.clear()
            self.ended, self._stopped, self.interrupted = None, False, ()
        self.epoch = entry.epoch
        for index in entry.lost:
            self.losses[index] += 1
        for index in (*entry.lost, *entry.back):
            self.running.pop(index, None)
        self.running.update(entry.begun)
        self.attempts.update(entry.begun)
        fresh = []
        for each in entry.outcomes:
            self.running.pop(each.index, None)
            if each.index not in self.outcomes:
                self.outcomes[each.index] = each
                fresh.append(each)
        if entry.ended is not None:
            self.ended = entry.ended
        if entry.stopped and not self._stopped:
            self._stopped, self.interrupted = True, () if entry.noticed else tuple(self.running)
        if self.ended is not None or self._stopped:
            self.running.clear()
        return fresh

    def losses_so_far(self) -> Counter[int]:
        """The losses in a log that has ended: what still runs in it was lost, unless it ended in order."""
        return self.losses + Counter(list(self.running))

    def read(self, entries: Iterable[bytes]) -> list[InputOutcome]:
        """Add the entries that come next. Raises Malformed."""
        return [outcome for data in entries for outcome in self.add(parse_entry(data))]

    def coming(self, get: Callable[[str], bytes | None]) -> Iterator[tuple[str, list[bytes]]]:
        """The entries that come next, and the key that they are at; `read` is to take them. `get` returns an object of
        the map's prefix, None where there is none. Of a log that has not grown, one is asked for."""
        while (data := get(key := entry_key(self.next))) is not None:
            fold = get(fold_key(self.next)) if self.next % FOLD == 0 else None
            lines = [] if fold is None else fold.split(b"\n")
            # One that is not whole says nothing.
            yield (fold_key(self.next), lines) if len(lines) == FOLD and lines[0] == data else (key, [data])


def entry_key(number: int) -> str:
    return f"server/map/log/{number:08}"


def fold_key(number: int) -> str:
    """`number` is that of its first entry."""
    return f"server/map/folds/{number:08}"
