"""skylift's own small network: a VPC with a public subnet in each zone, and a security group for SSH.

The network is made once in an account and region and is found again by its tags. Once it is complete, only the group's
rules change: each address that skylift is called from gets a rule for SSH. Users may name a subnet of their own
instead.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from skylift.client.errors import LaunchFailed, NotPermitted, Refused, SkyliftError, UsageError
from skylift.client.job.settings import Access, Settings
from skylift.client.launch.ssh_rules import let_in, ranges
from skylift.client.remote.api import Api
from skylift.client.remote.lock import make_once
from skylift.client.remote.repeatable import end_unless_gone, make_unless_there
from skylift.client.waiting import Threads, pauses

T = TypeVar("T")

TAG_PART = "skylift:network"
TAG_READY = "skylift:ready"
MOST_GROUPS = 5
"""The most security groups of a server's interface, unless AWS has granted an account more."""
_QUOTA_OF_GROUPS = "L-2AFB9258"
RANGE = "10.83.0.0/16"
OWN = Access()
_SETTLING = 30.0
_MOST_ZONES = 8
"""A /16 has room for 16 subnets of /20. No region has more than 8 zones."""


@dataclass(frozen=True)
class Network:
    """Where a server is placed. `subnets` are pairs of zone and subnet id, sorted by zone. `callers` are the IPv4
    ranges that may open SSH and need not be let in anew.

    `public` is whether servers get public addresses. `own` is whether the groups are skylift's, so that skylift may add
    rules to them.
    """

    vpc: str
    subnets: tuple[tuple[str, str], ...]
    groups: tuple[str, ...]
    callers: frozenset[str]
    public: bool = True
    own: bool = True

    def spell(self, caller: str | None) -> str:
        """For the user: where the server is, and who can reach it."""
        if not self.public:
            return f"{self.vpc}, no public address"
        return f"{self.vpc}, SSH from {(caller or '').removesuffix('/32')} only" if self.own else self.vpc


def find_caller(settings: Settings) -> str | None:
    """The IPv4 range to open SSH to. None for a private server, and where the user's own groups decide."""
    access = settings.access
    if access.private or access.groups:
        return None
    return str(ipaddress.IPv4Network(access.ssh_from or settings.caller_address()))


def check_groups(api: Api, named: int, own: int) -> None:
    """Raises UsageError if a server cannot be in as many security groups as were `named`, and in its job's `own`. The
    account is asked only where it matters."""
    if named + own <= MOST_GROUPS:
        return
    most = MOST_GROUPS
    with contextlib.suppress(SkyliftError):
        answer = api.call("service-quotas", "get_service_quota", ServiceCode="vpc", QuotaCode=_QUOTA_OF_GROUPS)
        most = int(answer["Quota"]["Value"])
    if named + own > most:
        why = " Servers that work together are in one of their own besides." if own else ""
        raise UsageError(
            f"--security-group: a server can be in {most} security groups, and {named} are named.{why}",
            f"Name {most - own} at the most.",
        )


def find_network(api: Api, access: Access = OWN) -> Network | None:
    """The user's subnet, or skylift's own network. None when that has not been made yet."""
    return _find_own(api) if access.subnet is None else _network_in(api, access.subnet, access.groups)


def ensure_network(api: Api, bucket: str) -> Network:
    """skylift's own network, made when there is none."""
    return make_once(api, bucket, "network", lambda: _find_own(api), lambda: _make(api))


def open_network(api: Api, network: Network, access: Access, caller: str | None) -> Network:
    """Make the network ready for this run: open SSH to the caller, or give a private server its way to S3."""
    network = replace(network, public=not access.private)
    if access.private and access.subnet is None:
        _ensure_s3_endpoint(api, network.vpc)
    return network if caller is None else open_ssh(api, network, caller)


def open_ssh(api: Api, network: Network, source: str) -> Network:
    """Open port 22 to a range. Rules for other ranges stay as long as other machines may need them."""
    if source in network.callers:
        return network
    let_in(api, network.groups[0], source)
    return replace(network, callers=network.callers | {source})


def open_groups(api: Api, groups: tuple[str, ...], source: str) -> None:
    """Open port 22 to a range in those of a server's groups that are skylift's. The user's own groups stay as they
    are."""
    filters = [{"Name": "group-id", "Values": list(groups)}, {"Name": f"tag:{TAG_PART}", "Values": ["group"]}]
    for group in api.call("ec2", "describe_security_groups", Filters=filters)["SecurityGroups"]:
        if source not in ranges(group):
            let_in(api, group["GroupId"], source)


def describe_subnet(api: Api, subnet: str) -> dict[str, Any]:
    """One that was made a moment ago is waited for, and a wrong one not for long. Raises UsageError when it is not
    there."""
    try:
        return dict(api.retry_not_found("ec2", "describe_subnets", 5.0, SubnetIds=[subnet])["Subnets"][0])
    except Refused as error:
        if error.code != "InvalidSubnetID.NotFound":
            raise
        raise UsageError(f"There is no subnet {subnet} in {api.region}.") from None


def route_table_of(api: Api, vpc: str, subnet: str) -> dict[str, Any]:
    """The subnet's own route table, or else its VPC's main one."""
    own = [{"Name": "association.subnet-id", "Values": [subnet]}]
    tables = api.call("ec2", "describe_route_tables", Filters=own)["RouteTables"] or _main_tables(api, vpc)
    return dict(tables[0])


def _main_tables(api: Api, vpc: str) -> list[Any]:
    main = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]}]

    def look() -> list[Any] | None:
        return api.call("ec2", "describe_route_tables", Filters=main)["RouteTables"] or None

    return _wait_until_listed(look, f"The main route table of {vpc}")


def _network_in(api: Api, subnet: str, groups: tuple[str, ...]) -> Network:
    found = describe_subnet(api, subnet)
    vpc, places = found["VpcId"], ((found["AvailabilityZone"], subnet),)
    if groups:
        return Network(vpc, places, groups, frozenset(), own=False)
    look = partial(_find, api, "describe_security_groups", "SecurityGroups", "group", vpc)
    ours = look()
    if not ours:
        _make_group(api, vpc)
        ours = _wait_until_listed(look, f"skylift's security group in {vpc}")
    return Network(vpc, places, (ours[0]["GroupId"],), ranges(ours[0]))


def _find_own(api: Api) -> Network | None:
    """The complete network. If there are ever two, everybody uses the one whose id sorts first."""
    filters = [{"Name": f"tag:{TAG_PART}", "Values": ["vpc"]}, {"Name": f"tag:{TAG_READY}", "Values": ["yes"]}]
    with Threads(2) as pool:
        subnet = pool.submit(_find, api, "describe_subnets", "Subnets", "subnet")
        group = pool.submit(_find, api, "describe_security_groups", "SecurityGroups", "group")
        vpcs = api.call("ec2", "describe_vpcs", Filters=filters)["Vpcs"]
        if not vpcs:
            return None
        vpc = min(each["VpcId"] for each in vpcs)
        subnets, groups = ([each for each in found.result() if each["VpcId"] == vpc] for found in (subnet, group))
    for _ in pauses(_SETTLING):
        if subnets and groups:
            break
        # EC2 may list them later than the VPC, and another run may have completed the network between these calls.
        subnets = _find(api, "describe_subnets", "Subnets", "subnet", vpc)
        groups = _find(api, "describe_security_groups", "SecurityGroups", "group", vpc)
    if not subnets or not groups:
        raise LaunchFailed(
            f"skylift's network {vpc} has lost its subnets or its security group.",
            f"Delete the VPC {vpc}; the next run makes a new network.",
        )
    places = sorted((each["AvailabilityZone"], each["SubnetId"]) for each in subnets)
    return Network(vpc, tuple(places), (groups[0]["GroupId"],), ranges(groups[0]))


def _make(api: Api) -> Network:
    """Look for each part before making it, so that a network that a killed run left half made is completed. The
    parts of the VPC do not need each other. The tag that says it is complete comes last, if all of them are there."""
    vpc = _make_vpc(api)
    with Threads(3) as pool:
        parts = [pool.submit(make, api, vpc) for make in (_make_gateway, _make_subnets, _make_group)]
    for each in parts:
        each.result()
    api.retry_not_found("ec2", "create_tags", Resources=[vpc], Tags=[{"Key": TAG_READY, "Value": "yes"}])
    return _wait_until_listed(lambda: _find_own(api), f"skylift's network {vpc}")


def _make_vpc(api: Api) -> str:
    look = partial(_find, api, "describe_vpcs", "Vpcs", "vpc")
    return str(_make_one(api, "create_vpc", "delete_vpc", "Vpc", "vpc", look, CidrBlock=RANGE)["VpcId"])


def _make_one(
    api: Api, creation: str, deletion: str, answered: str, part: str, look: Callable[[], list[Any]], **params: Any
) -> dict[str, Any]:
    """The one that `look` finds, or a new one. EC2 makes one each time that it is asked, also when it is asked again
    because its answer was lost: of several, one stays."""
    key = f"{answered}Id"
    if not (found := look()):
        tags = _tags(creation.removeprefix("create_").replace("_", "-"), part)
        made = api.call("ec2", creation, TagSpecifications=tags, **params)[answered][key]

        def with_it() -> list[Any]:
            listed = look()
            return listed if made in {each[key] for each in listed} else []

        found = _wait_until_listed(with_it, f"skylift's {made}")
    one, *others = sorted(found, key=lambda each: (not each.get("Attachments"), each[key]))
    for each in others:
        # One that a run was killed over has parts, and stays.
        with contextlib.suppress(NotPermitted):
            end_unless_gone(api, r".*\.NotFound|DependencyViolation", "ec2", deletion, **{key: each[key]})
    return dict(one)


def _make_gateway(api: Api, vpc: str) -> None:
    def look() -> list[Any]:
        found = _find(api, "describe_internet_gateways", "InternetGateways", "gateway")
        return [each for each in found if all(at["VpcId"] == vpc for at in each["Attachments"])]

    made = _make_one(api, "create_internet_gateway", "delete_internet_gateway", "InternetGateway", "gateway", look)
    gateway = made["InternetGatewayId"]
    if not made["Attachments"]:
        where = {"InternetGatewayId": gateway, "VpcId": vpc}
        make_unless_there(api, "Resource.AlreadyAssociated", "ec2", "attach_internet_gateway", **where)
    table = _main_tables(api, vpc)[0]
    if not any(route.get("DestinationCidrBlock") == "0.0.0.0/0" for route in table["Routes"]):
        route = {"RouteTableId": table["RouteTableId"], "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway}
        make_unless_there(api, "RouteAlreadyExists", "ec2", "create_route", **route)


def _ensure_s3_endpoint(api: Api, vpc: str) -> None:
    """A server without a public address reaches nothing but S3, through a gateway endpoint of skylift's network."""
    service = f"com.amazonaws.{api.region}.s3"
    filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "service-name", "Values": [service]}]
    if api.call("ec2", "describe_vpc_endpoints", Filters=filters)["VpcEndpoints"]:
        return
    tables = [each["RouteTableId"] for each in _main_tables(api, vpc)]
    wanted = {"VpcId": vpc, "ServiceName": service, "RouteTableIds": tables}
    # Another run may have made the endpoint meanwhile.
    make_unless_there(
        api,
        "RouteAlreadyExists",
        "ec2",
        "create_vpc_endpoint",
        TagSpecifications=_tags("vpc-endpoint", "endpoint"),
        **wanted,
    )


def _make_subnets(api: Api, vpc: str) -> None:
    found = api.call("ec2", "describe_availability_zones", Filters=[{"Name": "state", "Values": ["available"]}])
    ordinary = [
        each["ZoneName"]
        for each in found["AvailabilityZones"]
        if each.get("ZoneType", "availability-zone") == "availability-zone"
    ]
    there = {each["AvailabilityZone"] for each in _find(api, "describe_subnets", "Subnets", "subnet", vpc)}
    blocks = {zone: f"10.83.{number * 16}.0/20" for number, zone in enumerate(sorted(ordinary)[:_MOST_ZONES])}
    with Threads(_MOST_ZONES) as pool:
        made = [pool.submit(_make_subnet, api, vpc, *each) for each in blocks.items() if each[0] not in there]
    for subnet in made:
        subnet.result()


def _make_subnet(api: Api, vpc: str, zone: str, block: str) -> None:
    wanted: dict[str, Any] = {"VpcId": vpc, "CidrBlock": block, "AvailabilityZone": zone}
    wanted["TagSpecifications"] = _tags("subnet", "subnet")
    if make_unless_there(api, "InvalidSubnet.Conflict", "ec2", "create_subnet", **wanted) is None:
        # It may be this one: another run has made it, and AWS does not list it yet.
        look = partial(_find, api, "describe_subnets", "Subnets", "subnet", vpc)
        if not any(any(each["CidrBlock"] == block for each in look()) for _ in pauses(_SETTLING)):
            raise LaunchFailed(f"{vpc} has no room for skylift's subnet {block}.", "Delete what is in its way.")


def _make_group(api: Api, vpc: str) -> None:
    make_unless_there(
        api,
        "InvalidGroup.Duplicate",
        "ec2",
        "create_security_group",
        GroupName="skylift",
        Description="Servers of skylift jobs: SSH from where skylift is called, nothing else",
        VpcId=vpc,
        TagSpecifications=_tags("security-group", "group"),
    )


def _find(api: Api, operation: str, key: str, part: str, vpc: str | None = None) -> list[Any]:
    """skylift's own resources of one kind, in one VPC or in all."""
    within = [{"Name": "vpc-id", "Values": [vpc]}] if vpc else []
    filters = [*within, {"Name": f"tag:{TAG_PART}", "Values": [part]}]
    found: list[Any] = api.call("ec2", operation, Filters=filters)[key]
    return found


def _wait_until_listed(look: Callable[[], T | None], what: str) -> T:
    """Repeat `look` until AWS lists what was made a moment ago. Raises LaunchFailed when it takes too long."""
    for _ in pauses(_SETTLING):
        if found := look():
            return found
    raise LaunchFailed(f"{what} was made, but AWS does not list it.", "Try again in a minute.")


def _tags(resource: str, part: str) -> list[dict[str, Any]]:
    tags = [{"Key": "Name", "Value": "skylift"}, {"Key": TAG_PART, "Value": part}]
    return [{"ResourceType": resource, "Tags": tags}]
