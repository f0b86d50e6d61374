"""Detailed monitoring of instances, on and off."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.resource import require_all
from skylift.cloud.services.ec2.tagging import acts_in_turns
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


def switch(tx: Tx, _caller: Caller, params: ec2.MonitorInstancesRequest, *, on: bool) -> ec2.MonitorInstancesResult:
    instances = require_all(tx, Instance, params["InstanceIds"])
    for instance in instances:
        tx.save(replace(instance, detailed_monitoring=on))
    state = "pending" if on else "disabling"
    return {"InstanceMonitorings": [{"InstanceId": one.id, "Monitoring": {"State": state}} for one in instances]}


OPERATIONS = (
    acts_in_turns("MonitorInstances", partial(switch, on=True), Instance, "InstanceIds"),
    acts_in_turns("UnmonitorInstances", partial(switch, on=False), Instance, "InstanceIds"),
)
