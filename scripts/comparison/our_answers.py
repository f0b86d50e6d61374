"""Asks a cloud of our own, which has one of most things, for the operations that were recorded."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError, ParamValidationError

from comparison.recordings import members

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
    "iam.ListRoles": [{}, {"MaxItems": 1}],
    "iam.ListServiceSpecificCredentials": [{}, {"MaxItems": 1}],
    "cloudwatch.DescribeAlarmsForMetric": [{"Namespace": "AWS/EC2", "MetricName": "CPUUtilization"}],
    "ssm.ListTagsForResource": [{"ResourceType": "Parameter", "ResourceId": "scene"}],
}
"""What single operations are asked for besides, once for each row."""


DISK = {"VolumeSize": 1, "VolumeType": "gp3", "DeleteOnTermination": True}


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
        to_peer = {"DestinationCidrBlock": "10.9.0.0/16", "VpcPeeringConnectionId": peering}
        ec2.create_route(RouteTableId=known["RouteTableId"], **to_peer)
        there = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [known["PeerVpcId"]]}])
        far = {"GroupId": there["SecurityGroups"][0]["GroupId"], "VpcPeeringConnectionId": peering}
        far["VpcId"] = known["PeerVpcId"]
        prefixes = [{"PrefixListId": ec2.describe_prefix_lists()["PrefixLists"][0]["PrefixListId"]}]
        for peer in ({"UserIdGroupPairs": [far]}, {"PrefixListIds": prefixes}):
            permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, **peer}
            ec2.authorize_security_group_ingress(GroupId=known["SecurityGroupId"], IpPermissions=[permission])
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
        service = {"UserName": "gone", "ServiceName": "codecommit.amazonaws.com"}
        made = iam.create_service_specific_credential(**service)["ServiceSpecificCredential"]
        one = {"UserName": "gone", "ServiceSpecificCredentialId": made["ServiceSpecificCredentialId"]}
        iam.reset_service_specific_credential(**one)
        iam.update_service_specific_credential(**one, Status="Inactive")
        iam.delete_service_specific_credential(**one)
        issuer = iam.create_open_id_connect_provider(Url="https://gone.example.com")["OpenIDConnectProviderArn"]
        iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=issuer)
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
        groups.delete_launch_configuration(LaunchConfigurationName="gone")
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
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet["SubnetId"])
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="10.7.0.0/16", NetworkInterfaceId=interfaces[0])
        other = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        peering = [{"ResourceType": "vpc-peering-connection", "Tags": tags}]
        ec2.create_vpc_peering_connection(VpcId=subnet["VpcId"], PeerVpcId=other, TagSpecifications=peering)
        one = {"ImageId": "ami-12345678", "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
        for _ in range(2):
            host = ec2.allocate_hosts(
                AvailabilityZone=subnet["AvailabilityZone"],
                InstanceType="m5.large",
                Quantity=1,
                TagSpecifications=[{"ResourceType": "dedicated-host", "Tags": tags}],
            )["HostIds"][0]
        ec2.release_hosts(HostIds=[host])
        ec2.run_instances(**one, SubnetId=subnet["SubnetId"], Placement={"Tenancy": "host"})
        ec2.run_instances(**one, SubnetId=subnet["SubnetId"], InstanceMarketOptions={"MarketType": "spot"})
        ec2.request_spot_instances(
            LaunchSpecification={
                "ImageId": "ami-12345678",
                "InstanceType": "m5.large",
                "SecurityGroupIds": [group],
                "SubnetId": subnet["SubnetId"],
            },
            TagSpecifications=[{"ResourceType": "spot-instances-request", "Tags": tags}],
            ValidUntil=datetime.now(UTC) + timedelta(days=1),
        )
        ec2.modify_instance_metadata_defaults(
            HttpTokens="required", HttpPutResponseHopLimit=2, HttpEndpoint="enabled", InstanceMetadataTags="enabled"
        )
        nat = {"SubnetId": subnet["SubnetId"], "AllocationId": address["AllocationId"]}
        made = ec2.create_nat_gateway(TagSpecifications=[{"ResourceType": "natgateway", "Tags": tags}], **nat)
        to_nat = {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": made["NatGateway"]["NatGatewayId"]}
        ec2.create_route(RouteTableId=table, **to_nat)
        data = {
            "ImageId": "ami-12345678",
            "InstanceType": "t3.micro",
            "KeyName": "scene",
            "UserData": "IyEvYmluL3No",
            "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {**DISK, "Encrypted": False}}],
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
            "PeerVpcId": other,
            "RouteTableId": table,
            "SecurityGroupId": group,
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
        device = iam.create_virtual_mfa_device(VirtualMFADeviceName="scene")["VirtualMFADevice"]
        now = datetime.now(UTC)
        first, second = (_one_time_code(device["Base32StringSeed"], now + timedelta(seconds=at)) for at in (-30, 0))
        iam.enable_mfa_device(
            UserName="scene", SerialNumber=device["SerialNumber"], AuthenticationCode1=first, AuthenticationCode2=second
        )
        for service in ("codecommit", "cassandra"):
            iam.create_service_specific_credential(UserName="scene", ServiceName=f"{service}.amazonaws.com")
        issuer = {"Url": "https://scene.example.com", "ClientIDList": ["scene"], "ThumbprintList": ["a" * 40]}
        provider = iam.create_open_id_connect_provider(**issuer, Tags=tags)["OpenIDConnectProviderArn"]
        iam.generate_credential_report()
        iam.update_account_password_policy(MinimumPasswordLength=12)
        names = ("UserName", "GroupName", "RoleName", "InstanceProfileName", "PolicyName")
        found = {
            **dict.fromkeys(names, "scene"),
            "PolicyArn": policy,
            "VersionId": "v1",
            "AccessKeyId": key["AccessKeyId"],
            "OpenIDConnectProviderArn": provider,
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
        template = self._client("ec2").describe_launch_template_versions(LaunchTemplateName="scene")
        image = template["LaunchTemplateVersions"][0]["LaunchTemplateData"]["ImageId"]
        allowed = self._client("ec2").describe_security_groups()["SecurityGroups"][0]["GroupId"]
        for name in ("scene", "gone"):
            groups.create_launch_configuration(
                LaunchConfigurationName=name,
                ImageId=image,
                InstanceType="t3.micro",
                SpotPrice="0.5",
                IamInstanceProfile="scene",
                AssociatePublicIpAddress=True,
                SecurityGroups=[allowed],
                BlockDeviceMappings=[
                    {"DeviceName": "/dev/sdf", "Ebs": {**DISK, "Encrypted": False}},
                    {"DeviceName": "/dev/sdg", "NoDevice": True},
                ],
            )
        groups.create_auto_scaling_group(
            AutoScalingGroupName="older",
            MinSize=0,
            MaxSize=0,
            AvailabilityZones=[zone],
            LaunchConfigurationName="scene",
        )
        groups.suspend_processes(AutoScalingGroupName="older", ScalingProcesses=["AZRebalance"])
        mixed = {"LaunchTemplateSpecification": {"LaunchTemplateName": "scene", "Version": "$Latest"}}
        groups.create_auto_scaling_group(
            AutoScalingGroupName="mixed",
            MinSize=0,
            MaxSize=0,
            AvailabilityZones=[zone],
            DesiredCapacityType="units",
            MixedInstancesPolicy={"LaunchTemplate": {**mixed, "Overrides": [{"InstanceType": "t3.micro"}]}},
        )
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


def _one_time_code(seed: bytes, at: datetime) -> str:
    """RFC 6238, as authenticators compute it: six digits every 30 seconds, by SHA-1."""
    step = int(at.timestamp()) // 30
    digest = hmac.digest(base64.b32decode(seed), step.to_bytes(8, "big"), "sha1")
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"
