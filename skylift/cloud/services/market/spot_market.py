"""The effects of the market on spot requests and instances, as steps that are planned first and then carried out.

A step is one transaction and looks again before it acts: if the cloud ends between two of them, the next start plans
the rest. A launch and the note that its request is fulfilled are one commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_request import LaunchRequest
from skylift.cloud.domain.market import SpotPrice
from skylift.cloud.domain.spot import SpotNotice, SpotRequest
from skylift.cloud.services.ec2.capacity import spot_price
from skylift.cloud.services.ec2.instance import ended_by, started
from skylift.cloud.services.ec2.launch import launch_for, refuse_launch
from skylift.cloud.services.ec2.launch_market import Terms, available_count
from skylift.cloud.services.ec2.spot_option import limit_of
from skylift.cloud.services.ec2.spot_status import (
    STOPPED,
    TERMINATED,
    after_launch,
    after_stop,
    fulfilled,
    marked,
    refused,
)
from skylift.cloud.services.market.interruption import action_of, give_notice
from skylift.cloud.store.database import Tx
from skylift.cloud.store.market import live_requests, on_spot

_AGAIN = timedelta(seconds=10)
"""The pause after a launch that was refused although no check had found a reason."""


@dataclass(frozen=True)
class MarketChange:
    """`id` is the request's or, of notices and ends, the instance's. `before` is written over with `after`."""

    what: Literal["notice", "end", "release", "write", "launch", "start"]
    id: str
    before: SpotRequest | None = None
    after: SpotRequest | None = None

    def __str__(self) -> str:
        """The text without user data."""
        return f"{self.what} {self.id}"


def plan(tx: Tx, caller: Caller) -> list[MarketChange]:
    """The steps that are due now; reads only."""
    looks = _Looks(tx, caller)
    return [*_against_instances(tx), *(step for request in live_requests(tx) for step in _for(tx, looks, request))]


def carry_out(tx: Tx, caller: Caller, step: MarketChange) -> None:
    """Raises ServiceError where a launch is refused; what it had written by then must not be kept."""
    match step.what:
        case "notice":
            for instance in on_spot(tx):
                if instance.id == step.id and _too_dear(tx, instance):
                    give_notice(tx, instance, "price")
        case "end":
            notice = tx.get(SpotNotice, instance_id=step.id)
            instance_row = tx.get(Instance, id=step.id)
            if notice is not None and instance_row is not None and _is_due(tx, notice, instance_row):
                tx.save(_ended(tx, instance_row))
        case "release":
            request = tx.get(SpotRequest, id=step.id)
            instance_row = _to_release(tx, request) if request else None
            if request is not None and instance_row is not None:
                tx.save(ended_by(tx, instance_row, "terminated", TERMINATED))
                tx.save(marked(tx, request, "cancelled", "instance-terminated-by-service"))
        case "write":
            if step.after is not None and tx.get(SpotRequest, id=step.id) == step.before:
                tx.save(step.after)
        case "launch":
            request = tx.get(SpotRequest, id=step.id)
            if request is not None and _wants_launch(tx, request):
                launch_for(tx, caller, request)
        case "start":
            request = tx.get(SpotRequest, id=step.id)
            instance_row = _to_start(tx, request) if request else None
            if request is not None and instance_row is not None:
                tx.save(started(tx, instance_row))
                tx.save(fulfilled(tx, request, instance_row))


def put_off(tx: Tx, step: MarketChange, error: ServiceError) -> None:
    """A launch was refused after all: somebody else was given the room, or it was not in view beforehand."""
    request = tx.get(SpotRequest, id=step.id)
    if request is not None and request.state == "open":
        waiting = refused(tx, request, error)
        in_view = waiting.status_code in ("capacity-not-available", "limit-exceeded", "price-too-low")
        tx.save(waiting if in_view else replace(waiting, not_before=tx.now + _AGAIN))


def next_moment(tx: Tx) -> datetime | None:
    """The next time at which the market has something to do by itself."""
    moments = [one.since for one in tx.find(SpotPrice)]
    moments += [one.due for one in tx.find(SpotNotice) if one.due is not None]
    for request in live_requests(tx):
        moments += [moment for moment in (request.valid_from, request.valid_until, request.not_before) if moment]
    return min((moment for moment in moments if moment > tx.now), default=None)


def _against_instances(tx: Tx) -> Iterator[MarketChange]:
    for instance in on_spot(tx):
        notice = tx.get(SpotNotice, instance_id=instance.id)
        if notice is not None and notice.due is not None:
            if _is_due(tx, notice, instance):
                yield MarketChange("end", instance.id)
        elif _too_dear(tx, instance):
            yield MarketChange("notice", instance.id)


class _Looks:
    """What would come of launches now. Requests that came together ask for the same: one look is enough for them."""

    def __init__(self, tx: Tx, caller: Caller) -> None:
        self._tx = tx
        self._caller = caller
        self._known: dict[tuple[LaunchRequest, float | None], ServiceError | None] = {}

    def refusal(self, request: SpotRequest) -> ServiceError | None:
        wanted = request.launch, request.max_price
        if wanted not in self._known:
            try:
                refuse_launch(self._tx, self._caller, request)
            except ServiceError as error:
                self._known[wanted] = error
            else:
                self._known[wanted] = None
        return self._known[wanted]


def _for(tx: Tx, looks: _Looks, request: SpotRequest) -> Iterator[MarketChange]:
    followed = _followed(tx, request)
    if followed != request:
        yield MarketChange("write", request.id, request, followed)
    elif _wants_launch(tx, request):
        refusal = looks.refusal(request)
        waiting = refused(tx, request, refusal) if refusal else None
        if waiting is None:
            yield MarketChange("launch", request.id)
        elif waiting != request:
            yield MarketChange("write", request.id, request, waiting)
    elif _to_release(tx, request) is not None:
        yield MarketChange("release", request.id)
    elif _to_start(tx, request) is not None:
        yield MarketChange("start", request.id)


def _followed(tx: Tx, request: SpotRequest) -> SpotRequest:
    """The request after what became of its instance, and of its time."""
    instance = tx.get(Instance, id=request.instance_id) if request.instance_id else None
    if request.instance_id and request.state in ("active", "disabled", "cancelled"):
        if instance is None or instance.state == "terminated":
            return after_launch(tx, request, instance)
        if request.state == "active" and instance.state == "stopped":
            return after_stop(tx, request, instance)
        if request.state == "disabled" and instance.state in ("pending", "running"):
            return fulfilled(tx, request, instance)
    if request.state == "open" and request.valid_from and request.valid_from > tx.now:
        return marked(tx, request, "open", "not-scheduled-yet")
    if request.valid_until and request.valid_until <= tx.now:
        if request.state == "open":
            return marked(tx, request, "cancelled", "schedule-expired")
        if request.state in ("active", "disabled") and request.type == "persistent":
            return marked(tx, request, "cancelled", "request-canceled-and-instance-running")
    return request


def _wants_launch(tx: Tx, request: SpotRequest) -> bool:
    over = request.valid_until is not None and request.valid_until <= tx.now
    early = any(moment is not None and moment > tx.now for moment in (request.valid_from, request.not_before))
    return request.state == "open" and not over and not early


def _to_release(tx: Tx, request: SpotRequest) -> Instance | None:
    """A stopped instance that no request would start again any more."""
    instance = tx.get(Instance, id=request.instance_id) if request.state == "cancelled" else None
    return instance if instance is not None and instance.state == "stopped" else None


def _to_start(tx: Tx, request: SpotRequest) -> Instance | None:
    """The instance that the market stopped and would give again now."""
    if request.state != "disabled" or request.status_code not in (
        "instance-stopped-by-price",
        "instance-stopped-no-capacity",
    ):
        return None
    instance = tx.get(Instance, id=request.instance_id)
    if instance is None or instance.state != "stopped":
        return None
    try:
        available_count(tx, instance.type, instance.zone, Terms("spot", request.max_price), 1, 1)
    except ServiceError:
        return None
    return instance


def _too_dear(tx: Tx, instance: Instance) -> bool:
    request = tx.get(SpotRequest, id=instance.spot_request_id)
    price = spot_price(tx, instance.type, instance.zone)
    return price is not None and price > limit_of(instance.type, instance.zone, request.max_price if request else None)


def _is_due(tx: Tx, notice: SpotNotice, instance: Instance) -> bool:
    """One that is to be stopped has to have started."""
    states = ("running",) if action_of(tx, instance) == "stop" else ("pending", "running")
    return notice.due is not None and notice.due <= tx.now and instance.state in states


def _ended(tx: Tx, instance: Instance) -> Instance:
    """Protection from the API is none from the market."""
    if action_of(tx, instance) == "stop":
        return ended_by(tx, instance, "stopped", STOPPED)
    return ended_by(tx, instance, "terminated", TERMINATED)
