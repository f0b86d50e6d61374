from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged


def pairs(**tags: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def test_every_kind_can_be_tagged(cloud: Cloud) -> None:
    key = cloud.call("CreateKeyPair", KeyName="mine", KeyType="ed25519")
    instance = cloud.run()
    gateway = cloud.call("DescribeInternetGateways")["InternetGateways"][0]
    resources = {
        cloud.default("vpc")["VpcId"]: "vpc",
        cloud.default("subnet")["SubnetId"]: "subnet",
        cloud.default("group")["GroupId"]: "security-group",
        cloud.default("table")["RouteTableId"]: "route-table",
        gateway["InternetGatewayId"]: "internet-gateway",
        cloud.image_id: "image",
        key["KeyPairId"]: "key-pair",
        instance["InstanceId"]: "instance",
        instance["NetworkInterfaces"][0]["NetworkInterfaceId"]: "network-interface",
        instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]: "volume",
    }
    cloud.call("CreateTags", Resources=list(resources), Tags=pairs(job="j1"))
    found = cloud.call("DescribeTags", Filters=filters(key="job", value="j*"))["Tags"]
    assert {one["ResourceId"]: one["ResourceType"] for one in found} == resources
    for operation, member in (
        ("DescribeVpcs", "Vpcs"),
        ("DescribeNetworkInterfaces", "NetworkInterfaces"),
        ("DescribeVolumes", "Volumes"),
        ("DescribeKeyPairs", "KeyPairs"),
        ("DescribeInstances", "Reservations"),
        ("DescribeImages", "Images"),
    ):
        assert len(cloud.call(operation, Filters=filters(**{"tag:job": "j1"}))[member]) == 1
        assert cloud.call(operation, Filters=filters(**{"tag:job": "j2"}))[member] == []
        assert len(cloud.call(operation, Filters=filters(tag_key="j?b"))[member]) == 1


def test_deleting(cloud: Cloud) -> None:
    vpc_id = cloud.default("vpc")["VpcId"]

    def left(*unwanted: dict[str, str]) -> set[str]:
        cloud.call("CreateTags", Resources=[vpc_id], Tags=pairs(a="1", b="2", c=""))
        cloud.call("DeleteTags", Resources=[vpc_id], **({"Tags": list(unwanted)} if unwanted else {}))
        return {tag["Key"] for tag in cloud.default("vpc")["Tags"]}

    assert left({"Key": "a"}) == {"b", "c"}
    assert left({"Key": "a", "Value": "2"}, {"Key": "b", "Value": "2"}) == {"a", "c"}
    assert left({"Key": "a", "Value": ""}, {"Key": "c", "Value": ""}) == {"a", "b"}
    assert left({"Key": "nothing"}) == {"a", "b", "c"}
    assert left() == set()


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        (pairs(**{"aws:mine": "x"}), "InvalidParameterValue"),
        ([{"Key": "k" * 129, "Value": "v"}], "InvalidParameterValue"),
        ([{"Key": "k", "Value": "v" * 257}], "InvalidParameterValue"),
        ([{"Value": "v"}], "InvalidParameterValue"),
        ([{"Key": f"k{number}", "Value": ""} for number in range(51)], "TagLimitExceeded"),
        ([], "MissingParameter"),
    ],
)
def test_tags_that_cannot_be(cloud: Cloud, tags: list[dict[str, str]], code: str) -> None:
    assert cloud.code("CreateTags", Resources=[cloud.default("vpc")["VpcId"]], Tags=tags) == code
    assert cloud.call("DescribeTags")["Tags"] == []


def test_a_tag_on_one_resource_too_many_changes_none(cloud: Cloud) -> None:
    resources = [cloud.default("vpc")["VpcId"], "vpc-00000000000000000"]
    assert cloud.code("CreateTags", Resources=resources, Tags=pairs(a="b")) == "InvalidVpcID.NotFound"
    assert cloud.call("DescribeTags")["Tags"] == []
    assert cloud.code("CreateTags", Resources=["thing-1"], Tags=pairs(a="b")) == "InvalidID"


@pytest.mark.parametrize(
    "specifications",
    [
        tagged("subnet", a="b"),
        [*tagged("vpc", a="b"), *tagged("vpc", c="d")],
        [{"ResourceType": "vpc"}],
        [{"Tags": pairs(a="b")}],
    ],
)
def test_specifications_that_cannot_be(cloud: Cloud, specifications: list[dict[str, Any]]) -> None:
    assert cloud.code("CreateVpc", CidrBlock="10.0.0.0/16", TagSpecifications=specifications) == (
        "InvalidParameterValue"
    )


def test_pages_of_tags(cloud: Cloud) -> None:
    cloud.call(
        "CreateTags", Resources=[cloud.default("vpc")["VpcId"]], Tags=pairs(**{f"k{n:02}": str(n) for n in range(12)})
    )
    first = cloud.call("DescribeTags", MaxResults=5)
    cloud.call("CreateTags", Resources=[cloud.default("subnet")["SubnetId"]], Tags=pairs(late="x"))
    rest = cloud.call("DescribeTags", NextToken=first["NextToken"])["Tags"]
    keys = [one["Key"] for one in (*first["Tags"], *rest)]
    assert [key for key in keys if key != "late"] == [f"k{number:02}" for number in range(12)]


@pytest.mark.parametrize("key", ["a b", "a/b", "é", "_index", ".."])
def test_tags_that_the_metadata_service_shows_have_keys_that_fit_into_a_path(cloud: Cloud, key: str) -> None:
    tags, shown = [{"Key": key, "Value": "v"}], {"InstanceMetadataTags": "enabled"}
    plain = cloud.run(TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])["InstanceId"]
    refusal = cloud.refusal("ModifyInstanceMetadataOptions", InstanceId=plain, **shown)
    assert (refusal.code, f"'{key}' is not a valid tag key" in refusal.message) == ("InvalidParameterValue", True)
    open_one = cloud.run(MetadataOptions=shown)["InstanceId"]
    assert cloud.code("CreateTags", Resources=[open_one], Tags=tags) == "InvalidParameterValue"
    cloud.call("CreateTags", Resources=[open_one], Tags=[{"Key": "a-b:c@d", "Value": "any thing / é"}])
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    specified = [{"ResourceType": "instance", "Tags": tags}]
    assert cloud.code("RunInstances", **asked, MetadataOptions=shown, TagSpecifications=specified) == (
        "InvalidParameterValue"
    )


def test_a_key_that_create_tags_names_twice_has_its_last_value(cloud: Cloud) -> None:
    """SkyPilot's provisioner sends `Name` twice to EC2, which takes it. Tags in what makes something are refused, as
    recorded in cloud-custodian's issue 3792: `Duplicate tag key 'Name' specified.`"""
    vpc = cloud.call("DescribeVpcs")["Vpcs"][0]["VpcId"]
    twice = [{"Key": "Name", "Value": "one"}, {"Key": "a", "Value": "b"}, {"Key": "Name", "Value": "two"}]
    cloud.call("CreateTags", Resources=[vpc], Tags=twice)
    tags = {tag["Key"]: tag["Value"] for tag in cloud.call("DescribeVpcs")["Vpcs"][0]["Tags"]}
    assert tags["Name"] == "two"
    made = {"CidrBlock": "10.9.0.0/16", "TagSpecifications": [{"ResourceType": "vpc", "Tags": twice}]}
    error = cloud.refusal("CreateVpc", **made)
    assert error.code == "InvalidParameterValue"
    assert error.message == "Duplicate tag key 'Name' specified."
