"""What users of boto3 do with EC2: resources and their collections, waiters, paginators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError
from support.real_cloud import RealCloud

pytestmark = pytest.mark.real

QUICK = {"Delay": 1, "MaxAttempts": 180}


@pytest.fixture(scope="module")
def ec2(cloud: RealCloud) -> Any:
    root = cloud.home.root_key()
    assert root is not None
    return boto3.resource(
        "ec2",
        endpoint_url=cloud.endpoint.url,
        region_name=cloud.endpoint.region,
        aws_access_key_id=root.access_key_id,
        aws_secret_access_key=root.secret_access_key,
    )


@pytest.fixture(scope="module")
def vpc(ec2: Any) -> Iterator[Any]:
    """A VPC with one subnet, by resources all the way."""
    made = ec2.create_vpc(CidrBlock="10.99.0.0/16")
    made.wait_until_available()
    made.create_tags(Tags=[{"Key": "Name", "Value": "resources"}])
    made.create_subnet(CidrBlock="10.99.1.0/24")
    yield made
    for subnet in made.subnets.all():
        subnet.delete()
    for group in made.security_groups.all():
        if group.group_name != "default":
            group.delete()
    made.delete()
    assert "resources" not in {tag["Value"] for each in ec2.vpcs.all() for tag in each.tags or []}


def test_instances_by_resources(ec2: Any, vpc: Any, cloud: RealCloud) -> None:
    (subnet,) = vpc.subnets.all()
    group = vpc.create_security_group(GroupName="resources", Description="of resources")
    group.authorize_ingress(IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="10.0.0.0/8")
    made = subnet.create_instances(
        ImageId=cloud.image,
        InstanceType="t3.micro",
        MinCount=2,
        MaxCount=2,
        SecurityGroupIds=[group.id],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "kind", "Value": "resources"}]}],
    )
    mine = vpc.instances.filter(Filters=[{"Name": "tag:kind", "Values": ["resources"]}])
    for instance in made:
        instance.wait_until_running(WaiterConfig=QUICK)
        instance.reload()
        assert instance.state["Name"] == "running"
        assert instance.vpc == vpc and instance.subnet == subnet
        assert instance.image.state == "available"
        assert [each["GroupId"] for each in instance.security_groups] == [group.id]
        (interface,) = instance.network_interfaces
        assert interface.private_ip_address == instance.private_ip_address
    assert {instance.id for instance in mine} == {instance.id for instance in made}
    first, second = made
    second.create_tags(Tags=[{"Key": "kind", "Value": "other"}])
    assert [instance.id for instance in mine] == [first.id]
    first.stop()
    first.wait_until_stopped(WaiterConfig=QUICK)
    first.modify_attribute(InstanceType={"Value": "t3.small"})
    first.start()
    first.wait_until_running(WaiterConfig=QUICK)
    first.reload()
    assert first.instance_type == "t3.small"
    # What a collection does to all of its members at once.
    answers = vpc.instances.terminate()
    assert {each["InstanceId"] for answer in answers for each in answer["TerminatingInstances"]} == {
        first.id,
        second.id,
    }
    for instance in made:
        instance.wait_until_terminated(WaiterConfig=QUICK)


def test_a_key_pair_and_an_address_by_resources(ec2: Any) -> None:
    key = ec2.create_key_pair(KeyName="resources")
    assert key.key_material.startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert [each.name for each in ec2.key_pairs.filter(KeyNames=["resources"])] == ["resources"]
    key.delete()
    answer = ec2.meta.client.allocate_address(Domain="vpc")
    address = ec2.VpcAddress(answer["AllocationId"])
    assert address.public_ip == answer["PublicIp"]
    address.release()
    with pytest.raises(ClientError, match=r"InvalidAllocationID\.NotFound"):
        address.load()


def test_paginators_go_through_everything(ec2: Any, vpc: Any) -> None:
    client = ec2.meta.client
    for number in range(2, 9):
        vpc.create_subnet(CidrBlock=f"10.99.{number}.0/24")
    pages = client.get_paginator("describe_subnets").paginate(
        Filters=[{"Name": "vpc-id", "Values": [vpc.id]}], PaginationConfig={"PageSize": 5}
    )
    sizes = [len(page["Subnets"]) for page in pages]
    assert sizes == [5, 3]
    types = client.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 20})
    found = [each["InstanceType"] for page in types for each in page["InstanceTypes"]]
    assert len(found) == len(set(found)) > 40
    some = client.get_paginator("describe_instance_types").paginate(PaginationConfig={"MaxItems": 7, "PageSize": 5})
    assert len(some.build_full_result()["InstanceTypes"]) == 7


def test_waiters_say_what_they_wait_for_in_vain(ec2: Any, cloud: RealCloud) -> None:
    client = ec2.meta.client
    once = {"Delay": 1, "MaxAttempts": 1}
    client.get_waiter("image_available").wait(ImageIds=[cloud.image], WaiterConfig=once)
    client.get_waiter("image_exists").wait(ImageIds=[cloud.image], WaiterConfig=once)
    with pytest.raises(WaiterError):
        client.get_waiter("instance_exists").wait(InstanceIds=["i-0123456789abcdef0"], WaiterConfig=once)
    with pytest.raises(WaiterError):
        client.get_waiter("key_pair_exists").wait(KeyNames=["nobody"], WaiterConfig=once)
    with pytest.raises(WaiterError):
        client.get_waiter("security_group_exists").wait(GroupIds=["sg-0123456789abcdef0"], WaiterConfig=once)
