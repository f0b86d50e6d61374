"""The progress of a map, as its coordinator reports it now and then. It is only for display: the log is the truth."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from skylift.client.job.server_time import PROGRESS_LIMIT, ServerTime, encode_times, parse_times
from skylift.client.map.spec import MOST_INPUTS
from skylift.client.text.json_object import JsonObject, as_object, given, parse_object
from skylift.contract.document import FOREVER

MOST_SERVERS = 10_000
MOST_ERRORS = 100
LONGEST_LINE = 500
_INSTANCE = re.compile(r"i-[0-9a-z]{1,32}")
_TYPE = re.compile(r"[a-z0-9-]{1,32}\.[a-z0-9-]{1,32}")


@dataclass(frozen=True)
class ServerProgress:
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
    servers: tuple[ServerProgress, ...] = ()
    errors: tuple[GroupedError, ...] = ()
    others: tuple[ServerTime, ...] = ()

    @property
    def waiting(self) -> int:
        return max(self.total - self.succeeded - self.failed - self.running, 0)


def encode_progress(progress: Progress) -> bytes:
    fields: dict[str, Any] = {name: value for name, value in vars(progress).items() if value is not None}
    fields["servers"] = [{name: value for name, value in vars(each).items() if value} for each in progress.servers]
    fields["errors"] = [dict(vars(each)) for each in progress.errors]
    fields["others"] = encode_times(progress.others)
    return json.dumps(fields).encode()


def parse_progress(data: bytes) -> Progress:
    """Raises Malformed."""
    fields = parse_object(data, PROGRESS_LIMIT)
    return Progress(
        epoch=_whole(fields, "epoch", 1 << 31),
        updated=given(fields.number("updated", 0, FOREVER), "updated"),
        total=_whole(fields, "total", MOST_INPUTS),
        succeeded=_whole(fields, "succeeded", MOST_INPUTS),
        failed=_whole(fields, "failed", MOST_INPUTS),
        running=_whole(fields, "running", MOST_INPUTS),
        rate=fields.number("rate", 0, 1e9),
        left=fields.number("left", 0, 1e12),
        servers=tuple(_server(as_object(each, "a server")) for each in fields.list("servers", MOST_SERVERS)),
        errors=tuple(_error(as_object(each, "an error")) for each in fields.list("errors", MOST_ERRORS)),
        others=parse_times(fields),
    )


def _whole(fields: JsonObject, name: str, most: int) -> int:
    return given(fields.integer(name, 0, most), name)


def _server(fields: JsonObject) -> ServerProgress:
    instance = given(fields.text("instance", 40, _INSTANCE), "instance")
    running, done = fields.integer("running", 0, MOST_INPUTS) or 0, fields.integer("done", 0, MOST_INPUTS) or 0
    return ServerProgress(instance, running, done, fields.text("instance_type", 64, _TYPE))


def _error(fields: JsonObject) -> GroupedError:
    line = given(fields.text("line", LONGEST_LINE), "line")
    return GroupedError(line, _whole(fields, "count", MOST_INPUTS), _whole(fields, "index", MOST_INPUTS))
