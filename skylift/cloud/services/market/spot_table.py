"""EC2's operations on the spot market."""

from __future__ import annotations

from skylift.cloud.services.api.ec2_operation import acts, reads, writes
from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.ec2.launch_check import on_spot_request
from skylift.cloud.services.market import spot_history, spot_request

_PAGES = "Filters MaxResults NextToken"

_SPECIFICATION = " ".join(
    f"LaunchSpecification.{name}"
    for name in (
        "BlockDeviceMappings.DeviceName BlockDeviceMappings.Ebs.DeleteOnTermination BlockDeviceMappings.Ebs.Iops "
        "BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.Throughput BlockDeviceMappings.Ebs.VolumeSize "
        "BlockDeviceMappings.Ebs.VolumeType BlockDeviceMappings.NoDevice IamInstanceProfile.Arn "
        "IamInstanceProfile.Name ImageId InstanceType KeyName Monitoring.Enabled "
        "NetworkInterfaces.AssociatePublicIpAddress "
        "NetworkInterfaces.DeleteOnTermination NetworkInterfaces.Description NetworkInterfaces.DeviceIndex "
        "NetworkInterfaces.Groups NetworkInterfaces.PrivateIpAddress NetworkInterfaces.PrivateIpAddresses "
        "NetworkInterfaces.SecondaryPrivateIpAddressCount NetworkInterfaces.SubnetId Placement.AvailabilityZone "
        "Placement.GroupName SecurityGroupIds SecurityGroups SubnetId UserData"
    ).split()
)

SPOT_OPERATIONS: tuple[Operation, ...] = (
    writes(
        "RequestSpotInstances",
        spot_request.request,
        "ClientToken InstanceCount InstanceInterruptionBehavior SpotPrice TagSpecifications Type "
        f"ValidFrom ValidUntil {_SPECIFICATION} {' '.join(spot_request.NEUTRAL)}",
        on_spot_request,
    ),
    reads("DescribeSpotInstanceRequests", spot_request.describe, f"SpotInstanceRequestIds {_PAGES}"),
    acts("CancelSpotInstanceRequests", spot_request.cancel, "SpotInstanceRequestIds", "SpotInstanceRequestIds"),
    reads(
        "DescribeSpotPriceHistory",
        spot_history.describe,
        f"AvailabilityZone AvailabilityZoneId EndTime InstanceTypes ProductDescriptions StartTime {_PAGES}",
    ),
)
