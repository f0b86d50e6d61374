"""Turns on and off the metrics of a group in CloudWatch.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_EnableMetricsCollection.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.scaling_group import METRICS
from skylift.cloud.services.api.operation import Nothing, Params
from skylift.cloud.services.autoscaling.operation import GROUP, reads, writes
from skylift.cloud.services.autoscaling.scaling_rules import changeable_group, invalid
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import autoscaling

GRANULARITY = "1Minute"


def enable(tx: Tx, _caller: Caller, params: autoscaling.EnableMetricsCollectionQuery) -> Nothing:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    if params["Granularity"] != GRANULARITY:
        raise invalid(f"Granularity must be {GRANULARITY}.")
    wanted = {*group.metrics, *_named(params.get("Metrics"))}
    tx.save(replace(group, metrics=tuple(name for name in METRICS if name in wanted)))
    return {}


def disable(tx: Tx, _caller: Caller, params: autoscaling.DisableMetricsCollectionQuery) -> Nothing:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    unwanted = _named(params.get("Metrics"))
    tx.save(replace(group, metrics=tuple(name for name in group.metrics if name not in unwanted)))
    return {}


def collection_types(_tx: Tx, _caller: Caller, _params: Params) -> autoscaling.DescribeMetricCollectionTypesAnswer:
    return {"Metrics": [{"Metric": name} for name in METRICS], "Granularities": [{"Granularity": GRANULARITY}]}


def _named(wanted: list[str] | None) -> list[str]:
    """All, where none is named."""
    for name in wanted or []:
        if name not in METRICS:
            raise invalid(f"{name} is not a valid metric. It has to be one of {', '.join(METRICS)}.")
    return list(wanted or METRICS)


OPERATIONS = (
    writes("EnableMetricsCollection", enable, f"{GROUP} Metrics Granularity"),
    writes("DisableMetricsCollection", disable, f"{GROUP} Metrics"),
    reads("DescribeMetricCollectionTypes", collection_types),
)
