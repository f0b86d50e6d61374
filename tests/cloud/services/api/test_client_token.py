"""A request with a client token is carried out once, also after what it made is gone."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud

from skylift.cloud.domain.network import NatGateway


def asked_for(cloud: Cloud, name: str) -> dict[str, Any]:
    vpc, subnet = cloud.default("vpc")["VpcId"], cloud.default("subnet")["SubnetId"]
    of_endpoint = {"VpcId": vpc, "ServiceName": "com.amazonaws.us-east-1.s3"}
    asked: dict[str, dict[str, Any]] = {
        "CreateVpcEndpoint": of_endpoint,
        "CreateManagedPrefixList": {"PrefixListName": "p", "MaxEntries": 1, "AddressFamily": "IPv4"},
        "CreateNetworkAcl": {"VpcId": vpc},
        "CreateRouteTable": {"VpcId": vpc},
        "CreateNetworkInterface": {"SubnetId": subnet},
        "CreateLaunchTemplate": {"LaunchTemplateName": "web", "LaunchTemplateData": {"InstanceType": "t3.micro"}},
    }
    return {**asked[name], "ClientToken": "once"}


@pytest.mark.parametrize(
    ("name", "noun", "deletes", "code"),
    [
        ("CreateVpcEndpoint", "VpcEndpoint", "DeleteVpcEndpoints", "InvalidVpcEndpointId.NotFound"),
        ("CreateManagedPrefixList", "PrefixList", "DeleteManagedPrefixList", "InvalidPrefixListID.NotFound"),
        ("CreateNetworkAcl", "NetworkAcl", "DeleteNetworkAcl", "InvalidNetworkAclID.NotFound"),
        ("CreateRouteTable", "RouteTable", "DeleteRouteTable", "InvalidRouteTableID.NotFound"),
        ("CreateNetworkInterface", "NetworkInterface", "DeleteNetworkInterface", "InvalidNetworkInterfaceID.NotFound"),
        ("CreateLaunchTemplate", "LaunchTemplate", "DeleteLaunchTemplate", "InvalidLaunchTemplateId.NotFound"),
    ],
)
def test_what_is_gone_is_not_made_again(cloud: Cloud, name: str, noun: str, deletes: str, code: str) -> None:
    asked = asked_for(cloud, name)
    made = cloud.call(name, **asked)[noun]
    assert cloud.call(name, **asked)[noun] == made
    member = f"{noun}Id"
    cloud.call(deletes, **({f"{member}s": [made[member]]} if deletes.endswith("s") else {member: made[member]}))
    assert cloud.code(name, **asked) == code
    assert cloud.call(name, **{**asked, "ClientToken": "again"})[noun][member] != made[member]


def test_a_nat_gateway_that_is_forgotten_is_not_made_again(cloud: Cloud) -> None:
    asked = {"SubnetId": cloud.default("subnet")["SubnetId"], "ConnectivityType": "private", "ClientToken": "once"}
    made = cloud.call("CreateNatGateway", **asked)["NatGateway"]["NatGatewayId"]
    with cloud.database.write() as tx:
        (row,) = tx.find(NatGateway)
        tx.remove(row)
    assert cloud.code("CreateNatGateway", **asked) == "NatGatewayNotFound"
    assert cloud.call("CreateNatGateway", **{**asked, "ClientToken": "again"})["NatGateway"]["NatGatewayId"] != made
