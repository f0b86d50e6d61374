"""The calls of Terraform's AWS provider in its order: create, wait, read, update, read, delete, and see it gone.

Terraform compares what it reads with what it was told to make: where they differ, it makes the resource anew with each
run. What it calls and looks at is in https://github.com/hashicorp/terraform-provider-aws, in `internal/service`: the
functions resource...Create, Read, Update and Delete of each file that is named here.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from serverless_cloud import ACCOUNT, Cloud

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
EVERYWHERE = "0.0.0.0/0"


def code_of(call: Callable[..., Any], **params: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**params)
    answer: Any = raised.value.response
    code: str = answer["Error"]["Code"]
    return code


def filters(**named: str) -> list[dict[str, Any]]:
    return [{"Name": name.replace("__", ".").replace("_", "-"), "Values": [value]} for name, value in named.items()]


def tagged(kind: str, **tags: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


def tags_of(found: dict[str, Any], of: str = "Tags") -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found.get(of, [])}


@pytest.fixture(name="ec2")
def ec2_fixture(cloud: Cloud) -> Any:
    return cloud.client("ec2")


@pytest.fixture(name="vpc")
def vpc_fixture(ec2: Any) -> str:
    made: str = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    return made


def test_the_provider_begins(cloud: Cloud, ec2: Any) -> None:
    """Before any resource: whose account it is, and whether the region is one."""
    who = cloud.client("sts").get_caller_identity()
    assert (who["Account"], who["Arn"].split(":")[1]) == (ACCOUNT, "aws")
    regions = {each["RegionName"] for each in ec2.describe_regions()["Regions"]}
    assert "us-east-1" in regions
    zones = ec2.describe_availability_zones(Filters=filters(state="available"))["AvailabilityZones"]
    assert all(zone["ZoneType"] == "availability-zone" and zone["OptInStatus"] for zone in zones)


def test_a_vpc(ec2: Any) -> None:
    """ec2/vpc_.go"""
    made = ec2.create_vpc(
        AmazonProvidedIpv6CidrBlock=False,
        CidrBlock="10.0.0.0/16",
        InstanceTenancy="default",
        TagSpecifications=tagged("vpc", Name="net"),
    )["Vpc"]
    only = {"VpcId": made["VpcId"]}
    ec2.modify_vpc_attribute(**only, EnableDnsHostnames={"Value": True})

    (found,) = ec2.describe_vpcs(VpcIds=[made["VpcId"]])["Vpcs"]
    assert (found["State"], found["CidrBlock"], found["InstanceTenancy"]) == ("available", "10.0.0.0/16", "default")
    assert found["OwnerId"] == ACCOUNT and found["DhcpOptionsId"] and tags_of(found) == {"Name": "net"}
    wanted = {"enableDnsHostnames": True, "enableDnsSupport": True, "enableNetworkAddressUsageMetrics": False}
    for attribute, value in wanted.items():
        answer = ec2.describe_vpc_attribute(**only, Attribute=attribute)
        assert answer[attribute[0].upper() + attribute[1:]] == {"Value": value}
    here = filters(vpc_id=made["VpcId"])
    (acl,) = ec2.describe_network_acls(Filters=[*filters(default="true"), *here])["NetworkAcls"]
    (table,) = ec2.describe_route_tables(Filters=[*filters(association__main="true"), *here])["RouteTables"]
    (group,) = ec2.describe_security_groups(Filters=[*filters(group_name="default"), *here])["SecurityGroups"]
    assert acl["IsDefault"] and table["VpcId"] == made["VpcId"] and group["GroupName"] == "default"

    ec2.create_tags(Resources=[made["VpcId"]], Tags=[{"Key": "More", "Value": "1"}])
    ec2.delete_tags(Resources=[made["VpcId"]], Tags=[{"Key": "Name"}])
    assert tags_of(ec2.describe_vpcs(VpcIds=[made["VpcId"]])["Vpcs"][0]) == {"More": "1"}
    ec2.delete_vpc(**only)
    assert code_of(ec2.describe_vpcs, VpcIds=[made["VpcId"]]) == "InvalidVpcID.NotFound"
    assert code_of(ec2.delete_vpc, **only) == "InvalidVpcID.NotFound"


def test_a_subnet_with_its_way_out(ec2: Any, vpc: str) -> None:
    """ec2/vpc_subnet.go, vpc_internet_gateway.go, vpc_route_table.go, vpc_route.go, vpc_route_table_association.go"""
    made = ec2.create_subnet(
        AvailabilityZone="us-east-1a", CidrBlock="10.1.1.0/24", TagSpecifications=tagged("subnet", Name="s"), VpcId=vpc
    )["Subnet"]
    subnet = made["SubnetId"]
    ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    (found,) = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]
    assert found | {"State": "available", "MapPublicIpOnLaunch": True, "CidrBlock": "10.1.1.0/24"} == found
    assert found | {"AssignIpv6AddressOnCreation": False, "EnableDns64": False, "Ipv6Native": False} == found
    assert found["MapCustomerOwnedIpOnLaunch"] is False and found["Ipv6CidrBlockAssociationSet"] == []
    assert found["AvailabilityZoneId"] and found["SubnetArn"].endswith(f":subnet/{subnet}")
    assert found["PrivateDnsNameOptionsOnLaunch"] == {
        "HostnameType": "ip-name",
        "EnableResourceNameDnsARecord": False,
        "EnableResourceNameDnsAAAARecord": False,
    }

    gateway = ec2.create_internet_gateway(TagSpecifications=tagged("internet-gateway", Name="g"))["InternetGateway"]
    gateway = gateway["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    (found,) = ec2.describe_internet_gateways(InternetGatewayIds=[gateway])["InternetGateways"]
    assert found["Attachments"] == [{"State": "available", "VpcId": vpc}] and found["OwnerId"] == ACCOUNT

    table = ec2.create_route_table(ClientToken="one", VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock=EVERYWHERE, GatewayId=gateway)
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    (found,) = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    route = {each["DestinationCidrBlock"]: each for each in found["Routes"]}
    assert (route[EVERYWHERE]["State"], route[EVERYWHERE]["Origin"]) == ("active", "CreateRoute")
    assert (route["10.1.0.0/16"]["GatewayId"], route["10.1.0.0/16"]["Origin"]) == ("local", "CreateRouteTable")
    assert found["PropagatingVgws"] == []
    named = filters(association__route_table_association_id=association)
    ((one,),) = [each["Associations"] for each in ec2.describe_route_tables(Filters=named)["RouteTables"]]
    assert one["AssociationState"]["State"] == "associated" and one["SubnetId"] == subnet

    ec2.disassociate_route_table(AssociationId=association)
    assert ec2.describe_route_tables(Filters=named)["RouteTables"] == []
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock=EVERYWHERE)
    ec2.delete_route_table(RouteTableId=table)
    assert code_of(ec2.describe_route_tables, RouteTableIds=[table]) == "InvalidRouteTableID.NotFound"
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    code = code_of(ec2.describe_internet_gateways, InternetGatewayIds=[gateway])
    assert code == "InvalidInternetGatewayID.NotFound"
    assert ec2.describe_network_interfaces(Filters=filters(subnet_id=subnet))["NetworkInterfaces"] == []
    ec2.delete_subnet(SubnetId=subnet)
    assert code_of(ec2.describe_subnets, SubnetIds=[subnet]) == "InvalidSubnetID.NotFound"


def test_a_security_group_with_rules_in_it(ec2: Any, vpc: str) -> None:
    """ec2/vpc_security_group.go"""
    group = ec2.create_security_group(
        GroupName="web",
        Description="Managed by Terraform",
        TagSpecifications=tagged("security-group", Name="w"),
        VpcId=vpc,
    )["GroupId"]
    (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert found["SecurityGroupArn"].endswith(f":security-group/{group}")
    everything = {"FromPort": 0, "ToPort": 0, "IpProtocol": "-1"}
    ec2.revoke_security_group_egress(
        GroupId=group, IpPermissions=[{**everything, "IpRanges": [{"CidrIp": EVERYWHERE}]}]
    )
    # It takes these two for "no such rule in a VPC without IPv6".
    code = code_of(
        ec2.revoke_security_group_egress,
        GroupId=group,
        IpPermissions=[{**everything, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}],
    )
    assert code == "InvalidPermission.NotFound"

    web = {"FromPort": 80, "ToPort": 80, "IpProtocol": "tcp"}
    described = [{"CidrIp": "10.0.0.0/8", "Description": "inside"}, {"CidrIp": "192.0.2.0/24", "Description": "inside"}]
    itself = [{"GroupId": group}]
    ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[{**web, "IpRanges": described}, {**everything, "UserIdGroupPairs": itself}]
    )
    ec2.authorize_security_group_egress(
        GroupId=group, IpPermissions=[{**everything, "IpRanges": [{"CidrIp": EVERYWHERE}]}]
    )
    (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    inward = {each["IpProtocol"]: each for each in found["IpPermissions"]}
    assert inward["tcp"]["IpRanges"] == described and "FromPort" not in inward["-1"]
    assert inward["-1"]["UserIdGroupPairs"] == [{"GroupId": group, "UserId": ACCOUNT}]
    ((outward,),) = [each["IpRanges"] for each in found["IpPermissionsEgress"]]
    assert outward == {"CidrIp": EVERYWHERE}

    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[{**web, "IpRanges": described[:1]}])
    (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert [each["IpRanges"] for each in found["IpPermissions"] if each["IpProtocol"] == "tcp"] == [described[1:]]
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=found["IpPermissions"])
    assert ec2.describe_network_interfaces(Filters=filters(group_id=group))["NetworkInterfaces"] == []
    ec2.delete_security_group(GroupId=group)
    assert code_of(ec2.describe_security_groups, GroupIds=[group]) == "InvalidGroup.NotFound"
    assert code_of(ec2.delete_security_group, GroupId=group) == "InvalidGroup.NotFound"


def test_a_rule_of_its_own(ec2: Any, vpc: str) -> None:
    """ec2/vpc_security_group_ingress_rule.go: a rule with an id, tags and changes of its own."""
    group = ec2.create_security_group(GroupName="db", Description="d", VpcId=vpc)["GroupId"]
    permission = {"FromPort": 5432, "ToPort": 5432, "IpProtocol": "tcp", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    (rule,) = ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[permission], TagSpecifications=tagged("security-group-rule", Name="in")
    )["SecurityGroupRules"]
    number = rule["SecurityGroupRuleId"]

    def read() -> dict[str, Any]:
        (found,) = ec2.describe_security_group_rules(SecurityGroupRuleIds=[number])["SecurityGroupRules"]
        answer: dict[str, Any] = found
        return answer

    assert read() | {"IsEgress": False, "CidrIpv4": "10.0.0.0/8", "FromPort": 5432, "GroupId": group} == read()
    assert tags_of(read()) == {"Name": "in"} and read()["SecurityGroupRuleArn"].endswith(f"/{number}")
    change = {"IpProtocol": "tcp", "FromPort": 5433, "ToPort": 5433, "CidrIpv4": "10.9.0.0/16", "Description": "new"}
    ec2.modify_security_group_rules(
        GroupId=group, SecurityGroupRules=[{"SecurityGroupRuleId": number, "SecurityGroupRule": change}]
    )
    assert read() | change == read() and tags_of(read()) == {"Name": "in"}
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[number])
    code = code_of(ec2.describe_security_group_rules, SecurityGroupRuleIds=[number])
    assert code == "InvalidSecurityGroupRuleId.NotFound"


def test_a_role_its_policies_and_its_profile(cloud: Cloud) -> None:
    """iam/role.go, role_policy_attachment.go, role_policy.go, policy.go, instance_profile.go"""
    iam = cloud.client("iam")
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}
    )
    iam.create_role(
        AssumeRolePolicyDocument=TRUST,
        MaxSessionDuration=3600,
        Path="/",
        RoleName="worker",
        Tags=[{"Key": "team", "Value": "one"}],
    )
    found = iam.get_role(RoleName="worker")["Role"]
    assert found | {"Path": "/", "MaxSessionDuration": 3600, "RoleName": "worker"} == found
    assert found["Arn"].startswith("arn:aws:iam::") and "Description" not in found and tags_of(found) == {"team": "one"}
    assert found["AssumeRolePolicyDocument"] == json.loads(TRUST)
    assert iam.list_role_policies(RoleName="worker")["PolicyNames"] == []
    iam.put_role_policy(RoleName="worker", PolicyName="inline", PolicyDocument=document)
    assert iam.get_role_policy(RoleName="worker", PolicyName="inline")["PolicyDocument"] == json.loads(document)

    policy = iam.create_policy(PolicyName="reads", PolicyDocument=document, Path="/")["Policy"]["Arn"]
    assert iam.get_policy(PolicyArn=policy)["Policy"]["DefaultVersionId"] == "v1"
    assert iam.get_policy_version(PolicyArn=policy, VersionId="v1")["PolicyVersion"]["IsDefaultVersion"]
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=document, SetAsDefault=True)
    iam.delete_policy_version(PolicyArn=policy, VersionId="v1")
    iam.attach_role_policy(RoleName="worker", PolicyArn=policy)
    attached = iam.list_attached_role_policies(RoleName="worker")["AttachedPolicies"]
    assert attached == [{"PolicyName": "reads", "PolicyArn": policy}]

    iam.create_instance_profile(InstanceProfileName="worker", Path="/", Tags=[{"Key": "team", "Value": "one"}])
    iam.get_instance_profile(InstanceProfileName="worker")
    iam.add_role_to_instance_profile(InstanceProfileName="worker", RoleName="worker")
    profile = iam.get_instance_profile(InstanceProfileName="worker")["InstanceProfile"]
    assert [role["RoleName"] for role in profile["Roles"]] == ["worker"] and tags_of(profile) == {"team": "one"}
    iam.tag_instance_profile(InstanceProfileName="worker", Tags=[{"Key": "team", "Value": "two"}])

    iam.update_role(RoleName="worker", MaxSessionDuration=7200)
    iam.update_role_description(RoleName="worker", Description="works")
    iam.tag_role(RoleName="worker", Tags=[{"Key": "more", "Value": "1"}])
    iam.untag_role(RoleName="worker", TagKeys=["team"])
    found = iam.get_role(RoleName="worker")["Role"]
    assert found | {"MaxSessionDuration": 7200, "Description": "works"} == found and tags_of(found) == {"more": "1"}

    iam.remove_role_from_instance_profile(InstanceProfileName="worker", RoleName="worker")
    iam.delete_instance_profile(InstanceProfileName="worker")
    assert code_of(iam.get_instance_profile, InstanceProfileName="worker") == "NoSuchEntity"
    iam.detach_role_policy(RoleName="worker", PolicyArn=policy)
    assert code_of(iam.detach_role_policy, RoleName="worker", PolicyArn=policy) == "NoSuchEntity"
    assert [each["VersionId"] for each in iam.list_policy_versions(PolicyArn=policy)["Versions"]] == ["v2"]
    iam.delete_policy(PolicyArn=policy)
    iam.delete_role_policy(RoleName="worker", PolicyName="inline")
    assert iam.list_instance_profiles_for_role(RoleName="worker")["InstanceProfiles"] == []
    iam.delete_role(RoleName="worker")
    assert code_of(iam.get_role, RoleName="worker") == "NoSuchEntity"


def test_a_key_pair_and_a_launch_template(ec2: Any) -> None:
    """ec2/ec2_key_pair.go, ec2_launch_template.go"""
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    ec2.import_key_pair(
        KeyName="key", PublicKeyMaterial=public.encode(), TagSpecifications=tagged("key-pair", Name="k")
    )
    (found,) = ec2.describe_key_pairs(KeyNames=["key"])["KeyPairs"]
    assert found["KeyType"] == "ed25519" and found["KeyFingerprint"] and found["KeyPairId"].startswith("key-")

    data = {
        "ImageId": "ami-12345678",
        "InstanceType": "t3.micro",
        "KeyName": "key",
        "UserData": "IyEvYmluL3NoCg==",
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 12, "VolumeType": "gp3"}}],
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        "TagSpecifications": tagged("instance", Name="i"),
    }
    made = ec2.create_launch_template(
        ClientToken="one",
        LaunchTemplateName="template",
        LaunchTemplateData=data,
        TagSpecifications=tagged("launch-template") if False else tagged("launch-template", Name="t"),
    )["LaunchTemplate"]
    only = {"LaunchTemplateId": made["LaunchTemplateId"]}
    (found,) = ec2.describe_launch_templates(LaunchTemplateIds=[made["LaunchTemplateId"]])["LaunchTemplates"]
    assert (found["LatestVersionNumber"], found["DefaultVersionNumber"], tags_of(found)) == (1, 1, {"Name": "t"})
    (version,) = ec2.describe_launch_template_versions(**only, Versions=["1"])["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"] | data == version["LaunchTemplateData"]
    ec2.create_launch_template_version(
        ClientToken="two", **only, LaunchTemplateData={**data, "InstanceType": "t3.small"}
    )
    ec2.modify_launch_template(**only, DefaultVersion="2")
    (found,) = ec2.describe_launch_templates(LaunchTemplateIds=[made["LaunchTemplateId"]])["LaunchTemplates"]
    assert (found["LatestVersionNumber"], found["DefaultVersionNumber"]) == (2, 2)
    (version,) = ec2.describe_launch_template_versions(**only, Versions=["2"])["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"]["InstanceType"] == "t3.small" and version["DefaultVersion"]
    ec2.delete_launch_template(**only)
    code = code_of(ec2.describe_launch_templates, LaunchTemplateIds=[made["LaunchTemplateId"]])
    assert code == "InvalidLaunchTemplateId.NotFound"
    ec2.delete_key_pair(KeyName="key")
    assert code_of(ec2.describe_key_pairs, KeyNames=["key"]) == "InvalidKeyPair.NotFound"


# What s3/bucket.go reads of a bucket that has nothing of it, with the code that it takes for "not set"; the first
# member of an answer that it looks at, and what it then expects.
UNSET = [
    ("get_bucket_policy", "NoSuchBucketPolicy"),
    ("get_bucket_cors", "NoSuchCORSConfiguration"),
    ("get_bucket_website", "NoSuchWebsiteConfiguration"),
    ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
    ("get_bucket_replication", "ReplicationConfigurationNotFoundError"),
    ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
    ("get_bucket_tagging", "NoSuchTagSet"),
]
ANSWERED: list[tuple[str, dict[str, Any]]] = [
    ("get_bucket_versioning", {}),
    ("get_bucket_accelerate_configuration", {}),
    ("get_bucket_request_payment", {"Payer": "BucketOwner"}),
    ("get_bucket_logging", {}),
    ("get_bucket_notification_configuration", {}),
    ("get_bucket_ownership_controls", {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}}),
]


def test_a_bucket(cloud: Cloud) -> None:
    """s3/bucket.go and the resources of its settings"""
    s3 = cloud.client("s3")
    only = {"Bucket": "bucket"}
    s3.create_bucket(**only)
    s3.head_bucket(**only)
    for call, code in UNSET:
        assert code_of(getattr(s3, call), **only) == code, call
    for call, expected in ANSWERED:
        answer = getattr(s3, call)(**only)
        answer.pop("ResponseMetadata")
        assert answer == expected, call
    assert len(s3.get_bucket_acl(**only)["Grants"]) == 1
    ((rule,),) = s3.get_bucket_encryption(**only)["ServerSideEncryptionConfiguration"].values()
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert s3.get_bucket_location(**only)["LocationConstraint"] is None

    everything = {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    s3.put_public_access_block(**only, PublicAccessBlockConfiguration=everything)
    assert s3.get_public_access_block(**only)["PublicAccessBlockConfiguration"] == everything
    s3.put_bucket_versioning(**only, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(**only)["Status"] == "Enabled"
    rules = [{"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}]
    s3.put_bucket_lifecycle_configuration(
        **only, LifecycleConfiguration={"Rules": rules}, TransitionDefaultMinimumObjectSize="all_storage_classes_128K"
    )
    answer = s3.get_bucket_lifecycle_configuration(**only)
    assert answer["Rules"] == rules
    assert answer["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::bucket/*"}
    secure = {**statement, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    document = {"Version": "2012-10-17", "Statement": [secure]}
    s3.put_bucket_policy(**only, Policy=json.dumps(document))
    assert json.loads(s3.get_bucket_policy(**only)["Policy"]) == document
    s3.delete_bucket_policy(**only)
    assert code_of(s3.get_bucket_policy, **only) == "NoSuchBucketPolicy"
    s3.delete_bucket_lifecycle(**only)
    assert code_of(s3.get_bucket_lifecycle_configuration, **only) == "NoSuchLifecycleConfiguration"

    # `force_destroy`
    s3.put_object(**only, Key="a", Body=b"1")
    s3.delete_object(**only, Key="a")
    assert code_of(s3.delete_bucket, **only) == "BucketNotEmpty"
    page = s3.list_object_versions(**only)
    there = [
        {"Key": each["Key"], "VersionId": each["VersionId"]} for each in [*page["Versions"], *page["DeleteMarkers"]]
    ]
    assert "Errors" not in s3.delete_objects(**only, Delete={"Objects": there, "Quiet": True})
    s3.delete_bucket(**only)
    assert code_of(s3.head_bucket, **only) == "404"
    assert code_of(s3.delete_bucket, **only) == "NoSuchBucket"


@pytest.fixture
def control(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """S3 Control: its clients write the account before the host, whose name must lead here with it."""
    ask = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **named: Any) -> Any:
        return ask("127.0.0.1" if str(host).endswith(".localhost") else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield cloud.client_at(cloud.url.replace("127.0.0.1", "localhost"), "s3control")


def test_the_tags_of_a_bucket(cloud: Cloud, control: Any) -> None:
    """s3/bucket.go since release 6.23: they come with the bucket, and are read and changed by S3 Control."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"Tags": [{"Key": "team", "Value": "one"}]})
    only = {"AccountId": ACCOUNT, "ResourceArn": "arn:aws:s3:::bucket"}
    assert tags_of(control.list_tags_for_resource(**only)) == {"team": "one"}
    given = {"team": "two", "more é": "1 + 1 = 2"}
    answer = control.tag_resource(**only, Tags=[{"Key": key, "Value": value} for key, value in given.items()])
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert tags_of(control.list_tags_for_resource(**only)) == given
    assert tags_of(s3.get_bucket_tagging(Bucket="bucket"), "TagSet") == given
    control.untag_resource(**only, TagKeys=["team", "none"])
    control.untag_resource(**only, TagKeys=["more é"])
    assert control.list_tags_for_resource(**only)["Tags"] == []
