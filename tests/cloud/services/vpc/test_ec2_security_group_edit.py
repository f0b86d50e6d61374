from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged


class Group:
    """A group with SSH open to one block, tagged and described."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        made = cloud.call("CreateSecurityGroup", GroupName="web", Description="d")
        self.id: str = made["GroupId"]
        permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
        ranges = [{"CidrIp": "192.0.2.0/24", "Description": "office"}]
        (rule,) = cloud.call(
            "AuthorizeSecurityGroupIngress",
            GroupId=self.id,
            IpPermissions=[permission | {"IpRanges": ranges}],
            TagSpecifications=tagged("security-group-rule", Name="ssh"),
        )["SecurityGroupRules"]
        self.rule: str = rule["SecurityGroupRuleId"]

    def shown(self, rule: str | None = None) -> dict[str, Any]:
        given = [rule or self.rule]
        found: dict[str, Any] = self.cloud.call("DescribeSecurityGroupRules", SecurityGroupRuleIds=given)[
            "SecurityGroupRules"
        ][0]
        return found

    def change(self, **asked: Any) -> dict[str, Any]:
        updates = [{"SecurityGroupRuleId": self.rule, "SecurityGroupRule": asked}]
        return {"GroupId": self.id, "SecurityGroupRules": updates}


@pytest.fixture
def group(cloud: Cloud) -> Group:
    return Group(cloud)


HTTPS = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}


def test_a_rule_is_changed_and_stays_itself(cloud: Cloud, group: Group) -> None:
    assert cloud.call("ModifySecurityGroupRules", **group.change(**HTTPS, CidrIpv4="198.51.100.0/24")) == {
        "Return": True
    }
    shown = group.shown()
    assert (shown["FromPort"], shown["ToPort"], shown["CidrIpv4"]) == (443, 443, "198.51.100.0/24")
    assert (shown["IsEgress"], "Description" in shown) == (False, False)
    assert shown["Tags"] == [{"Key": "Name", "Value": "ssh"}]
    (permission,) = cloud.call("DescribeSecurityGroups", GroupIds=[group.id])["SecurityGroups"][0]["IpPermissions"]
    assert permission["FromPort"] == 443


def test_an_outgoing_rule_is_changed_too(cloud: Cloud, group: Group) -> None:
    (out,) = cloud.call("DescribeSecurityGroupRules", Filters=filters(**{"group-id": group.id}))["SecurityGroupRules"][
        :1
    ]
    group.rule = out["SecurityGroupRuleId"]
    assert out["IsEgress"]
    cloud.call("ModifySecurityGroupRules", **group.change(IpProtocol="-1", CidrIpv4="10.0.0.0/8", Description="inside"))
    shown = group.shown()
    assert (shown["IsEgress"], shown["CidrIpv4"], shown["Description"]) == (True, "10.0.0.0/8", "inside")


def test_changes_that_cannot_be(cloud: Cloud, group: Group) -> None:
    def code(**asked: Any) -> str:
        return cloud.code("ModifySecurityGroupRules", **group.change(**asked))

    before = group.shown()
    assert code(**HTTPS) == "MissingParameter"
    assert code(CidrIpv4="10.0.0.0/8") == "MissingParameter"
    assert code(**HTTPS, ReferencedGroupId=group.id) == code(**HTTPS, CidrIpv6="::/0") == "InvalidParameterValue"
    assert code(**HTTPS, CidrIpv4="10.0.0.0/8", CidrIpv6="::/0") == "InvalidParameterCombination"
    assert code(**HTTPS, CidrIpv4="10.0.0.0/8", Description="<>") == "InvalidParameterValue"
    assert code(**HTTPS, CidrIpv4="10.0.0.0/8", PrefixListId="pl-1") == "InvalidParameterCombination"
    twice = group.change(**HTTPS, CidrIpv4="10.0.0.0/8")
    twice["SecurityGroupRules"] *= 2
    assert cloud.code("ModifySecurityGroupRules", **twice) == "InvalidParameterValue"
    other = [{**HTTPS, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
    cloud.call("AuthorizeSecurityGroupIngress", GroupId=group.id, IpPermissions=other)
    assert code(**HTTPS, CidrIpv4="10.0.0.0/8") == "InvalidPermission.Duplicate"
    assert cloud.code("ModifySecurityGroupRules", **group.change(**HTTPS, CidrIpv4="10.1.0.0/16"), DryRun=True) == (
        "DryRunOperation"
    )
    assert group.shown() == before
    group.rule = "sgr-00000000000000000"
    assert code(**HTTPS, CidrIpv4="10.0.0.0/8") == "InvalidSecurityGroupRuleId.NotFound"


def test_descriptions_by_rule_and_by_permission(cloud: Cloud, group: Group) -> None:
    operation = "UpdateSecurityGroupRuleDescriptionsIngress"
    texts = [{"SecurityGroupRuleId": group.rule, "Description": "home"}]
    cloud.call(operation, GroupId=group.id, SecurityGroupRuleDescriptions=texts)
    assert group.shown()["Description"] == "home"
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
    cloud.call(operation, GroupName="web", IpPermissions=[permission])
    assert "Description" not in group.shown()
    stranger = permission | {"IpRanges": [{"CidrIp": "192.0.3.0/24"}]}
    assert cloud.code(operation, GroupId=group.id, IpPermissions=[stranger]) == "InvalidPermission.NotFound"
    assert cloud.code(operation, GroupId=group.id) == "MissingParameter"
    both = {"IpPermissions": [permission], "SecurityGroupRuleDescriptions": texts}
    assert cloud.code(operation, GroupId=group.id, **both) == "InvalidParameterCombination"
    wrong = [texts[0] | {"Description": "<>"}]
    assert cloud.code(operation, GroupId=group.id, SecurityGroupRuleDescriptions=wrong) == "InvalidParameterValue"
    egress = "UpdateSecurityGroupRuleDescriptionsEgress"
    assert cloud.code(egress, GroupId=group.id, SecurityGroupRuleDescriptions=texts) == (
        "InvalidSecurityGroupRuleId.NotFound"
    )
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}]}]
    cloud.call(egress, GroupId=group.id, IpPermissions=everything)
    rules = cloud.call("DescribeSecurityGroupRules", Filters=filters(**{"group-id": group.id}))["SecurityGroupRules"]
    assert [rule.get("Description") for rule in rules if rule["IsEgress"]] == ["all"]


def test_permission_is_asked_for_on_the_rules(cloud: Cloud, group: Group) -> None:
    asked = cloud.checks("ModifySecurityGroupRules", **group.change(**HTTPS, CidrIpv4="10.0.0.0/8"))
    assert [check.resource.rpartition(":")[2] for check in asked] == [
        f"security-group/{group.id}",
        f"security-group-rule/{group.rule}",
    ]
