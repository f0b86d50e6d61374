from __future__ import annotations

import gzip
import importlib.resources
import json
from typing import Any

import pytest
from ec2_fixtures import Cloud, filters

from skylift.catalogue import types
from skylift.catalogue.described import from_description
from skylift.cloud.domain.instance import Image


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


def all_types(cloud: Cloud, **params: Any) -> list[dict[str, Any]]:
    """Of all pages."""
    seen: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        answer = cloud.call("DescribeInstanceTypes", **params, **token)
        seen += answer["InstanceTypes"]
        if "NextToken" not in answer:
            return seen
        token = {"NextToken": answer["NextToken"]}


def test_pages_lose_and_repeat_nothing(cloud: Cloud) -> None:
    seen = all_types(cloud, MaxResults=97)
    assert sorted(one["InstanceType"] for one in seen) == sorted(types())
    assert cloud.code("DescribeInstanceTypes", MaxResults=101) == "InvalidParameterValue"
    assert cloud.code("DescribeInstanceTypes", NextToken="nonsense") == "InvalidPaginationToken"


def test_who_asks_for_no_pages_gets_the_first_hundred(cloud: Cloud) -> None:
    """As on AWS, where programs that do not paginate miss types: https://github.com/ray-project/ray/issues/11484"""
    first = cloud.call("DescribeInstanceTypes")
    assert len(first["InstanceTypes"]) == 100 and first["NextToken"]
    few = cloud.call("DescribeInstanceTypes", Filters=filters(instance_type="t3.*"))
    assert len(few["InstanceTypes"]) == 7 and "NextToken" not in few
    many = cloud.call("DescribeInstanceTypes", Filters=filters(current_generation="true"))
    assert len(many["InstanceTypes"]) == 100 and many["NextToken"]


def test_offered_everywhere(cloud: Cloud) -> None:
    asked = filters(instance_type="t3.*")
    found = cloud.call("DescribeInstanceTypeOfferings", LocationType="availability-zone", Filters=asked)
    assert len(found["InstanceTypeOfferings"]) == 21
    assert {one["Location"] for one in found["InstanceTypeOfferings"]} == {"us-east-1a", "us-east-1b", "us-east-1c"}
    here = cloud.call("DescribeInstanceTypeOfferings", Filters=asked)["InstanceTypeOfferings"]
    assert {one["Location"] for one in here} == {"us-east-1"}


def offered(cloud: Cloud) -> set[str]:
    answers = cloud.call("DescribeInstanceTypeOfferings")
    return {one["InstanceType"] for one in answers["InstanceTypeOfferings"]}


NEVER = {
    "m7i.metal-24xl": "bare metal",
    "g6.xlarge": "NVIDIA L4",
    "inf2.xlarge": "AWS Inferentia2",
    "m6id.large": "instance store",
}


@pytest.mark.parametrize("name", NEVER)
def test_what_this_machine_cannot_be_is_described_but_not_offered(cloud: Cloud, name: str) -> None:
    (shown,) = cloud.call("DescribeInstanceTypes", InstanceTypes=[name])["InstanceTypes"]
    assert shown["InstanceType"] == name
    assert name not in offered(cloud)
    refusal = cloud.refusal("RunInstances", ImageId=cloud.image_id, InstanceType=name, MinCount=1, MaxCount=1)
    assert refusal.code == "Unsupported"
    assert NEVER[name] in refusal.message and name in refusal.message


def test_a_stopped_server_cannot_become_what_this_machine_cannot_be(cloud: Cloud) -> None:
    instance = cloud.run()["InstanceId"]
    cloud.observe(instance, "running")
    cloud.call("StopInstances", InstanceIds=[instance])
    cloud.observe(instance, "stopped")
    asked = {"InstanceId": instance, "InstanceType": {"Value": "g6.xlarge"}}
    assert cloud.code("ModifyInstanceAttribute", **asked) == "Unsupported"


def test_what_is_larger_than_this_machine_is_offered(cloud: Cloud) -> None:
    assert {"m7i.48xlarge", "u7i-12tb.224xlarge", "t3.nano"} <= offered(cloud)


def test_what_there_is_no_image_for_is_not_offered(cloud: Cloud) -> None:
    assert "m7g.large" in offered(cloud)
    with cloud.database.write() as tx:
        image = tx.get(Image, id=cloud.arm_image_id)
        assert image is not None
        tx.remove(image)
    assert not {"m7g.large", "mac2.metal"} & offered(cloud)


def test_parts_are_described_as_aws_does(cloud: Cloud) -> None:
    """moto carries what AWS answers."""
    packed = importlib.resources.files("moto.ec2") / "resources" / "instance_types.json.gz"
    known = json.loads(gzip.decompress(packed.read_bytes()))

    def parts(shown: dict[str, Any]) -> dict[str, Any]:
        gpus = shown.get("GpuInfo", {"Gpus": []})
        return {
            "gpus": [(gpu["Name"], gpu["Count"], gpu["Manufacturer"], gpu["MemoryInfo"]) for gpu in gpus["Gpus"]],
            "gpu memory": gpus.get("TotalGpuMemoryInMiB"),
            "fpga": shown.get("FpgaInfo"),
            "media": shown.get("MediaAcceleratorInfo"),
            "disks": shown.get("InstanceStorageInfo", {}).get("Disks"),
            "all disks": shown.get("InstanceStorageInfo", {}).get("TotalSizeInGB"),
            "metal": shown["BareMetal"],
            "hypervisor": shown.get("Hypervisor"),
            "memory": shown["MemoryInfo"],
        }

    names = ["g6.12xlarge", "p5.48xlarge", "f2.6xlarge", "vt1.3xlarge", "i3en.24xlarge", "d3.xlarge", "m7i.metal-24xl"]
    for shown in cloud.call("DescribeInstanceTypes", InstanceTypes=names)["InstanceTypes"]:
        assert parts(shown) == parts(known[shown["InstanceType"]])


def test_a_client_reads_the_catalogue_back_as_it_is(cloud: Cloud) -> None:
    described = {one["InstanceType"]: from_description(one) for one in all_types(cloud)}
    assert described == types()
