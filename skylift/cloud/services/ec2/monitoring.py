"""Detailed monitoring of instances, on and off."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.ec2_operation import acts
from skylift.cloud.services.api.resource import require_all
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


def monitor(tx: Tx, _caller: Caller, params: ec2.MonitorInstancesRequest) -> ec2.MonitorInstancesResult:
    return {**_switch(tx, params, on=True)}


def unmonitor(tx: Tx, _caller: Caller, params: ec2.UnmonitorInstancesRequest) -> ec2.UnmonitorInstancesResult:
    return {**_switch(tx, params, on=False)}


class _Switched(TypedDict):
    InstanceMonitorings: list[ec2.InstanceMonitoring]


def _switch(tx: Tx, params: ec2.MonitorInstancesRequest | ec2.UnmonitorInstancesRequest, *, on: bool) -> _Switched:
    instances = require_all(tx, Instance, params["InstanceIds"])
    for instance in instances:
        tx.save(replace(instance, detailed_monitoring=on))
    state = "pending" if on else "disabling"
    return {"InstanceMonitorings": [{"InstanceId": one.id, "Monitoring": {"State": state}} for one in instances]}


OPERATIONS = (
    acts("MonitorInstances", monitor, "InstanceIds", "InstanceIds"),
    acts("UnmonitorInstances", unmonitor, "InstanceIds", "InstanceIds"),
)
