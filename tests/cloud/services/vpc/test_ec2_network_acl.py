from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged


@dataclass
class Site:
    cloud: Cloud
    vpc: str
    subnet: str
    acl: str

    def shown(self, acl: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.cloud.call("DescribeNetworkAcls", NetworkAclIds=[acl or self.acl])["NetworkAcls"][
            0
        ]
        return found

    def of_subnet(self) -> dict[str, Any]:
        given = filters(**{"association.subnet_id": self.subnet})
        (found,) = self.cloud.call("DescribeNetworkAcls", Filters=given)["NetworkAcls"]
        return found  # type: ignore[no-any-return]

    def association(self) -> str:
        return next(
            one["NetworkAclAssociationId"] for one in self.of_subnet()["Associations"] if one["SubnetId"] == self.subnet
        )

    def entry(self, **changed: Any) -> dict[str, Any]:
        asked = {"RuleNumber": 100, "Protocol": "6", "RuleAction": "allow", "Egress": False, "CidrBlock": "0.0.0.0/0"}
        return {"NetworkAclId": self.acl, **asked, "PortRange": {"From": 22, "To": 22}, **changed}


@pytest.fixture
def site(cloud: Cloud) -> Site:
    vpc = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = cloud.call("CreateSubnet", VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    acl = cloud.call("CreateNetworkAcl", VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    return Site(cloud, vpc, subnet, acl)


def rules(acl: dict[str, Any]) -> list[tuple[int, bool, str]]:
    return [(one["RuleNumber"], one["Egress"], one["RuleAction"]) for one in acl["Entries"]]


def test_every_vpc_has_one_and_every_subnet_begins_with_it(cloud: Cloud, site: Site) -> None:
    default = site.of_subnet()
    assert default["IsDefault"]
    assert rules(default) == [
        (100, True, "allow"),
        (32767, True, "deny"),
        (100, False, "allow"),
        (32767, False, "deny"),
    ]
    assert cloud.code("DeleteNetworkAcl", NetworkAclId=default["NetworkAclId"]) == "InvalidParameterValue"
    given = filters(vpc_id=cloud.default("vpc")["VpcId"], default="true")
    (found,) = cloud.call("DescribeNetworkAcls", Filters=given)["NetworkAcls"]
    assert len(found["Associations"]) == len(
        cloud.call("DescribeSubnets", Filters=filters(vpc_id=found["VpcId"]))["Subnets"]
    )


def test_a_new_one_denies_everything(cloud: Cloud, site: Site) -> None:
    made = cloud.call("CreateNetworkAcl", VpcId=site.vpc, TagSpecifications=tagged("network-acl", Name="x"))[
        "NetworkAcl"
    ]
    assert rules(made) == [(32767, True, "deny"), (32767, False, "deny")]
    assert (made["IsDefault"], made["Associations"]) == (False, [])
    assert made["Tags"] == [{"Key": "Name", "Value": "x"}]


def test_entries_are_made_replaced_and_deleted(cloud: Cloud, site: Site) -> None:
    cloud.call("CreateNetworkAclEntry", **site.entry())
    cloud.call("CreateNetworkAclEntry", **site.entry(RuleNumber=90, CidrBlock="10.9.9.9/24", RuleAction="deny"))
    cloud.call("CreateNetworkAclEntry", **site.entry(Egress=True))
    first, second = [one for one in site.shown()["Entries"] if not one["Egress"]][:2]
    assert first == {
        "RuleNumber": 90,
        "Egress": False,
        "Protocol": "6",
        "RuleAction": "deny",
        "CidrBlock": "10.9.9.0/24",
        "PortRange": {"From": 22, "To": 22},
    }
    assert second["RuleNumber"] == 100
    assert cloud.code("CreateNetworkAclEntry", **site.entry()) == "NetworkAclEntryAlreadyExists"
    ping = {"Protocol": "icmp", "IcmpTypeCode": {"Type": 8, "Code": -1}}
    changed = {name: value for name, value in site.entry(**ping).items() if name != "PortRange"}
    cloud.call("ReplaceNetworkAclEntry", **changed)
    entry = next(one for one in site.shown()["Entries"] if one["RuleNumber"] == 100 and not one["Egress"])
    assert (entry["Protocol"], entry["IcmpTypeCode"]) == ("1", {"Type": 8, "Code": -1})
    assert cloud.code("ReplaceNetworkAclEntry", **site.entry(RuleNumber=7)) == "InvalidNetworkAclEntry.NotFound"
    gone = {"NetworkAclId": site.acl, "RuleNumber": 100, "Egress": True}
    cloud.call("DeleteNetworkAclEntry", **gone)
    assert cloud.code("DeleteNetworkAclEntry", **gone) == "InvalidNetworkAclEntry.NotFound"
    assert rules(site.shown()) == [
        (32767, True, "deny"),
        (90, False, "deny"),
        (100, False, "allow"),
        (32767, False, "deny"),
    ]


def test_entries_that_cannot_be(cloud: Cloud, site: Site) -> None:
    def code(**changed: Any) -> str:
        return cloud.code("CreateNetworkAclEntry", **site.entry(**changed))

    assert code(RuleNumber=0) == code(RuleNumber=32767) == "InvalidParameterValue"
    assert code(PortRange={}) == "MissingParameter"
    assert code(PortRange={"From": 10, "To": 9}) == "InvalidParameterValue"
    assert code(Protocol="1") == "MissingParameter"
    assert code(Protocol="ftp") == code(Protocol="256") == "InvalidParameterValue"
    assert code(RuleAction="maybe") == "InvalidParameterValue"
    assert code(CidrBlock="") == "MissingParameter"
    assert code(CidrBlock="10.0.0.0") == "InvalidParameterValue"
    assert code(Ipv6CidrBlock="::/0") == "InvalidParameterCombination"
    assert code(NetworkAclId="acl-00000000000000000") == "InvalidNetworkAclID.NotFound"
    assert code(DryRun=True) == "DryRunOperation"
    for number in range(1, 20):
        cloud.call("CreateNetworkAclEntry", **site.entry(RuleNumber=number))
    assert code() == "NetworkAclEntryLimitExceeded"
    cloud.call("CreateNetworkAclEntry", **site.entry(Egress=True))


def test_an_association_is_replaced(cloud: Cloud, site: Site) -> None:
    old = site.association()
    new = cloud.call("ReplaceNetworkAclAssociation", AssociationId=old, NetworkAclId=site.acl)["NewAssociationId"]
    assert new == site.association() != old
    assert site.of_subnet()["NetworkAclId"] == site.acl
    assert cloud.code("DeleteNetworkAcl", NetworkAclId=site.acl) == "DependencyViolation"
    again = {"AssociationId": old, "NetworkAclId": site.acl}
    assert cloud.code("ReplaceNetworkAclAssociation", **again) == "InvalidAssociationID.NotFound"
    foreign = cloud.call("CreateNetworkAcl", VpcId=cloud.default("vpc")["VpcId"])["NetworkAcl"]["NetworkAclId"]
    wrong = {"AssociationId": new, "NetworkAclId": foreign}
    assert cloud.code("ReplaceNetworkAclAssociation", **wrong) == "InvalidParameterValue"
    asked = cloud.checks("ReplaceNetworkAclAssociation", AssociationId=new, NetworkAclId=foreign)
    assert [check.resource.rpartition(":")[2] for check in asked] == [
        f"network-acl/{site.acl}",
        f"subnet/{site.subnet}",
        f"network-acl/{foreign}",
    ]


def test_a_subnet_leaves_and_a_vpc_takes_its_default_with_it(cloud: Cloud, site: Site) -> None:
    cloud.call("DeleteSubnet", SubnetId=site.subnet)
    acls = cloud.call("DescribeNetworkAcls", Filters=filters(vpc_id=site.vpc))["NetworkAcls"]
    assert [acl["Associations"] for acl in acls] == [[], []]
    assert cloud.code("DeleteVpc", VpcId=site.vpc) == "DependencyViolation"
    cloud.call("DeleteNetworkAcl", NetworkAclId=site.acl)
    cloud.call("DeleteVpc", VpcId=site.vpc)
    assert cloud.call("DescribeNetworkAcls", Filters=filters(vpc_id=site.vpc))["NetworkAcls"] == []


def test_a_repeat_makes_nothing_new(cloud: Cloud, site: Site) -> None:
    first = cloud.call("CreateNetworkAcl", VpcId=site.vpc, ClientToken="once")
    assert cloud.call("CreateNetworkAcl", VpcId=site.vpc, ClientToken="once") == first
