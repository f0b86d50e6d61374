"""Managed prefix lists: versions, and the rules and routes that name them."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, Cloud, filters, tagged

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.loops.vpc.network import vpc_plans
from skylift.cloud.services.vpc import prefix_list

OFFICES = [{"Cidr": "203.0.113.0/24", "Description": "Bern"}, {"Cidr": "198.51.100.7/32"}]


def make(cloud: Cloud, entries: Any = OFFICES, **params: Any) -> str:
    asked = {"PrefixListName": "offices", "MaxEntries": 5, "AddressFamily": "IPv4", "Entries": entries, **params}
    return str(cloud.call("CreateManagedPrefixList", **asked)["PrefixList"]["PrefixListId"])


def shown(cloud: Cloud, list_id: str) -> dict[str, Any]:
    (found,) = cloud.call("DescribeManagedPrefixLists", PrefixListIds=[list_id])["PrefixLists"]
    return dict(found)


def cidrs(cloud: Cloud, list_id: str, **params: Any) -> list[str]:
    answer = cloud.call("GetManagedPrefixListEntries", PrefixListId=list_id, **params)
    return [entry["Cidr"] for entry in answer["Entries"]]


def modify(cloud: Cloud, list_id: str, **params: Any) -> dict[str, Any]:
    changed: dict[str, Any] = cloud.call("ModifyManagedPrefixList", PrefixListId=list_id, **params)["PrefixList"]
    return changed


def permission(list_id: str, **more: Any) -> list[dict[str, Any]]:
    return [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "PrefixListIds": [{"PrefixListId": list_id, **more}]}]


def test_a_list_as_it_was_made(cloud: Cloud) -> None:
    list_id = make(cloud, TagSpecifications=tagged("prefix-list", team="net"))
    assert shown(cloud, list_id) == {
        "PrefixListId": list_id,
        "PrefixListName": "offices",
        "PrefixListArn": f"arn:aws:ec2:us-east-1:{ACCOUNT}:prefix-list/{list_id}",
        "AddressFamily": "IPv4",
        "MaxEntries": 5,
        "Version": 1,
        "State": "create-complete",
        "OwnerId": ACCOUNT,
        "Tags": [{"Key": "team", "Value": "net"}],
    }
    assert cloud.call("GetManagedPrefixListEntries", PrefixListId=list_id)["Entries"] == OFFICES
    cloud.call("CreateTags", Resources=[list_id], Tags=[{"Key": "team", "Value": "web"}])
    assert shown(cloud, list_id)["Tags"] == [{"Key": "team", "Value": "web"}]
    assert cloud.call("DeleteManagedPrefixList", PrefixListId=list_id)["PrefixList"]["State"] == "delete-complete"
    assert cloud.code("DeleteManagedPrefixList", PrefixListId=list_id) == "InvalidPrefixListID.NotFound"


def test_each_change_of_entries_is_a_version(cloud: Cloud) -> None:
    list_id = make(cloud)
    changed = modify(
        cloud,
        list_id,
        CurrentVersion=1,
        AddEntries=[{"Cidr": "192.0.2.9/24"}],
        RemoveEntries=[{"Cidr": "203.0.113.0/24"}],
    )
    assert (changed["Version"], changed["State"]) == (2, "modify-complete")
    assert cidrs(cloud, list_id) == ["198.51.100.7/32", "192.0.2.0/24"]
    assert cidrs(cloud, list_id, TargetVersion=1) == ["203.0.113.0/24", "198.51.100.7/32"]
    assert modify(cloud, list_id, PrefixListName="other")["Version"] == 2
    stale = {"PrefixListId": list_id, "CurrentVersion": 1, "AddEntries": [{"Cidr": "192.0.2.1/32"}]}
    assert cloud.code("ModifyManagedPrefixList", **stale) == "PrefixListVersionMismatch"
    restore = {"PrefixListId": list_id, "PreviousVersion": 1, "CurrentVersion": 2}
    restored = cloud.call("RestoreManagedPrefixListVersion", **restore)["PrefixList"]
    assert (restored["Version"], restored["State"]) == (3, "restore-complete")
    assert cidrs(cloud, list_id) == ["203.0.113.0/24", "198.51.100.7/32"]
    unknown = {"PrefixListId": list_id, "PreviousVersion": 9, "CurrentVersion": 3}
    assert cloud.code("RestoreManagedPrefixListVersion", **unknown) == "PrefixListVersionNotFound"
    assert cloud.code("GetManagedPrefixListEntries", PrefixListId=list_id, TargetVersion=9) == (
        "PrefixListVersionNotFound"
    )


def test_an_entry_is_described_anew(cloud: Cloud) -> None:
    list_id = make(cloud)
    modify(cloud, list_id, AddEntries=[{"Cidr": "203.0.113.0/24", "Description": "Basel"}])
    first = cloud.call("GetManagedPrefixListEntries", PrefixListId=list_id, MaxResults=2)["Entries"]
    assert {"Cidr": "203.0.113.0/24", "Description": "Basel"} in first and len(first) == 2


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"MaxEntries": 1}, "PrefixListMaxEntriesExceeded"),
        ({"MaxEntries": 0}, "InvalidParameterValue"),
        ({"AddressFamily": "ipv4"}, "InvalidParameterValue"),
        ({"AddressFamily": "IPv6"}, "InvalidParameterValue"),
        ({"PrefixListName": "com.amazonaws.mine"}, "InvalidParameterValue"),
        ({"Entries": [{"Cidr": "203.0.113.0"}]}, "InvalidParameterValue"),
        ({"Entries": [{"Cidr": "10.0.0.0/8"}, {"Cidr": "10.1.0.0/8"}]}, "InvalidParameterValue"),
    ],
)
def test_what_is_no_list(cloud: Cloud, params: dict[str, Any], code: str) -> None:
    asked = {"PrefixListName": "offices", "MaxEntries": 5, "AddressFamily": "IPv4", "Entries": OFFICES, **params}
    assert cloud.code("CreateManagedPrefixList", **asked) == code


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "MissingParameter"),
        ({"MaxEntries": 9, "AddEntries": [{"Cidr": "192.0.2.0/24"}]}, "InvalidParameterCombination"),
        ({"MaxEntries": 1}, "PrefixListMaxEntriesExceeded"),
        ({"RemoveEntries": [{"Cidr": "192.0.2.0/24"}]}, "InvalidParameterValue"),
        ({"AddEntries": [{"Cidr": f"192.0.2.{n}/32"} for n in range(4)]}, "PrefixListMaxEntriesExceeded"),
    ],
)
def test_what_is_no_change(cloud: Cloud, params: dict[str, Any], code: str) -> None:
    list_id = make(cloud)
    assert cloud.code("ModifyManagedPrefixList", PrefixListId=list_id, **params) == code
    assert shown(cloud, list_id)["Version"] == 1


def test_a_token_makes_one_list(cloud: Cloud) -> None:
    assert make(cloud, ClientToken="t") == make(cloud, ClientToken="t")
    assert cloud.code(
        "CreateManagedPrefixList", PrefixListName="x", MaxEntries=5, AddressFamily="IPv4", ClientToken="t"
    ) == ("IdempotentParameterMismatch")


def test_the_services_list_is_there_and_aws_s(cloud: Cloud) -> None:
    own = make(cloud)
    (service,) = cloud.call("DescribePrefixLists")["PrefixLists"]
    assert (service["PrefixListName"], service["Cidrs"]) == ("com.amazonaws.us-east-1.s3", ["169.254.169.252/32"])
    listed = cloud.call("DescribeManagedPrefixLists", Filters=filters(owner_id="AWS"))["PrefixLists"]
    assert [one["PrefixListId"] for one in listed] == [service["PrefixListId"]]
    assert len(cloud.call("DescribeManagedPrefixLists")["PrefixLists"]) == 2
    assert cloud.code("DeleteManagedPrefixList", PrefixListId=service["PrefixListId"]) == "UnsupportedOperation"
    assert cloud.code("DescribePrefixLists", PrefixListIds=[own]) == "InvalidParameterValue"
    assert cloud.code("DescribeManagedPrefixLists", PrefixListIds=["pl-1"]) == "InvalidPrefixListId.Malformed"


def test_rules_that_name_a_list(cloud: Cloud) -> None:
    list_id, group = make(cloud), cloud.default("group")["GroupId"]
    asked = {"GroupId": group, "IpPermissions": permission(list_id, Description="offices")}
    (rule,) = cloud.call("AuthorizeSecurityGroupIngress", **asked)["SecurityGroupRules"]
    assert (rule["PrefixListId"], rule["Description"]) == (list_id, "offices")
    assert cloud.code("AuthorizeSecurityGroupIngress", **asked) == "InvalidPermission.Duplicate"
    found = cloud.call("DescribeSecurityGroups", Filters=filters(**{"ip_permission.prefix_list_id": list_id}))
    (of_22,) = [one for one in found["SecurityGroups"][0]["IpPermissions"] if one.get("FromPort") == 22]
    assert of_22["PrefixListIds"] == [{"PrefixListId": list_id, "Description": "offices"}]
    assert cloud.code("DeleteManagedPrefixList", PrefixListId=list_id) == "DependencyViolation"
    users = cloud.call("GetManagedPrefixListAssociations", PrefixListId=list_id)["PrefixListAssociations"]
    assert users == [{"ResourceId": group, "ResourceOwner": ACCOUNT}]
    other = make(cloud, [])
    change = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "PrefixListId": other}
    update = {"SecurityGroupRuleId": rule["SecurityGroupRuleId"], "SecurityGroupRule": change}
    cloud.call("ModifySecurityGroupRules", GroupId=group, SecurityGroupRules=[update])
    (rule,) = cloud.call("DescribeSecurityGroupRules", SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])[
        "SecurityGroupRules"
    ]
    assert (rule["PrefixListId"], rule["FromPort"]) == (other, 80)
    cloud.call("RevokeSecurityGroupIngress", GroupId=group, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
    absent = permission("pl-0123456789abcdef0")
    assert cloud.code("AuthorizeSecurityGroupEgress", GroupId=group, IpPermissions=absent) == (
        "InvalidPrefixListID.NotFound"
    )


def test_compute_is_told_of_each_range_of_a_rule(cloud: Cloud) -> None:
    list_id = make(cloud, [{"Cidr": one} for one in ("10.0.0.0/25", "10.0.0.128/25", "203.0.113.0/24")])
    group = cloud.default("group")["GroupId"]
    cloud.call("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=permission(list_id))

    def ranges() -> set[str | None]:
        with cloud.database.read() as tx:
            (plan,) = vpc_plans(tx)
        return {rule.cidr for found in plan.groups for rule in found.rules if rule.from_port == 22}

    assert ranges() == {"10.0.0.0/24", "203.0.113.0/24"}
    modify(cloud, list_id, RemoveEntries=[{"Cidr": "203.0.113.0/24"}])
    assert ranges() == {"10.0.0.0/24"}


def test_routes_that_name_a_list(cloud: Cloud) -> None:
    table, (gateway,) = cloud.default("table"), cloud.call("DescribeInternetGateways")["InternetGateways"]
    list_id = make(cloud, [{"Cidr": one} for one in ("203.0.113.0/24", "198.51.100.0/24", "172.31.4.0/24")])
    asked = {"RouteTableId": table["RouteTableId"], "DestinationPrefixListId": list_id}
    way = {"GatewayId": gateway["InternetGatewayId"]}
    cloud.call("CreateRoute", **asked, **way)
    assert cloud.code("CreateRoute", **asked, **way) == "RouteAlreadyExists"
    both = {**asked, **way, "DestinationCidrBlock": "0.0.0.0/0"}
    assert cloud.code("CreateRoute", **both) == "InvalidParameterCombination"
    (shown_route,) = [one for one in cloud.default("table")["Routes"] if "DestinationPrefixListId" in one]
    assert shown_route == {"DestinationPrefixListId": list_id, "Origin": "CreateRoute", "State": "active", **way}
    nobody = cloud.call("CreateNetworkInterface", SubnetId=cloud.default("subnet")["SubnetId"], Description="nobody's")[
        "NetworkInterface"
    ]["NetworkInterfaceId"]
    own = {"RouteTableId": table["RouteTableId"], "DestinationCidrBlock": "198.51.100.0/24"}
    cloud.call("CreateRoute", **own, NetworkInterfaceId=nobody)
    with cloud.database.read() as tx:
        (plan,) = vpc_plans(tx)
    (planned,) = plan.route_tables
    targets = {route.cidr: str(route.target) for route in planned.routes}
    assert targets == {
        "172.31.0.0/16": "local",
        "0.0.0.0/0": gateway["InternetGatewayId"],
        "203.0.113.0/24": gateway["InternetGatewayId"],
        "198.51.100.0/24": nobody,
    }
    cloud.call("ReplaceRoute", **asked, NetworkInterfaceId=nobody)
    cloud.call("AssociateVpcCidrBlock", VpcId=table["VpcId"], CidrBlock="172.30.0.0/16")
    cloud.call("DeleteRoute", **asked)
    assert cloud.code("DeleteRoute", **asked) == "InvalidRoute.NotFound"
    cloud.call("DeleteManagedPrefixList", PrefixListId=list_id)


def test_the_list_of_s3_has_aws_own_id(cloud: Cloud) -> None:
    """As DescribePrefixLists of AWS has it in us-east-1."""
    (found,) = cloud.call("DescribePrefixLists")["PrefixLists"]
    assert (found["PrefixListName"], found["PrefixListId"]) == ("com.amazonaws.us-east-1.s3", "pl-63a5400a")


def test_of_a_thousand_versions_the_oldest_goes_with_a_new_one(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_list, "MOST_VERSIONS", 3)
    made = cloud.call("CreateManagedPrefixList", PrefixListName="some", MaxEntries=10, AddressFamily="IPv4")
    named = {"PrefixListId": made["PrefixList"]["PrefixListId"]}
    for number in range(4):
        cloud.call("ModifyManagedPrefixList", **named, AddEntries=[{"Cidr": f"10.{number}.0.0/16"}])

    def entries(version: int) -> int:
        return len(cloud.call("GetManagedPrefixListEntries", **named, TargetVersion=version)["Entries"])

    assert [entries(version) for version in (3, 4, 5)] == [2, 3, 4]
    with pytest.raises(ServiceError, match="PrefixListVersionNotFound"):
        entries(2)


def test_a_list_counts_as_all_that_there_may_be_in_it(cloud: Cloud) -> None:
    group, large, small = cloud.default("group")["GroupId"], make(cloud, MaxEntries=61), make(cloud, MaxEntries=58)
    refused = "RulesPerSecurityGroupLimitExceeded"

    def add(list_id: str) -> dict[str, Any]:
        return {"GroupId": group, "IpPermissions": permission(list_id)}

    assert cloud.code("AuthorizeSecurityGroupEgress", **add(large)) == refused
    (rule,) = cloud.call("AuthorizeSecurityGroupEgress", **add(small))["SecurityGroupRules"]
    assert cloud.code("AuthorizeSecurityGroupEgress", **add(make(cloud, MaxEntries=2))) == refused
    of_ipv6 = make(cloud, [], MaxEntries=59, AddressFamily="IPv6")
    cloud.call("AuthorizeSecurityGroupEgress", **add(of_ipv6))
    assert cloud.code("ModifyManagedPrefixList", PrefixListId=small, MaxEntries=60) == refused
    assert shown(cloud, small)["MaxEntries"] == 58
    cloud.call("ModifyManagedPrefixList", PrefixListId=small, MaxEntries=59)
    change = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "PrefixListId": large}
    update = {"SecurityGroupRuleId": rule["SecurityGroupRuleId"], "SecurityGroupRule": change}
    assert cloud.code("ModifySecurityGroupRules", GroupId=group, SecurityGroupRules=[update]) == refused
