"""When an instance may be stopped and started, as far as the market has a say in it."""

from __future__ import annotations

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.spot import SpotRequest
from skylift.cloud.services.ec2.launch_market import Terms, available_count
from skylift.cloud.services.ec2.spot_status import STOPPED
from skylift.cloud.store.database import Tx


def refuse_stop(tx: Tx, instance: Instance) -> None:
    """Only a persistent request that is active starts its instance again."""
    if instance.spot_request_id is None:
        return
    request = tx.get(SpotRequest, id=instance.spot_request_id)
    if request is None or request.type == "one-time" or request.state != "active":
        raise ServiceError(
            "UnsupportedOperation",
            f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot Instance "
            "request, or with one that is not active. You can only stop Spot Instances associated with persistent Spot "
            "Instance requests.",
        )


def refuse_start(tx: Tx, instance: Instance) -> None:
    """Raises what a start would, for want of room or quota, or because the market stopped it."""
    if instance.tenancy == "host":
        # The host is the account's: the host itself knows whether it has room.
        return
    if instance.spot_request_id is None:
        available_count(tx, instance.type, instance.zone, Terms(), 1, 1)
        return
    request = tx.get(SpotRequest, id=instance.spot_request_id)
    stopped_by_market = instance.state_reason_code == STOPPED[0]
    if request is None or request.state not in ("active", "disabled") or stopped_by_market:
        raise ServiceError(
            "IncorrectSpotRequestState",
            f"You can't start the Spot Instance '{instance.id}' because the associated Spot Instance request is not in "
            "an appropriate state to support start.",
        )
    available_count(tx, instance.type, instance.zone, Terms("spot", request.max_price), 1, 1)
