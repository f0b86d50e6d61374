"""What of an answer is on its way to another state: by the answers that the operations themselves give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from serverless_cloud import serverless_cloud

from skylift.cloud.services.table import TABLE


def unsettled(operation: str, params: dict[str, Any], answer: Any) -> bool:
    found = TABLE["ec2", operation].unsettled
    assert found is not None
    return found(params, answer)


def test_what_nobody_carries_on_stays_on_its_way(tmp_path: Path) -> None:
    with serverless_cloud(tmp_path) as cloud:
        ec2 = cloud.client("ec2")
        made = ec2.run_instances(ImageId="ami-12345678", InstanceType="t3.nano", MinCount=1, MaxCount=1)
        instances = {"InstanceIds": [made["Instances"][0]["InstanceId"]]}
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        nat = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")["NatGateway"]["NatGatewayId"]
        volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
        for operation, answer, params in (
            ("DescribeInstances", ec2.describe_instances, instances),
            ("DescribeVolumes", ec2.describe_volumes, {"VolumeIds": [volume]}),
            ("DescribeNatGateways", ec2.describe_nat_gateways, {"NatGatewayIds": [nat]}),
        ):
            told = answer(**params)
            assert unsettled(operation, params, told), told
            # Whoever asks for all has it at once.
            assert not unsettled(operation, {}, answer())


@pytest.mark.parametrize(
    ("operation", "ids", "moving", "settled"),
    [
        ("DescribeImages", "ImageIds", {"Images": [{"State": "pending"}]}, {"Images": [{"State": "failed"}]}),
        (
            "DescribeSnapshots",
            "SnapshotIds",
            {"Snapshots": [{"State": "completed"}, {"State": "pending"}]},
            {"Snapshots": [{"State": "completed"}]},
        ),
        (
            "DescribeVolumes",
            "VolumeIds",
            {"Volumes": [{"State": "in-use", "Attachments": [{"State": "attaching"}]}]},
            # A program keeps it: it may never be let go.
            {"Volumes": [{"State": "in-use", "Attachments": [{"State": "busy"}]}]},
        ),
        (
            "DescribeSpotInstanceRequests",
            "SpotInstanceRequestIds",
            {"SpotInstanceRequests": [{"Status": {"Code": "pending-fulfillment"}}]},
            # It may stay so for ever.
            {"SpotInstanceRequests": [{"State": "open", "Status": {"Code": "price-too-low"}}]},
        ),
        (
            "DescribeVpcPeeringConnections",
            "VpcPeeringConnectionIds",
            {"VpcPeeringConnections": [{"Status": {"Code": "provisioning"}}]},
            # Somebody has to accept it.
            {"VpcPeeringConnections": [{"Status": {"Code": "pending-acceptance"}}]},
        ),
        (
            "DescribeVpcEndpoints",
            "VpcEndpointIds",
            {"VpcEndpoints": [{"State": "deleting"}]},
            {"VpcEndpoints": [{"State": "available"}]},
        ),
    ],
)
def test_what_lasts_is_no_transition(operation: str, ids: str, moving: Any, settled: Any) -> None:
    asked = {ids: ["one"]}
    assert unsettled(operation, asked, moving)
    assert not unsettled(operation, asked, settled)
    assert not unsettled(operation, {}, moving)
