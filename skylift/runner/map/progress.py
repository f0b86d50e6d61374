"""The progress of a map, as its coordinator reports it now and then: for display only. The log is the truth."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from skylift.runner.job.server_time import PROGRESS_LIMIT, ServerTime, encode_times, parse_times
from skylift.runner.map.spec import MOST_INPUTS
from skylift.runner.text.json_object import FOREVER, JsonObject, as_object, given, parse_object

MOST_SERVERS = 10_000
MOST_ERRORS = 100
LONGEST_LINE = 500
_INSTANCE = re.compile(r"i-[0-9a-z]{1,32}")
_TYPE = re.compile(r"[a-z0-9-]{1,32}\.[a-z0-9-]{1,32}")


@dataclass(frozen=True)
class MapServer:
    """A server that takes inputs; how many run on it now, and how many it has ended."""

    instance: str
    running: int = 0
    done: int = 0
    instance_type: str | None = None


@dataclass(frozen=True)
class GroupedError:
    """Inputs that failed alike: the last line of their standard error, how many, and the first one's index."""

    line: str
    count: int
    index: int


@dataclass(frozen=True)
class Progress:
    """Counts of inputs; `rate` in inputs a second of late, `left` seconds until the end if it goes on so. `others` are
    all servers that there have been besides the coordinator's."""

    epoch: int
    updated: float
    total: int
    succeeded: int = 0
    failed: int = 0
    running: int = 0
    rate: float | None = None
    left: float | None = None
    servers: tuple[MapServer, ...] = ()
    errors: tuple[GroupedError, ...] = ()
    others: tuple[ServerTime, ...] = ()

    @property
    def waiting(self) -> int:
        return max(self.total - self.succeeded - self.failed - self.running, 0)


def encode_progress(progress: Progress) -> bytes:
    told: dict[str, Any] = {name: value for name, value in vars(progress).items() if value is not None}
    told["servers"] = [{name: value for name, value in vars(each).items() if value} for each in progress.servers]
    told["errors"] = [dict(vars(each)) for each in progress.errors]
    told["others"] = encode_times(progress.others)
    return json.dumps(told).encode()


def parse_progress(data: bytes) -> Progress:
    """Raises Malformed."""
    told = parse_object(data, PROGRESS_LIMIT)
    return Progress(
        epoch=_whole(told, "epoch", 1 << 31),
        updated=_number(told, "updated", FOREVER),
        total=_whole(told, "total", MOST_INPUTS),
        succeeded=_whole(told, "succeeded", MOST_INPUTS),
        failed=_whole(told, "failed", MOST_INPUTS),
        running=_whole(told, "running", MOST_INPUTS),
        rate=told.number("rate", 0, 1e9),
        left=told.number("left", 0, 1e12),
        servers=tuple(_server(as_object(each, "a server")) for each in told.list("servers", MOST_SERVERS)),
        errors=tuple(_error(as_object(each, "an error")) for each in told.list("errors", MOST_ERRORS)),
        others=parse_times(told),
    )


def _whole(told: JsonObject, name: str, most: int) -> int:
    value = told.integer(name, 0, most)
    given(value, name)
    assert value is not None
    return value


def _number(told: JsonObject, name: str, most: float) -> float:
    value = told.number(name, 0, most)
    given(value, name)
    assert value is not None
    return value


def _server(told: JsonObject) -> MapServer:
    instance = told.text("instance", 40, _INSTANCE)
    given(instance, "instance")
    assert instance is not None
    running, done = told.integer("running", 0, MOST_INPUTS) or 0, told.integer("done", 0, MOST_INPUTS) or 0
    return MapServer(instance, running, done, told.text("instance_type", 64, _TYPE))


def _error(told: JsonObject) -> GroupedError:
    line = told.text("line", LONGEST_LINE)
    given(line, "line")
    assert line is not None
    return GroupedError(line, _whole(told, "count", MOST_INPUTS), _whole(told, "index", MOST_INPUTS))
