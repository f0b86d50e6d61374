"""The console's only way out: what there is, in types, and what is done. Behind it are boto3's calls and the client."""

from __future__ import annotations

import base64
import io
import ipaddress
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from skylift import catalogue
from skylift.client.errors import NotNow, RunError, Unreachable
from skylift.client.job.cache import NOWHERE
from skylift.client.job.settings import Settings
from skylift.client.price.price import stand_in
from skylift.client.price.run_price import run_cost
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.console import call as calls
from skylift.console import instance_removal, rows
from skylift.console.call import Call
from skylift.console.stale_edit import StaleEdit
from skylift.console.vpc_map import GONE, VpcAnswers, VpcMap, build_map

Facts = tuple[tuple[str, str], ...]
"""Labels and values, to be read by a person."""


@dataclass(frozen=True)
class ShownVolume:
    id: str
    device: str
    size: str
    goes: bool
    """Whether it is deleted with the instance."""
    tags: str


@dataclass(frozen=True)
class InstanceDetail:
    row: rows.InstanceRow
    details: Facts
    networking: Facts
    security: Facts
    groups: Facts
    """Ids and names of its security groups."""
    rules: tuple[tuple[str, str, str], ...]
    volumes: tuple[ShownVolume, ...]
    tags: Facts


@dataclass(frozen=True)
class PricedType:
    """An instance type with its prices an hour; None where a price is not known."""

    name: str
    words: str
    on_demand: float | None
    spot: float | None
    vcpus: int
    memory_gib: float
    processor: str
    """As images are built for: x86_64 or arm64, and rarely another."""
    free_tier: bool
    burstable: bool


@dataclass(frozen=True)
class FolderPage:
    """A part of a folder of a bucket: keys with size and time. `more` is the token of the next part."""

    folders: tuple[str, ...]
    files: tuple[tuple[str, int, str], ...]
    more: str


@dataclass(frozen=True)
class Choices:
    """What a launch is put together of: values, with the words for them."""

    images: Mapping[str, str]
    root_devices: Mapping[str, str]
    devices: Mapping[str, frozenset[str]]
    """Those that an image has a disk for, the root's among them."""
    processors: Mapping[str, str]
    """What an image is built for, where that is known."""
    kinds: Mapping[str, PricedType]
    keys: tuple[str, ...]
    subnets: Mapping[str, str]
    groups: Mapping[str, str]
    roles: tuple[str, ...]
    vpcs: Mapping[str, str]
    """The VPC of each subnet and each group."""


@dataclass(frozen=True)
class OwnCall:
    """An operation that only a cloud on this machine has, by its name, and the command that does the same."""

    operation: str
    params: Mapping[str, Any]
    command: str


_PATIENCE = 15.0
"""Seconds in which a call that AWS does not take now is made again, before the page says so."""
Control = Callable[..., Any]
"""Makes such a call: it takes the operation's name and its parameters."""


class Port:
    """`find_settings` says where the cloud is now: one that was restarted has another port. `find_control` gives what
    only a cloud on this machine has; AWS has none of it."""

    def __init__(
        self, find_settings: Callable[[], Settings], find_control: Callable[[], Control] | None = None
    ) -> None:
        self._find_settings = find_settings
        self._find_control = find_control
        self._control: Control | None = None
        self._opening = threading.Lock()
        self._account: Account | None = None
        self.settings = find_settings()

    @property
    def place(self) -> str:
        return self.settings.place

    @property
    def account(self) -> Account:
        with self._opening:
            if self._account is None:
                self.settings = self._find_settings()
                # The client's cache has the calls that it makes itself, and no others.
                api = Api(replace(self.settings, cache=NOWHERE))
                api.patience.seconds = _PATIENCE
                self._account = open_account(self.settings, api)
            return self._account

    @contextmanager
    def reached(self) -> Iterator[Account]:
        """The account. Where it cannot be reached, the next call looks where it is."""
        try:
            yield self.account
        except Unreachable as error:
            if not isinstance(error, NotNow):
                self._account = None
            raise

    def perform(self, call: Call) -> Any:
        """Make the call. Raises SkyliftError, with what AWS said and what to do."""
        with self.reached() as account:
            return account.api.call(call.service, call.operation, **call.params)

    @property
    def has_control(self) -> bool:
        return self._find_control is not None

    def control(self, call: OwnCall) -> Any:
        """Raises SkyliftError, also where there is no cloud of this machine."""
        if self._find_control is None:
            raise RunError("AWS has no such operation.", "It is for a cloud on this machine.")
        if self._control is None:
            self._control = self._find_control()
        try:
            return self._control(call.operation, **call.params)
        except Unreachable:
            self._control = None
            raise

    def pages(self, call: Call, key: str) -> list[Any]:
        """All of a list, whichever page it is on. Raises SkyliftError."""
        with self.reached() as account:
            return account.api.pages(call.service, call.operation, key, **call.params)

    def of_vpc(self, vpc: str, operation: str, key: str) -> list[Any]:
        """What such a list of EC2's has of a VPC. Raises SkyliftError."""
        name = "attachment.vpc-id" if key == "InternetGateways" else "vpc-id"
        # AWS spells this parameter in the singular there.
        filters = "Filter" if key == "NatGateways" else "Filters"
        return self.pages(Call("ec2", operation, {filters: [{"Name": name, "Values": [vpc]}]}), key)

    # Instances.

    def instances(self) -> list[rows.InstanceRow]:
        call = Call("ec2", "describe_instances")
        with self.reached() as account:
            reservations = account.api.look(call.service, call.operation, "Reservations")
        now = time.time()
        found = [self._row(each, now) for reservation in reservations for each in reservation["Instances"]]
        return sorted(found, key=lambda row: (row.launched, row.id), reverse=True)

    def _row(self, described: Any, now: float) -> rows.InstanceRow:
        tags = rows.as_tags(described)
        launched, market = described["LaunchTime"], described.get("InstanceLifecycle", "")
        state = described["State"]["Name"]
        spent = now - launched.timestamp() if state == "running" else None
        cost = run_cost(described["InstanceType"], self.settings.region, market or None, spent)
        return rows.InstanceRow(
            id=described["InstanceId"],
            name=tags.get("Name", ""),
            state=state,
            type=described["InstanceType"],
            zone=described.get("Placement", {}).get("AvailabilityZone", ""),
            public=described.get("PublicIpAddress", ""),
            private=described.get("PrivateIpAddress", ""),
            key=described.get("KeyName", ""),
            launched=rows.as_time(launched),
            # To a tenth of a cent: a cell that changes each second says nothing more.
            cost=None if cost is None else round(cost, 3),
            market=market or "on-demand",
            vpc=described.get("VpcId", ""),
            tags=rows.spell_tags(tags),
        )

    def instance(self, instance: str) -> InstanceDetail:
        """Raises Refused where there is none of that id."""
        reservations = self.perform(Call("ec2", "describe_instances", {"InstanceIds": [instance]}))["Reservations"]
        described = reservations[0]["Instances"][0]
        groups = tuple((each["GroupId"], each["GroupName"]) for each in described.get("SecurityGroups", []))
        return InstanceDetail(
            row=self._row(described, time.time()),
            details=_details(described),
            networking=_networking(described),
            security=_security(described),
            groups=groups,
            rules=tuple(
                (each.direction, each.ports, each.other) for each in self.rules([group for group, _ in groups])
            ),
            volumes=self._volumes(described),
            tags=tuple(sorted(rows.as_tags(described).items())),
        )

    def rules(self, groups: list[str]) -> list[rows.RuleRow]:
        """Of these groups, those for what comes in first."""
        if not groups:
            return []
        return [
            rows.RuleRow(
                each["SecurityGroupRuleId"],
                "out" if each["IsEgress"] else "in",
                _spell_ports(each),
                _spell_other(each),
                each.get("Description", ""),
                str(each["IpProtocol"]),
                int(each.get("FromPort", -1)),
                int(each.get("ToPort", -1)),
            )
            for each in sorted(
                self.pages(calls.list_rules(groups), "SecurityGroupRules"),
                key=lambda each: (each["IsEgress"], each.get("FromPort", 0)),
            )
        ]

    def check_rule(self, group: str, rule: rows.RuleRow) -> None:
        """Raises StaleEdit unless it is as it was when it was read."""
        now = next((each for each in self.rules([group]) if each.id == rule.id), None)
        if now != rule:
            raise StaleEdit("The rule", now.words if now else "")

    def _volumes(self, described: Any) -> tuple[ShownVolume, ...]:
        mapped = instance_removal.mapped(described)
        return tuple(
            ShownVolume(
                each["VolumeId"],
                mapped[each["VolumeId"]]["DeviceName"],
                f"{each['Size']} GiB {each.get('VolumeType', '')}",
                instance_removal.goes(mapped[each["VolumeId"]]),
                ", ".join(f"{key}={value}" for key, value in sorted(rows.as_tags(each).items())),
            )
            for each in instance_removal.describe_volumes(self, sorted(mapped))
        )

    def console_output(self, instance: str) -> str:
        return str(self.perform(calls.read_console(instance)).get("Output", ""))

    def user_data(self, instance: str) -> str:
        found = self.perform(calls.read_user_data(instance)).get("UserData", {}).get("Value", "")
        return base64.b64decode(found).decode(errors="replace")

    def metric(self, instance: str, name: str, space: str = "AWS/EC2") -> list[tuple[float, float]]:
        """Times in seconds since the epoch, with the average of each minute of the last hour."""
        found = self.perform(self.metric_call(instance, name, space))
        return sorted((each["Timestamp"].timestamp(), float(each["Average"])) for each in found["Datapoints"])

    @staticmethod
    def metric_call(instance: str, name: str, space: str) -> Call:
        now = datetime.now(UTC).replace(microsecond=0)
        return Call(
            "cloudwatch",
            "get_metric_statistics",
            {
                "Namespace": space,
                "MetricName": name,
                "Dimensions": [{"Name": "InstanceId", "Value": instance}],
                "StartTime": (now - timedelta(hours=1)).isoformat(),
                "EndTime": now.isoformat(),
                "Period": 60,
                "Statistics": ["Average"],
            },
        )

    def tags(self, resource: str) -> dict[str, str]:
        """Of whatever has tags in EC2, by key."""
        found = self.pages(calls.list_tags(resource), "Tags")
        return {each["Key"]: each["Value"] for each in sorted(found, key=lambda each: str(each["Key"]))}

    # Key pairs.

    def key_pairs(self) -> list[rows.KeyPairRow]:
        found = self.perform(Call("ec2", "describe_key_pairs"))["KeyPairs"]
        return [
            rows.KeyPairRow(
                id=each["KeyPairId"],
                name=each["KeyName"],
                type=each.get("KeyType", ""),
                fingerprint=each.get("KeyFingerprint", ""),
                created=rows.as_time(each.get("CreateTime")),
                tags=rows.spell_tags(rows.as_tags(each)),
            )
            for each in sorted(found, key=lambda each: str(each["KeyName"]))
        ]

    def security_groups(self) -> list[rows.SecurityGroupRow]:
        return [
            rows.SecurityGroupRow(
                id=each["GroupId"],
                name=each["GroupName"],
                vpc=each.get("VpcId", ""),
                description=each.get("Description", ""),
                inbound=len(each.get("IpPermissions", [])),
                outbound=len(each.get("IpPermissionsEgress", [])),
                tags=rows.spell_tags(rows.as_tags(each)),
            )
            for each in self.pages(Call("ec2", "describe_security_groups"), "SecurityGroups")
        ]

    def own_address(self) -> str:
        """The address that servers see this machine come from. On AWS, AWS is asked. Raises SkyliftError."""
        return str(ipaddress.IPv4Address(self.settings.caller_address()))

    # Networks.

    def vpcs(self) -> list[rows.VpcRow]:
        return [
            rows.VpcRow(
                id=each["VpcId"],
                name=rows.as_tags(each).get("Name", ""),
                cidr=each["CidrBlock"],
                state=each["State"],
                default="yes" if each.get("IsDefault") else "",
                tags=rows.spell_tags(rows.as_tags(each)),
            )
            for each in self.pages(calls.list_vpcs(), "Vpcs")
        ]

    def vpc_map(self, vpc: str) -> VpcMap:
        """Raises Refused where there is no such VPC."""
        (found,) = self.perform(Call("ec2", "describe_vpcs", {"VpcIds": [vpc]}))["Vpcs"]
        reservations = self.of_vpc(vpc, "describe_instances", "Reservations")
        return build_map(
            VpcAnswers(
                vpc=found,
                subnets=self.of_vpc(vpc, "describe_subnets", "Subnets"),
                tables=self.of_vpc(vpc, "describe_route_tables", "RouteTables"),
                gateways=self.of_vpc(vpc, "describe_internet_gateways", "InternetGateways"),
                nats=self.of_vpc(vpc, "describe_nat_gateways", "NatGateways"),
                endpoints=self.of_vpc(vpc, "describe_vpc_endpoints", "VpcEndpoints"),
                servers=[
                    each
                    for reservation in reservations
                    for each in reservation["Instances"]
                    if each["State"]["Name"] not in GONE
                ],
            )
        )

    # S3.

    def buckets(self) -> list[rows.BucketRow]:
        found = self.perform(Call("s3", "list_buckets", {}))["Buckets"]
        return [rows.BucketRow(each["Name"], rows.as_time(each.get("CreationDate"))) for each in found]

    def objects(self, bucket: str, prefix: str, after: str = "") -> FolderPage:
        """Some of a folder."""
        found = self.perform(calls.list_objects(bucket, prefix, after))
        return FolderPage(
            tuple(str(each["Prefix"]) for each in found.get("CommonPrefixes", [])),
            tuple(
                (str(each["Key"]), int(each["Size"]), rows.as_time(each["LastModified"]))
                for each in found.get("Contents", [])
            ),
            str(found.get("NextContinuationToken", "")),
        )

    def beginning(self, bucket: str, key: str, most: int) -> str:
        """The first bytes of an object, as text."""
        found = io.BytesIO()
        with self.reached() as account:
            for _ in account.api.stream(bucket, key, found, most=most):
                pass
        return found.getvalue().decode(errors="replace")

    def content(self, bucket: str, key: str) -> tuple[int, Iterator[bytes]]:
        """The size of an object, and its bytes in pieces. Raises Refused."""
        found = self.perform(Call("s3", "get_object", {"Bucket": bucket, "Key": key}))
        return int(found["ContentLength"]), found["Body"].iter_chunks(1 << 18)

    def upload(self, file: IO[bytes], size: int, bucket: str, key: str) -> None:
        with self.reached() as account:
            account.api.upload(file, size, bucket, key, lambda _: None)

    def presigned(self, bucket: str, key: str, seconds: int) -> str:
        """A link with which anybody can read the object for so long."""
        return self.account.api.presigned(bucket, key, seconds)

    # A launch.

    def choices(self) -> Choices:
        """What there is to choose from."""
        # AWS has tens of thousands of its own: there it is the newest ones, by their parameters.
        owners = ["self"] if self.settings.billed else ["self", "amazon"]
        found = self.pages(Call("ec2", "describe_images", {"Owners": owners}), "Images")
        images = sorted(found, key=lambda each: str(each.get("CreationDate", "")), reverse=True)
        # Those that runs made for themselves are the last that somebody means who launches a server by hand.
        images.sort(key=lambda each: str(each.get("Name", "")).startswith("skylift-environment-"))
        named = {each["ImageId"]: f"{each.get('Name', '')} ({each['ImageId']})" for each in images}
        groups, subnets = self.security_groups(), self.pages(Call("ec2", "describe_subnets", {}), "Subnets")
        subnets.sort(key=lambda each: (str(each["VpcId"]), str(each["AvailabilityZone"])))
        profiles = self.pages(Call("iam", "list_instance_profiles", {}), "InstanceProfiles")
        return Choices(
            images={**named, **(_PUBLISHED if self.settings.billed else {})},
            root_devices={each["ImageId"]: each.get("RootDeviceName", "/dev/xvda") for each in images},
            devices={
                each["ImageId"]: frozenset(mapping["DeviceName"] for mapping in each.get("BlockDeviceMappings", []))
                for each in images
            },
            processors={
                **{each["ImageId"]: str(each.get("Architecture", "")) for each in images},
                **{each: "arm64" if each.endswith("arm64") else "x86_64" for each in _PUBLISHED},
            },
            kinds=self.kinds(),
            keys=tuple(each.name for each in self.key_pairs()),
            subnets={each["SubnetId"]: _spell_subnet(each) for each in subnets},
            groups={each.id: f"{each.name} ({each.id}, {each.vpc})" for each in groups},
            roles=tuple(sorted(each["InstanceProfileName"] for each in profiles)),
            vpcs={each["SubnetId"]: each["VpcId"] for each in subnets} | {each.id: each.vpc for each in groups},
        )

    def kinds(self) -> dict[str, PricedType]:
        """No call is made for them."""
        region = stand_in(self.settings.region)[0]
        return {name: _kind(kind, region) for name, kind in catalogue.types().items() if kind.current}


_PUBLISHED = {
    "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64": "Amazon Linux 2023 (x86_64)",
    "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64": "Amazon Linux 2023 (arm64)",
    "resolve:ssm:/aws/service/debian/release/13/latest/amd64": "Debian 13 (x86_64)",
}


def _kind(kind: catalogue.InstanceType, region: str) -> PricedType:
    price = catalogue.on_demand(kind.name, region)
    words = f"{kind.name}: {kind.vcpus} vCPU, {kind.memory_mib / 1024:g} GiB"
    if price is not None:
        words += f", ${price:.4f} an hour"
    spot = catalogue.spot(kind.name, region) if kind.spot else None
    memory = kind.memory_mib / 1024
    return PricedType(
        kind.name, words, price, spot, kind.vcpus, memory, kind.architecture, kind.free_tier, kind.burstable
    )


def _spell_subnet(described: Any) -> str:
    name = rows.as_tags(described).get("Name", "")
    where = f"{described['CidrBlock']}, {described['AvailabilityZone']}, {described['VpcId']}"
    return f"{name} {described['SubnetId']} ({where})".strip()


def _details(described: Any) -> Facts:
    profile = described.get("IamInstanceProfile", {}).get("Arn", "")
    reason = described.get("StateReason", {}).get("Message", "") or described.get("StateTransitionReason", "")
    return (
        ("Instance ID", described["InstanceId"]),
        ("State", described["State"]["Name"]),
        ("Why", reason),
        ("Type", described["InstanceType"]),
        ("Image", described.get("ImageId", "")),
        ("Architecture", described.get("Architecture", "")),
        ("Launched", rows.as_time(described["LaunchTime"])),
        ("Purchase", described.get("InstanceLifecycle", "on-demand")),
        ("Key pair", described.get("KeyName", "")),
        ("Role", profile.rpartition("/")[2]),
    )


def _networking(described: Any) -> Facts:
    return (
        ("Public IPv4 address", described.get("PublicIpAddress", "")),
        ("Private IPv4 address", described.get("PrivateIpAddress", "")),
        ("Public DNS name", described.get("PublicDnsName", "")),
        ("Private DNS name", described.get("PrivateDnsName", "")),
        ("VPC", described.get("VpcId", "")),
        ("Subnet", described.get("SubnetId", "")),
        ("Availability zone", described.get("Placement", {}).get("AvailabilityZone", "")),
        ("Interfaces", ", ".join(each["NetworkInterfaceId"] for each in described.get("NetworkInterfaces", []))),
    )


def _security(described: Any) -> Facts:
    return (
        ("Role", described.get("IamInstanceProfile", {}).get("Arn", "")),
        ("Metadata tokens", described.get("MetadataOptions", {}).get("HttpTokens", "")),
    )


def _spell_ports(rule: Any) -> str:
    protocol, first, last = rule["IpProtocol"], rule.get("FromPort", -1), rule.get("ToPort", -1)
    if protocol == "-1":
        return "all traffic"
    if protocol.startswith("icmp"):
        return str(protocol)
    return f"{protocol} {first}" if first == last else f"{protocol} {first}-{last}"


def _spell_other(rule: Any) -> str:
    return str(
        rule.get("CidrIpv4")
        or rule.get("CidrIpv6")
        or rule.get("PrefixListId")
        or rule.get("ReferencedGroupInfo", {}).get("GroupId", "")
    )
