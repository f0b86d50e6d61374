"""Gateway endpoints: how subnets reach S3 without a way to the internet, and a policy for all that goes that way.

https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-s3.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import Route, RouteTable, ToEndpoint, Vpc, services_prefix_list
from skylift.cloud.domain.vpc_endpoint import VpcEndpoint, s3_service
from skylift.cloud.services.api.check import making, on, on_row
from skylift.cloud.services.api.client_token import echoed, remember, result_of
from skylift.cloud.services.api.ec2_operation import PAGES, acts, reads, writes
from skylift.cloud.services.api.filter import matching, same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.page import page
from skylift.cloud.services.api.policy_document import parse_policy
from skylift.cloud.services.api.refusal import combination, invalid, refuse_other_values
from skylift.cloud.services.api.resource import new_id, require, require_all
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.api.transition import in_transition
from skylift.cloud.services.api.trust import check_principals
from skylift.cloud.services.api.zone import zone_id, zones
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


OPEN = '{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}'
"""The default policy of an endpoint."""

NEUTRAL: dict[str, tuple[object, ...]] = {
    "IpAddressType": ("ipv4",),
    "PrivateDnsEnabled": (False,),
    "VpcEndpointType": ("Gateway",),
}
MODIFY_NEUTRAL: dict[str, tuple[object, ...]] = {"IpAddressType": ("ipv4",), "PrivateDnsEnabled": (False,)}

LISTING = Listing(
    VpcEndpoint,
    ids="VpcEndpointIds",
    key="VpcEndpointId",
    filters={
        **same_named("ip-address-type service-name vpc-endpoint-id vpc-endpoint-type vpc-id"),
        "vpc-endpoint-state": "State",
    },
)

_SERVICE_FILTERS = {"owner": "Owner", "service-name": "ServiceName", "service-type": "ServiceType.ServiceType"}


def create(tx: Tx, caller: Caller, params: ec2.CreateVpcEndpointRequest) -> ec2.CreateVpcEndpointResult:
    refuse_other_values(params, NEUTRAL)
    made_before = result_of(tx, "CreateVpcEndpoint", params)
    found = require(tx, VpcEndpoint, made_before) if made_before else _make(tx, caller, params)
    if not made_before:
        remember(tx, "CreateVpcEndpoint", params, found.id)
    return {"VpcEndpoint": _viewer(tx, caller)(found), **echoed(params)}


def describe(tx: Tx, caller: Caller, params: ec2.DescribeVpcEndpointsRequest) -> ec2.DescribeVpcEndpointsResult:
    shown = LISTING.describe(tx, params, _viewer(tx, caller))
    return {"VpcEndpoints": shown.items, **shown.next}


def modify(tx: Tx, caller: Caller, params: ec2.ModifyVpcEndpointRequest) -> ec2.ModifyVpcEndpointResult:
    refuse_other_values(params, MODIFY_NEUTRAL)
    found = require(tx, VpcEndpoint, params["VpcEndpointId"])
    if params.get("ResetPolicy") and params.get("PolicyDocument"):
        raise combination("Only one of resetPolicy and policyDocument may be specified.")
    removed = _tables(tx, found.vpc_id, params.get("RemoveRouteTableIds"))
    for table in removed:
        if not any(route.target == ToEndpoint(found.id) for route in table.routes):
            raise invalid(f"The route table {table.id} has no route to the VPC endpoint {found.id}.")
    _lead_away(tx, found, removed)
    _lead_to(tx, caller, found, _tables(tx, found.vpc_id, params.get("AddRouteTableIds")))
    if params.get("ResetPolicy"):
        tx.save(replace(found, policy=OPEN))
    elif params.get("PolicyDocument"):
        tx.save(replace(found, policy=_checked_policy(tx, caller, params["PolicyDocument"])))
    return {"Return": True}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteVpcEndpointsRequest) -> ec2.DeleteVpcEndpointsResult:
    """Each by itself: what cannot be deleted is answered, and hinders no other."""
    failed: list[ec2.UnsuccessfulItem] = []
    for endpoint_id in dict.fromkeys(params["VpcEndpointIds"]):
        try:
            found = require(tx, VpcEndpoint, endpoint_id)
        except ServiceError as error:
            failed.append({"ResourceId": endpoint_id, "Error": {"Code": error.code, "Message": error.message}})
            continue
        _lead_away(tx, found, tx.find(RouteTable, vpc_id=found.vpc_id))
        tx.remove(found)
    return {"Unsuccessful": failed}


def describe_services(
    _tx: Tx, caller: Caller, params: ec2.DescribeVpcEndpointServicesRequest
) -> ec2.DescribeVpcEndpointServicesResult:
    """The services that endpoints can be made for."""
    name = s3_service(caller.region)
    for asked in params.get("ServiceNames") or []:
        _refuse_other_service(asked, caller)
    service: ec2.ServiceDetail = {
        "ServiceName": name,
        "ServiceId": f"vpce-svc-{hashlib.sha256(name.encode()).hexdigest()[:17]}",
        "ServiceRegion": caller.region,
        "AvailabilityZones": list(zones(caller.region)),
        "AvailabilityZoneIds": [zone_id(zone) for zone in zones(caller.region)],
        "ServiceType": [{"ServiceType": "Gateway"}],
        "Owner": "amazon",
        "BaseEndpointDnsNames": [f"s3.{caller.region}.amazonaws.com"],
        "VpcEndpointPolicySupported": True,
        "AcceptanceRequired": False,
        "ManagesVpcEndpoints": False,
        "SupportedIpAddressTypes": ["ipv4"],
        "Tags": [],
    }
    shown = page(
        matching([service], params.get("Filters"), _SERVICE_FILTERS, "Tags"),
        params,
        lambda item: str(item["ServiceName"]),
    )
    return {"ServiceDetails": shown.items, "ServiceNames": [item["ServiceName"] for item in shown.items], **shown.next}


def check_create(tx: Tx, caller: Caller, params: ec2.CreateVpcEndpointRequest) -> Iterator[Check]:
    more = {"ec2:VpceServiceName": params.get("ServiceName") or "", "ec2:VpceServiceOwner": "amazon"}
    yield from making(caller, "CreateVpcEndpoint", "vpc-endpoint", params, more=more)
    yield from on("ec2:CreateVpcEndpoint", "VpcId", "RouteTableIds")(tx, caller, params)


def check_modify(tx: Tx, caller: Caller, params: ec2.ModifyVpcEndpointRequest) -> Iterator[Check]:
    """The endpoint, whose attributes change, and the route tables that get or lose a route."""
    action = "ec2:ModifyVpcEndpoint"
    yield from on(action, "VpcEndpointId")(tx, caller, params)
    for table_id in (*(params.get("AddRouteTableIds") or ()), *(params.get("RemoveRouteTableIds") or ())):
        yield on_row(tx, caller, action, RouteTable, table_id)


def _make(tx: Tx, caller: Caller, params: ec2.CreateVpcEndpointRequest) -> VpcEndpoint:
    vpc = require(tx, Vpc, params["VpcId"])
    service = params.get("ServiceName") or ""
    _refuse_other_service(service, caller)
    policy = params.get("PolicyDocument")
    found = VpcEndpoint(
        id=new_id("vpce"),
        vpc_id=vpc.id,
        service=service,
        policy=_checked_policy(tx, caller, policy) if policy else OPEN,
        created=tx.now,
        tags=tags_for(params, "vpc-endpoint"),
    )
    tx.add(found)
    _lead_to(tx, caller, found, _tables(tx, vpc.id, params.get("RouteTableIds")))
    return found


def _refuse_other_service(name: str, caller: Caller) -> None:
    if name != s3_service(caller.region):
        raise ServiceError("InvalidServiceName", f"The Vpc Endpoint Service '{name}' does not exist")


def _checked_policy(tx: Tx, caller: Caller, text: str) -> str:
    """A policy with principals, as those of resources have them."""
    try:
        for statement in parse_policy(text, "resource").statements:
            for principals in (statement.principals, statement.not_principals):
                check_principals(tx, caller, principals)
    except ServiceError as error:
        raise ServiceError("InvalidPolicyDocument", f"Policy document is not valid: {error.message}") from error
    return text


def _tables(tx: Tx, vpc_id: str, ids: Iterable[str] | None) -> list[RouteTable]:
    found = require_all(tx, RouteTable, ids or [])
    for table in found:
        if table.vpc_id != vpc_id:
            raise invalid(f"Route table {table.id} and the VPC endpoint belong to different networks: {vpc_id} is its.")
    return found


def _lead_to(tx: Tx, caller: Caller, endpoint: VpcEndpoint, tables: Iterable[RouteTable]) -> None:
    listed = services_prefix_list(caller.region).id
    for table in tables:
        if any(association.gateway_id for association in table.associations):
            raise invalid(f"Route table {table.id} is a gateway's: no route there can lead to a VPC endpoint.")
        if any(route.prefix_list_id == listed for route in table.routes):
            raise ServiceError(
                "RouteAlreadyExists",
                f"route table {table.id} already has a route with destination-prefix-list-id {listed}",
            )
        tx.save(replace(table, routes=(*table.routes, Route("", ToEndpoint(endpoint.id), prefix_list_id=listed))))


def _lead_away(tx: Tx, endpoint: VpcEndpoint, tables: Iterable[RouteTable]) -> None:
    for table in tables:
        kept = tuple(route for route in table.routes if route.target != ToEndpoint(endpoint.id))
        if kept != table.routes:
            tx.save(replace(table, routes=kept))


def _viewer(tx: Tx, caller: Caller) -> Callable[[VpcEndpoint], ec2.VpcEndpoint]:
    tables: dict[str, list[str]] = {}
    for table in tx.find(RouteTable):
        for route in table.routes:
            if isinstance(route.target, ToEndpoint):
                tables.setdefault(route.target.endpoint_id, []).append(table.id)

    def view(endpoint: VpcEndpoint) -> ec2.VpcEndpoint:
        return {
            "VpcEndpointId": endpoint.id,
            "VpcEndpointType": "Gateway",
            "VpcId": endpoint.vpc_id,
            "ServiceName": endpoint.service,
            "ServiceRegion": caller.region,
            "State": "available",
            "PolicyDocument": endpoint.policy,
            "RouteTableIds": tables.get(endpoint.id, []),
            "SubnetIds": [],
            "Groups": [],
            "NetworkInterfaceIds": [],
            "DnsEntries": [],
            "DnsOptions": {"DnsRecordIpType": "service-defined"},
            "PrivateDnsEnabled": False,
            "RequesterManaged": False,
            "IpAddressType": "ipv4",
            "CreationTimestamp": endpoint.created,
            "OwnerId": caller.account,
            "Tags": tag_list(endpoint.tags),
        }

    return view


OPERATIONS = (
    writes(
        "CreateVpcEndpoint",
        create,
        "VpcId ServiceName PolicyDocument RouteTableIds ClientToken TagSpecifications " + " ".join(NEUTRAL),
        check_create,
    ),
    reads(
        "DescribeVpcEndpoints",
        describe,
        f"VpcEndpointIds {PAGES}",
        unsettled=in_transition("VpcEndpointIds", ("VpcEndpoints.State", "pending", "deleting")),
    ),
    reads("DescribeVpcEndpointServices", describe_services, f"ServiceNames {PAGES}"),
    writes(
        "ModifyVpcEndpoint",
        modify,
        "VpcEndpointId ResetPolicy PolicyDocument AddRouteTableIds RemoveRouteTableIds " + " ".join(MODIFY_NEUTRAL),
        check_modify,
    ),
    acts("DeleteVpcEndpoints", delete, "VpcEndpointIds", "VpcEndpointIds"),
)
