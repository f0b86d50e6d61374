"""The operations of what an account commits itself to: reserved instances."""

from __future__ import annotations

from skylift.cloud.services import reserved
from skylift.cloud.services.ec2_operation import reads, writes
from skylift.cloud.services.operation import Operation

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
)
