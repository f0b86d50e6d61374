"""How a program and its server are while it says nothing: the boundary to whoever shows that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from skylift.runner.job.server_record import Gauge
from skylift.runner.price.purchase import billed


@dataclass(frozen=True)
class RunningProgram:
    """Since when a program runs, and since when its server is there for it, in seconds since the epoch; `max_time` is
    its cap in seconds, 0 where that is not known, and `hourly` what its server costs in USD (`charged`), or would."""

    started: float
    booted: float
    max_time: int = 0
    hourly: float | None = None
    charged: bool = True

    def cost(self, now: float) -> float:
        """USD so far, as it is billed."""
        return (self.hourly or 0.0) * billed(now - self.booted) / 3600


class Dial(Protocol):
    """For whoever shows how a program is while it says nothing. Both are called in the event loop, any number of times;
    what a server measures is only asked for where somebody has a dial."""

    def runs(self, run: RunningProgram) -> None: ...

    def measured(self, gauge: Gauge) -> None: ...
