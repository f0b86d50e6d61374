"""The permissions that a caller needs on an Auto Scaling group."""

from __future__ import annotations

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.scaling_group import ScalingGroup
from skylift.cloud.services.api.operation import Check
from skylift.cloud.store.database import Tx

Context = dict[str, str | tuple[str, ...]]


def arn(caller: Caller, name: str, identifier: str = "*") -> str:
    account = f"arn:aws:autoscaling:{caller.region}:{caller.account}"
    return f"{account}:autoScalingGroup:{identifier}:autoScalingGroupName/{name}"


def check_of(tx: Tx, caller: Caller, action: str, name: str, more: Context | None = None) -> Check:
    group = tx.get(ScalingGroup, name=name)
    return Check(f"autoscaling:{action}", group.arn if group else arn(caller, name), more)
