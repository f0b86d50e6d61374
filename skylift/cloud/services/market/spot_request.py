"""RequestSpotInstances, and the state of requests. The market's loop fulfils a request a moment later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.network import Subnet
from skylift.cloud.domain.spot import SpotRequest
from skylift.cloud.services.api.client_token import result_of
from skylift.cloud.services.api.ec2_operation import PAGES, prepares, reads
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Handler, below
from skylift.cloud.services.api.public_parameter import image_id_for
from skylift.cloud.services.api.refusal import invalid_value, missing, refuse_other_values
from skylift.cloud.services.api.resource import require_all
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.api.transition import in_transition
from skylift.cloud.services.api.zone import zone_id, zones
from skylift.cloud.services.ec2.capacity import refuse_beyond_quota
from skylift.cloud.services.ec2.launch import refuse_launch
from skylift.cloud.services.ec2.launch_check import on_spot_request
from skylift.cloud.services.ec2.launch_request import spot_launch
from skylift.cloud.services.ec2.launch_view import launch_specification
from skylift.cloud.services.ec2.spot_option import REQUEST, limit_of, requested
from skylift.cloud.services.ec2.spot_status import marked
from skylift.cloud.services.ec2.tagging import acts_in_turns, added_in_turns
from skylift.cloud.services.market.market_setting import spelled
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

MOST = 1000

NEUTRAL: dict[str, tuple[object, ...]] = {
    "LaunchSpecification.EbsOptimized": (False,),
    "LaunchSpecification.Placement.Tenancy": ("default",),
    "LaunchSpecification.BlockDeviceMappings.Ebs.Encrypted": (False,),
}

LISTING = Listing(
    SpotRequest,
    ids="SpotInstanceRequestIds",
    key="SpotInstanceRequestId",
    filters={
        **same_named(
            "create-time instance-id launched-availability-zone launched-availability-zone-id "
            "product-description spot-instance-request-id spot-price state type valid-from "
            "valid-until"
        ),
        "fault-code": "Fault.Code",
        "fault-message": "Fault.Message",
        "launch.block-device-mapping.device-name": "LaunchSpecification.BlockDeviceMappings.DeviceName",
        "launch.group-id": "LaunchSpecification.SecurityGroups.GroupId",
        "launch.group-name": "LaunchSpecification.SecurityGroups.GroupName",
        "launch.image-id": "LaunchSpecification.ImageId",
        "launch.instance-type": "LaunchSpecification.InstanceType",
        "launch.key-name": "LaunchSpecification.KeyName",
        "launch.monitoring-enabled": "LaunchSpecification.Monitoring.Enabled",
        "network-interface.subnet-id": "LaunchSpecification.NetworkInterfaces.SubnetId",
        "status-code": "Status.Code",
        "status-message": "Status.Message",
    },
)


def request(tx: Tx, caller: Caller, params: ec2.RequestSpotInstancesRequest) -> Handler | list[Handler]:
    """All of the requests are right, or none is made. Price and room are the loop's to look at, again and again."""
    made_before = result_of(tx, "RequestSpotInstances", params)
    if made_before:
        known = require_all(tx, SpotRequest, made_before.split())
        repeated: ec2.RequestSpotInstancesResult = {"SpotInstanceRequests": [view(tx, caller, one) for one in known]}
        return lambda _tx, _caller, _params: repeated
    refuse_other_values(params, NEUTRAL)
    count = params.get("InstanceCount", 1)
    if not 1 <= count <= MOST:
        raise invalid_value(count, "instanceCount", f"It has to be between 1 and {MOST}.")
    specification = params.get("LaunchSpecification") or {}
    for name in ("ImageId", "InstanceType"):
        if not specification.get(name):
            raise missing(f"LaunchSpecification.{name}")
    launch = replace(spot_launch(specification), image=image_id_for(tx, caller, specification["ImageId"]))
    wish, tags = requested(tx, params, launch), tags_for(params, REQUEST)
    made = [wish.request(tx, launch, {}, tags) for _ in range(count)]
    refuse_launch(tx, caller, made[0], on_market=False)
    # What the market gives is waited for; the account's quota is not.
    refuse_beyond_quota(tx, made[0].instance_type, "spot", count)
    answer: ec2.RequestSpotInstancesResult = {"SpotInstanceRequests": [view(tx, caller, one) for one in made]}
    return added_in_turns("RequestSpotInstances", params, made, answer)


def describe(
    tx: Tx, caller: Caller, params: ec2.DescribeSpotInstanceRequestsRequest
) -> ec2.DescribeSpotInstanceRequestsResult:
    shown = LISTING.describe(tx, params, lambda row: view(tx, caller, row))
    return {"SpotInstanceRequests": shown.items, **shown.next}


def cancel(
    tx: Tx, _caller: Caller, params: ec2.CancelSpotInstanceRequestsRequest
) -> ec2.CancelSpotInstanceRequestsResult:
    """Instances that run go on without their request; what has ended stays as it is."""
    cancelled: list[ec2.CancelledSpotInstanceRequest] = []
    for row in require_all(tx, SpotRequest, params["SpotInstanceRequestIds"]):
        instance = tx.get(Instance, id=row.instance_id) if row.instance_id else None
        alive = instance is not None and instance.state != "terminated"
        if row.state in ("active", "disabled") and alive:
            tx.save(marked(tx, row, "cancelled", "request-canceled-and-instance-running"))
        elif row.state in ("open", "active", "disabled"):
            tx.save(marked(tx, row, "cancelled", "canceled-before-fulfillment"))
        state = row.state if row.state in ("closed", "failed") else "cancelled"
        cancelled.append({"SpotInstanceRequestId": row.id, "State": "completed" if state == "failed" else state})
    return {"CancelledSpotInstanceRequests": cancelled}


def view(tx: Tx, caller: Caller, row: SpotRequest) -> ec2.SpotInstanceRequest:
    zone = row.zone or row.launch.place.zone or zones(caller.region)[0]
    limit = limit_of(row.instance_type, zone, row.max_price)
    return {
        "SpotInstanceRequestId": row.id,
        **({} if limit == float("inf") else {"SpotPrice": spelled(limit)}),
        "Type": row.type,
        "State": row.state,
        "Status": {"Code": row.status_code, "Message": row.status_message, "UpdateTime": row.status_updated},
        **({"Fault": {"Code": row.status_code, "Message": row.status_message}} if row.state == "failed" else {}),
        "CreateTime": row.created,
        "LaunchSpecification": _specification(tx, row),
        "ProductDescription": "Linux/UNIX",
        "InstanceInterruptionBehavior": row.behavior,
        **({"InstanceId": row.instance_id} if row.instance_id else {}),
        **({"LaunchedAvailabilityZone": row.zone, "LaunchedAvailabilityZoneId": zone_id(row.zone)} if row.zone else {}),
        **({"ValidFrom": row.valid_from} if row.valid_from else {}),
        **({"ValidUntil": row.valid_until} if row.valid_until else {}),
        "Tags": tag_list(row.tags),
    }


def _specification(tx: Tx, row: SpotRequest) -> ec2.LaunchSpecification:
    """What was asked for, and the zone of it: the subnet's where there is one, else the one that was chosen."""
    shown = launch_specification(tx, row.launch)
    subnet = tx.get(Subnet, id=row.launch.subnet_id) if row.launch.subnet_id else None
    zone = subnet.zone if subnet else row.zone
    return {**shown, "Placement": {"AvailabilityZone": zone, **shown.get("Placement", {})}} if zone else shown


_SPECIFICATION = below(
    "LaunchSpecification",
    (
        "BlockDeviceMappings.DeviceName BlockDeviceMappings.Ebs.DeleteOnTermination BlockDeviceMappings.Ebs.Iops "
        "BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.Throughput BlockDeviceMappings.Ebs.VolumeSize "
        "BlockDeviceMappings.Ebs.VolumeType BlockDeviceMappings.NoDevice IamInstanceProfile.Arn "
        "IamInstanceProfile.Name ImageId InstanceType KeyName Monitoring.Enabled "
        "NetworkInterfaces.AssociatePublicIpAddress "
        "NetworkInterfaces.DeleteOnTermination NetworkInterfaces.Description NetworkInterfaces.DeviceIndex "
        "NetworkInterfaces.Groups NetworkInterfaces.PrivateIpAddress NetworkInterfaces.PrivateIpAddresses "
        "NetworkInterfaces.SecondaryPrivateIpAddressCount NetworkInterfaces.SubnetId Placement.AvailabilityZone "
        "Placement.GroupName SecurityGroupIds SecurityGroups SubnetId UserData"
    ),
)


OPERATIONS = (
    prepares(
        "RequestSpotInstances",
        request,
        "ClientToken InstanceCount InstanceInterruptionBehavior SpotPrice TagSpecifications Type "
        f"ValidFrom ValidUntil {_SPECIFICATION} {' '.join(NEUTRAL)}",
        on_spot_request,
    ),
    reads(
        "DescribeSpotInstanceRequests",
        describe,
        f"SpotInstanceRequestIds {PAGES}",
        unsettled=in_transition(
            "SpotInstanceRequestIds", ("SpotInstanceRequests.Status.Code", "pending-evaluation", "pending-fulfillment")
        ),
    ),
    acts_in_turns("CancelSpotInstanceRequests", cancel, SpotRequest, "SpotInstanceRequestIds"),
)
