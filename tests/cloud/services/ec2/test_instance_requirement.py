"""Types by what they have to have."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud
from fleet_scene import SPEC, make, make_template

from skylift.catalogue import types

NEEDS = {"VCpuCount": {"Min": 2, "Max": 4}, "MemoryMiB": {"Min": 4096}}


def fitting(cloud: Cloud, **more: Any) -> set[str]:
    found = cloud.call(
        "GetInstanceTypesFromInstanceRequirements",
        ArchitectureTypes=["x86_64"],
        VirtualizationTypes=["hvm"],
        InstanceRequirements={**NEEDS, **more},
    )["InstanceTypes"]
    return {one["InstanceType"] for one in found}


def test_what_fits(cloud: Cloud) -> None:
    found = fitting(cloud)
    assert {"m5.large", "c5.xlarge", "r5.xlarge"} <= found
    for name in found:
        kind = types()[name]
        assert 2 <= kind.vcpus <= 4
        assert kind.memory_mib >= 4096
        assert not (kind.burstable or kind.bare_metal or kind.disks)
        assert kind.architecture == "x86_64"
    assert {"t3.medium", "t3.xlarge"} <= fitting(cloud, BurstablePerformance="included")
    assert all(types()[name].burstable for name in fitting(cloud, BurstablePerformance="required"))
    assert fitting(cloud, AllowedInstanceTypes=["m5.*"]) == {"m5.large", "m5.xlarge"}
    assert found - fitting(cloud, ExcludedInstanceTypes=["c5*"]) >= {"c5.large", "c5a.xlarge"}
    assert {types()[name].manufacturer for name in fitting(cloud, CpuManufacturers=["amd"])} == {"AMD"}
    assert not fitting(cloud, LocalStorage="required"), "none of those is offered here"


@pytest.mark.parametrize(
    ("needs", "code"),
    [
        ({"AllowedInstanceTypes": ["m*"], "ExcludedInstanceTypes": ["c*"]}, "InvalidParameterCombination"),
        ({"RequireHibernateSupport": True}, "UnsupportedOperation"),
        ({"VCpuCount": {"Min": 8, "Max": 2}}, "InvalidParameterValue"),
    ],
)
def test_what_cannot_be_asked(cloud: Cloud, needs: dict[str, Any], code: str) -> None:
    asked = {"ArchitectureTypes": ["x86_64"], "VirtualizationTypes": ["hvm"]}
    refused = cloud.code("GetInstanceTypesFromInstanceRequirements", **asked, InstanceRequirements={**NEEDS, **needs})
    assert refused == code


def test_a_fleet_takes_the_cheapest_and_none_that_is_much_dearer(cloud: Cloud) -> None:
    make_template(cloud)
    target = {"TotalTargetCapacity": 4, "DefaultTargetCapacityType": "spot"}
    diverse = {"AllocationStrategy": "diversified"}
    fleet_id = make(
        cloud,
        4,
        {"InstanceRequirements": NEEDS},
        Type="instant",
        TargetCapacitySpecification=target,
        SpotOptions=diverse,
    )
    (fleet,) = cloud.call("DescribeFleets", FleetIds=[fleet_id])["Fleets"]
    assert fleet["Errors"] == []
    names = {group["InstanceType"] for group in fleet["Instances"]}
    assert names <= fitting(cloud)
    refused = cloud.refusal(
        "CreateFleet",
        LaunchTemplateConfigs=[
            {
                "LaunchTemplateSpecification": SPEC,
                "Overrides": [{"InstanceRequirements": {**NEEDS, "VCpuCount": {"Min": 5000}}}],
            }
        ],
        TargetCapacitySpecification=target,
    )
    assert refused.code == "InvalidFleetConfig"
