"""The operations of EC2 Fleet."""

from __future__ import annotations

from skylift.cloud.services.api.ec2_operation import reads, writes
from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.ec2 import instance_requirement
from skylift.cloud.services.ec2.instance_requirement import PRICE_TAKES as PRICE_REQUIREMENTS
from skylift.cloud.services.ec2.instance_requirement import TAKES as REQUIREMENTS
from skylift.cloud.services.market import fleet, fleet_view
from skylift.cloud.services.market.fleet_request import NEUTRAL

_CONFIGS = (
    "LaunchTemplateConfigs.LaunchTemplateSpecification.LaunchTemplateId "
    "LaunchTemplateConfigs.LaunchTemplateSpecification.LaunchTemplateName "
    "LaunchTemplateConfigs.LaunchTemplateSpecification.Version "
    + " ".join(
        f"LaunchTemplateConfigs.Overrides.{name}"
        for name in (
            "AvailabilityZone",
            "AvailabilityZoneId",
            "BlockDeviceMappings.DeviceName",
            "BlockDeviceMappings.Ebs.DeleteOnTermination",
            "BlockDeviceMappings.Ebs.Iops",
            "BlockDeviceMappings.Ebs.SnapshotId",
            "BlockDeviceMappings.Ebs.Throughput",
            "BlockDeviceMappings.Ebs.VolumeSize",
            "BlockDeviceMappings.Ebs.VolumeType",
            "BlockDeviceMappings.NoDevice",
            "IamInstanceProfile",
            "ImageId",
            *(f"InstanceRequirements.{one}" for one in (*REQUIREMENTS, *PRICE_REQUIREMENTS)),
            "InstanceType",
            "KeyName",
            "MaxPrice",
            "MetadataOptions.HttpEndpoint",
            "MetadataOptions.HttpPutResponseHopLimit",
            "MetadataOptions.HttpTokens",
            "Placement.Affinity",
            "Placement.AvailabilityZone",
            "Placement.AvailabilityZoneId",
            "Placement.GroupId",
            "Placement.GroupName",
            "Placement.HostId",
            "Placement.PartitionNumber",
            "Placement.Tenancy",
            "Priority",
            "SubnetId",
            "WeightedCapacity",
        )
    )
    + " "
    + " ".join(NEUTRAL)
)
_TARGET = " ".join(
    f"TargetCapacitySpecification.{name}"
    for name in ("TotalTargetCapacity", "OnDemandTargetCapacity", "SpotTargetCapacity", "DefaultTargetCapacityType")
)
_OPTIONS = ("AllocationStrategy", "MinTargetCapacity", "SingleAvailabilityZone", "SingleInstanceType")
_ON_DEMAND = " ".join(f"OnDemandOptions.{name}" for name in _OPTIONS)
_SPOT = " ".join(
    f"SpotOptions.{name}"
    for name in (
        *_OPTIONS,
        "InstanceInterruptionBehavior",
        "InstancePoolsToUseCount",
        "MaintenanceStrategies.CapacityRebalance.ReplacementStrategy",
        "MaintenanceStrategies.CapacityRebalance.TerminationDelay",
    )
)

FLEET_OPERATIONS: tuple[Operation, ...] = (
    writes(
        "CreateFleet",
        fleet.create,
        f"{_CONFIGS} {_TARGET} {_ON_DEMAND} {_SPOT} ClientToken Context ExcessCapacityTerminationPolicy "
        "ReplaceUnhealthyInstances TagSpecifications TerminateInstancesWithExpiration Type ValidFrom ValidUntil",
        fleet.check_create,
    ),
    reads("DescribeFleets", fleet_view.describe, "FleetIds Filters MaxResults NextToken"),
    reads(
        "DescribeFleetInstances",
        fleet_view.describe_instances,
        "FleetId Filters MaxResults NextToken",
        fleet_view.on_fleet("ec2:DescribeFleetInstances"),
    ),
    reads(
        "DescribeFleetHistory",
        fleet_view.describe_history,
        "FleetId EventType StartTime MaxResults NextToken",
        fleet_view.on_fleet("ec2:DescribeFleetHistory"),
    ),
    writes(
        "ModifyFleet",
        fleet.modify,
        f"FleetId {_CONFIGS} {_TARGET} Context ExcessCapacityTerminationPolicy",
        fleet.check_modify,
    ),
    reads(
        "GetInstanceTypesFromInstanceRequirements",
        instance_requirement.types_for,
        "ArchitectureTypes VirtualizationTypes MaxResults NextToken "
        + " ".join(f"InstanceRequirements.{one}" for one in REQUIREMENTS),
    ),
    writes("DeleteFleets", fleet.delete, "FleetIds TerminateInstances", fleet.check_delete),
)
