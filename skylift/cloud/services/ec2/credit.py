"""The credit option of burstable instances, which tools ask for: no server here is throttled, as with `unlimited`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.ec2_operation import PAGES, reads
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.page import Limits
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

LISTING = Listing(
    Instance,
    ids="InstanceIds",
    key="InstanceId",
    filters={"instance-id": "InstanceId"},
    tags="",
    limits=Limits(not_with=("InstanceIds", "instanceIds")),
)


def describe(
    tx: Tx, _caller: Caller, params: ec2.DescribeInstanceCreditSpecificationsRequest
) -> ec2.DescribeInstanceCreditSpecificationsResult:
    """The credit settings of these instances; without ids, only the `unlimited` ones."""
    items = [_view(row) for row in LISTING.rows(tx, params)]
    if not params.get("InstanceIds"):
        items = [item for item in items if item["CpuCredits"] == "unlimited"]
    shown = LISTING.page(params, items)
    return {"InstanceCreditSpecifications": shown.items, **shown.next}


def _view(instance: Instance) -> ec2.InstanceCreditSpecification:
    burstable = instance_type(instance.type).burstable
    return {"InstanceId": instance.id, "CpuCredits": "unlimited" if burstable else "standard"}


OPERATIONS = (reads("DescribeInstanceCreditSpecifications", describe, f"InstanceIds {PAGES}"),)
