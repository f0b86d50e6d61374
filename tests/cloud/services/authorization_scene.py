"""A request to every operation, about resources that are there and have tags, and what it takes to be allowed it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from ec2_fixtures import ACCOUNT, REGION, Cloud, tagged
from permission_scene import Permissions

from skylift.cloud.domain.bucket import Spool
from skylift.cloud.domain.identity import MfaDevice, Signature
from skylift.cloud.services.api.authorize import context_of
from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.api.resource import KINDS, SECURITY_GROUP_RULE
from skylift.cloud.wire.models import OWN_MODELS

Keys = dict[str, dict[str, set[str]]]
"""By action and type of resource; `*` is a check on everything."""

TAG = [{"Key": "team", "Value": "a"}]
MADE = [*tagged("instance", team="a"), *tagged("volume", team="a"), *tagged("network-interface", team="a")]
TRUST = f'{{"Statement": [{{"Effect": "Allow", "Principal": {{"AWS": "{ACCOUNT}"}}, "Action": "sts:AssumeRole"}}]}}'
POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
IAM = f"arn:aws:iam::{ACCOUNT}:"


@cache
def model(service: str) -> ServiceModel:
    return ServiceModel(Loader(extra_search_paths=[str(OWN_MODELS)]).load_service_model(service, "service-2"))


class Everything(Permissions):
    """One of each resource. `known` has its id or name by the member of a request that names it."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.known: dict[str, Any] = {}
        self._network()
        self._servers()
        self._elsewhere()

    def _make(self, name: str, *path: str, **params: Any) -> Any:
        found = self.cloud.call(name, **params)
        for part in path:
            found = found[part]
        return found

    def _network(self) -> None:
        default, subnet = self.cloud.default("vpc")["VpcId"], self.cloud.default("subnet")
        other = self._make("CreateVpc", "Vpc", "VpcId", CidrBlock="10.7.0.0/16")
        gateway = self.cloud.call("DescribeInternetGateways")["InternetGateways"][0]["InternetGatewayId"]
        table, group = self.cloud.default("table"), self.cloud.default("group")["GroupId"]
        acl = self.cloud.call("DescribeNetworkAcls")["NetworkAcls"][0]
        rule = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
        opened = self._make("AuthorizeSecurityGroupIngress", "SecurityGroupRules", GroupId=group, IpPermissions=[rule])
        address = self.cloud.call("AllocateAddress")
        nat_address = self._make("AllocateAddress", "AllocationId")
        subnet_id = subnet["SubnetId"]
        nat = self._make("CreateNatGateway", "NatGateway", SubnetId=subnet_id, AllocationId=nat_address)
        routed = self._make(
            "AssociateRouteTable", "AssociationId", RouteTableId=table["RouteTableId"], SubnetId=subnet_id
        )
        interface = self._make("CreateNetworkInterface", "NetworkInterface", "NetworkInterfaceId", SubnetId=subnet_id)
        joined = self._make(
            "AssociateAddress", "AssociationId", AllocationId=address["AllocationId"], NetworkInterfaceId=interface
        )
        edge = self._make("CreateRouteTable", "RouteTable", "RouteTableId", VpcId=default)
        of_gateway = self._make("AssociateRouteTable", "AssociationId", RouteTableId=edge, GatewayId=gateway)
        options = [{"Key": "domain-name", "Values": ["x.internal"]}]
        self.known |= {
            "VpcId": default,
            "PeerVpcId": other,
            "SubnetId": subnet_id,
            "AvailabilityZone": subnet["AvailabilityZone"],
            "InternetGatewayId": gateway,
            "GatewayId": gateway,
            "RouteTableId": table["RouteTableId"],
            "RouteTableIds": [table["RouteTableId"]],
            "AddRouteTableIds": [table["RouteTableId"]],
            "NetworkAclId": acl["NetworkAclId"],
            "GroupId": group,
            "Groups": [group],
            "GroupIds": [group],
            "SecurityGroupIds": [group],
            "SecurityGroupRuleId": opened[0]["SecurityGroupRuleId"],
            "AllocationId": address["AllocationId"],
            "AllocationIds": [address["AllocationId"]],
            "NatGatewayId": nat["NatGatewayId"],
            "nat address": nat["NatGatewayAddresses"][0]["AssociationId"],
            "nat": [nat_address, nat["NatGatewayAddresses"][0]["NetworkInterfaceId"]],
            "NetworkInterfaceId": interface,
            "VpcPeeringConnectionId": self._make(
                "CreateVpcPeeringConnection",
                "VpcPeeringConnection",
                "VpcPeeringConnectionId",
                VpcId=other,
                PeerVpcId=default,
            ),
            "DhcpOptionsId": self._make(
                "CreateDhcpOptions", "DhcpOptions", "DhcpOptionsId", DhcpConfigurations=options
            ),
            "PrefixListId": self._make(
                *("CreateManagedPrefixList", "PrefixList", "PrefixListId"),
                PrefixListName="p",
                MaxEntries=1,
                AddressFamily="IPv4",
            ),
            "VpcEndpointId": self._make(
                *("CreateVpcEndpoint", "VpcEndpoint", "VpcEndpointId"),
                VpcId=default,
                ServiceName=f"com.amazonaws.{REGION}.s3",
            ),
            "route": routed,
            "edge": edge,
            "gateway route": of_gateway,
            "acl": acl["Associations"][0]["NetworkAclAssociationId"],
            "joined": joined,
        }
        block = self._make("AssociateVpcCidrBlock", "CidrBlockAssociation", VpcId=other, CidrBlock="10.8.0.0/16")
        self.known["cidr"] = block["AssociationId"]
        self.known["VpcEndpointIds"] = [self.known["VpcEndpointId"]]

    def _servers(self) -> None:
        self.root("iam", "CreateInstanceProfile", InstanceProfileName="acting")
        self.root("iam", "AddRoleToInstanceProfile", InstanceProfileName="acting", RoleName="acting")
        self._make("CreatePlacementGroup", GroupName="placed", Strategy="cluster")
        key = self.cloud.call("CreateKeyPair", KeyName="mine")
        profile = {"IamInstanceProfile": {"Name": "acting"}}
        server = self.cloud.run(**profile, SubnetId=self.known["SubnetId"], KeyName="mine")["InstanceId"]
        interface = self.cloud.instance(server)["NetworkInterfaces"][0]
        associations = self.cloud.call("DescribeIamInstanceProfileAssociations")["IamInstanceProfileAssociations"]
        (disk,) = self.cloud.call("DescribeVolumes")["Volumes"]
        volume = disk["VolumeId"]
        data = {"ImageId": self.cloud.image_id, "InstanceType": "t3.micro", **profile, "TagSpecifications": MADE}
        template = self._make(
            "CreateLaunchTemplate", "LaunchTemplate", LaunchTemplateName="web", LaunchTemplateData=data
        )
        config = [{"LaunchTemplateSpecification": {"LaunchTemplateName": "web", "Version": "1"}}]
        target = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}
        fleet = self._make("CreateFleet", "FleetId", LaunchTemplateConfigs=config, TargetCapacitySpecification=target)
        asked = {"ImageId": self.cloud.image_id, "InstanceType": "t3.micro"}
        spot = self._make("RequestSpotInstances", "SpotInstanceRequests", LaunchSpecification=asked)[0]
        zone = self.known["AvailabilityZone"]
        host = self._make("AllocateHosts", "HostIds", InstanceType="t3.micro", Quantity=1, AvailabilityZone=zone)
        snapshot = self._make("CreateSnapshot", "SnapshotId", VolumeId=volume)
        self.cloud.observe(server, "running")
        image = self._make("CreateImage", "ImageId", InstanceId=server, Name="made")
        self.known |= {
            "InstanceId": server,
            "InstanceIds": [server],
            "InstanceType": "t3.micro",
            "VolumeId": volume,
            "VolumeIds": [volume],
            "SnapshotId": snapshot,
            "SourceSnapshotId": snapshot,
            "ImageId": image,
            "SourceImageId": image,
            "KeyName": "mine",
            "KeyPairId": key["KeyPairId"],
            "LaunchTemplateId": template["LaunchTemplateId"],
            "Version": "1",
            "FleetId": fleet,
            "FleetIds": [fleet],
            "SpotInstanceRequestIds": [spot["SpotInstanceRequestId"]],
            "HostId": host[0],
            "HostIds": host,
            "AttachmentId": interface["Attachment"]["AttachmentId"],
            "profile": associations[0]["AssociationId"],
            "device": disk["Attachments"][0]["Device"],
            "reserved": self._reserved(),
        }
        everything = [one for value in self.known.values() for one in (value if isinstance(value, list) else [value])]
        prefixes = (*(f"{kind.prefix}-" for kind in KINDS), "sgr-")
        ids = [one for one in everything if one.startswith(prefixes) and "assoc" not in one and "attach" not in one]
        placed = self.cloud.call("DescribePlacementGroups")["PlacementGroups"][0]["GroupId"]
        ids = [*dict.fromkeys(ids), placed, interface["NetworkInterfaceId"], self.known["reserved"]]
        everything = [*ids, *self.known["nat"], self.cloud.image_id]
        self.cloud.call("CreateTags", Resources=everything, Tags=TAG)
        self.known |= {"Resources": ids, "Path": "/", "NewPath": "/"}

    def _reserved(self) -> str:
        offers = self.cloud.call("DescribeReservedInstancesOfferings", InstanceType="t3.micro")
        asked = {"ReservedInstancesOfferingId": offers["ReservedInstancesOfferings"][0]["ReservedInstancesOfferingId"]}
        return str(self._make("PurchaseReservedInstancesOffering", "ReservedInstancesId", **asked, InstanceCount=1))

    def _elsewhere(self) -> None:
        self.root("iam", "TagRole", RoleName="acting", Tags=TAG)
        self.root("iam", "TagInstanceProfile", InstanceProfileName="acting", Tags=TAG)
        self.root("iam", "CreatePolicy", PolicyName="p", PolicyDocument=POLICY, Tags=TAG)
        self.root("iam", "CreateOpenIDConnectProvider", Url="https://x.example", ClientIDList=["c"], Tags=TAG)
        self.root("iam", "TagUser", UserName="someone", Tags=TAG)
        self.root("iam", "PutUserPermissionsBoundary", UserName="someone", PermissionsBoundary=f"{IAM}policy/p")
        self.root("iam", "PutRolePermissionsBoundary", RoleName="acting", PermissionsBoundary=f"{IAM}policy/p")
        self.root("iam", "CreateGroup", GroupName="g")
        self.root("iam", "CreateVirtualMFADevice", VirtualMFADeviceName="m", Tags=TAG)
        self.root("s3", "CreateBucket", Bucket="bucket")
        body = Spool("", 1, "0cc175b9c0f1b6a831c399e269772661", {}, b"a", "AAAAAAAAAAA=")
        self.root("s3", "PutObject", Bucket="bucket", Key="key", Body=body, Tagging="team=a")
        self.root("ssm", "PutParameter", Name="/p", Value="v", Type="String", Tags=TAG)
        self.root("scheduler", "CreateScheduleGroup", Name="s", Tags=TAG)
        group = {"AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 1}
        spec = {"LaunchTemplateName": "web", "Version": "1"}
        place = {"VPCZoneIdentifier": self.known["SubnetId"], "Tags": [{**TAG[0], "ResourceId": "web"}]}
        self.root("autoscaling", "CreateAutoScalingGroup", **group, LaunchTemplate=spec, **place)
        server = self.known["InstanceIds"]
        self.root("autoscaling", "AttachInstances", AutoScalingGroupName="web", InstanceIds=server)
        alarm = {
            "AlarmName": "alarm",
            "Namespace": "n",
            "MetricName": "m",
            "Statistic": "Sum",
            "Period": 60,
            "Tags": TAG,
        }
        more = {"EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold"}
        self.root("cloudwatch", "PutMetricAlarm", **alarm, **more)
        with self.cloud.database.read() as tx:
            (device,) = tx.find(MfaDevice)
        self.known |= {
            "AutoScalingGroupName": "web",
            "LaunchTemplateName": "web",
            "AlarmName": "alarm",
            "AlarmNames": ["alarm"],
            "ResourceARN": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:alarm",
            "ResourceArn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/s",
            "RoleArn": f"{IAM}role/acting",
            "RoleName": "acting",
            "UserName": "someone",
            "GroupName": "g",
            "InstanceProfileName": "acting",
            "PolicyArn": f"{IAM}policy/p",
            "PermissionsBoundary": f"{IAM}policy/p",
            "OpenIDConnectProviderArn": f"{IAM}oidc-provider/x.example",
            "SerialNumber": device.serial,
            "PolicyDocument": POLICY,
            "AssumeRolePolicyDocument": TRUST,
            "Bucket": "bucket",
            "Key": "key",
            "VersionId": "null",
            "CopySource": "bucket/key",
            "Names": ["/p"],
            "ResourceType": "Parameter",
            "ResourceId": "/p",
            "DocumentName": "AWS-RunShellScript",
            "AWSServiceName": "autoscaling.amazonaws.com",
            "VPCZoneIdentifier": self.known["SubnetId"],
            "Url": "https://x.example",
            "IamInstanceProfile": {"Name": "acting"},
            "LaunchTemplate": {"LaunchTemplateName": "web", "Version": "1"},
            "LaunchTemplateSpecification": {"LaunchTemplateName": "web", "Version": "1"},
            "PolicySourceArn": f"{IAM}user/someone",
        }

    def requests(self, operation: Operation) -> list[dict[str, Any]]:
        """Requests that together have all that the operation takes."""
        name = f"{operation.service}:{operation.name}"
        if name in ALONE:
            return [self._resolved(one) for one in ALONE[name]]
        shape = model(operation.service).operation_model(operation.name).input_shape
        filled = self._filled(shape, "", operation.takes, {}) if shape else {}
        own = self._resolved(SPECIAL.get(name, SPECIAL.get(f"{operation.service}:*", {})))
        given = {**filled, **{member: value for member, value in own.items() if value is None or member in filled}}
        whole = {member: value for member, value in given.items() if value is not None}
        # To name a version takes another permission.
        return [whole, {member: whole[member] for member in whole if member != "VersionId"}]

    def _resolved(self, value: Any) -> Any:
        """With what is known in the place of each name of it."""
        if isinstance(value, dict):
            return {name: self._resolved(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._resolved(one) for one in value]
        return self.known.get(value, value) if isinstance(value, str) else value

    def _filled(self, shape: Any, path: str, takes: frozenset[str], within: dict[str, int]) -> Any:
        found = {}
        for name, member in shape.members.items():
            dotted = f"{path}{name}"
            whole = any(dotted == taken or dotted.startswith(f"{taken}.") for taken in takes)
            if whole or any(taken.startswith(f"{dotted}.") for taken in takes):
                value = self._value(member, name, dotted, takes, within)
                if value is not None:
                    found[name] = value
        return found

    def _value(self, shape: Any, name: str, dotted: str, takes: frozenset[str], within: dict[str, int]) -> Any:
        if name == "TagSpecifications":
            return [
                *(
                    one
                    for kind in (*(kind.type for kind in KINDS), SECURITY_GROUP_RULE)
                    for one in tagged(kind, team="a")
                )
            ]
        known = self.known.get(name)
        if known is not None and shape.type_name == {list: "list", dict: "structure"}.get(type(known), "string"):
            return known
        if within.get(shape.name, 0) > 1:
            return None
        deeper = {**within, shape.name: within.get(shape.name, 0) + 1}
        if shape.type_name == "structure":
            return self._filled(shape, f"{dotted}.", takes, deeper)
        if shape.type_name == "list":
            one = self._value(shape.member, name, dotted, takes, within)
            return [one] if one is not None else []
        if shape.type_name == "map":
            return {"x": "1"}
        if getattr(shape, "enum", None):
            return shape.enum[0]
        plain: dict[str, Any] = {
            "string": "1",
            "boolean": True,
            "timestamp": datetime(2027, 1, 1, tzinfo=UTC),
            "blob": None,
        }
        return plain.get(shape.type_name, 1)

    def taken(self, operation: Operation) -> Keys:
        """What the requests take: the condition keys of each check, those of tags without the tag's name."""
        signature = Signature("REST-HEADER", "AWS4-HMAC-SHA256", payload="UNSIGNED-PAYLOAD", made=self.cloud.clock.now)
        caller = replace(self.caller, signature=signature, tls_version="1.3")
        found: Keys = defaultdict(lambda: defaultdict(set))
        with self.cloud.database.read() as tx:
            for check in (one for params in self.requests(operation) for one in operation.checks(tx, caller, params)):
                context = context_of(tx, caller, check)
                found[check.action][type_of(check.resource)] |= {without_tag(key) for key in context}
        return found


def without_tag(key: str) -> str:
    before, slash, _ = key.partition("/")
    return key if before in ("ec2:Add", "ec2:Remove") else f"{before}{slash}"


def type_of(resource: str) -> str:
    """The type of the resource that an ARN names, as the reference calls it."""
    if resource == "*":
        return "*"
    service, rest = resource.split(":")[2], resource.split(":", 5)[5]
    if service == "s3":
        return "object" if "/" in rest else "bucket"
    if service == "servicequotas":
        return "quota"
    return rest.replace(":", "/").partition("/")[0]


_SCHEDULE = {"Name": "s", "GroupName": "s"}
_TEAM = {**TAG[0], "ResourceId": "web", "ResourceType": "auto-scaling-group"}
_BUCKET = {"ResourceArn": "arn:aws:s3:::bucket"}
_ZONE = {"AvailabilityZoneId": None}
_SIZES = {"AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 1, "VPCZoneIdentifier": "SubnetId"}
_SPEC = {"LaunchTemplateName": "web", "Version": "1"}
_GROUPS = (
    {**_SIZES, "LaunchTemplate": _SPEC, "Tags": [_TEAM]},
    {**_SIZES, "LaunchConfigurationName": "c"},
    {
        **_SIZES,
        "MixedInstancesPolicy": {
            "LaunchTemplate": {
                "LaunchTemplateSpecification": _SPEC,
                "Overrides": [{"InstanceType": "t3.micro", "ImageId": "ImageId"}],
            }
        },
    },
)
_DISK = {"SnapshotId": "SnapshotId", "VolumeSize": 9, "VolumeType": "gp3", "Iops": 3000, "Throughput": 125}
_DISKS = [{"DeviceName": "/dev/sdf", "Ebs": _DISK}]
_LAUNCH = {
    "ImageId": "ImageId",
    "InstanceType": "t3.micro",
    "SubnetId": "SubnetId",
    "SecurityGroupIds": "Groups",
    "KeyName": "mine",
    "IamInstanceProfile": {"Name": "acting"},
    "Placement": {"GroupName": "placed"},
    "BlockDeviceMappings": _DISKS,
}
_SPOT = {"InstanceMarketOptions": {"MarketType": "spot"}}
_EXISTING = {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "NetworkInterfaceId"}]}
_BARE = {"ImageId": "ImageId", "InstanceType": "t3.micro", **_EXISTING}
_OVERRIDE = {
    "InstanceType": "t3.micro",
    "SubnetId": "SubnetId",
    "Placement": {"GroupName": "placed"},
    "IamInstanceProfile": {"Name": "acting"},
    "BlockDeviceMappings": _DISKS,
}
_CONFIGS = [{"LaunchTemplateSpecification": _SPEC, "Overrides": [_OVERRIDE]}]
_TARGET = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}
_SERVER = {"InstanceId": "InstanceId"}
_SOURCES = [
    {"PolicySourceArn": f"{IAM}{one}", "ActionNames": ["s3:*"]} for one in ("user/someone", "role/acting", "group/g")
]

ALONE: dict[str, Sequence[dict[str, Any]]] = {
    "autoscaling:CreateAutoScalingGroup": _GROUPS,
    "autoscaling:UpdateAutoScalingGroup": _GROUPS,
    "ec2:CreateFleet": [
        {
            "LaunchTemplateConfigs": _CONFIGS,
            "TargetCapacitySpecification": _TARGET,
            "Type": "instant",
            "TagSpecifications": [*tagged("fleet", team="a"), *MADE],
        }
    ],
    "ec2:DisassociateRouteTable": [{"AssociationId": "route"}, {"AssociationId": "gateway route"}],
    "ec2:ModifyFleet": [
        {"FleetId": "FleetId", "LaunchTemplateConfigs": _CONFIGS, "TargetCapacitySpecification": _TARGET},
        {"FleetId": "FleetId", "ExcessCapacityTerminationPolicy": "termination"},
    ],
    "ec2:ModifyInstanceAttribute": [
        {**_SERVER, "Groups": "Groups"},
        {**_SERVER, "DisableApiStop": {"Value": True}},
        {**_SERVER, "BlockDeviceMappings": [{"DeviceName": "device", "Ebs": {"DeleteOnTermination": True}}]},
    ],
    "ec2:ReplaceRouteTableAssociation": [
        {"AssociationId": "route", "RouteTableId": "RouteTableId"},
        {"AssociationId": "gateway route", "RouteTableId": "RouteTableId"},
    ],
    "ec2:RequestSpotInstances": [
        {"LaunchSpecification": _LAUNCH, "TagSpecifications": tagged("spot-instances-request", team="a")},
        {"LaunchSpecification": _BARE},
    ],
    "ec2:RunInstances": [
        {**_LAUNCH, **_SPOT, "LaunchTemplate": _SPEC, "TagSpecifications": MADE},
        {**_BARE, "LaunchTemplate": _SPEC},
    ],
    "iam:GetContextKeysForPrincipalPolicy": _SOURCES,
    "iam:SimulatePrincipalPolicy": _SOURCES,
}
"""The requests of operations that take one thing or another, not all at once."""

SPECIAL: dict[str, dict[str, Any]] = {
    "autoscaling:CreateOrUpdateTags": {"Tags": [_TEAM]},
    "autoscaling:DeleteTags": {"Tags": [_TEAM]},
    "ec2:AllocateHosts": _ZONE,
    "ec2:CreateVolume": _ZONE,
    "ec2:DeletePlacementGroup": {"GroupName": "placed"},
    "ec2:DisassociateAddress": {"AssociationId": "joined", "PublicIp": None},
    "ec2:DisassociateIamInstanceProfile": {"AssociationId": "profile"},
    "ec2:DisassociateNatGatewayAddress": {"AssociationIds": ["nat address"]},
    "ec2:DisassociateVpcCidrBlock": {"AssociationId": "cidr"},
    "ec2:ModifyInstancePlacement": {"GroupName": "placed", "GroupId": None},
    "ec2:ReplaceIamInstanceProfileAssociation": {"AssociationId": "profile"},
    "ec2:ReplaceNetworkAclAssociation": {"AssociationId": "acl"},
    "s3control:ListTagsForResource": _BUCKET,
    "s3control:TagResource": _BUCKET,
    "s3control:UntagResource": _BUCKET,
    **{f"scheduler:{verb}Schedule": _SCHEDULE for verb in ("Create", "Get", "Update", "Delete")},
    **{f"scheduler:{verb}ScheduleGroup": {"Name": "s"} for verb in ("Create", "Get", "Delete")},
    "service-quotas:GetServiceQuota": {"ServiceCode": "ec2", "QuotaCode": "L-1216C47A"},
    "ssm:*": {"Name": "/p"},
}
"""Parameters with a meaning of their own in one operation, or in all of a service; None leaves one out."""


def left_out(operation: str, taken: Keys, reference: dict[str, dict[str, str]]) -> Iterator[str]:
    """`ACTION TYPE KEY` of what AWS's reference names and the operation leaves out; without a key, the whole type. An
    action that an operation takes besides its own stands after the operation's name.

    Of those it need not name each type.
    """
    for action, checked in taken.items():
        named = reference[action]
        own = action.partition(":")[2] == operation
        spelled = action if own else f"{operation} {action}"
        for kind in sorted(named.keys() - checked.keys() - {"*"}) if own else ():
            yield f"{spelled} {kind}"
        for kind, keys in checked.items():
            wanted = {*named.get(kind, "").split(), *named.get("*", "").split()}
            there = {key.lower() for key in keys}
            # What is tagged as it is made has no keys of its own yet.
            if own or action != "ec2:CreateTags":
                yield from (f"{spelled} {kind} {key}" for key in sorted(wanted) if key.lower() not in there)
