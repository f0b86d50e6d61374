"""The operations of what an account commits itself to: reserved instances and dedicated hosts."""

from __future__ import annotations

from skylift.cloud.services.api.ec2_operation import acts, reads, writes
from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.ec2 import dedicated_host
from skylift.cloud.services.market import reserved

COMMITMENT_OPERATIONS: tuple[Operation, ...] = (
    reads(
        "DescribeReservedInstancesOfferings",
        reserved.describe_offerings,
        "AvailabilityZone AvailabilityZoneId Filters IncludeMarketplace InstanceTenancy InstanceType MaxDuration "
        "MaxInstanceCount MaxResults MinDuration NextToken OfferingClass OfferingType ProductDescription "
        "ReservedInstancesOfferingIds",
    ),
    writes(
        "PurchaseReservedInstancesOffering",
        reserved.purchase,
        "InstanceCount ReservedInstancesOfferingId",
        reserved.check_purchase,
    ),
    reads(
        "DescribeReservedInstances",
        reserved.describe,
        "Filters OfferingClass OfferingType ReservedInstancesIds",
    ),
    writes(
        "AllocateHosts",
        dedicated_host.allocate,
        "AutoPlacement AvailabilityZone AvailabilityZoneId ClientToken InstanceFamily InstanceType Quantity "
        "TagSpecifications " + " ".join(dedicated_host.NEUTRAL),
        dedicated_host.check_allocate,
    ),
    reads("DescribeHosts", dedicated_host.describe, "HostIds Filter MaxResults NextToken"),
    acts(
        "ModifyHosts",
        dedicated_host.modify,
        "HostIds AutoPlacement InstanceFamily InstanceType " + " ".join(dedicated_host.NEUTRAL),
        "HostIds",
    ),
    acts("ReleaseHosts", dedicated_host.release, "HostIds", "HostIds"),
)
