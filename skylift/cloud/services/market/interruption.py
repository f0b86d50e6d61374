"""Notices to spot instances: given by hand or by the market, taken back, and carried out when their time has come.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.spot import Behavior, SpotNotice, SpotRequest
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.ec2.spot_status import fulfilled, marked
from skylift.cloud.services.market.control import notifies, reads
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import skylift

NOTICE = timedelta(minutes=2)
MOST = timedelta(days=1)


def interrupt(tx: Tx, _caller: Caller, params: skylift.InterruptInstanceRequest) -> skylift.InterruptInstanceResult:
    """Asked again, the notice is given anew, with another time."""
    instance = _spot_instance(tx, params)
    seconds = timedelta(seconds=params.get("Seconds", NOTICE.total_seconds()))
    if seconds > MOST:
        raise ServiceError("InvalidParameterValue", f"A notice is of at most {MOST.total_seconds():.0f} seconds.")
    for one in tx.find(SpotNotice, instance_id=instance.id):
        tx.save(replace(one, noticed=None, due=None))
    return {"Interruption": view(tx, give_notice(tx, instance, "capacity", seconds))}


def recommend(tx: Tx, _caller: Caller, params: skylift.RecommendRebalanceRequest) -> skylift.RecommendRebalanceResult:
    """A second recommendation does not change the time of the first."""
    instance = _spot_instance(tx, params)
    known = tx.get(SpotNotice, instance_id=instance.id)
    notice = replace(known or SpotNotice(instance.id), rebalance=(known.rebalance if known else None) or tx.now)
    _write(tx, notice)
    return {"Interruption": view(tx, notice)}


def withdraw(tx: Tx, _caller: Caller, params: skylift.WithdrawInterruptionRequest) -> Nothing:
    """AWS takes none back, or promises none: this is for false alarms."""
    instance = _spot_instance(tx, params)
    for notice in tx.find(SpotNotice, instance_id=instance.id):
        tx.remove(notice)
    for request in tx.find(SpotRequest, id=instance.spot_request_id):
        if request.status_code.startswith("marked-for-"):
            tx.save(fulfilled(tx, request, instance))
    return {}


def describe(
    tx: Tx, _caller: Caller, _params: skylift.DescribeInterruptionsRequest
) -> skylift.DescribeInterruptionsResult:
    return {"Interruptions": [view(tx, notice) for notice in tx.find(SpotNotice)]}


def give_notice(
    tx: Tx, instance: Instance, cause: Literal["price", "capacity"], ahead: timedelta = NOTICE
) -> SpotNotice:
    """A notice that was given stays as it is. AWS recommends rebalancing at the latest with it."""
    known = tx.get(SpotNotice, instance_id=instance.id) or SpotNotice(instance.id)
    if known.due is not None:
        return known
    notice = replace(known, rebalance=known.rebalance or tx.now, noticed=tx.now, due=tx.now + ahead, cause=cause)
    _write(tx, notice)
    request = tx.get(SpotRequest, id=instance.spot_request_id)
    if request is not None and request.state == "active":
        word = "stop" if request.behavior == "stop" else "termination"
        tx.save(marked(tx, request, "active", f"marked-for-{word}"))
    return notice


def action_of(tx: Tx, instance: Instance | None) -> Behavior:
    """What its end will be. A request that was cancelled has no wish any more but the one that it was made with."""
    request = tx.get(SpotRequest, id=instance.spot_request_id) if instance and instance.spot_request_id else None
    return request.behavior if request else "terminate"


def view(tx: Tx, notice: SpotNotice) -> skylift.Interruption:
    return {
        "InstanceId": notice.instance_id,
        **({"RebalanceTime": notice.rebalance} if notice.rebalance else {}),
        **({"InstanceAction": action_of(tx, tx.get(Instance, id=notice.instance_id))} if notice.due else {}),
        **({"NoticeTime": notice.noticed} if notice.due and notice.noticed else {}),
        **({"Time": notice.due} if notice.due else {}),
    }


def _write(tx: Tx, notice: SpotNotice) -> None:
    tx.remove(notice)
    tx.add(notice)


def _spot_instance(
    tx: Tx,
    params: skylift.InterruptInstanceRequest | skylift.RecommendRebalanceRequest | skylift.WithdrawInterruptionRequest,
) -> Instance:
    instance = require(tx, Instance, params["InstanceId"])
    if instance.spot_request_id is None:
        raise ServiceError(
            "IncorrectInstanceState",
            f"The instance '{instance.id}' is not a Spot Instance: nothing but its owner ends it.",
        )
    if instance.state not in ("pending", "running"):
        raise ServiceError(
            "IncorrectInstanceState", f"The instance '{instance.id}' is {instance.state}; only what runs has notice."
        )
    return instance


OPERATIONS = (
    notifies("InterruptInstance", interrupt, "Seconds"),
    notifies("RecommendRebalance", recommend),
    notifies("WithdrawInterruption", withdraw),
    reads("DescribeInterruptions", describe),
)
