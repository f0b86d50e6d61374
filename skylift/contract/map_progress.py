"""The progress of a map, as its coordinator reports it now and then: server/map/progress.json. It is only for display:
the log is the truth, and what is charged, EC2 knows."""

import re
from typing import Annotated, NamedTuple, Optional, Tuple

from skylift.contract.document import ALWAYS, FOREVER, Among, Malformed, Most, Range, Text, parse
from skylift.contract.status import Instance

PROGRESS_LIMIT = 4 << 20
MOST_INPUTS = 1_000_000
MOST_ERRORS = 100
MOST_KINDS = 50
"""A map's servers are of a dozen types at the most, each bought in two ways."""
LONGEST_LINE = 500

Inputs = Annotated[int, Range(0, MOST_INPUTS)]
InstanceType = Annotated[str, Text(64, re.compile(r"[a-z0-9-]{1,32}\.[a-z0-9-]{1,32}"))]


class ServerProgress(NamedTuple):
    """A server that takes inputs."""

    instance: Instance
    running: Annotated[Inputs, "on it now"] = 0
    done: Annotated[Inputs, "that have ended on it"] = 0
    instance_type: Optional[InstanceType] = None


class GroupedError(NamedTuple):
    """Inputs that failed alike."""

    line: Annotated[str, Text(LONGEST_LINE), "the last of their standard error"]
    count: Inputs  # type: ignore[assignment]  # (a tuple has methods of these names)
    index: Annotated[Inputs, "of the first of them"]  # type: ignore[assignment]


class ServerTime(NamedTuple):
    """The servers of one type that were bought in one way."""

    instance_type: InstanceType
    market: Annotated[str, Among(("on-demand", "spot"))]
    servers: Annotated[int, Range(0, 1_000_000), "how many there have been"]
    seconds: Annotated[float, Range(0, 1e10), "that they have had together"]


Others = Annotated[Tuple[ServerTime, ...], Most(MOST_KINDS), "servers besides the coordinator's, so far"]


class OtherServers(NamedTuple):
    """All that a program with a cluster reports, and a part of what a map does."""

    others: Others = ()

    def check(self) -> None:
        if len({(each.instance_type, each.market) for each in self.others}) < len(self.others):
            raise Malformed("`others` has two entries of one kind")


class Progress(NamedTuple):
    epoch: Annotated[int, Range(0, 1 << 31), "counts the coordinators"]
    updated: Annotated[float, Range(0, FOREVER)]
    total: Annotated[Inputs, "how many inputs there are"]
    succeeded: Annotated[Inputs, ALWAYS] = 0
    failed: Annotated[Inputs, ALWAYS] = 0
    running: Annotated[Inputs, ALWAYS] = 0
    rate: Annotated[Optional[float], Range(0, 1e9), "inputs a second, of late"] = None
    left: Annotated[Optional[float], Range(0, 1e12), "seconds until the end, if it goes on so"] = None
    servers: Annotated[Tuple[ServerProgress, ...], Most(10_000)] = ()
    errors: Annotated[Tuple[GroupedError, ...], Most(MOST_ERRORS)] = ()
    others: Others = ()

    def check(self) -> None:
        OtherServers(self.others).check()

    @property
    def waiting(self) -> int:
        return max(self.total - self.succeeded - self.failed - self.running, 0)


def times_in(progress: bytes) -> Tuple[ServerTime, ...]:
    """None of a report that cannot be read."""
    try:
        return parse(OtherServers, progress, PROGRESS_LIMIT).others
    except Malformed:
        return ()
