"""Two ways to one effect: whoever may not go the one may not go the other, whatever his policies say.

The policies are hypothesis's. They deny by action, resource and condition; everything else is allowed, so that each
difference is a way around a Deny. What AWS itself lets go around one stands in the security page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ec2_fixtures import Cloud, open_cloud, tagged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from market_scene import SPOT, STOPS
from permission_scene import HERE, Permissions, deny
from support.fresh_state import quick_directory
from test_denied_every_way import ANYWHERE, with_action

from skylift.cloud.domain.fleet import FleetMember
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.scaling_policy import ScalingPolicy

ENOUGH = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
VALUES = ("a", "b")
OPERATORS = ("StringEquals", "StringNotEquals", "StringLike", "StringEqualsIfExists", "StringNotEqualsIfExists")


class World(Permissions):
    """Servers and a group of each tag, and what leads to them in other ways."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        made = cloud.call("DescribeSubnets")["Subnets"]
        self.everywhere = [one["SubnetId"] for one in made]
        self.subnets = self.everywhere[:2]
        cloud.call("AllocateHosts", AvailabilityZone="us-east-1b", InstanceFamily="t3")
        for subnet, value in zip(self.subnets, VALUES, strict=True):
            cloud.call("CreateTags", Resources=[subnet], Tags=[{"Key": "team", "Value": value}])
        self.root("iam", "TagRole", RoleName="acting", Tags=[{"Key": "team", "Value": "a"}])
        self.root("iam", "CreateInstanceProfile", InstanceProfileName="acting")
        self.root("iam", "AddRoleToInstanceProfile", InstanceProfileName="acting", RoleName="acting")
        self.data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "IamInstanceProfile": {"Name": "acting"}}
        template = cloud.call("CreateLaunchTemplate", LaunchTemplateName="web", LaunchTemplateData=self.data)
        self.template = {"LaunchTemplateId": template["LaunchTemplate"]["LaunchTemplateId"], "Version": "1"}
        config = [{"LaunchTemplateSpecification": self.template}]
        target = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}
        self.fleet = cloud.call("CreateFleet", LaunchTemplateConfigs=config, TargetCapacitySpecification=target)[
            "FleetId"
        ]
        self.servers = {
            value: cloud.run(TagSpecifications=tagged("instance", team=value), SubnetId=subnet)["InstanceId"]
            for value, subnet in zip(VALUES, self.subnets, strict=True)
        }
        self.group = cloud.default("group")["GroupId"]
        cloud.call("CreateTags", Resources=[self.group], Tags=[{"Key": "team", "Value": "a"}])
        rules = [{**ANYWHERE[0], "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
        opened = cloud.call("AuthorizeSecurityGroupIngress", GroupId=self.group, IpPermissions=rules)
        self.rule: str = opened["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        self.root("autoscaling", "CreateAutoScalingGroup", **self.scaling(self.subnets[0], "web"))
        pairs = [{"ResourceId": "web", "ResourceType": "auto-scaling-group", "Key": "team", "Value": "a"}]
        self.root("autoscaling", "CreateOrUpdateTags", Tags=pairs)
        adjusted = {"AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": -1}
        self.root("autoscaling", "PutScalingPolicy", AutoScalingGroupName="web", PolicyName="fewer", **adjusted)
        with cloud.database.write() as tx:
            (policy,) = tx.find(ScalingPolicy)
            self.policy = policy.arn
            for server in self.servers.values():
                row = tx.get(Instance, id=server)
                assert row is not None
                tx.add(FleetMember(server, self.fleet, "on-demand", 1.0, row.type, row.zone, {}, row.launched))

    def scaling(self, subnets: str, name: str = "other") -> dict[str, Any]:
        sizes = {"AutoScalingGroupName": name, "MinSize": 0, "MaxSize": 1}
        return {**sizes, "LaunchTemplate": self.template, "VPCZoneIdentifier": subnets}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with quick_directory() as directory:
        cloud = open_cloud(directory)
        yield World(cloud)
        cloud.database.close()


def conditions(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    """A few conditions; a key is written `NAME=VALUE VALUE`, with values that it has here."""
    one = st.builds(
        lambda operator, key, pick: (operator, key.partition("=")[0], pick(key.partition("=")[2].split())),
        st.sampled_from(OPERATORS),
        st.sampled_from(keys),
        st.sampled_from([lambda values: values[0], lambda values: values[-1], lambda _values: "other"]),
    )

    def joined(found: list[tuple[str, str, str]]) -> dict[str, Any]:
        written: dict[str, dict[str, str]] = {}
        for operator, key, value in found:
            written.setdefault(operator, {})[key] = value
        return written

    return st.lists(one, max_size=2).map(joined)


def denials(
    actions: tuple[str, ...], resources: tuple[str, ...], *keys: str
) -> st.SearchStrategy[list[dict[str, Any]]]:
    statement = st.builds(
        lambda action, resource, held: deny(action, resource, **held),
        st.sampled_from(actions),
        st.sampled_from(resources),
        conditions(*keys),
    )
    return st.lists(statement, min_size=1, max_size=3)


OF_SERVERS = ("*", f"{HERE}instance/*", f"{HERE}volume/*", f"{HERE}instance/i-0*")
ON_SERVERS = (
    "aws:ResourceTag/team=a b",
    "ec2:ResourceTag/team=a b",
    "ec2:InstanceType=t3.micro",
    "ec2:AvailabilityZone=us-east-1a us-east-1b",
    "ec2:Region=us-east-1",
    "ec2:Tenancy=default",
)


@ENOUGH
@given(
    denied=denials(("ec2:TerminateInstances", "ec2:Terminate*", "ec2:*"), OF_SERVERS, *ON_SERVERS),
    value=st.sampled_from(VALUES),
)
def test_a_server_is_ended_by_all_ways_or_by_none(world: World, denied: list[dict[str, Any]], value: str) -> None:
    world.given(*denied)
    server = world.servers[value]
    direct = world.may("ec2", "TerminateInstances", InstanceIds=[server])
    assert world.may("cloudwatch", "PutMetricAlarm", **with_action(server)) == direct
    assert world.scheduled("terminateInstances", InstanceIds=[server]) == direct
    if not all(world.may("ec2", "TerminateInstances", InstanceIds=[one]) for one in world.servers.values()):
        assert not world.may("ec2", "DeleteFleets", FleetIds=[world.fleet], TerminateInstances=True)


@ENOUGH
@given(
    denied=denials(
        ("ssm:SendCommand", "ssm:*", "*"),
        ("*", f"{HERE}instance/*", "arn:aws:ssm:*:*:document/*"),
        "aws:ResourceTag/team=a b",
        "ssm:resourceTag/team=a b",
        "aws:RequestedRegion=us-east-1",
    ),
    value=st.sampled_from(VALUES),
)
def test_a_command_is_run_however_its_server_is_named(world: World, denied: list[dict[str, Any]], value: str) -> None:
    world.given(*denied)
    command = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["poweroff"]}}
    server = world.servers[value]
    direct = world.may("ssm", "SendCommand", **command, InstanceIds=[server])
    for key, wanted in (("tag:team", value), ("InstanceIds", server), ("instanceids", server)):
        targets = [{"Key": key, "Values": [wanted]}]
        assert world.may("ssm", "SendCommand", **command, Targets=targets) == direct
    everywhere = [{"Key": "tag-key", "Values": ["team"]}]
    if not direct:
        assert not world.may("ssm", "SendCommand", **command, Targets=everywhere)


@ENOUGH
@given(
    denied=denials(
        ("autoscaling:ExecutePolicy", "autoscaling:*"),
        ("*", "arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/web"),
        "aws:ResourceTag/team=a",
        "autoscaling:ResourceTag/team=a",
    )
)
def test_a_group_shrinks_by_an_alarm_where_it_does_by_its_policy(world: World, denied: list[dict[str, Any]]) -> None:
    world.given(*denied)
    alarm = {**with_action("i-0123456789abcdef0"), "AlarmActions": [world.policy]}
    direct = world.may("autoscaling", "ExecutePolicy", AutoScalingGroupName="web", PolicyName="fewer")
    assert world.may("autoscaling", "ExecutePolicy", PolicyName=world.policy) == direct
    assert world.may("cloudwatch", "PutMetricAlarm", **alarm) == direct


@ENOUGH
@given(
    denied=denials(
        ("ec2:RunInstances", "iam:PassRole", "ec2:Run*"),
        ("*", f"{HERE}instance/*", f"{HERE}subnet/*", f"{HERE}network-interface/*", "arn:aws:iam::*:role/acting"),
        "aws:ResourceTag/team=a b",
        "ec2:ResourceTag/team=b a",
        "iam:ResourceTag/team=a",
        "ec2:InstanceType=t3.micro t3.small",
        "ec2:AvailabilityZone=us-east-1a us-east-1b",
        "ec2:InstanceMarketType=on-demand",
        "ec2:Tenancy=default",
        "ec2:VolumeSize=8",
        "iam:PassedToService=ec2.amazonaws.com",
    ),
    kind=st.sampled_from(("t3.micro", "t3.small")),
    place=st.sampled_from((0, 1)),
)
def test_a_server_is_started_by_all_ways_or_by_none(
    world: World, denied: list[dict[str, Any]], kind: str, place: int
) -> None:
    world.given(*denied)
    subnet, once = world.subnets[place], {"MinCount": 1, "MaxCount": 1}

    def direct(where: str) -> bool:
        return world.may("ec2", "RunInstances", **{**world.data, "InstanceType": kind}, **once, SubnetId=where)

    expected = direct(subnet)
    of_template = {"LaunchTemplate": world.template, "InstanceType": kind, "SubnetId": subnet, **once}
    assert world.may("ec2", "RunInstances", **of_template) == expected
    assert world.scheduled("runInstances", **{**world.data, "InstanceType": kind}, **once, SubnetId=subnet) == expected
    override = {"InstanceType": kind, "SubnetId": subnet}
    configs = [{"LaunchTemplateSpecification": world.template, "Overrides": [override]}]
    target = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}
    assert (
        world.may("ec2", "CreateFleet", LaunchTemplateConfigs=configs, TargetCapacitySpecification=target) == expected
    )
    assert world.may("ec2", "ModifyFleet", FleetId=world.fleet, LaunchTemplateConfigs=configs) == expected
    base = {"LaunchTemplateSpecification": world.template, "Overrides": [{"InstanceType": kind}]}
    mixed = {"MixedInstancesPolicy": {"LaunchTemplate": base}}
    sizes = {"AutoScalingGroupName": "other", "MinSize": 0, "MaxSize": 1}
    group = {**sizes, **mixed, "VPCZoneIdentifier": subnet}
    assert world.may("autoscaling", "CreateAutoScalingGroup", **group) == expected
    both = {**group, "VPCZoneIdentifier": ",".join(world.subnets)}
    assert world.may("autoscaling", "CreateAutoScalingGroup", **both) == all(map(direct, world.subnets))
    if kind == "t3.micro":
        moved = {"AutoScalingGroupName": "web", "VPCZoneIdentifier": subnet}
        assert world.may("autoscaling", "UpdateAutoScalingGroup", **moved) == expected


@ENOUGH
@given(
    denied=denials(
        ("ec2:RunInstances", "ec2:RequestSpotInstances", "ec2:R*"),
        ("*", f"{HERE}instance/*", f"{HERE}subnet/*", f"{HERE}network-interface/*", f"{HERE}volume/*"),
        "aws:ResourceTag/team=a b",
        "ec2:ResourceTag/team=b a",
        "ec2:AvailabilityZone=us-east-1a us-east-1c",
        "ec2:AvailabilityZoneID=use1-az2 use1-az3",
        "ec2:InstanceMarketType=on-demand spot",
        "ec2:Tenancy=default host",
    )
)
def test_a_server_without_a_subnet_is_one_in_each_that_it_may_go_to(world: World, denied: list[dict[str, Any]]) -> None:
    world.given(*denied)

    def may(market: dict[str, Any], **place: Any) -> bool:
        return world.may("ec2", "RunInstances", **world.data, MinCount=1, MaxCount=1, **market, **place)

    def may_ask(**place: Any) -> bool:
        return world.may("ec2", "RequestSpotInstances", LaunchSpecification={**world.data, **place})

    host = {"Placement": {"Tenancy": "host"}}
    once, again = {"InstanceMarketOptions": SPOT}, {"InstanceMarketOptions": STOPS}
    assert may({}) == may({}, SubnetId=world.subnets[0])
    assert may(once) == may(once, SubnetId=world.subnets[0])
    assert may(host) == may(host, SubnetId=world.subnets[1])
    assert may(again) == all(may(again, SubnetId=one) for one in world.everywhere)
    assert may_ask() == all(may_ask(SubnetId=one) for one in world.everywhere)


@ENOUGH
@given(
    denied=denials(
        ("ec2:*", "ec2:*SecurityGroup*"),
        ("*", f"{HERE}security-group/*"),
        "aws:ResourceTag/team=a b",
        "ec2:ResourceTag/team=a",
        "ec2:Region=us-east-1",
    )
)
def test_a_port_is_opened_by_all_ways_or_by_none(world: World, denied: list[dict[str, Any]]) -> None:
    world.given(*denied)
    direct = world.may("ec2", "AuthorizeSecurityGroupIngress", GroupId=world.group, IpPermissions=ANYWHERE)
    assert world.may("ec2", "AuthorizeSecurityGroupIngress", GroupName="default", IpPermissions=ANYWHERE) == direct
    if not direct:
        rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIpv4": "0.0.0.0/0"}
        update = [{"SecurityGroupRuleId": world.rule, "SecurityGroupRule": rule}]
        assert not world.may("ec2", "ModifySecurityGroupRules", GroupId=world.group, SecurityGroupRules=update)
