#!/usr/bin/env python3
"""Compares this cloud's answers with answers that were recorded on AWS, and prints what AWS has and we lack.

    python scripts/recorded.py FOLDER...

Each FOLDER is searched for two kinds of files, of which none is part of this project:

- placebo's recordings, a file an answer (`ec2.DescribeInstances_1.json`): cloud-custodian has them in
  `tests/data/placebo`
- LocalStack's snapshots (`test_iam.snapshot.json`, below a folder that is named after the service): of these the error
  codes are taken, as they do not say what was asked

Every recorded operation that only looks is asked of a cloud of our own, without servers, that has one of most things.
Of operations that change something, the answers are compared that making and changing these things had.
What is compared are the members of the answers (`Reservations[].Instances[].ImageId`), and the codes of errors. What we
leave out on purpose stands in `scripts/recorded_left_out.toml`, with the reason.
"""

from __future__ import annotations

import ast
import json
import re
import secrets
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError, ParamValidationError

ROOT = Path(__file__).parent.parent
LEFT_OUT = ROOT / "scripts" / "recorded_left_out.toml"
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/cloud/clients")]

SERVICES = {"monitoring": "cloudwatch"}
"""Placebo's names of services, where ours are others."""
OURS = ("autoscaling", "cloudwatch", "ec2", "iam", "s3", "scheduler", "ssm", "sts")
LOOKS = ("Describe", "List", "Get", "Head")
OPTIONAL = {"UserName"}
"""What IAM does not require, as it takes the caller instead; ours is root."""
ASKED: dict[str, list[dict[str, Any]]] = {
    "ec2.DescribeImageAttribute": [{"Attribute": "launchPermission"}, {"Attribute": "description"}],
    "ec2.DescribeInstanceAttribute": [
        {"Attribute": name} for name in ("userData", "disableApiStop", "disableApiTermination", "rootDeviceName")
    ],
    "ec2.DescribeLaunchTemplateVersions": [{"LaunchTemplateName": "scene"}],
    "ec2.DescribeVpcAttribute": [
        {"Attribute": name} for name in ("enableDnsSupport", "enableDnsHostnames", "enableNetworkAddressUsageMetrics")
    ],
    "cloudwatch.DescribeAlarmsForMetric": [{"Namespace": "AWS/EC2", "MetricName": "CPUUtilization"}],
    "ssm.ListTagsForResource": [{"ResourceType": "Parameter", "ResourceId": "scene"}],
}
"""What single operations are asked for besides, once for each row."""
_PLACEBO = re.compile(r"([a-z0-9-]+)\.([A-Z][A-Za-z0-9]+)_\d+\.json")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{1,99}")
_CODES = {"code", "not_found", "malformed"}
"""What a parameter or field is called that holds an error's code."""
_MEMBER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")


class UsageError(Exception):
    """What was asked cannot be done; the text says why."""


@dataclass
class Recorded:
    """What AWS was recorded with: members by operation, and the services that each code of an error was seen at."""

    members: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    answers: Counter[str] = field(default_factory=Counter)
    codes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    passed_over: int = 0
    """Files that could not be read."""

    def add_answer(self, operation: str, content: Mapping[str, Any]) -> None:
        data = content.get("data")
        if not isinstance(data, dict):
            return
        service = operation.partition(".")[0]
        error = data.get("Error")
        if isinstance(error, dict) and "Code" in error:
            self._add_code(service, error)
            return
        found = set(members(data))
        # Only now: a file that is too deep adds nothing.
        self.answers[operation] += 1
        self.members[operation].update(found)

    def add_errors(self, service: str, content: Any) -> None:
        if isinstance(content, dict):
            error = content.get("Error")
            if isinstance(error, dict):
                self._add_code(service, error)
            content = list(content.values())
        if isinstance(content, list):
            for each in content:
                self.add_errors(service, each)

    def _add_code(self, service: str, error: Mapping[str, Any]) -> None:
        code = error.get("Code")
        if isinstance(code, str) and _CODE.fullmatch(code):
            self.codes[code].add(service)


def members(value: Any, place: str = "") -> Iterator[str]:
    """The places of all members that say something: `Vpcs[].VpcId`. A value of placebo's, as a date, is one member.

    What cannot be a member's name is none, such as a key of somebody's own.
    """
    if isinstance(value, dict) and "__class__" not in value:
        for name, inner in value.items():
            if not _MEMBER.fullmatch(name):
                continue
            if name.endswith("Document"):
                # A policy's: what is in it is somebody's own text.
                yield f"{place}.{name}" if place else name
            elif name != "ResponseMetadata":
                yield from members(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for inner in value:
            yield from members(inner, f"{place}[]")
    elif place and value is not None:
        yield place


def read(folders: Iterable[Path]) -> Recorded:
    found = Recorded()
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder. Name folders of recordings.")
        for path in sorted(folder.rglob("*.json")):
            _read_file(found, path)
    if not found.members and not found.codes:
        raise UsageError("no recordings of placebo's or LocalStack's are in these folders.")
    return found


def _read_file(found: Recorded, path: Path) -> None:
    named = _PLACEBO.fullmatch(path.name)
    service = SERVICES.get(named[1], named[1]) if named else path.parent.name
    if service not in OURS or not (named or path.name.endswith(".snapshot.json")):
        return
    try:
        content = json.loads(path.read_bytes())
        if named and isinstance(content, dict):
            found.add_answer(f"{service}.{named[2]}", content)
        elif not named:
            found.add_errors(service, content)
    except (ValueError, OSError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        print(f"recorded: {str(path)!r} is passed over: {why}", file=sys.stderr)
        found.passed_over += 1


@dataclass(frozen=True)
class LeftOut:
    """Members, or codes of errors, that we leave out on purpose. Both may be patterns (`*`)."""

    operation: str
    members: tuple[str, ...]
    reason: str

    def has(self, operation: str, member: str) -> bool:
        return fnmatchcase(operation, self.operation) and any(_like(member, each) for each in self.members)


def _like(member: str, wanted: str) -> bool:
    """`[]` is not a pattern here. Whatever is below a member belongs to it."""
    written = wanted.replace("[]", "[[]]")
    return fnmatchcase(member, written) or fnmatchcase(member, f"{written}[.[]*")


def left_out(path: Path = LEFT_OUT) -> list[LeftOut]:
    rows = tomllib.loads(path.read_text())["left_out"]
    return [LeftOut(row["operation"], tuple(row["members"]), row["reason"]) for row in rows]


class OurAnswers:
    """A cloud with one of most things, which is asked the recorded operations."""

    def __init__(self, cloud: Any) -> None:
        self._cloud = cloud
        self._clients: dict[str, Any] = {}
        self._told: dict[str, set[str]] = defaultdict(set)
        """The members of what making the scene was answered, by operation."""
        self._known = self._made()
        self._change()

    def members(self, operation: str) -> set[str] | str:
        """The members of our answer, or why there is none."""
        service, _, name = operation.partition(".")
        client = self._client(service)
        model = client.meta.service_model
        if name not in model.operation_names:
            return "botocore does not know it any more"
        if not name.startswith(LOOKS):
            return self._told.get(operation, "it changes what the scene has none of")
        shape = model.operation_model(name).input_shape
        required = shape.required_members if shape is not None else []
        known = {member: value for (of, member), value in self._known.items() if of == service}
        optional = OPTIONAL & set(shape.members) if shape is not None and service == "iam" else set()
        found: set[str] = set()
        for more in ASKED.get(operation, [{}]):
            given = {**known, **more}
            missing = [member for member in required if member not in given]
            if missing:
                return f"the scene has no {', '.join(missing)}"
            asked = {*required, *more, *optional}
            try:
                answer = getattr(client, xform_name(name))(**{member: given[member] for member in asked})
            except ClientError as error:
                return f"{error.response['Error']['Code']}: {error.response['Error'].get('Message')}"
            except ParamValidationError as error:
                return str(error).replace("\n", " ")
            found.update(members(answer))
        return found or "the scene has none of these, or AWS has none to begin with"

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            client = self._cloud.client(service)

            def note(parsed: Mapping[str, Any], model: Any, **_: Any) -> None:
                if "Error" not in parsed:
                    self._told[f"{service}.{model.name}"].update(members(parsed))

            client.meta.events.register("after-call", note)
            self._clients[service] = client
        return self._clients[service]

    def _made(self) -> dict[tuple[str, str], Any]:
        # EC2 launches with what IAM has.
        by_iam = self._made_of_iam()
        return {**by_iam, **self._made_of_ec2(), **self._made_elsewhere()}

    def _change(self) -> None:
        """Change what is there, and make others that are removed again."""
        self._change_ec2()
        self._change_iam()
        self._change_elsewhere()

    def _change_ec2(self) -> None:
        ec2, known = self._client("ec2"), {name: value for (_, name), value in self._known.items()}
        zone = ec2.describe_subnets()["Subnets"][0]["AvailabilityZone"]
        tags, instance, volume = [{"Key": "Name", "Value": "changed"}], known["InstanceId"], known["VolumeId"]
        ec2.modify_vpc_attribute(VpcId=known["VpcId"], EnableDnsHostnames={"Value": True})
        ec2.create_tags(Resources=[volume], Tags=tags)
        ec2.delete_tags(Resources=[volume], Tags=tags)
        ec2.monitor_instances(InstanceIds=[instance])
        ec2.unmonitor_instances(InstanceIds=[instance])
        ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": False})
        association = ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"][0]
        profile = {"Name": "scene"}
        ec2.replace_iam_instance_profile_association(
            AssociationId=association["AssociationId"], IamInstanceProfile=profile
        )
        group = ec2.create_security_group(GroupName="gone", Description="gone", VpcId=known["VpcId"])["GroupId"]
        rule = [{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
        for way in ("ingress", "egress"):
            getattr(ec2, f"authorize_security_group_{way}")(GroupId=group, IpPermissions=rule)
            getattr(ec2, f"revoke_security_group_{way}")(GroupId=group, IpPermissions=rule)
        vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}])["Vpc"]
        subnet = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock="10.8.1.0/24", AvailabilityZone=zone)["Subnet"]
        ec2.modify_subnet_attribute(SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": True})
        interface = ec2.create_network_interface(SubnetId=subnet["SubnetId"])["NetworkInterface"]["NetworkInterfaceId"]
        ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Description={"Value": "changed"})
        address = ec2.allocate_address(Domain="vpc")["AllocationId"]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        peering = ec2.describe_vpc_peering_connections()["VpcPeeringConnections"][0]["VpcPeeringConnectionId"]
        ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
        ec2.create_key_pair(KeyName="gone")
        ec2.delete_key_pair(KeyName="gone")
        ec2.delete_network_interface(NetworkInterfaceId=interface)
        ec2.release_address(AllocationId=address)
        ec2.delete_internet_gateway(InternetGatewayId=gateway)
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        ec2.delete_vpc(VpcId=vpc["VpcId"])
        ec2.delete_security_group(GroupId=group)
        launched = ec2.run_instances(ImageId="ami-12345678", InstanceType="t3.micro", MinCount=1, MaxCount=1)
        other = launched["Instances"][0]["InstanceId"]
        made = ec2.associate_iam_instance_profile(InstanceId=other, IamInstanceProfile=profile)
        association = made["IamInstanceProfileAssociation"]
        ec2.disassociate_iam_instance_profile(AssociationId=association["AssociationId"])
        ec2.terminate_instances(InstanceIds=[other])
        self._known["ec2", "PrefixListId"] = ec2.describe_prefix_lists()["PrefixLists"][0]["PrefixListId"]
        self._known["ec2", "GroupId"] = [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]]

    def _change_iam(self) -> None:
        iam, tags = self._client("iam"), [{"Key": "a", "Value": "b"}]
        allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
        trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document, trusting = (json.dumps({"Version": "2012-10-17", "Statement": [one]}) for one in (allow, trust))
        policy = iam.create_policy(PolicyName="gone", PolicyDocument=document)["Policy"]["Arn"]
        iam.create_policy_version(PolicyArn=policy, PolicyDocument=document)
        iam.delete_policy_version(PolicyArn=policy, VersionId="v2")
        iam.create_user(UserName="gone")
        iam.create_group(GroupName="gone")
        iam.create_role(RoleName="gone", AssumeRolePolicyDocument=trusting)
        iam.create_instance_profile(InstanceProfileName="gone")
        iam.add_role_to_instance_profile(InstanceProfileName="gone", RoleName="gone")
        iam.remove_role_from_instance_profile(InstanceProfileName="gone", RoleName="gone")
        iam.delete_instance_profile(InstanceProfileName="gone")
        iam.add_user_to_group(GroupName="gone", UserName="gone")
        iam.remove_user_from_group(GroupName="gone", UserName="gone")
        key = iam.create_access_key(UserName="gone")["AccessKey"]["AccessKeyId"]
        iam.update_access_key(UserName="gone", AccessKeyId=key, Status="Inactive")
        iam.delete_access_key(UserName="gone", AccessKeyId=key)
        iam.create_login_profile(UserName="gone", Password=secrets.token_urlsafe(16) + "aA1-")
        iam.delete_login_profile(UserName="gone")
        for kind in ("user", "role", "group"):
            named = {f"{kind.capitalize()}Name": "gone"}
            getattr(iam, f"attach_{kind}_policy")(PolicyArn=policy, **named)
            getattr(iam, f"detach_{kind}_policy")(PolicyArn=policy, **named)
            getattr(iam, f"put_{kind}_policy")(PolicyName="gone", PolicyDocument=document, **named)
            getattr(iam, f"delete_{kind}_policy")(PolicyName="gone", **named)
            if kind != "group":
                getattr(iam, f"tag_{kind}")(Tags=tags, **named)
                getattr(iam, f"untag_{kind}")(TagKeys=["a"], **named)
                getattr(iam, f"put_{kind}_permissions_boundary")(PermissionsBoundary=policy, **named)
                getattr(iam, f"delete_{kind}_permissions_boundary")(**named)
            getattr(iam, f"delete_{kind}")(**named)
        iam.delete_policy(PolicyArn=policy)
        asked = {"ActionNames": ["s3:GetObject"]}
        iam.simulate_custom_policy(PolicyInputList=[document], **asked)
        iam.simulate_principal_policy(PolicySourceArn=iam.get_user(UserName="scene")["User"]["Arn"], **asked)
        role = iam.get_role(RoleName="scene")["Role"]["Arn"]
        own = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        trusting = json.dumps({"Version": "2012-10-17", "Statement": [trust, own]})
        iam.update_assume_role_policy(RoleName="scene", PolicyDocument=trusting)
        self._client("sts").assume_role(RoleArn=role, RoleSessionName="scene", Policy=document)

    def _change_elsewhere(self) -> None:
        s3, ssm, groups = self._client("s3"), self._client("ssm"), self._client("autoscaling")
        s3.create_bucket(Bucket="gone")
        encryption = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
        s3.put_bucket_encryption(Bucket="gone", ServerSideEncryptionConfiguration=encryption)
        s3.delete_bucket_encryption(Bucket="gone")
        s3.put_object(Bucket="gone", Key="key", Body=b"content")
        s3.copy_object(Bucket="gone", Key="copy", CopySource="gone/key")
        named = {"Bucket": "gone", "Key": "parts"}
        upload = {**named, "UploadId": s3.create_multipart_upload(**named, ChecksumAlgorithm="SHA256")["UploadId"]}
        part = s3.upload_part(**upload, PartNumber=1, Body=b"content", ChecksumAlgorithm="SHA256")
        done = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [done]})
        upload = {**named, "UploadId": s3.create_multipart_upload(**named)["UploadId"]}
        s3.upload_part_copy(**upload, PartNumber=1, CopySource="gone/key")
        s3.abort_multipart_upload(**upload)
        for key in ("key", "copy", "parts"):
            s3.delete_object(Bucket="gone", Key=key)
        s3.put_object(Bucket="scene", Key="gone", Body=b"content")
        s3.copy_object(Bucket="scene", Key="copy", CopySource="scene/gone")
        version = s3.delete_object(Bucket="scene", Key="gone")["VersionId"]
        s3.delete_objects(Bucket="scene", Delete={"Objects": [{"Key": "gone", "VersionId": version}, {"Key": "copy"}]})
        s3.delete_bucket_policy(Bucket="gone")
        s3.delete_bucket_lifecycle(Bucket="gone")
        s3.delete_bucket(Bucket="gone")
        ssm.put_parameter(Name="gone", Value="value", Type="String")
        ssm.delete_parameter(Name="gone")
        ssm.delete_parameters(Names=["gone"])
        ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId="scene", Tags=[{"Key": "a", "Value": "b"}])
        group = {"AutoScalingGroupName": "scene"}
        groups.suspend_processes(**group)
        groups.resume_processes(**group)
        groups.update_auto_scaling_group(**group, MaxSize=3)
        tag = {"ResourceId": "scene", "ResourceType": "auto-scaling-group", "Key": "b"}
        groups.create_or_update_tags(Tags=[{**tag, "Value": "c", "PropagateAtLaunch": False}])
        groups.delete_tags(Tags=[tag])
        alarms = self._client("cloudwatch")
        alarms.put_metric_data(Namespace="scene", MetricData=[{"MetricName": "scene", "Value": 1.0}])
        alarms.delete_alarms(AlarmNames=["gone"])

    def _made_of_ec2(self) -> dict[tuple[str, str], Any]:
        ec2 = self._client("ec2")
        tags = [{"Key": "Name", "Value": "scene"}]
        subnet = ec2.describe_subnets()["Subnets"][0]
        ec2.create_key_pair(KeyName="scene", TagSpecifications=[{"ResourceType": "key-pair", "Tags": tags}])
        group = ec2.create_security_group(GroupName="scene", Description="of the scene", VpcId=subnet["VpcId"])[
            "GroupId"
        ]
        ports = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
        ranges, pairs = [{"CidrIp": "10.0.0.0/8", "Description": "near"}], [{"GroupId": group}]
        rule = {**ports, "IpRanges": ranges, "UserIdGroupPairs": pairs}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
        ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[rule])
        launched = ec2.run_instances(
            ImageId="ami-12345678",
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            KeyName="scene",
            SubnetId=subnet["SubnetId"],
            SecurityGroupIds=[group],
            IamInstanceProfile={"Name": "scene"},
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}, {"ResourceType": "volume", "Tags": tags}],
            UserData="#!/bin/sh",
        )
        instance = launched["Instances"][0]
        volume = ec2.create_volume(AvailabilityZone=subnet["AvailabilityZone"], Size=1)["VolumeId"]
        ec2.create_tags(Resources=[volume, subnet["SubnetId"], subnet["VpcId"], group], Tags=tags)
        address = ec2.allocate_address(Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": tags}])
        gateway = ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
        options = ec2.describe_dhcp_options()["DhcpOptions"][0]["DhcpOptionsId"]
        table = ec2.create_route_table(VpcId=subnet["VpcId"])["RouteTable"]["RouteTableId"]
        interfaces = [one["NetworkInterfaceId"] for one in instance["NetworkInterfaces"]]
        ec2.create_tags(Resources=[gateway, options, table, *interfaces], Tags=tags)
        s3 = {"ServiceName": "com.amazonaws.us-east-1.s3", "RouteTableIds": [table]}
        endpoint = [{"ResourceType": "vpc-endpoint", "Tags": tags}]
        ec2.create_vpc_endpoint(VpcId=subnet["VpcId"], TagSpecifications=endpoint, **s3)
        other = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        ec2.create_vpc_peering_connection(VpcId=subnet["VpcId"], PeerVpcId=other)
        ec2.allocate_hosts(AvailabilityZone=subnet["AvailabilityZone"], InstanceType="m5.large", Quantity=1)
        ec2.modify_instance_metadata_defaults(HttpTokens="required", HttpPutResponseHopLimit=2)
        nat = {"SubnetId": subnet["SubnetId"], "AllocationId": address["AllocationId"]}
        made = ec2.create_nat_gateway(TagSpecifications=[{"ResourceType": "natgateway", "Tags": tags}], **nat)
        to_nat = {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": made["NatGateway"]["NatGatewayId"]}
        ec2.create_route(RouteTableId=table, **to_nat)
        data = {
            "ImageId": "ami-12345678",
            "InstanceType": "t3.micro",
            "KeyName": "scene",
            "UserData": "IyEvYmluL3No",
            "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "VolumeType": "gp3"}}],
            "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
            "SecurityGroupIds": [group],
        }
        template = ec2.create_launch_template(
            LaunchTemplateName="scene", LaunchTemplateData=data, VersionDescription="of the scene"
        )["LaunchTemplate"]
        found = {
            "ImageId": "ami-12345678",
            "InstanceId": instance["InstanceId"],
            "LaunchTemplateId": template["LaunchTemplateId"],
            "LaunchTemplateName": "scene",
            "VolumeId": volume,
            "VpcId": subnet["VpcId"],
        }
        return {("ec2", name): value for name, value in found.items()}

    def _made_of_iam(self) -> dict[tuple[str, str], Any]:
        iam = self._client("iam")
        allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
        trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document, trusting = (json.dumps({"Version": "2012-10-17", "Statement": [one]}) for one in (allow, trust))
        tags = [{"Key": "Name", "Value": "scene"}]
        iam.create_user(UserName="scene", Tags=tags)
        key = iam.create_access_key(UserName="scene")["AccessKey"]
        iam.create_group(GroupName="scene")
        iam.add_user_to_group(GroupName="scene", UserName="scene")
        policy = iam.create_policy(PolicyName="scene", PolicyDocument=document, Description="of the scene")["Policy"][
            "Arn"
        ]
        more = {"Description": "of the scene", "PermissionsBoundary": policy, "Tags": tags}
        iam.create_role(RoleName="scene", AssumeRolePolicyDocument=trusting, **more)
        iam.put_user_permissions_boundary(UserName="scene", PermissionsBoundary=policy)
        iam.create_account_alias(AccountAlias="scene")
        iam.create_instance_profile(InstanceProfileName="scene")
        iam.add_role_to_instance_profile(InstanceProfileName="scene", RoleName="scene")
        for kind in ("user", "role", "group"):
            named = {f"{kind.capitalize()}Name": "scene"}
            getattr(iam, f"attach_{kind}_policy")(PolicyArn=policy, **named)
            getattr(iam, f"put_{kind}_policy")(PolicyName="scene", PolicyDocument=document, **named)
        iam.create_login_profile(UserName="scene", Password=secrets.token_urlsafe(16) + "aA1-")
        iam.create_virtual_mfa_device(VirtualMFADeviceName="scene")
        iam.generate_credential_report()
        iam.update_account_password_policy(MinimumPasswordLength=12)
        names = ("UserName", "GroupName", "RoleName", "InstanceProfileName", "PolicyName")
        found = {
            **dict.fromkeys(names, "scene"),
            "PolicyArn": policy,
            "VersionId": "v1",
            "AccessKeyId": key["AccessKeyId"],
        }
        return {("iam", name): value for name, value in found.items()}

    def _made_elsewhere(self) -> dict[tuple[str, str], Any]:
        s3, ssm, groups = self._client("s3"), self._client("ssm"), self._client("autoscaling")
        s3.create_bucket(Bucket="scene", ObjectOwnership="ObjectWriter")
        s3.delete_public_access_block(Bucket="scene")
        s3.put_bucket_acl(Bucket="scene", ACL="public-read")
        s3.put_public_access_block(Bucket="scene", PublicAccessBlockConfiguration={"BlockPublicAcls": True})
        s3.put_object(Bucket="scene", Key="key", Body=b"content", Tagging="a=b")
        s3.create_multipart_upload(Bucket="scene", Key="parts")
        s3.put_bucket_tagging(Bucket="scene", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
        s3.put_bucket_versioning(Bucket="scene", VersioningConfiguration={"Status": "Enabled"})
        on = {"Status": "Enabled"}
        rules = [
            {"ID": "old", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 9}, **on},
            {"ID": "cold", "Filter": {}, "Transitions": [{"Days": 9, "StorageClass": "GLACIER"}], **on},
            {"ID": "dated", "Filter": {}, "Expiration": {"Date": datetime(2040, 1, 1, tzinfo=UTC)}, **on},
            {"ID": "tagged", "Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": {"Days": 9}, **on},
            {"ID": "begun", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}, **on},
            {"ID": "versions", "Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}, **on},
            {"ID": "markers", "Filter": {}, "Expiration": {"ExpiredObjectDeleteMarker": True}, **on},
        ]
        s3.put_bucket_lifecycle_configuration(Bucket="scene", LifecycleConfiguration={"Rules": rules})
        statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": "arn:aws:s3:::scene"}
        s3.put_bucket_policy(Bucket="scene", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        ssm.put_parameter(Name="scene", Value="value", Type="String", Description="of the scene")
        zone = self._client("ec2").describe_subnets()["Subnets"][0]["AvailabilityZone"]
        groups.create_auto_scaling_group(
            AutoScalingGroupName="scene",
            MinSize=0,
            MaxSize=2,
            DesiredCapacity=1,
            AvailabilityZones=[zone],
            LaunchTemplate={"LaunchTemplateName": "scene", "Version": "$Latest"},
            Tags=[{"Key": "Name", "Value": "scene", "PropagateAtLaunch": True}],
        )
        groups.enable_metrics_collection(AutoScalingGroupName="scene", Granularity="1Minute")
        tracked = {
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
            "TargetValue": 50,
        }
        groups.put_scaling_policy(
            AutoScalingGroupName="scene",
            PolicyName="scene",
            PolicyType="TargetTrackingScaling",
            TargetTrackingConfiguration=tracked,
        )
        self._client("cloudwatch").put_metric_alarm(
            AlarmName="scene",
            AlarmDescription="of the scene",
            AlarmActions=["arn:aws:automate:us-east-1:ec2:stop"],
            Dimensions=[{"Name": "InstanceId", "Value": "i-0123456789abcdef0"}],
            Namespace="AWS/EC2",
            MetricName="CPUUtilization",
            Period=300,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
            Statistic="Average",
        )
        return {
            ("s3", "Bucket"): "scene",
            ("s3", "Key"): "key",
            ("ssm", "Name"): "scene",
            ("autoscaling", "AutoScalingGroupName"): "scene",
        }


def our_codes(folder: Path = ROOT / "skylift/cloud") -> set[str]:
    """What errors are made with: the codes in arguments of ServiceError, and of functions and rows that take a code.

    A name among these arguments counts with all that its module assigns to it, or answers by it.
    """
    modules = [ast.parse(path.read_text()) for path in sorted(folder.rglob("*.py"))]
    makers = {"ServiceError": {0: "code"}}
    for node in (node for module in modules for node in ast.walk(module)):
        names = _parameters(node)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (its := {at: n for at, n in names if n in _CODES}):
            makers.setdefault(node.name, {}).update(its)
    return {code for module in modules for code in _codes_of(module, makers)}


def _parameters(node: ast.AST) -> list[tuple[int, str]]:
    """A function's parameters, and a row's fields, by their places in a call."""
    if isinstance(node, ast.FunctionDef):
        names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        return list(enumerate(name for name in names if name != "self"))
    if isinstance(node, ast.ClassDef):
        fields = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
        return list(enumerate(each.id for each in fields if isinstance(each, ast.Name)))
    return []


def _codes_of(module: ast.Module, makers: Mapping[str, Mapping[int, str]]) -> Iterator[str]:
    known: dict[str, list[ast.AST]] = defaultdict(list)
    for node in ast.walk(module):
        if isinstance(node, ast.Assign):
            for name in (each for target in node.targets for each in ast.walk(target)):
                if isinstance(name, ast.Name):
                    known[name.id].append(node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            known[node.target.id].append(node.value)
        elif isinstance(node, ast.FunctionDef):
            known[node.name] += [each for each in ast.walk(node) if isinstance(each, ast.Return)]
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            maker = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            wanted = makers.get(maker, {})
            given = [each for at, each in enumerate(node.args) if at in wanted]
            given += [each.value for each in node.keywords if each.arg in wanted.values()]
            yield from _texts(given, known)


def _texts(nodes: Iterable[ast.AST], known: Mapping[str, list[ast.AST]]) -> Iterator[str]:
    """All codes that these expressions may be."""
    waiting, seen = list(nodes), set()
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _CODE.fullmatch(node.value):
                yield node.value
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in known and name not in seen:
                seen.add(name)
                waiting += known[name]


def report(found: Recorded, ours: OurAnswers, out: list[LeftOut]) -> Iterator[str]:
    """A line for each operation, and the sum of them."""
    same = lacking = unasked = 0
    without: dict[str, str] = {}
    for operation in sorted(found.members):
        answer = ours.members(operation)
        if isinstance(answer, str):
            without[operation] = answer
            continue
        theirs = found.members[operation]
        meant = {member for member in theirs - answer if any(each.has(operation, member) for each in out)}
        lacks = sorted(theirs - answer - meant)
        same, lacking, unasked = same + len(theirs & answer), lacking + len(lacks), unasked + len(meant)
        tail = f"; lacks {', '.join(lacks)}" if lacks else ""
        there = f"{len(theirs & answer)} of {len(theirs)} members of {found.answers[operation]} answers"
        yield f"{operation}: {there}{tail}"
    yield ""
    for operation, why in without.items():
        yield f"{operation}: not asked, as {why}"
    yield ""
    answered = our_codes()
    codes = {
        code: services
        for code, services in sorted(found.codes.items())
        if code not in answered and not any(each.has(f"{service}.errors", code) for each in out for service in services)
    }
    for code, services in codes.items():
        yield f"{', '.join(sorted(services))}: the error {code} is never answered"
    compared = len(found.members) - len(without)
    files = f"{found.passed_over} file{' was' if found.passed_over == 1 else 's were'}"
    tail = f" {files} passed over." if found.passed_over else ""
    yield (
        f"{compared} operations of {sum(found.answers.values())} recorded answers compared: {same} members are there, "
        f"{lacking} are lacking, {unasked} are left out on purpose; {len(without)} operations were not asked. "
        f"{len(found.codes) - len(codes)} of {len(found.codes)} codes of errors are ours, too, or left out on purpose."
        f"{tail}"
    )


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    from serverless_cloud import serverless_cloud  # noqa: PLC0415 - the tests' own, which is no package

    try:
        found = read([Path(argument) for argument in arguments])
        with tempfile.TemporaryDirectory() as directory, serverless_cloud(Path(directory)) as cloud:
            for line in report(found, OurAnswers(cloud), left_out()):
                print(line)
    except UsageError as error:
        print(f"recorded: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
