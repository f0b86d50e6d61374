"""The servers that this account's jobs have used, from their records: program, type, time and number of runs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from skylift.client.errors import JobNotFound, RecordDamaged
from skylift.client.price.purchase import HOURS_A_MONTH, billed, server_seconds
from skylift.client.text.duration import moment
from skylift.client.waiting import Threads

if TYPE_CHECKING:
    from skylift.client.remote.account import Account

DAYS = 30
"""Days of history. A month has as many, so hours in the history are hours a month."""
_AT_A_TIME = 8


@dataclass(frozen=True)
class PastRun:
    """One job that has had a server. `seconds` are from its server's boot to the job's end: the billed time, except
    for a few seconds before and after."""

    job: str
    argv: tuple[str, ...]
    instance_type: str
    booted: float
    seconds: float


@dataclass(frozen=True)
class History:
    """Runs of the last DAYS days, the oldest first."""

    runs: tuple[PastRun, ...]
    damaged: tuple[str, ...] = ()
    """A warning about records that cannot be read."""

    def of(self, argv: Sequence[str]) -> tuple[PastRun, ...]:
        """The runs of one program, whatever its arguments; `argv` is without them."""
        return tuple(each for each in self.runs if each.argv[: len(argv)] == tuple(argv))

    def hours(self, instance_type: str) -> float:
        """Server-hours of a type, as billed: of all programs, because a commitment serves all of them."""
        return sum(billed(each.seconds) for each in self.runs if each.instance_type == instance_type) / 3600

    def served(self, instance_type: str) -> float:
        """Those of them that one commitment would have paid for. It is good for an hour in each hour of the clock,
        whichever servers use it up; use beyond that is bought on demand.
        """
        used: dict[int, float] = defaultdict(float)
        for each in self.runs:
            if each.instance_type == instance_type:
                for hour, seconds in _by_hour(each.booted, billed(each.seconds)):
                    used[hour] += seconds
        return sum(min(seconds, 3600.0) for seconds in used.values()) / 3600


def _by_hour(start: float, seconds: float) -> Iterator[tuple[int, float]]:
    """The hours of the clock that a time falls into, and how much of it."""
    end = start + seconds
    while start < end:
        hour = int(start // 3600)
        until = min(end, (hour + 1) * 3600.0)
        yield hour, until - start
        start = until


def read_history(account: Account, now: float | None = None) -> History:
    since = (time.time() if now is None else now) - DAYS * 86400
    with Threads(_AT_A_TIME) as pool:
        found = list(pool.map(lambda name: _past_run(account, name, since), account.recorded()))
    runs = [each for each in found if isinstance(each, PastRun)]
    damaged = tuple(each.message for each in found if isinstance(each, RecordDamaged))
    return History(tuple(sorted(runs, key=lambda each: each.booted)), damaged)


def _past_run(account: Account, name: str, since: float) -> PastRun | RecordDamaged | None:
    try:
        return _read_run(account, name, since)
    except RecordDamaged as error:
        return error


def _read_run(account: Account, name: str, since: float) -> PastRun | None:
    """None for a job that had no server, has not ended, began before, or has been forgotten by now."""
    status = account.status(name)
    if status is None or status.booted is None or status.ended is None:
        return None
    booted = moment(status.booted)
    if booted < since:
        return None
    try:
        record = account.record(name)
    except JobNotFound:
        return None
    kind = (status.instance_type if record.spot else "") or record.instance_type
    seconds = server_seconds(status.booted, status.ended, status.program_seconds)
    # No server was there longer than its job might take.
    most = max(0.0, record.deadline - record.created)
    return PastRun(name, record.argv, kind, booted, min(seconds, most))


@dataclass(frozen=True)
class QuoteBasis:
    """The basis of a quote: how long a run is billed, the hours a month of its type, and how many of these one
    commitment would serve; `text` says where from."""

    seconds: float
    hours: float
    served: float
    text: str
    runs: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"runs": self.runs, "days": DAYS, "text": self.text}


def basis_of(history: History | None, argv: Sequence[str], instance_type: str, assumed: float) -> QuoteBasis:
    """Without past runs: one run of `assumed` seconds each day."""
    runs = [each for each in history.of(argv) if each.instance_type == instance_type] if history is not None else []
    if history is None or not runs:
        hours = billed(assumed) / 3600 * DAYS
        if history is not None and (had := history.hours(instance_type)) > 0:
            # Other programs have used the type: a commitment would serve them as well.
            served = min(history.served(instance_type) + hours, HOURS_A_MONTH)
            text = f"assumed: one run of this program a day beside {had:.2f} h of others"
            return QuoteBasis(assumed, had + hours, served, text)
        return QuoteBasis(assumed, hours, min(hours, HOURS_A_MONTH), "assumed: one run a day")
    hours = history.hours(instance_type)
    middle = median(each.seconds for each in runs)
    count = f"{len(runs)} run{'s' * (len(runs) != 1)}"
    others = sum(each.instance_type == instance_type for each in history.runs) - len(runs)
    others_too = f" and {others} of other programs" if others else ""
    served = history.served(instance_type)
    return QuoteBasis(
        middle, hours, served, f"{count}{others_too} in the last {DAYS} days on {instance_type}", len(runs)
    )
