"""What a Deny keeps from somebody it keeps from him whatever way he takes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, REGION, Cloud, tagged
from identity_fixtures import Account, refused
from market_scene import STOPS, Scene
from permission_scene import EVERYTHING, HERE, Permissions, deny

from skylift.cloud.domain.instance import Image
from skylift.cloud.services.api.resource import new_id
from skylift.cloud.services.table import TABLE

PROTECTED = {"StringEquals": {"aws:ResourceTag/keep": "yes"}}
ALARM = {
    "AlarmName": "a",
    "Namespace": "AWS/EC2",
    "MetricName": "CPUUtilization",
    "Statistic": "Average",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1.0,
    "ComparisonOperator": "GreaterThanThreshold",
}
ANYWHERE = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]


@pytest.fixture
def scene(cloud: Cloud) -> Permissions:
    return Permissions(cloud)


def with_action(instance_id: str, action: str = "terminate", kind: str = "AlarmActions") -> dict[str, Any]:
    return {
        **ALARM,
        "Dimensions": [{"Name": "InstanceId", "Value": instance_id}],
        kind: [f"arn:aws:automate:{REGION}:ec2:{action}"],
    }


@pytest.mark.parametrize("action", ["terminate", "stop", "reboot"])
@pytest.mark.parametrize("kind", ["AlarmActions", "OKActions", "InsufficientDataActions"])
def test_an_alarm_ends_no_server_whose_tag_protects_it(scene: Permissions, action: str, kind: str) -> None:
    kept = scene.cloud.run(TagSpecifications=tagged("instance", keep="yes"))["InstanceId"]
    other = scene.cloud.run()["InstanceId"]
    scene.given(deny(f"ec2:{action.capitalize()}Instances", **PROTECTED))
    assert not scene.may("cloudwatch", "PutMetricAlarm", **with_action(kept, action, kind))
    assert scene.may("cloudwatch", "PutMetricAlarm", **with_action(other, action, kind))


def test_an_alarm_asks_for_all_that_is_known_of_the_server(scene: Permissions) -> None:
    server = scene.cloud.run(InstanceType="t3.small")["InstanceId"]
    scene.given(deny("ec2:TerminateInstances", StringEquals={"ec2:InstanceType": "t3.small"}))
    assert not scene.may("cloudwatch", "PutMetricAlarm", **with_action(server))
    scene.given(deny("ec2:TerminateInstances", StringEquals={"ec2:Region": REGION}))
    assert not scene.may("cloudwatch", "PutMetricAlarm", **with_action(server))


def test_policies_can_ask_what_an_alarm_does(scene: Permissions) -> None:
    server = scene.cloud.run()["InstanceId"]
    ends = {"cloudwatch:AlarmActions": "arn:aws:automate:*:ec2:terminate"}
    scene.given(deny("cloudwatch:PutMetricAlarm", **{"ForAnyValue:StringLike": ends}))
    assert not scene.may("cloudwatch", "PutMetricAlarm", **with_action(server))
    assert not scene.may("cloudwatch", "PutMetricAlarm", **with_action(server, kind="OKActions"))
    assert scene.may("cloudwatch", "PutMetricAlarm", **with_action(server, "stop"))


@pytest.mark.parametrize("name", ["TagResource", "UntagResource", "ListTagsForResource"])
def test_an_alarm_is_the_one_that_the_whole_arn_names(scene: Permissions, name: str) -> None:
    arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:"
    for alarm in ("kept", "other:alarm:kept", "kept:alarm:other", "other"):
        tags = [{"Key": "keep", "Value": "yes" if alarm.startswith("kept") else "no"}]
        scene.root("cloudwatch", "PutMetricAlarm", **{**ALARM, "AlarmName": alarm, "Tags": tags})
    more = {"TagResource": {"Tags": [{"Key": "a", "Value": "b"}]}, "UntagResource": {"TagKeys": ["a"]}}.get(name, {})
    for denial in (deny(f"cloudwatch:{name}", **PROTECTED), deny(f"cloudwatch:{name}", f"{arn}kept*")):
        scene.given(denial)
        assert not scene.may("cloudwatch", name, ResourceARN=f"{arn}kept", **more)
        assert not scene.may("cloudwatch", name, ResourceARN=f"{arn}kept:alarm:other", **more)
        assert scene.may("cloudwatch", name, ResourceARN=f"{arn}other:alarm:kept", **more)


def test_block_public_access_drops_what_a_policy_allows_and_not_what_it_denies(account: Account) -> None:
    everybody = {"Principal": "*", "Resource": "arn:aws:s3:::bucket/*"}
    denied = {"Effect": "Deny", "Action": "s3:GetObject", **everybody, "Resource": "arn:aws:s3:::bucket/secret"}
    allowed = {"Effect": "Allow", "Action": "s3:PutObject", **everybody}
    account.s3("CreateBucket", Bucket="bucket", ObjectOwnership="ObjectWriter")
    account.s3("DeletePublicAccessBlock", Bucket="bucket")
    for key in ("secret", "open"):
        account.put("bucket", key, b"x", ACL="public-read")
    text = json.dumps({"Version": "2012-10-17", "Statement": [denied, allowed]})
    account.s3("PutBucketPolicy", Bucket="bucket", Policy=text)
    for restricts in (False, True):
        block = {"RestrictPublicBuckets": restricts}
        account.s3("PutPublicAccessBlock", Bucket="bucket", PublicAccessBlockConfiguration=block)
        account.s3("GetObject", Bucket="bucket", Key="open", caller=account.anonymous)
        with refused("AccessDenied"):
            account.s3("GetObject", Bucket="bucket", Key="secret", caller=account.anonymous)
    with refused("AccessDenied"):
        account.s3("PutObject", Bucket="bucket", Key="new", Body=account.spool(b"x"), caller=account.anonymous)


def test_a_locked_rule_is_not_opened(scene: Permissions) -> None:
    group = scene.cloud.default("group")["GroupId"]
    rules = scene.cloud.call(
        "AuthorizeSecurityGroupIngress",
        GroupId=group,
        IpPermissions=[{**ANYWHERE[0], "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}],
        TagSpecifications=tagged("security-group-rule", keep="yes"),
    )["SecurityGroupRules"]
    changed = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIpv4": "0.0.0.0/0"}
    update = [{"SecurityGroupRuleId": rules[0]["SecurityGroupRuleId"], "SecurityGroupRule": changed}]
    assert scene.may("ec2", "ModifySecurityGroupRules", GroupId=group, SecurityGroupRules=update)
    for vendor in ("aws", "ec2"):
        scene.given(deny("ec2:ModifySecurityGroupRules", StringEquals={f"{vendor}:ResourceTag/keep": "yes"}))
        assert not scene.may("ec2", "ModifySecurityGroupRules", GroupId=group, SecurityGroupRules=update)


def test_a_rule_loses_no_tag_that_a_deny_keeps(scene: Permissions) -> None:
    group = scene.cloud.default("group")["GroupId"]
    (rule,) = scene.cloud.call(
        "AuthorizeSecurityGroupIngress",
        GroupId=group,
        IpPermissions=ANYWHERE,
        TagSpecifications=tagged("security-group-rule", keep="yes"),
    )["SecurityGroupRules"]
    scene.given(deny("ec2:DeleteTags", **{"ForAnyValue:StringEquals": {"aws:TagKeys": "keep"}}))
    wanted = [rule["SecurityGroupRuleId"]]
    assert not scene.may("ec2", "DeleteTags", Resources=wanted)
    assert not scene.may("ec2", "DeleteTags", Resources=wanted, Tags=[])
    assert not scene.may("ec2", "DeleteTags", Resources=wanted, Tags=[{"Key": "keep"}])
    assert scene.may("ec2", "DeleteTags", Resources=wanted, Tags=[{"Key": "other"}])
    scene.given(deny("ec2:DeleteTags", **PROTECTED))
    assert not scene.may("ec2", "DeleteTags", Resources=wanted, Tags=[{"Key": "other"}])


def test_an_address_is_taken_from_no_interface_that_a_deny_keeps(scene: Permissions) -> None:
    cloud = scene.cloud
    address = cloud.call("AllocateAddress")
    server, other = cloud.run()["InstanceId"], cloud.run()["InstanceId"]
    interface = cloud.instance(server)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    cloud.observe(server, "running")
    joined = cloud.call("AssociateAddress", AllocationId=address["AllocationId"], NetworkInterfaceId=interface)
    scene.given(deny(["ec2:AssociateAddress", "ec2:DisassociateAddress"], f"{HERE}network-interface/{interface}"))
    assert not scene.may("ec2", "DisassociateAddress", AssociationId=joined["AssociationId"])
    assert not scene.may("ec2", "DisassociateAddress", PublicIp=address["PublicIp"])
    for named in ({"PublicIp": address["PublicIp"]}, {"AllocationId": address["AllocationId"]}):
        assert not scene.may("ec2", "AssociateAddress", InstanceId=other, **named)


def test_a_group_launches_in_no_subnet_that_a_deny_keeps(scene: Permissions) -> None:
    cloud = scene.cloud
    data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro"}
    made = cloud.call("CreateLaunchTemplate", LaunchTemplateName="web", LaunchTemplateData=data)
    first, second, *_ = cloud.call("DescribeSubnets")["Subnets"]
    template = {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "$Latest"}
    sizes = {"AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 1}
    scene.root(
        "autoscaling", "CreateAutoScalingGroup", **sizes, LaunchTemplate=template, VPCZoneIdentifier=first["SubnetId"]
    )
    scene.given(deny("ec2:RunInstances", f"{HERE}subnet/{second['SubnetId']}"))
    new = {**sizes, "AutoScalingGroupName": "other", "LaunchTemplate": template}
    both = f"{first['SubnetId']}, {second['SubnetId']}"
    zone, denied_zone = first["AvailabilityZone"], second["AvailabilityZone"]
    for allowed, place in (
        (True, {"VPCZoneIdentifier": first["SubnetId"]}),
        (False, {"VPCZoneIdentifier": both}),
        (True, {"AvailabilityZones": [zone]}),
        (False, {"AvailabilityZones": [zone, denied_zone]}),
        (False, {"AvailabilityZoneIds": [second["AvailabilityZoneId"]]}),
    ):
        assert scene.may("autoscaling", "CreateAutoScalingGroup", **new, **place) == allowed
        assert scene.may("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName="web", **place) == allowed
    assert scene.may("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName="web", LaunchTemplate=template)
    scene.root("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName="web", VPCZoneIdentifier=both)
    assert not scene.may("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName="web", LaunchTemplate=template)


def test_a_launch_on_a_dedicated_host_is_one_in_the_subnet_of_its_zone(scene: Permissions) -> None:
    cloud = scene.cloud
    (host,) = cloud.call("AllocateHosts", AvailabilityZone="us-east-1b", InstanceType="m5.large")["HostIds"]
    asked = {"ImageId": cloud.image_id, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    first, second, *_ = cloud.call("DescribeSubnets")["Subnets"]
    for more in ({}, {"HostId": host}):
        launch = {**asked, "Placement": {"Tenancy": "host", **more}}
        for where, allowed in ((first, True), (second, False)):
            zone = {"StringEquals": {"ec2:AvailabilityZone": where["AvailabilityZone"]}}
            for denial in (
                deny("ec2:RunInstances", f"{HERE}subnet/{where['SubnetId']}"),
                deny("ec2:RunInstances", f"{HERE}instance/*", **zone),
            ):
                scene.given(denial)
                assert scene.may("ec2", "RunInstances", **launch) == allowed
        assert cloud.call("RunInstances", **launch)["Instances"][0]["SubnetId"] == second["SubnetId"]


def test_a_spot_request_waits_for_no_subnet_that_a_deny_keeps(scene: Permissions) -> None:
    """The market chooses the zone later, and of a persistent request anew each time."""
    cloud = scene.cloud
    wanted = {"ImageId": cloud.image_id, "InstanceType": "t3.micro"}
    launch = {**wanted, "MinCount": 1, "MaxCount": 1}
    for subnet in cloud.call("DescribeSubnets")["Subnets"]:
        place = f"{HERE}subnet/{subnet['SubnetId']}"
        zones = {"StringNotEquals": {"ec2:AvailabilityZone": subnet["AvailabilityZone"]}}
        scene.given(deny("ec2:RequestSpotInstances", place))
        assert not scene.may("ec2", "RequestSpotInstances", LaunchSpecification=wanted)
        scene.given(deny("ec2:RunInstances", place))
        assert not scene.may("ec2", "RunInstances", **launch, InstanceMarketOptions=STOPS)
        scene.given(deny(["ec2:RunInstances", "ec2:RequestSpotInstances"], f"{HERE}subnet/*", **zones))
        zone = {"Placement": {"AvailabilityZone": subnet["AvailabilityZone"]}}
        for more, allowed in (({}, False), (zone, True), ({"SubnetId": subnet["SubnetId"]}, True)):
            assert scene.may("ec2", "RequestSpotInstances", LaunchSpecification={**wanted, **more}) == allowed
            assert scene.may("ec2", "RunInstances", **launch, **more, InstanceMarketOptions=STOPS) == allowed


@pytest.mark.parametrize("asks", ["RequestSpotInstances", "RunInstances"])
def test_a_spot_request_is_launched_in_no_subnet_that_was_made_later(scene: Permissions, asks: str) -> None:
    cloud, market = scene.cloud, Scene(scene.cloud)
    last = cloud.call("DescribeSubnets")["Subnets"][2]
    assert last["AvailabilityZone"] == "us-east-1c"
    cloud.call("DeleteSubnet", SubnetId=last["SubnetId"])
    if asks == "RunInstances":
        first = cloud.run(InstanceMarketOptions=STOPS)
        cloud.call("TerminateInstances", InstanceIds=[first["InstanceId"]])
        cloud.observe(first["InstanceId"], "terminated")
    else:
        market.ask()
    cloud.call("CreateDefaultSubnet", AvailabilityZone="us-east-1c")
    market.price("0.001", AvailabilityZone="us-east-1c")
    market.settle()
    (made,) = market.live()
    assert cloud.instance(made)["Placement"]["AvailabilityZone"] == "us-east-1a"


@pytest.mark.parametrize("asks", ["RequestSpotInstances", "RunInstances"])
def test_a_spot_request_launches_the_image_that_was_asked_about(scene: Permissions, asks: str) -> None:
    """It is launched later, when the parameter that named its image may name another one."""
    cloud, market = scene.cloud, Scene(scene.cloud)
    first = cloud.image_id
    with cloud.database.write() as tx:
        image = tx.get(Image, id=first)
        assert image is not None
        tx.add(replace(image, id=(other := new_id("ami")), name="other"))
    scene.root("ssm", "PutParameter", Name="/golden", Value=first, Type="String", DataType="aws:ec2:image")
    named = {"ImageId": "resolve:ssm:/golden"}
    if asks == "RunInstances":
        made = cloud.run(**named, InstanceMarketOptions=STOPS)["InstanceId"]
        cloud.call("TerminateInstances", InstanceIds=[made])
        cloud.observe(made, "terminated")
    else:
        market.ask(launch=named)
    scene.root("ssm", "PutParameter", Name="/golden", Value=other, Overwrite=True)
    market.settle()
    (made,) = market.live()
    assert cloud.instance(made)["ImageId"] == first


@pytest.mark.parametrize("kind", ["maintain", "request"])
def test_a_fleet_that_launches_later_has_no_image_that_a_parameter_names(scene: Permissions, kind: str) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_FleetLaunchTemplateOverridesRequest.html (ImageId)"""
    cloud = scene.cloud
    scene.root("ssm", "PutParameter", Name="/golden", Value=cloud.image_id, Type="String", DataType="aws:ec2:image")
    for name, image in (("named", "resolve:ssm:/golden"), ("plain", cloud.image_id)):
        data = {"ImageId": image, "InstanceType": "t3.micro"}
        cloud.call("CreateLaunchTemplate", LaunchTemplateName=name, LaunchTemplateData=data)
    named, plain = (
        [{"LaunchTemplateSpecification": {"LaunchTemplateName": name, "Version": "1"}}] for name in ("named", "plain")
    )
    target = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}
    asked = {"TargetCapacitySpecification": target, "Type": kind}
    assert "resolve:ssm" in cloud.refusal("CreateFleet", LaunchTemplateConfigs=named, **asked).message
    fleet = cloud.call("CreateFleet", LaunchTemplateConfigs=plain, **asked)["FleetId"]
    if kind == "maintain":
        assert "resolve:ssm" in cloud.refusal("ModifyFleet", FleetId=fleet, LaunchTemplateConfigs=named).message
    cloud.call("CreateFleet", LaunchTemplateConfigs=named, **{**asked, "Type": "instant"})


@pytest.mark.parametrize("count", [1, 40])
def test_a_launch_goes_to_the_subnet_that_was_asked_about_also_a_moment_later(scene: Permissions, count: int) -> None:
    cloud = scene.cloud
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": count}
    with cloud.database.read() as tx:
        handlers = TABLE["ec2", "RunInstances"].prepared(tx, cloud.caller, asked)
    cloud.control("PutCapacity", InstanceType="t3.micro", AvailabilityZone="us-east-1a", InstanceCount=0)
    with refused("InsufficientInstanceCapacity"):
        for handler in handlers:
            with cloud.database.write() as tx:
                handler(tx, cloud.caller, asked)
    assert cloud.run()["Placement"]["AvailabilityZone"] == "us-east-1b"


def test_a_mixed_group_launches_no_type_image_or_market_that_a_deny_keeps(scene: Permissions) -> None:
    cloud = scene.cloud
    data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro"}
    made = cloud.call("CreateLaunchTemplate", LaunchTemplateName="web", LaunchTemplateData=data)
    template = {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "$Latest"}
    place = {"VPCZoneIdentifier": cloud.default("subnet")["SubnetId"]}
    group = {"AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 1, **place}

    def mixed(share: int, *types: str) -> dict[str, Any]:
        overrides = [{"InstanceType": one} for one in types]
        policy = {"LaunchTemplate": {"LaunchTemplateSpecification": template, "Overrides": overrides}}
        return {**group, "MixedInstancesPolicy": {**policy, "InstancesDistribution": _share(share)}}

    scene.given(deny("ec2:RunInstances", StringEquals={"ec2:InstanceType": "t3.large"}))
    assert scene.may("autoscaling", "CreateAutoScalingGroup", **mixed(100, "t3.micro", "t3.small"))
    assert not scene.may("autoscaling", "CreateAutoScalingGroup", **mixed(100, "t3.micro", "t3.large"))
    scene.given(deny("ec2:RunInstances", StringEquals={"ec2:InstanceMarketType": "spot"}))
    assert scene.may("autoscaling", "CreateAutoScalingGroup", **mixed(100, "t3.micro"))
    assert not scene.may("autoscaling", "CreateAutoScalingGroup", **mixed(50, "t3.micro"))
    scene.root("autoscaling", "CreateAutoScalingGroup", **mixed(100, "t3.micro"))
    only_shares = {"AutoScalingGroupName": "web", "MixedInstancesPolicy": {"InstancesDistribution": _share(0)}}
    assert not scene.may("autoscaling", "UpdateAutoScalingGroup", **only_shares)


def _share(on_demand: int) -> dict[str, Any]:
    return {"OnDemandPercentageAboveBaseCapacity": on_demand}


def test_a_changed_fleet_launches_nothing_that_a_deny_keeps(scene: Permissions) -> None:
    cloud = scene.cloud
    data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro"}
    cloud.call("CreateLaunchTemplate", LaunchTemplateName="servers", LaunchTemplateData=data)
    spec = {"LaunchTemplateSpecification": {"LaunchTemplateName": "servers", "Version": "1"}}
    target = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}
    fleet = cloud.call("CreateFleet", LaunchTemplateConfigs=[spec], TargetCapacitySpecification=target)["FleetId"]
    larger = [{**spec, "Overrides": [{"InstanceType": "t3.large"}]}]
    scene.given(deny("ec2:RunInstances", StringEquals={"ec2:InstanceType": "t3.large"}))
    assert not scene.may("ec2", "ModifyFleet", FleetId=fleet, LaunchTemplateConfigs=larger)
    assert scene.may("ec2", "ModifyFleet", FleetId=fleet, LaunchTemplateConfigs=[spec])
    scene.given(deny("ec2:RunInstances", StringEquals={"ec2:InstanceMarketType": "spot"}))
    spot = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"}
    assert not scene.may("ec2", "ModifyFleet", FleetId=fleet, TargetCapacitySpecification=spot)
    assert scene.may("ec2", "ModifyFleet", FleetId=fleet, TargetCapacitySpecification=target)
    assert scene.may("ec2", "ModifyFleet", FleetId=fleet, LaunchTemplateConfigs=larger)


def test_a_role_that_a_tag_protects_is_passed_on_no_way(scene: Permissions) -> None:
    cloud = scene.cloud
    scene.root("iam", "TagRole", RoleName="acting", Tags=[{"Key": "keep", "Value": "yes"}])
    scene.root("iam", "CreateInstanceProfile", InstanceProfileName="acting")
    scene.root("iam", "AddRoleToInstanceProfile", InstanceProfileName="acting", RoleName="acting")
    scene.root("iam", "CreateInstanceProfile", InstanceProfileName="other")
    server = cloud.run()["InstanceId"]
    profile = {"IamInstanceProfile": {"Name": "acting"}}
    launch = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    target = {"Arn": "arn:aws:scheduler:::aws-sdk:ec2:stopInstances", "RoleArn": scene.role.arn, "Input": "{}"}
    schedule = {
        "Name": "s",
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": target,
    }
    ways: list[tuple[str, str, dict[str, Any]]] = [
        ("ec2", "RunInstances", {**launch, **profile}),
        ("ec2", "AssociateIamInstanceProfile", {"InstanceId": server, **profile}),
        ("iam", "AddRoleToInstanceProfile", {"InstanceProfileName": "other", "RoleName": "acting"}),
        ("scheduler", "CreateSchedule", schedule),
        ("scheduler", "UpdateSchedule", schedule),
    ]
    for service, name, params in ways:
        for denial in (PROTECTED, {"StringEquals": {"iam:ResourceTag/keep": "yes"}}):
            scene.given(deny("iam:PassRole", **denial))
            assert not scene.may(service, name, **params), name
        scene.given(deny("iam:PassRole", StringEquals={"aws:ResourceTag/keep": "no"}))
        assert scene.may(service, name, **params), name


def test_a_group_of_schedules_takes_none_along_that_a_deny_keeps(scene: Permissions) -> None:
    scene.root("scheduler", "CreateScheduleGroup", Name="g", Tags=[{"Key": "keep", "Value": "yes"}])
    target = {"Arn": "arn:aws:scheduler:::aws-sdk:ec2:stopInstances", "RoleArn": scene.role.arn, "Input": "{}"}
    made = {"Name": "s", "GroupName": "g", "ScheduleExpression": "rate(1 day)", "Target": target}
    scene.root("scheduler", "CreateSchedule", **made, FlexibleTimeWindow={"Mode": "OFF"})
    for denial in (
        deny("scheduler:DeleteSchedule", f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/g/*"),
        deny("scheduler:DeleteSchedule", **PROTECTED),
    ):
        scene.given(denial)
        assert not scene.may("scheduler", "DeleteSchedule", GroupName="g", Name="s")
        assert not scene.may("scheduler", "DeleteScheduleGroup", Name="g")
    scene.given()
    assert scene.may("scheduler", "DeleteScheduleGroup", Name="g")


@pytest.mark.parametrize("key", ["ec2:AvailabilityZone", "ec2:AvailabilityZoneId"])
def test_a_zone_is_the_same_by_its_name_and_by_its_id(scene: Permissions, key: str) -> None:
    zones = {"ec2:AvailabilityZone": "us-east-1b", "ec2:AvailabilityZoneId": "use1-az2"}
    scene.given(deny(["ec2:CreateVolume", "ec2:AllocateHosts", "ec2:RunInstances"], StringEquals={key: zones[key]}))
    volume, hosts = {"Size": 1}, {"InstanceType": "t3.micro", "Quantity": 1}
    launch = {"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    for allowed, place in (
        (False, {"AvailabilityZone": "us-east-1b"}),
        (False, {"AvailabilityZoneId": "use1-az2"}),
        (True, {"AvailabilityZoneId": "use1-az1"}),
    ):
        assert scene.may("ec2", "CreateVolume", **volume, **place) == allowed
        assert scene.may("ec2", "AllocateHosts", **hosts, **place) == allowed
        assert scene.may("ec2", "RunInstances", **launch, Placement=place) == allowed


def test_policies_can_ask_what_is_asked_of_a_group(scene: Permissions) -> None:
    group = {"AutoScalingGroupName": "web"}
    scene.given(deny("autoscaling:*", NumericGreaterThan={"autoscaling:MaxSize": "4"}))
    for size in (4, 5):
        batch = [{"ScheduledActionName": name, "MaxSize": most} for name, most in (("a", 1), ("b", size))]
        for name, params in (
            ("UpdateAutoScalingGroup", {"MaxSize": size}),
            ("PutScheduledUpdateGroupAction", {"ScheduledActionName": "a", "MaxSize": size}),
            ("BatchPutScheduledUpdateGroupAction", {"ScheduledUpdateGroupActions": batch}),
        ):
            assert scene.may("autoscaling", name, **group, **params) == (size == 4), name
    scene.given(deny("autoscaling:DeleteAutoScalingGroup", Bool={"autoscaling:ForceDelete": "true"}))
    assert not scene.may("autoscaling", "DeleteAutoScalingGroup", **group, ForceDelete=True)
    assert scene.may("autoscaling", "DeleteAutoScalingGroup", **group)


def test_policies_can_ask_for_the_metadata_options_of_a_launch_configuration(scene: Permissions) -> None:
    asked = {"LaunchConfigurationName": "c", "ImageId": scene.cloud.image_id, "InstanceType": "t3.micro"}
    scene.given(deny("autoscaling:*", StringNotEquals={"autoscaling:MetadataHttpTokens": "required"}))
    required, optional = ({"MetadataOptions": {"HttpTokens": tokens}} for tokens in ("required", "optional"))
    assert scene.may("autoscaling", "CreateLaunchConfiguration", **asked, **required)
    assert not scene.may("autoscaling", "CreateLaunchConfiguration", **asked, **optional)
    assert not scene.may("autoscaling", "CreateLaunchConfiguration", **asked)


def test_policies_can_ask_what_a_change_sets(scene: Permissions) -> None:
    data = {"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro"}
    scene.cloud.call("CreateLaunchTemplate", LaunchTemplateName="web", LaunchTemplateData=data)
    scene.given(deny("ec2:ModifyLaunchTemplate", StringEquals={"ec2:Attribute/DefaultVersion": "2"}))
    assert not scene.may("ec2", "ModifyLaunchTemplate", LaunchTemplateName="web", DefaultVersion="2")
    assert scene.may("ec2", "ModifyLaunchTemplate", LaunchTemplateName="web", DefaultVersion="1")
    tags = {"CreateBucketConfiguration": {"Tags": [{"Key": "team", "Value": "a"}]}}
    scene.given(deny("s3:CreateBucket", StringEquals={"aws:RequestTag/team": "a"}))
    assert not scene.may("s3", "CreateBucket", Bucket="bucket", **tags)
    assert scene.may("s3", "CreateBucket", Bucket="bucket")


def test_a_rule_names_no_prefix_list_that_a_deny_keeps(scene: Permissions) -> None:
    group = scene.cloud.default("group")["GroupId"]
    listed = scene.cloud.call(
        *("CreateManagedPrefixList",),
        PrefixListName="p",
        MaxEntries=1,
        AddressFamily="IPv4",
        TagSpecifications=tagged("prefix-list", keep="yes"),
    )["PrefixList"]["PrefixListId"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "PrefixListId": listed}
    update = [{"SecurityGroupRuleId": "sgr-0123456789abcdef0", "SecurityGroupRule": rule}]
    scene.given(deny("ec2:ModifySecurityGroupRules", f"{HERE}prefix-list/*", **PROTECTED))
    assert not scene.may("ec2", "ModifySecurityGroupRules", GroupId=group, SecurityGroupRules=update)


def test_a_tag_of_iams_is_kept_however_its_key_is_spelled(account: Account) -> None:
    """To IAM keys that differ by case are one: who sets or removes `KEEP` means `keep`."""
    kept = {"ForAnyValue:StringEquals": {"aws:TagKeys": "keep"}}
    ann = account.user("ann", EVERYTHING, deny(["iam:*Tag*", "sts:TagSession"], **kept))
    pairs = [{"Key": "keep", "Value": "yes"}]
    account.role("acting", trusted=json.dumps(TAGGING))
    named = {"Role": "acting", "User": "ann", "InstanceProfile": "p"}
    account.iam("CreateInstanceProfile", InstanceProfileName="p", Tags=pairs)
    account.iam("TagRole", RoleName="acting", Tags=pairs)
    account.iam("TagUser", UserName="ann", Tags=pairs)
    changed = [{"Key": "KEEP", "Value": "no"}]
    for noun, name in named.items():
        for verb, params in (("Untag", {"TagKeys": ["Keep"]}), ("Tag", {"Tags": changed})):
            with refused("AccessDenied", f"iam:{verb}{noun}"):
                account.iam(f"{verb}{noun}", caller=ann, **{f"{noun}Name": name}, **params)
        account.iam(f"Untag{noun}", caller=ann, **{f"{noun}Name": name}, TagKeys=["other"])
    role = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/acting", "RoleSessionName": "test"}
    with refused("AccessDenied", "sts:TagSession"):
        account.call("sts", "AssumeRole", caller=ann, **role, Tags=changed)
    account.call("sts", "AssumeRole", caller=ann, **role, Tags=[{"Key": "other", "Value": "no"}])


TAGGING = {
    "Statement": {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": ["sts:AssumeRole", "sts:TagSession"]}
}
