"""The activities of Auto Scaling groups, and their causes: the latest first, for six weeks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.scaling_group import ScalingActivity, ScalingGroup
from skylift.cloud.services.autoscaling.operation import GROUP, PAGES, reads
from skylift.cloud.services.autoscaling.scaling_rules import page, require_group
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import autoscaling


def describe(tx: Tx, _caller: Caller, params: autoscaling.DescribeScalingActivitiesType) -> autoscaling.ActivitiesType:
    """The activities of a group, or of all existing groups; those of deleted groups on request."""
    ids, name = params.get("ActivityIds") or [], params.get("AutoScalingGroupName")
    deleted = params.get("IncludeDeletedGroups", False)
    groups = {group.arn for group in tx.find(ScalingGroup)}
    if name is not None and not deleted:
        require_group(tx, name)
    rows = tx.find(ScalingActivity, group=name) if name is not None else tx.find(ScalingActivity)
    found = [
        row for row in reversed(rows) if (not ids or row.id in ids) and (deleted or ids or row.group_arn in groups)
    ]
    chosen, more = page(params, found, lambda row: row.id, size=100)
    return {"Activities": [view(row, deleted=row.group_arn not in groups) for row in chosen], **more}


def view(row: ScalingActivity, *, deleted: bool = False) -> autoscaling.Activity:
    return {
        "ActivityId": row.id,
        "AutoScalingGroupName": row.group,
        "Description": row.description,
        "Cause": row.cause,
        "StartTime": row.started,
        **({"EndTime": row.ended} if row.ended else {}),
        "StatusCode": row.status,
        **({"StatusMessage": row.message} if row.message else {}),
        "Progress": row.progress,
        "Details": row.details,
        **({"AutoScalingGroupState": "Deleted"} if deleted else {}),
        "AutoScalingGroupARN": row.group_arn,
    }


OPERATIONS = (reads("DescribeScalingActivities", describe, f"ActivityIds {GROUP} IncludeDeletedGroups {PAGES}"),)
