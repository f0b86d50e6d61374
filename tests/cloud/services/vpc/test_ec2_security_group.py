from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged

from skylift.cloud.domain.error import ServiceError


@pytest.fixture
def vpc_id(cloud: Cloud) -> str:
    made: str = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return made


@pytest.fixture
def group_id(cloud: Cloud, vpc_id: str) -> str:
    made: str = cloud.call("CreateSecurityGroup", VpcId=vpc_id, GroupName="web", Description="d")["GroupId"]
    return made


def tcp(from_port: int, to_port: int, *blocks: str) -> dict[str, Any]:
    return {
        "IpProtocol": "tcp",
        "FromPort": from_port,
        "ToPort": to_port,
        "IpRanges": [{"CidrIp": block} for block in blocks],
    }


def group(cloud: Cloud, group_id: str) -> Any:
    return cloud.call("DescribeSecurityGroups", GroupIds=[group_id])["SecurityGroups"][0]


def test_a_new_group_lets_everything_out_and_nothing_in(cloud: Cloud, group_id: str) -> None:
    shown = group(cloud, group_id)
    assert shown["IpPermissions"] == []
    (out,) = shown["IpPermissionsEgress"]
    assert (out["IpProtocol"], out["IpRanges"]) == ("-1", [{"CidrIp": "0.0.0.0/0"}])
    assert "FromPort" not in out


def test_names(cloud: Cloud, vpc_id: str, group_id: str) -> None:
    def code(name: str, description: str = "d") -> str:
        return cloud.code("CreateSecurityGroup", VpcId=vpc_id, GroupName=name, Description=description)

    assert code("web") == "InvalidGroup.Duplicate"
    assert code("sg-mine") == "InvalidParameterValue"
    assert code("default") == "InvalidParameterValue"
    assert code("wéb") == "InvalidParameterValue"
    assert code("x" * 256) == "InvalidParameterValue"
    assert code("other", "smörgåsbord") == "InvalidParameterValue"
    # Names are unique in their VPC only, and without a VPC the default one is meant.
    made = cloud.call("CreateSecurityGroup", GroupName="web", Description="d")["GroupId"]
    assert cloud.call("DescribeSecurityGroups", GroupNames=["web"])["SecurityGroups"][0]["GroupId"] == made
    assert cloud.code("DescribeSecurityGroups", GroupNames=["other"]) == "InvalidGroup.NotFound"


def test_rules_come_and_go(cloud: Cloud, group_id: str) -> None:
    answer = cloud.call(
        "AuthorizeSecurityGroupIngress",
        GroupId=group_id,
        IpPermissions=[
            tcp(22, 22, "10.1.2.3/8", "192.0.2.1/32"),
            {
                "IpProtocol": "17",
                "FromPort": 53,
                "ToPort": 53,
                "Ipv6Ranges": [{"CidrIpv6": "::/0", "Description": "x"}],
            },
        ],
        TagSpecifications=tagged("security-group-rule", Name="mine"),
    )
    assert [(rule["IpProtocol"], rule.get("CidrIpv4")) for rule in answer["SecurityGroupRules"]] == [
        ("tcp", "10.0.0.0/8"),
        ("tcp", "192.0.2.1/32"),
        ("udp", None),
    ]
    assert all(rule["Tags"] == [{"Key": "Name", "Value": "mine"}] for rule in answer["SecurityGroupRules"])
    permissions = group(cloud, group_id)["IpPermissions"]
    assert permissions[0]["IpRanges"] == [{"CidrIp": "10.0.0.0/8"}, {"CidrIp": "192.0.2.1/32"}]
    assert permissions[1]["Ipv6Ranges"] == [{"CidrIpv6": "::/0", "Description": "x"}]

    refusal = cloud.refusal(
        "AuthorizeSecurityGroupIngress", GroupId=group_id, IpPermissions=[tcp(22, 22, "10.0.0.0/8")]
    )
    assert refusal.code == "InvalidPermission.Duplicate"
    assert refusal.message == (
        'the specified rule "peer: 10.0.0.0/8, TCP, from port: 22, to port: 22, ALLOW" already exists'
    )

    first, second, third = (rule["SecurityGroupRuleId"] for rule in answer["SecurityGroupRules"])
    gone = cloud.call("RevokeSecurityGroupIngress", GroupId=group_id, SecurityGroupRuleIds=[first, third])
    assert [rule["SecurityGroupRuleId"] for rule in gone["RevokedSecurityGroupRules"]] == [first, third]
    shown = cloud.call("DescribeSecurityGroupRules", Filters=filters(group_id=group_id))["SecurityGroupRules"]
    assert [rule["SecurityGroupRuleId"] for rule in shown if not rule["IsEgress"]] == [second]
    cloud.call("RevokeSecurityGroupIngress", GroupId=group_id, IpPermissions=[tcp(22, 22, "192.0.2.1/32")])
    assert group(cloud, group_id)["IpPermissions"] == []


def test_the_parameters_of_a_single_rule(cloud: Cloud, group_id: str) -> None:
    rule: dict[str, Any] = {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "CidrIp": "10.0.0.0/8"}
    cloud.call("AuthorizeSecurityGroupIngress", GroupId=group_id, **rule)
    (shown,) = group(cloud, group_id)["IpPermissions"]
    assert (shown["IpProtocol"], shown["FromPort"], shown["ToPort"]) == ("icmp", 8, -1)
    assert (
        cloud.code("AuthorizeSecurityGroupIngress", GroupId=group_id, IpPermissions=[tcp(1, 1, "10.0.0.0/8")], **rule)
        == "InvalidParameterCombination"
    )
    assert cloud.code("AuthorizeSecurityGroupIngress", GroupId=group_id) == "MissingParameter"
    cloud.call("RevokeSecurityGroupIngress", GroupId=group_id, **rule)
    assert group(cloud, group_id)["IpPermissions"] == []


def test_egress(cloud: Cloud, group_id: str) -> None:
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    cloud.call("RevokeSecurityGroupEgress", GroupId=group_id, IpPermissions=everything)
    assert group(cloud, group_id)["IpPermissionsEgress"] == []
    cloud.call("AuthorizeSecurityGroupEgress", GroupId=group_id, IpPermissions=[tcp(443, 443, "0.0.0.0/0")])
    assert group(cloud, group_id)["IpPermissionsEgress"][0]["FromPort"] == 443
    assert cloud.code("AuthorizeSecurityGroupEgress", GroupId=group_id, CidrIp="10.0.0.0/8") == "UnsupportedOperation"


@pytest.mark.parametrize(
    ("permission", "code"),
    [
        (tcp(22, 22), "MissingParameter"),
        (tcp(80, 22, "10.0.0.0/8"), "InvalidParameterValue"),
        (tcp(0, 65536, "10.0.0.0/8"), "InvalidParameterValue"),
        (tcp(22, 22, "10.0.0.300/8"), "InvalidParameterValue"),
        (tcp(22, 22, "10.0.0.0/8", "10.9.9.9/8"), "InvalidParameterValue"),
        ({"IpProtocol": "tcp", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}, "InvalidParameterValue"),
        (
            {"IpProtocol": "tpc", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
            "InvalidParameterValue",
        ),
        ({"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "\u00e9"}]}, "InvalidParameterValue"),
        ({"IpProtocol": "-1", "PrefixListIds": [{"PrefixListId": "pl-1"}]}, "InvalidPrefixListId.Malformed"),
        ({"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-00000000"}]}, "InvalidGroup.NotFound"),
    ],
)
def test_rules_that_cannot_be(cloud: Cloud, group_id: str, permission: dict[str, Any], code: str) -> None:
    assert cloud.code("AuthorizeSecurityGroupIngress", GroupId=group_id, IpPermissions=[permission]) == code
    assert group(cloud, group_id)["IpPermissions"] == []


def test_one_group_refers_to_another(cloud: Cloud, vpc_id: str, group_id: str) -> None:
    other = cloud.call("CreateSecurityGroup", VpcId=vpc_id, GroupName="db", Description="d")["GroupId"]
    from_web = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": group_id}]}
    answer = cloud.call("AuthorizeSecurityGroupIngress", GroupId=other, IpPermissions=[from_web])
    assert answer["SecurityGroupRules"][0]["ReferencedGroupInfo"]["GroupId"] == group_id
    found = cloud.call("DescribeSecurityGroups", Filters=filters(**{"ip-permission.group-id": group_id}))
    assert [one["GroupId"] for one in found["SecurityGroups"]] == [other]
    assert cloud.code("DeleteSecurityGroup", GroupId=group_id) == "DependencyViolation"
    cloud.call("RevokeSecurityGroupIngress", GroupId=other, IpPermissions=[from_web])
    assert cloud.call("DeleteSecurityGroup", GroupId=group_id) == {"Return": True, "GroupId": group_id}
    foreign = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": cloud.default("group")["GroupId"]}]}
    assert (
        cloud.code("AuthorizeSecurityGroupIngress", GroupId=other, IpPermissions=[foreign]) == "InvalidGroup.NotFound"
    )


def test_revoking_what_is_not_there(cloud: Cloud, group_id: str) -> None:
    """An error in a VPC of one's own, an answer in the default one: RevokeSecurityGroupIngress documents both."""
    cloud.call("AuthorizeSecurityGroupIngress", GroupId=group_id, IpPermissions=[tcp(22, 22, "10.0.0.0/8")])
    both = [tcp(22, 22, "10.0.0.0/8"), tcp(23, 23, "10.0.0.0/8")]
    assert (
        cloud.code("RevokeSecurityGroupIngress", GroupId=group_id, IpPermissions=both) == "InvalidPermission.NotFound"
    )
    assert len(group(cloud, group_id)["IpPermissions"]) == 1
    default = cloud.default("group")["GroupId"]
    answer = cloud.call("RevokeSecurityGroupIngress", GroupId=default, IpPermissions=[tcp(23, 23, "10.0.0.0/8")])
    assert answer["UnknownIpPermissions"][0]["FromPort"] == 23
    assert (
        cloud.code("RevokeSecurityGroupIngress", GroupId=group_id, SecurityGroupRuleIds=["sgr-00000000000000000"])
        == "InvalidSecurityGroupRuleId.NotFound"
    )


def test_groups_that_stay(cloud: Cloud) -> None:
    default = cloud.default("group")["GroupId"]
    assert cloud.code("DeleteSecurityGroup", GroupId=default) == "CannotDelete"
    used = cloud.call("CreateSecurityGroup", GroupName="used", Description="d")["GroupId"]
    instance = cloud.run(SecurityGroups=["used"])
    assert instance["SecurityGroups"] == [{"GroupId": used, "GroupName": "used"}]
    assert cloud.code("DeleteSecurityGroup", GroupName="used") == "DependencyViolation"
    cloud.observe(instance["InstanceId"], "terminated")
    cloud.call("DeleteSecurityGroup", GroupName="used")


def test_rules_have_tags_of_their_own(cloud: Cloud, group_id: str) -> None:
    answer = cloud.call("AuthorizeSecurityGroupIngress", GroupId=group_id, IpPermissions=[tcp(22, 22, "10.0.0.0/8")])
    rule_id = answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    cloud.call("CreateTags", Resources=[rule_id], Tags=[{"Key": "why", "Value": "ssh"}])
    found = cloud.call("DescribeSecurityGroupRules", Filters=filters(**{"tag:why": "ssh"}))["SecurityGroupRules"]
    assert [rule["SecurityGroupRuleId"] for rule in found] == [rule_id]
    assert cloud.call("DescribeTags")["Tags"] == [
        {"Key": "why", "Value": "ssh", "ResourceId": rule_id, "ResourceType": "security-group-rule"}
    ]
    cloud.call("DeleteTags", Resources=[rule_id])
    assert cloud.call("DescribeTags")["Tags"] == []


@pytest.mark.parametrize("ranges", [{"IpRanges": [{"CidrIp": "10.0.0.1"}]}, {"Ipv6Ranges": [{"CidrIpv6": "::1"}]}])
def test_an_address_alone_is_no_block(cloud: Cloud, ranges: dict[str, Any]) -> None:
    """`CIDR block ... is malformed` is EC2's answer (serverless-vpc-plugin's issue 318 has it on record)."""
    group = cloud.default("group")["GroupId"]
    error = cloud.refusal(
        "AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[{"IpProtocol": "-1", **ranges}]
    )
    assert error.code == "InvalidParameterValue"
    assert "is malformed" in error.message


def test_a_group_has_sixty_rules_of_each_direction_and_family(cloud: Cloud) -> None:
    vpc = cloud.default("vpc")["VpcId"]
    group = cloud.call("CreateSecurityGroup", GroupName="full", Description="full", VpcId=vpc)["GroupId"]

    def add(direction: str, **peers: Any) -> None:
        permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **peers}
        cloud.call(f"AuthorizeSecurityGroup{direction}", GroupId=group, IpPermissions=[permission])

    def ranges(count: int) -> list[dict[str, str]]:
        return [{"CidrIp": f"10.0.{number}.0/24"} for number in range(count)]

    add("Ingress", IpRanges=ranges(60))
    with pytest.raises(ServiceError, match="RulesPerSecurityGroupLimitExceeded"):
        add("Ingress", IpRanges=[{"CidrIp": "10.1.0.0/24"}])
    with pytest.raises(ServiceError, match="Duplicate"):
        add("Ingress", IpRanges=ranges(1))
    with pytest.raises(ServiceError, match="RulesPerSecurityGroupLimitExceeded"):
        add("Ingress", UserIdGroupPairs=[{"GroupId": group}])
    add("Ingress", Ipv6Ranges=[{"CidrIpv6": f"2001:db8:{number}::/48"} for number in range(60)])
    add("Egress", IpRanges=ranges(59))
