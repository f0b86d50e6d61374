"""The states of a spot request and their codes, in AWS's words.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Literal

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.spot import SpotNotice, SpotRequest
from skylift.cloud.store.database import Tx

MESSAGES = {
    "canceled-before-fulfillment": "Your Spot request is canceled before it was fulfilled.",
    "capacity-not-available": "There is no Spot capacity available that matches your request.",
    "fulfilled": "Your Spot request is fulfilled.",
    "instance-stopped-by-price": "Your instance was stopped because the Spot price exceeded your maximum price.",
    "instance-stopped-by-user": "Your instance was stopped by its user.",
    "instance-stopped-no-capacity": "Your instance was stopped because there was no longer enough Spot capacity.",
    "instance-terminated-by-price": "Your instance was terminated because the Spot price exceeded your maximum price.",
    "instance-terminated-by-service": "Your instance was terminated from a stopped state.",
    "instance-terminated-by-user": "Spot Instance terminated due to user-initiated termination.",
    "instance-terminated-no-capacity": "Your instance was terminated for want of Spot capacity.",
    "marked-for-stop": "Your Spot Instance is marked for stop.",
    "marked-for-termination": "Your Spot Instance is marked for termination.",
    "not-scheduled-yet": "Your Spot request is not evaluated until its valid-from time.",
    "pending-evaluation": "Your Spot request has been submitted for review, and is pending evaluation.",
    "request-canceled-and-instance-running": "Your Spot request is canceled, but your instance is still running.",
    "schedule-expired": "Your Spot request expired before it was fulfilled.",
    "system-error": "The instance could not be launched.",
}

STOPPED = ("Server.SpotInstanceShutdown", "Spot instance shutdown")
TERMINATED = ("Server.SpotInstanceTermination", "Spot instance termination")

_REFUSED = {
    "InsufficientInstanceCapacity": "capacity-not-available",
    "MaxSpotInstanceCountExceeded": "limit-exceeded",
    "SpotMaxPriceTooLow": "price-too-low",
    "InsufficientFreeAddressesInSubnet": "constraint-not-fulfillable",
    "InsufficientAddressCapacity": "constraint-not-fulfillable",
    "UnsupportedOperation": "constraint-not-fulfillable",
}
"""The status of a waiting request, by the error of a launch now. Any other error is the request's own."""

State = Literal["open", "active", "disabled", "closed", "cancelled", "failed"]

_FIRST_WAIT = timedelta(seconds=10)
_LONGEST_WAIT = timedelta(minutes=15)


def marked(tx: Tx, request: SpotRequest, state: State, code: str, message: str = "") -> SpotRequest:
    """The request in this state; itself where it is in it already."""
    reported = message or MESSAGES[code]
    if (request.state, request.status_code, request.status_message) == (state, code, reported):
        return request
    return replace(request, state=state, status_code=code, status_message=reported, status_updated=tx.now)


def fulfilled(tx: Tx, request: SpotRequest, instance: Instance) -> SpotRequest:
    return replace(marked(tx, request, "active", "fulfilled"), instance_id=instance.id, zone=instance.zone)


def refused(tx: Tx, request: SpotRequest, error: ServiceError) -> SpotRequest:
    """What a request is while a launch is refused: most it waits out, its own mistakes end it."""
    code = _REFUSED.get(error.code)
    if code is None:
        return marked(tx, request, "failed", "bad-parameters", f"{error.code}: {error.message}")
    return marked(tx, request, "open", code, error.message)


def after_launch(tx: Tx, request: SpotRequest, instance: Instance | None) -> SpotRequest:
    """The state of a request after its instance has ended; None is an instance that has been forgotten since."""
    reason = instance.state_reason_code if instance else ""
    if reason == TERMINATED[0]:
        code = f"instance-terminated-{_why(tx, request.instance_id)}"
    elif instance is not None and reason.startswith("Server.") and not instance.booted:
        code = "system-error"
    else:
        code = "instance-terminated-by-user"
    if request.state == "cancelled":
        return marked(tx, request, "cancelled", code)
    if request.type == "one-time":
        return marked(tx, request, "closed", code)
    failures = request.failures + 1 if code == "system-error" else 0
    wait = min(_FIRST_WAIT * 2 ** min(failures, 10), _LONGEST_WAIT) if failures else timedelta(0)
    again = marked(tx, request, "open", code)
    return replace(again, instance_id=None, failures=failures, not_before=tx.now + wait if failures else None)


def after_stop(tx: Tx, request: SpotRequest, instance: Instance) -> SpotRequest:
    if instance.state_reason_code == STOPPED[0]:
        return marked(tx, request, "disabled", f"instance-stopped-{_why(tx, instance.id)}")
    return marked(tx, request, "disabled", "instance-stopped-by-user")


def write_request(tx: Tx, request: SpotRequest) -> None:
    """A new one, or one that is there."""
    if tx.get(SpotRequest, id=request.id) is None:
        tx.add(request)
    else:
        tx.save(request)


def _why(tx: Tx, instance_id: str | None) -> str:
    notice = tx.get(SpotNotice, instance_id=instance_id) if instance_id else None
    return "by-price" if notice is not None and notice.cause == "price" else "no-capacity"
