from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, Cloud, filters, tagged

from skylift.cloud.domain.network import DhcpOptions, Vpc
from skylift.cloud.loops.ec2.server_spec import name_servers


def configuration(**options: list[str]) -> list[dict[str, Any]]:
    return [{"Key": key.replace("_", "-"), "Values": values} for key, values in options.items()]


def make(cloud: Cloud, **options: list[str]) -> dict[str, Any]:
    asked = {"DhcpConfigurations": configuration(**options), "TagSpecifications": tagged("dhcp-options", Name="corp")}
    made: dict[str, Any] = cloud.call("CreateDhcpOptions", **asked)["DhcpOptions"]
    return made


def test_every_vpc_has_amazons(cloud: Cloud) -> None:
    (only,) = cloud.call("DescribeDhcpOptions")["DhcpOptions"]
    assert only["DhcpConfigurations"] == [
        {"Key": "domain-name", "Values": [{"Value": "ec2.internal"}]},
        {"Key": "domain-name-servers", "Values": [{"Value": "AmazonProvidedDNS"}]},
    ]
    assert only["OwnerId"] == ACCOUNT
    made = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]
    assert made["DhcpOptionsId"] == cloud.default("vpc")["DhcpOptionsId"] == only["DhcpOptionsId"]
    assert cloud.code("DeleteDhcpOptions", DhcpOptionsId=only["DhcpOptionsId"]) == "DependencyViolation"


def test_options_of_ones_own(cloud: Cloud) -> None:
    made = make(cloud, domain_name=["corp.example"], domain_name_servers=["10.0.0.9, 192.0.2.53"])
    assert made["DhcpConfigurations"] == [
        {"Key": "domain-name", "Values": [{"Value": "corp.example"}]},
        {"Key": "domain-name-servers", "Values": [{"Value": "10.0.0.9"}, {"Value": "192.0.2.53"}]},
    ]
    vpc = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    cloud.call("AssociateDhcpOptions", DhcpOptionsId=made["DhcpOptionsId"], VpcId=vpc)
    found = cloud.call("DescribeVpcs", Filters=filters(dhcp_options_id=made["DhcpOptionsId"]))["Vpcs"]
    assert [one["VpcId"] for one in found] == [vpc]
    for name, value in (("key", "domain-name"), ("value", "corp.example"), ("tag:Name", "corp")):
        shown = cloud.call("DescribeDhcpOptions", Filters=[{"Name": name, "Values": [value]}])["DhcpOptions"]
        assert made in shown
    assert cloud.code("DeleteDhcpOptions", DhcpOptionsId=made["DhcpOptionsId"]) == "DependencyViolation"
    cloud.call("AssociateDhcpOptions", DhcpOptionsId="default", VpcId=vpc)
    assert cloud.call("DescribeVpcs", VpcIds=[vpc])["Vpcs"][0]["DhcpOptionsId"] == "default"
    cloud.call("DeleteDhcpOptions", DhcpOptionsId=made["DhcpOptionsId"])
    assert cloud.code("DescribeDhcpOptions", DhcpOptionsIds=[made["DhcpOptionsId"]]) == "InvalidDhcpOptionID.NotFound"
    assert cloud.code("AssociateDhcpOptions", DhcpOptionsId="dopt-1", VpcId=vpc) == "InvalidDhcpOptionsId.Malformed"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "MissingParameter"),
        ({"domain_name": []}, "MissingParameter"),
        ({"domain_name": ["a.example", "b.example"]}, "InvalidParameterValue"),
        ({"domain_name": ["a.example\nnameserver 192.0.2.1"]}, "InvalidParameterValue"),
        ({"domain_name_servers": ["dns.example"]}, "InvalidParameterValue"),
        ({"domain_name_servers": ["10.0.0.1"] * 5}, "InvalidParameterValue"),
        ({"ntp_servers": ["169.254.169.123"]}, "UnsupportedOperation"),
        ({"wins": ["10.0.0.1"]}, "InvalidParameterValue"),
    ],
)
def test_options_that_cannot_be(cloud: Cloud, options: dict[str, list[str]], code: str) -> None:
    assert cloud.code("CreateDhcpOptions", DhcpConfigurations=configuration(**options)) == code


def test_the_vpcs_own_name_server_is_told_by_its_address() -> None:
    vpc, both = Vpc("vpc-1", "10.7.0.0/16"), {"domain-name-servers": ["192.0.2.53", "AmazonProvidedDNS"]}
    assert name_servers(vpc, DhcpOptions("dopt-1", both)) == ["192.0.2.53", "10.7.0.2"]
    assert name_servers(vpc, DhcpOptions("none")) == []


def test_both_are_asked_about(cloud: Cloud) -> None:
    options, vpc = cloud.default("vpc")["DhcpOptionsId"], cloud.default("vpc")["VpcId"]
    found = cloud.checks("AssociateDhcpOptions", DhcpOptionsId=options, VpcId=vpc)
    assert [check.resource.rpartition(":")[2] for check in found] == [f"dhcp-options/{options}", f"vpc/{vpc}"]
    tenancy = {"VpcId": vpc, "InstanceTenancy": "default"}
    assert cloud.call("ModifyVpcTenancy", **tenancy) == {"ReturnValue": True}
