"""The time that a map has had servers besides its coordinator's, from which their cost is computed.

The coordinator says so in its progress. It is the word of a server, and only shown: what is charged, EC2 knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skylift.client.text.json_object import JsonObject, as_object, given, parse_object
from skylift.contract.document import Malformed

PROGRESS_LIMIT = 4 << 20
MOST_KINDS = 50
"""A map's servers are of a dozen types at the most, each bought in two ways."""
_MOST_SERVERS = 1_000_000
_LONGEST = 1e10
_TYPE = re.compile(r"[a-z0-9-]{1,32}\.[a-z0-9-]{1,32}")
_MARKETS = ("on-demand", "spot")


@dataclass(frozen=True)
class ServerTime:
    """The servers of one type that were bought in one way: how many there have been, and their seconds together."""

    instance_type: str
    market: str
    servers: int
    seconds: float


def encode_times(times: Sequence[ServerTime]) -> list[dict[str, Any]]:
    return [{**vars(each), "seconds": round(each.seconds, 1)} for each in times]


def parse_times(progress: JsonObject) -> tuple[ServerTime, ...]:
    """Raises Malformed."""
    times = tuple(_time(as_object(each, "an entry of `others`")) for each in progress.list("others", MOST_KINDS))
    if len({(each.instance_type, each.market) for each in times}) < len(times):
        raise Malformed("`others` has two entries of one kind")
    return times


def read_times(progress: bytes) -> tuple[ServerTime, ...]:
    """None of a progress that cannot be read."""
    try:
        return parse_times(parse_object(progress, PROGRESS_LIMIT))
    except Malformed:
        return ()


def _time(fields: JsonObject) -> ServerTime:
    return ServerTime(
        given(fields.text("instance_type", 64, _TYPE), "instance_type"),
        given(fields.one_of("market", _MARKETS), "market"),
        given(fields.integer("servers", 0, _MOST_SERVERS), "servers"),
        given(fields.number("seconds", 0, _LONGEST), "seconds"),
    )
