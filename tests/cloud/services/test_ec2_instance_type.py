from __future__ import annotations

import gzip
import importlib.resources
import json

from ec2_fixtures import Cloud, filters

from skylift.cloud.services.instance_type import catalogue


def test_figures_are_aws_s_own() -> None:
    """moto carries what DescribeInstanceTypes answers on AWS."""
    packed = importlib.resources.files("moto.ec2") / "resources" / "instance_types.json.gz"
    known = json.loads(gzip.decompress(packed.read_bytes()))
    for kind in catalogue().values():
        real = known[kind.name]
        assert kind.vcpus == real["VCpuInfo"]["DefaultVCpus"]
        assert kind.cores == real["VCpuInfo"]["DefaultCores"]
        assert kind.memory_mib == real["MemoryInfo"]["SizeInMiB"]
        assert kind.architecture in real["ProcessorInfo"]["SupportedArchitectures"]
        assert kind.burstable == real["BurstablePerformanceSupported"]
        assert kind.free_tier == real["FreeTierEligible"]
        assert kind.current == real["CurrentGeneration"]
        assert kind.hypervisor == real["Hypervisor"]
        assert kind.network == real["NetworkInfo"]["NetworkPerformance"]
        assert kind.interfaces == real["NetworkInfo"]["MaximumNetworkInterfaces"]
        assert kind.addresses == real["NetworkInfo"]["Ipv4AddressesPerInterface"]


def test_described(cloud: Cloud) -> None:
    (shown,) = cloud.call("DescribeInstanceTypes", InstanceTypes=["t3.micro"])["InstanceTypes"]
    assert shown["VCpuInfo"]["DefaultVCpus"] == 2
    assert shown["MemoryInfo"] == {"SizeInMiB": 1024}
    refusal = cloud.refusal("DescribeInstanceTypes", InstanceTypes=["t3.micro", "t9.huge"])
    assert (refusal.code, "[t9.huge]" in refusal.message) == ("InvalidInstanceType", True)
    arm = cloud.call(
        "DescribeInstanceTypes",
        Filters=filters(**{"processor-info.supported-architecture": "arm64", "vcpu-info.default-vcpus": "2"}),
    )["InstanceTypes"]
    assert {"t4g.micro", "m7g.large"} <= {one["InstanceType"] for one in arm}
    assert all(one["ProcessorInfo"]["SupportedArchitectures"] == ["arm64"] for one in arm)


def test_pages_lose_and_repeat_nothing(cloud: Cloud) -> None:
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = cloud.call("DescribeInstanceTypes", MaxResults=7, **token)
        seen += [one["InstanceType"] for one in answer["InstanceTypes"]]
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert sorted(seen) == sorted(catalogue())
    assert cloud.code("DescribeInstanceTypes", MaxResults=101) == "InvalidParameterValue"
    assert cloud.code("DescribeInstanceTypes", NextToken="nonsense") == "InvalidPaginationToken"


def test_offered_everywhere(cloud: Cloud) -> None:
    asked = filters(instance_type="t3.*")
    found = cloud.call("DescribeInstanceTypeOfferings", LocationType="availability-zone", Filters=asked)
    assert len(found["InstanceTypeOfferings"]) == 21
    assert {one["Location"] for one in found["InstanceTypeOfferings"]} == {"us-east-1a", "us-east-1b", "us-east-1c"}
    here = cloud.call("DescribeInstanceTypeOfferings", Filters=asked)["InstanceTypeOfferings"]
    assert {one["Location"] for one in here} == {"us-east-1"}
