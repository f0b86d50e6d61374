"""The permissions that a caller needs to run instances: RunInstances on everything it uses and makes, and PassRole.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html#iam-example-runinstances
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.launch_request import InterfaceRequest, LaunchRequest, MarketRequest, MetadataRequest
from skylift.cloud.domain.network import NetworkInterface, SecurityGroup, Subnet
from skylift.cloud.services.api.check import making, on_key, on_row
from skylift.cloud.services.api.condition_key import Context, of_metadata, of_zone
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.parameter_check import on_name
from skylift.cloud.services.api.public_parameter import image_id_or_none, image_parameter
from skylift.cloud.services.api.resource import arn
from skylift.cloud.services.api.zone import require_zone
from skylift.cloud.services.ebs import block_device
from skylift.cloud.services.ec2.launch_market import terms_of, with_zone
from skylift.cloud.services.ec2.launch_place import default_subnet
from skylift.cloud.services.ec2.launch_request import launch_request, spot_launch, tagged
from skylift.cloud.services.ec2.launch_template import check_of
from skylift.cloud.services.ec2.launch_template_version import with_template
from skylift.cloud.services.ec2.metadata_defaults import default_options
from skylift.cloud.services.ec2.placement_group import on_group_of
from skylift.cloud.services.ec2.profile import find_profile
from skylift.cloud.services.ec2.profile_association import check_pass
from skylift.cloud.services.ec2.spot_option import REQUEST
from skylift.cloud.services.ec2.tenancy import TENANCIES, tenancy_of
from skylift.cloud.services.vpc.vpc import default_subnets
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

ACTION = "ec2:RunInstances"

_METADATA = {
    "tokens": "ec2:MetadataHttpTokens",
    "endpoint": "ec2:MetadataHttpEndpoint",
    "hop_limit": "ec2:MetadataHttpPutResponseHopLimit",
    "tags": "ec2:InstanceMetadataTags",
}

_NAMED_IN = {
    "image": ("image",),
    "instance": (
        "stop_protected",
        "termination_protected",
        "profile",
        "shutdown_behavior",
        "market",
        "type",
        "metadata",
        "placement",
        "user_data",
    ),
    "spot-instances-request": ("market",),
    "volume": ("devices",),
    "network-interface": ("interfaces", "address"),
    "subnet": ("subnet_id", "placement", "interfaces.subnet_id"),
    "security-group": ("group_ids", "group_names", "interfaces.group_ids"),
    "key-pair": ("key_name",),
    "placement-group": ("placement",),
}
"""The fields of a LaunchRequest that name or change each type of resource; those of an interface are below the dot."""


def checks(tx: Tx, caller: Caller, params: ec2.RunInstancesRequest) -> Iterator[Check]:
    """RunInstances' checks."""
    yield from of_launch(tx, caller, launch_request(params))


def of_launch(tx: Tx, caller: Caller, request: LaunchRequest) -> Iterator[Check]:
    """The checks of a launch. Includes resources that do not exist: the handler refuses those."""
    if not request.template:
        yield from _checks(tx, caller, request.with_type())
        return
    template = check_of(tx, caller, ACTION, request.template)
    whole, _ = with_template(tx, request)
    for check in (template, *_checks(tx, caller, whole.with_type())):
        yield _from_template(check, template.resource, request)


def on_spot_request(tx: Tx, caller: Caller, params: ec2.RequestSpotInstancesRequest) -> Iterator[Check]:
    """RequestSpotInstances: on all that its instances will use, but not on what will be made then.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
    """
    yield from making(caller, "RequestSpotInstances", REQUEST, params)
    launch = spot_launch(params.get("LaunchSpecification") or {})
    for check in _checks(tx, caller, replace(launch, market=MarketRequest("spot", type="persistent"))):
        if check.action != ACTION:
            yield check
        elif _kind(check) not in ("instance", "volume", REQUEST):
            yield replace(check, action="ec2:RequestSpotInstances")


def as_asked_by(action: str, launches: Iterable[Check], *kinds: str) -> Iterator[Check]:
    """The checks of launches, and for these types of resources the same ones of the action that leads to them."""
    for check in launches:
        yield check
        if check.action == ACTION and _kind(check) in kinds:
            yield replace(check, action=action)


def _checks(tx: Tx, caller: Caller, launch: LaunchRequest) -> Iterator[Check]:
    for placed in _in_zones(tx, caller, launch):
        yield from _placed_checks(tx, caller, placed)


def _placed_checks(tx: Tx, caller: Caller, request: LaunchRequest) -> Iterator[Check]:
    tags, interfaces = tagged(request), request.interfaces or (InterfaceRequest(),)
    subnets = [_subnet(tx, request, asked) for asked in interfaces]
    subnet = subnets[0]
    parameter = image_parameter(request.image or "")
    if parameter is not None:
        yield on_name(caller, "GetParameters", parameter)
    image_id = image_id_or_none(tx, caller, request.image or "*")
    yield on_row(tx, caller, ACTION, Image, image_id or "*", more={"ec2:ImageType": "machine"})
    yield from making(caller, "RunInstances", "instance", tags, more=_of_instance(tx, caller, request, subnet))
    if _on_spot(request):
        yield from making(caller, "RunInstances", REQUEST, tags)
    image = tx.get(Image, id=image_id_or_none(tx, caller, request.image or ""))
    zone = subnet.zone if subnet else None
    yield from block_device.checks(tx, caller, image, zone, request.devices or (), tags)
    for asked, place in zip(interfaces, subnets, strict=True):
        if asked.existing_id:
            yield on_row(tx, caller, ACTION, NetworkInterface, asked.existing_id)
        else:
            more = _of_interface(caller, asked, place)
            yield from making(caller, "RunInstances", "network-interface", tags, more=more)
    for place in {one.id: one for one in subnets if one}.values():
        yield on_row(tx, caller, ACTION, Subnet, place.id)
    if None in subnets:
        yield Check(ACTION, arn(caller, "subnet", "*"))
    groups = [
        group for asked, place in zip(interfaces, subnets, strict=True) for group in _groups(tx, request, asked, place)
    ]
    for group_id in dict.fromkeys(groups):
        yield on_row(tx, caller, ACTION, SecurityGroup, group_id)
    if request.key_name:
        yield from on_key(ACTION)(tx, caller, {"KeyName": request.key_name})
    yield from on_group_of(tx, caller, ACTION, request.place.group_name, request.place.group_id)
    profile = find_profile(tx, request.profile)
    yield from check_pass(tx, profile, arn(caller, "instance", "*"))


def _from_template(check: Check, template: str, request: LaunchRequest) -> Check:
    """Every resource of the launch knows the template, and whether it is used as the template has it.

    Not so what the request itself asks for.
    """
    if not check.resource.startswith("arn:aws:ec2:"):
        return check
    own = any(
        any(getattr(one, name.partition(".")[2]) for one in request.interfaces or ())
        if "." in name
        else getattr(request, name)
        for name in _NAMED_IN.get(_kind(check), ())
    )
    context: Context = {"ec2:LaunchTemplate": template, "ec2:IsLaunchTemplateResource": "false" if own else "true"}
    return replace(check, context={**(check.context or {}), **context})


def _kind(check: Check) -> str:
    """The type of the resource of EC2's."""
    return check.resource.split(":", 5)[5].partition("/")[0]


def _on_spot(request: LaunchRequest) -> bool:
    return request.market is not None and request.market.market == "spot"


def _in_zones(tx: Tx, caller: Caller, request: LaunchRequest) -> list[LaunchRequest]:
    """The request with each zone that it may go to: the caller needs permission for their subnets."""
    try:
        named = require_zone(caller.region, request.place.zone, request.place.zone_id)
        # The market launches a persistent request again, each time where it is cheapest then.
        if request.leaves_zone_open and request.market is not None and request.market.type == "persistent":
            return [request.in_zone(subnet.zone) for subnet in default_subnets(tx)] or [request]
        return [request.in_zone(named) if named else with_zone(tx, request, terms_of(tx, request))]
    except ServiceError:
        return [request]


def _of_instance(tx: Tx, caller: Caller, request: LaunchRequest, subnet: Subnet | None) -> Context:
    profile = find_profile(tx, request.profile)
    given = asdict(request.metadata or MetadataRequest())
    return {
        **of_metadata(default_options(tx, caller.account)),
        **{key: str(given[name]) for name, key in _METADATA.items() if given[name] is not None},
        "ec2:InstanceType": request.type or "",
        "ec2:InstanceMarketType": "spot" if _on_spot(request) else "on-demand",
        "ec2:RootDeviceType": "ebs",
        "ec2:Tenancy": _tenancy(tx, request, subnet),
        "ec2:EbsOptimized": "false",
        **({"ec2:InstanceProfile": profile.arn} if profile else {}),
        **(of_zone(subnet.zone) if subnet else {}),
    }


def _tenancy(tx: Tx, request: LaunchRequest, subnet: Subnet | None) -> str:
    """What it comes to; an unknown one is the handler's to refuse."""
    asked = request.place.tenancy or "default"
    return tenancy_of(tx, asked, subnet.vpc_id) if subnet and asked in TENANCIES else asked


def _of_interface(caller: Caller, asked: InterfaceRequest, subnet: Subnet | None) -> Context:
    if subnet is None:
        return {}
    wanted = asked.public_ip
    public = subnet.map_public_ip if wanted is None else wanted
    return {
        "ec2:Subnet": arn(caller, "subnet", subnet.id),
        "ec2:Vpc": arn(caller, "vpc", subnet.vpc_id),
        **of_zone(subnet.zone),
        "ec2:AssociatePublicIpAddress": "true" if public else "false",
    }


def _subnet(tx: Tx, request: LaunchRequest, asked: InterfaceRequest) -> Subnet | None:
    """The subnet of an interface: that of an existing one, the one that is named, or the default one."""
    existing = tx.get(NetworkInterface, id=asked.existing_id) if asked.existing_id else None
    named = existing.subnet_id if existing else request.subnet_id or asked.subnet_id
    if named:
        return tx.get(Subnet, id=named)
    with suppress(ServiceError):
        return default_subnet(tx, request.place.zone)
    return None


def _groups(tx: Tx, request: LaunchRequest, asked: InterfaceRequest, subnet: Subnet | None) -> list[str]:
    """The groups of a new interface."""
    if asked.existing_id:
        return []
    ids = request.group_ids or asked.group_ids or ()
    if subnet is None:
        return list(ids)
    names = request.group_names or ([] if ids else ["default"])
    named = [tx.get(SecurityGroup, vpc_id=subnet.vpc_id, name=name) for name in names]
    return [*ids, *(group.id for group in named if group)]
