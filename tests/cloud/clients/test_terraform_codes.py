"""The codes that Terraform's AWS provider compares by name: what is gone, and what cannot be yet.

A resource whose read answers another code than these ends a run of Terraform, where it would be made anew. The names
are in https://github.com/hashicorp/terraform-provider-aws: `internal/service/ec2/errors.go` and `find.go`; for other
services in the file of the resource.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from serverless_cloud import Cloud

NUMBER = "0123456789abcdef0"
POLICY = f"arn:aws:iam::123456789012:policy/{NUMBER}"


def ids(prefix: str, member: str) -> dict[str, Any]:
    return {member: [f"{prefix}-{NUMBER}"]}


def one(prefix: str, member: str, **more: Any) -> dict[str, Any]:
    return {member: f"{prefix}-{NUMBER}", **more}


GONE: list[tuple[str, str, dict[str, Any], str]] = [
    ("ec2", "describe_addresses", ids("eipalloc", "AllocationIds"), "InvalidAllocationID.NotFound"),
    ("ec2", "describe_dhcp_options", ids("dopt", "DhcpOptionsIds"), "InvalidDhcpOptionID.NotFound"),
    ("ec2", "describe_fleets", {"FleetIds": ["fleet-01234567-89ab-cdef-0123-456789abcdef"]}, "InvalidFleetId.NotFound"),
    ("ec2", "describe_hosts", ids("h", "HostIds"), "InvalidHostID.NotFound"),
    ("ec2", "describe_images", ids("ami", "ImageIds"), "InvalidAMIID.NotFound"),
    ("ec2", "describe_instances", ids("i", "InstanceIds"), "InvalidInstanceID.NotFound"),
    ("ec2", "describe_instance_credit_specifications", ids("i", "InstanceIds"), "InvalidInstanceID.NotFound"),
    ("ec2", "describe_internet_gateways", ids("igw", "InternetGatewayIds"), "InvalidInternetGatewayID.NotFound"),
    ("ec2", "describe_key_pairs", {"KeyNames": ["none"]}, "InvalidKeyPair.NotFound"),
    ("ec2", "describe_launch_templates", ids("lt", "LaunchTemplateIds"), "InvalidLaunchTemplateId.NotFound"),
    (
        "ec2",
        "describe_launch_templates",
        {"LaunchTemplateNames": ["none"]},
        "InvalidLaunchTemplateName.NotFoundException",
    ),
    ("ec2", "describe_nat_gateways", ids("nat", "NatGatewayIds"), "NatGatewayNotFound"),
    ("ec2", "describe_network_acls", ids("acl", "NetworkAclIds"), "InvalidNetworkAclID.NotFound"),
    ("ec2", "describe_network_interfaces", ids("eni", "NetworkInterfaceIds"), "InvalidNetworkInterfaceID.NotFound"),
    ("ec2", "describe_placement_groups", {"GroupNames": ["none"]}, "InvalidPlacementGroup.Unknown"),
    ("ec2", "describe_route_tables", ids("rtb", "RouteTableIds"), "InvalidRouteTableID.NotFound"),
    ("ec2", "describe_security_groups", ids("sg", "GroupIds"), "InvalidGroup.NotFound"),
    ("ec2", "describe_security_group_rules", ids("sgr", "SecurityGroupRuleIds"), "InvalidSecurityGroupRuleId.NotFound"),
    ("ec2", "describe_snapshots", ids("snap", "SnapshotIds"), "InvalidSnapshot.NotFound"),
    (
        "ec2",
        "describe_spot_instance_requests",
        {"SpotInstanceRequestIds": ["sir-abcd1234"]},
        "InvalidSpotInstanceRequestID.NotFound",
    ),
    ("ec2", "describe_subnets", ids("subnet", "SubnetIds"), "InvalidSubnetID.NotFound"),
    ("ec2", "describe_volumes", ids("vol", "VolumeIds"), "InvalidVolume.NotFound"),
    ("ec2", "describe_volumes_modifications", ids("vol", "VolumeIds"), "InvalidVolume.NotFound"),
    ("ec2", "describe_vpc_endpoints", ids("vpce", "VpcEndpointIds"), "InvalidVpcEndpointId.NotFound"),
    (
        "ec2",
        "describe_vpc_peering_connections",
        ids("pcx", "VpcPeeringConnectionIds"),
        "InvalidVpcPeeringConnectionID.NotFound",
    ),
    ("ec2", "describe_vpcs", ids("vpc", "VpcIds"), "InvalidVpcID.NotFound"),
    ("ec2", "detach_network_interface", one("eni-attach", "AttachmentId"), "InvalidAttachmentID.NotFound"),
    ("ec2", "disassociate_address", one("eipassoc", "AssociationId"), "InvalidAssociationID.NotFound"),
    ("ec2", "disassociate_route_table", one("rtbassoc", "AssociationId"), "InvalidAssociationID.NotFound"),
    (
        "ec2",
        "disassociate_vpc_cidr_block",
        one("vpc-cidr-assoc", "AssociationId"),
        "InvalidVpcCidrBlockAssociationID.NotFound",
    ),
    ("ec2", "release_address", one("eipalloc", "AllocationId"), "InvalidAllocationID.NotFound"),
    ("ec2", "terminate_instances", ids("i", "InstanceIds"), "InvalidInstanceID.NotFound"),
    ("iam", "get_user", {"UserName": "none"}, "NoSuchEntity"),
    ("iam", "get_group", {"GroupName": "none"}, "NoSuchEntity"),
    ("iam", "get_policy", {"PolicyArn": POLICY}, "NoSuchEntity"),
    ("iam", "get_account_password_policy", {}, "NoSuchEntity"),
    ("iam", "get_login_profile", {"UserName": "none"}, "NoSuchEntity"),
    (
        "iam",
        "get_open_id_connect_provider",
        {"OpenIDConnectProviderArn": "arn:aws:iam::123456789012:oidc-provider/none.example"},
        "NoSuchEntity",
    ),
    ("ssm", "get_parameter", {"Name": "/none"}, "ParameterNotFound"),
    ("ssm", "delete_parameter", {"Name": "/none"}, "ParameterNotFound"),
]


def code_of(client: Any, call: str, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        getattr(client, call)(**params)
    answer: Any = raised.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"]


def test_what_is_gone(cloud: Cloud) -> None:
    clients = {service: cloud.client(service) for service in ("ec2", "iam", "ssm")}
    answered = {
        (call, tuple(params)): code_of(clients[service], call, **params)[0] for service, call, params, _ in GONE
    }
    assert answered == {(call, tuple(params)): code for _, call, params, code in GONE}


# Auto Scaling has one code for all; the provider looks for these words in the message.
GROUPLESS: list[tuple[str, dict[str, Any]]] = [
    ("update_auto_scaling_group", {}),
    ("delete_auto_scaling_group", {}),
    ("delete_policy", {"PolicyName": "none"}),
    ("delete_scheduled_action", {"ScheduledActionName": "none"}),
    ("describe_policies", {}),
    ("describe_scheduled_actions", {}),
    ("describe_lifecycle_hooks", {}),
]


def test_a_group_that_is_gone(cloud: Cloud) -> None:
    """autoscaling/group.go, policy.go, schedule.go: `ErrMessageContains(err, errCodeValidationError, "not found")`"""
    scaling = cloud.client("autoscaling")
    for call, params in GROUPLESS:
        code, message = code_of(scaling, call, AutoScalingGroupName="none", **params)
        assert code == "ValidationError" and "not found" in message, call


def test_lists_that_are_empty_where_a_name_is_gone(cloud: Cloud) -> None:
    """For these the provider takes an empty list for `gone`, and an error for an error."""
    scaling, alarms = cloud.client("autoscaling"), cloud.client("cloudwatch")
    assert scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["none"])["AutoScalingGroups"] == []
    assert scaling.describe_launch_configurations(LaunchConfigurationNames=["none"])["LaunchConfigurations"] == []
    assert alarms.describe_alarms(AlarmNames=["none"], AlarmTypes=["MetricAlarm"])["MetricAlarms"] == []
    filters = [{"Key": "Name", "Option": "Equals", "Values": ["/none"]}]
    assert cloud.client("ssm").describe_parameters(ParameterFilters=filters)["Parameters"] == []


def test_what_cannot_be_yet(cloud: Cloud) -> None:
    """It tries these again until something else is gone: vpc_network_acl.go, vpc_dhcp_options.go, iam/user.go."""
    ec2, iam = cloud.client("ec2"), cloud.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.1.0/24")["Subnet"]["SubnetId"]
    assert code_of(ec2, "delete_vpc", VpcId=vpc)[0] == "DependencyViolation"

    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    of_subnet = [{"Name": "association.subnet-id", "Values": [subnet]}]
    (known,) = ec2.describe_network_acls(Filters=of_subnet)["NetworkAcls"]
    (old,) = [each["NetworkAclAssociationId"] for each in known["Associations"] if each["SubnetId"] == subnet]
    ec2.replace_network_acl_association(AssociationId=old, NetworkAclId=acl)
    again = {"AssociationId": old, "NetworkAclId": acl}
    assert code_of(ec2, "replace_network_acl_association", **again)[0] == "InvalidAssociationID.NotFound"
    assert code_of(ec2, "delete_network_acl", NetworkAclId=acl)[0] == "DependencyViolation"
    rule = {"NetworkAclId": acl, "Egress": False, "RuleNumber": 7}
    assert code_of(ec2, "delete_network_acl_entry", **rule)[0] == "InvalidNetworkAclEntry.NotFound"
    entry = {**rule, "Protocol": "-1", "RuleAction": "allow", "CidrBlock": "0.0.0.0/0"}
    ec2.create_network_acl_entry(**entry)
    assert code_of(ec2, "create_network_acl_entry", **entry)[0] == "NetworkAclEntryAlreadyExists"

    options = ec2.create_dhcp_options(DhcpConfigurations=[{"Key": "domain-name", "Values": ["a.example"]}])
    options = options["DhcpOptions"]["DhcpOptionsId"]
    ec2.associate_dhcp_options(DhcpOptionsId=options, VpcId=vpc)
    assert code_of(ec2, "delete_dhcp_options", DhcpOptionsId=options)[0] == "DependencyViolation"
    ec2.associate_dhcp_options(DhcpOptionsId="default", VpcId=vpc)
    ec2.delete_dhcp_options(DhcpOptionsId=options)

    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    route = {"RouteTableId": table, "DestinationCidrBlock": "192.0.2.0/24"}
    assert code_of(ec2, "delete_route", **route)[0] == "InvalidRoute.NotFound"
    code, _ = code_of(ec2, "create_route", **route, GatewayId=f"igw-{NUMBER}")
    assert code == "InvalidGatewayID.NotFound"
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    detach = {"InternetGatewayId": gateway, "VpcId": vpc}
    assert code_of(ec2, "detach_internet_gateway", **detach)[0] == "Gateway.NotAttached"

    iam.create_user(UserName="ann")
    iam.create_login_profile(UserName="ann", Password="aB3$aB3$aB3$")
    assert code_of(iam, "delete_user", UserName="ann")[0] == "DeleteConflict"
    iam.create_group(GroupName="group")
    iam.add_user_to_group(GroupName="group", UserName="ann")
    assert code_of(iam, "delete_group", GroupName="group")[0] == "DeleteConflict"


# What `force_destroy` of a user asks for and removes: iam/user.go.
OF_A_USER = [
    ("list_groups_for_user", "Groups"),
    ("list_access_keys", "AccessKeyMetadata"),
    ("list_attached_user_policies", "AttachedPolicies"),
    ("list_mfa_devices", "MFADevices"),
    ("list_service_specific_credentials", "ServiceSpecificCredentials"),
    ("list_signing_certificates", "Certificates"),
    ("list_ssh_public_keys", "SSHPublicKeys"),
    ("list_user_policies", "PolicyNames"),
]


def test_a_user_is_taken_away_with_what_it_has(cloud: Cloud) -> None:
    iam = cloud.client("iam")
    iam.create_user(UserName="ann", Path="/", Tags=[{"Key": "team", "Value": "one"}])
    found = iam.get_user(UserName="ann")["User"]
    assert (found["Path"], found["Tags"]) == ("/", [{"Key": "team", "Value": "one"}])
    for call, member in OF_A_USER:
        answer = getattr(iam, call)(UserName="ann")
        assert (answer[member], answer["IsTruncated"]) == ([], False), call
    key = iam.create_access_key(UserName="ann")["AccessKey"]["AccessKeyId"]
    assert iam.get_access_key_last_used(AccessKeyId=key)["AccessKeyLastUsed"]["ServiceName"] == "N/A"
    iam.update_user(UserName="ann", NewUserName="bea", NewPath="/team/")
    assert iam.get_user(UserName="bea")["User"]["Arn"].endswith(":user/team/bea")
    iam.delete_access_key(UserName="bea", AccessKeyId=key)
    gone = {"UserName": "bea", "AccessKeyId": key}
    assert code_of(iam, "delete_access_key", **gone)[0] == "NoSuchEntity"
    assert code_of(iam, "delete_login_profile", UserName="bea")[0] == "NoSuchEntity"
    iam.delete_user(UserName="bea")
