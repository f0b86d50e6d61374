"""A private subnet's way to S3: none, then a gateway endpoint with its policy, then none again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest
from support.real_cloud import RealCloud
from support.real_server import Server

pytestmark = pytest.mark.real

BUCKET = "of-a-test-of-endpoints"
INSIDE = "http://169.254.169.252"


@dataclass(frozen=True)
class Place:
    cloud: RealCloud
    table: str
    public: Server
    private: Server


@pytest.fixture(scope="module")
def place(cloud: RealCloud) -> Iterator[Place]:
    ec2, s3 = cloud.ec2, cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="word", Body=b"hello")
    subnet = ec2.create_subnet(VpcId=cloud.vpc, CidrBlock="172.31.240.0/28")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=cloud.vpc)["RouteTable"]["RouteTableId"]
    tied = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    inner = cloud.security_group("endpoint-private", cloud.vpc, (22, "172.31.0.0/16"))
    public = cloud.start()
    card = {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [inner], "AssociatePublicIpAddress": False}
    private = cloud.start(public, NetworkInterfaces=[card])
    for server in (public, private):
        server.await_ssh()
    yield Place(cloud, table, public, private)
    for server in (private, public):
        server.terminate()
    ec2.delete_security_group(GroupId=inner)
    ec2.disassociate_route_table(AssociationId=tied)
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_subnet(SubnetId=subnet)
    s3.delete_object(Bucket=BUCKET, Key="word")
    s3.delete_bucket(Bucket=BUCKET)


def fetched(place: Place, server: Server) -> str:
    """What a presigned link to the object gives a server, with the status."""
    root = place.cloud.home.root_key()
    assert root is not None
    signer = boto3.client(
        "s3",
        endpoint_url=INSIDE,
        region_name=place.cloud.endpoint.region,
        aws_access_key_id=root.access_key_id,
        aws_secret_access_key=root.secret_access_key,
    )
    link = signer.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "word"})
    return server.says(f"curl -s -w ' %{{http_code}}' '{link}'")


def test_a_private_subnet_reaches_s3_by_its_endpoint_only(place: Place) -> None:
    ec2, private = place.cloud.ec2, place.private
    assert fetched(place, place.public) == "hello 200"
    shut = fetched(place, private)
    assert "<Code>NoWayToService</Code>" in shut and shut.endswith(" 403")
    service = f"com.amazonaws.{place.cloud.endpoint.region}.s3"
    made = ec2.create_vpc_endpoint(VpcId=place.cloud.vpc, ServiceName=service, RouteTableIds=[place.table])
    endpoint = made["VpcEndpoint"]["VpcEndpointId"]
    try:
        assert fetched(place, private) == "hello 200"
        other = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::another/*"}
        ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, PolicyDocument=json.dumps({"Statement": [other]}))
        assert "no VPC endpoint policy allows the s3:GetObject action" in fetched(place, private)
        assert fetched(place, place.public) == "hello 200"
    finally:
        ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    assert fetched(place, private).endswith(" 403")
