"""The status line of a program and its server, shown while the program writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from skylift.client.price.purchase import billed
from skylift.contract.stream import Gauge


@dataclass(frozen=True)
class RunningProgram:
    """When a program has started, and when its server became available to it, in seconds since the epoch.

    `max_time` is the program's cap in seconds, 0 when it is not known. `hourly` is the server's price in USD an hour;
    without `charged` it is what the server would cost on AWS.
    """

    started: float
    booted: float
    max_time: int = 0
    hourly: float | None = None
    charged: bool = True

    def cost(self, now: float) -> float:
        """The cost so far in USD, as it is billed."""
        return (self.hourly or 0.0) * billed(now - self.booted) / 3600


class Monitor(Protocol):
    """A display for a program that runs. Both methods are called in the event loop, any number of times. A server is
    measured only when there is a monitor."""

    def runs(self, run: RunningProgram) -> None: ...

    def measured(self, gauge: Gauge) -> None: ...
