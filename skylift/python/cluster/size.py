"""How many workers a cluster has: its limits, and when it has too many or too few."""

from __future__ import annotations

from dataclasses import dataclass

from skylift.client.errors import UsageError

MOST = 100
IDLE = 30.0
"""Seconds for which fewer workers must be enough before one is given back."""

Servers = int | tuple[int, int]
"""A number of workers, or the least and the most."""


@dataclass(frozen=True)
class ClusterLimits:
    least: int
    most: int

    def __str__(self) -> str:
        return str(self.most) if self.least == self.most else f"{self.least} to {self.most}"


def read_limits(servers: Servers) -> ClusterLimits:
    """Raises UsageError."""
    found = (servers, servers) if isinstance(servers, int) else servers
    whole = isinstance(found, tuple) and len(found) == 2 and all(type(each) is int for each in found)
    if whole and MOST >= found[0] > found[1] >= 0:
        raise UsageError(
            f"servers={servers!r}: the least is more than the most.", f"Meant as ({found[1]}, {found[0]})?"
        )
    if not whole or not 0 <= found[0] <= found[1] <= MOST or found[1] == 0:
        raise UsageError(
            f"servers={servers!r} is not a number of servers.",
            f"It is a number, or the least and the most, like (0, 8); {MOST} at most.",
        )
    return ClusterLimits(*found)


class Size:
    """Decides, at each look, how many workers to start or to give back."""

    def __init__(self, limits: ClusterLimits) -> None:
        self.limits = limits
        self._fewer_since: float | None = None

    def change(self, there: int, target: int, now: float) -> int:
        """How many workers to start, or, below 0, to give back. `there` are those that run or are being started, and
        `target` is how many the work could use. What is above the limits goes at once."""
        wanted = max(self.limits.least, min(target, self.limits.most))
        if wanted >= there:
            self._fewer_since = None
            return wanted - there
        if there > self.limits.most:
            return self.limits.most - there
        if self._fewer_since is None:
            self._fewer_since = now
        return wanted - there if now - self._fewer_since >= IDLE else 0
