"""Fulfils spot requests and carries out interruptions when they are due."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Generic, Protocol, TypeVar

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.loops.guard import guarded
from skylift.cloud.store.database import Database, Tx

log = logging.getLogger(__name__)

S = TypeVar("S")

MARGIN = timedelta(milliseconds=50)
"""Timers go off this much late, so that their time has come."""


class SpotMarket(Protocol[S]):
    """AWS's rules of the market; see services/market/spot_market.py."""

    def plan(self, tx: Tx) -> Sequence[S]: ...
    def carry_out(self, tx: Tx, step: S) -> None: ...
    def put_off(self, tx: Tx, step: S, error: ServiceError) -> None: ...
    def next_moment(self, tx: Tx) -> datetime | None: ...


@dataclass(frozen=True)
class SpotLoop(Generic[S]):
    """Each step is one transaction. Planning writes nothing, so looking costs no commit."""

    database: Database
    market: SpotMarket[S]
    wake: Callable[[], None]
    wake_in: Callable[[float], None]

    def step(self) -> None:
        with self.database.read() as tx:
            # In one transaction: a change between the two calls would be in neither result.
            moment = self.market.next_moment(tx)
            if moment is not None:
                self.wake_in((moment - tx.now + MARGIN).total_seconds())
            steps = self.market.plan(tx)
        done = [guarded(f"spot: {step}", partial(self._carry_out, step)) for step in steps]
        if any(done):
            # One thing leads to another: a request whose instance has ended may be fulfilled anew.
            self.wake()

    def _carry_out(self, step: S) -> bool:
        """Always True: something has changed. `guarded` returns None after a failure."""
        log.info("spot: %s", step)
        try:
            with self.database.write() as tx:
                self.market.carry_out(tx, step)
        except ServiceError as error:
            with self.database.write() as tx:
                self.market.put_off(tx, step, error)
        return True
