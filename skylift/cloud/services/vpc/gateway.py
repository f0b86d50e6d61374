"""Internet gateways."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import InternetGateway, NetworkInterface, RouteTable, Vpc
from skylift.cloud.services.api.ec2_operation import PAGES, acts, makes, reads
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.refusal import invalid
from skylift.cloud.services.api.resource import new_id, require
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

LISTING = Listing(
    InternetGateway,
    ids="InternetGatewayIds",
    key="InternetGatewayId",
    filters={**same_named("internet-gateway-id owner-id"), **same_named("state vpc-id", "attachment", "Attachments")},
)


def view(gateway: InternetGateway, owner: str) -> ec2.InternetGateway:
    attached: list[ec2.InternetGatewayAttachment] = (
        [{"State": "available", "VpcId": gateway.vpc_id}] if gateway.vpc_id else []
    )
    return {"InternetGatewayId": gateway.id, "OwnerId": owner, "Attachments": attached, "Tags": tag_list(gateway.tags)}


def create(tx: Tx, caller: Caller, params: ec2.CreateInternetGatewayRequest) -> ec2.CreateInternetGatewayResult:
    gateway = InternetGateway(new_id("igw"), tags=tags_for(params, "internet-gateway"))
    tx.add(gateway)
    return {"InternetGateway": view(gateway, caller.account)}


def describe(tx: Tx, caller: Caller, params: ec2.DescribeInternetGatewaysRequest) -> ec2.DescribeInternetGatewaysResult:
    shown = LISTING.describe(tx, params, lambda gateway: view(gateway, caller.account))
    return {"InternetGateways": shown.items, **shown.next}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteInternetGatewayRequest) -> Nothing:
    gateway = require(tx, InternetGateway, params["InternetGatewayId"])
    if gateway.vpc_id:
        raise ServiceError(
            "DependencyViolation", f"The internetGateway '{gateway.id}' has dependencies and cannot be deleted."
        )
    tx.remove(gateway)
    return {}


def attach(tx: Tx, _caller: Caller, params: ec2.AttachInternetGatewayRequest) -> Nothing:
    gateway = require(tx, InternetGateway, params["InternetGatewayId"])
    vpc = require(tx, Vpc, params["VpcId"])
    if gateway.vpc_id:
        raise ServiceError(
            "Resource.AlreadyAssociated", f"resource {gateway.id} is already attached to network {gateway.vpc_id}"
        )
    if tx.get(InternetGateway, vpc_id=vpc.id) is not None:
        raise invalid(f"Network {vpc.id} already has an internet gateway attached")
    tx.save(replace(gateway, vpc_id=vpc.id))
    return {}


def detach(tx: Tx, _caller: Caller, params: ec2.DetachInternetGatewayRequest) -> Nothing:
    """Routes to it stay, and lead nowhere."""
    gateway = require(tx, InternetGateway, params["InternetGatewayId"])
    vpc = require(tx, Vpc, params["VpcId"])
    if gateway.vpc_id != vpc.id:
        raise ServiceError("Gateway.NotAttached", f"resource {gateway.id} is not attached to network {vpc.id}")
    interfaces = tx.find(NetworkInterface, vpc_id=vpc.id)
    if any(address.public_ip for interface in interfaces for address in interface.addresses):
        raise ServiceError(
            "DependencyViolation",
            f"Network {vpc.id} has some mapped public address(es). "
            "Please unmap those public address(es) before detaching the gateway.",
        )
    if any(one.gateway_id == gateway.id for table in tx.find(RouteTable, vpc_id=vpc.id) for one in table.associations):
        raise ServiceError(
            "DependencyViolation", f"A route table is associated with {gateway.id}. Please disassociate it first."
        )
    tx.save(replace(gateway, vpc_id=None))
    return {}


OPERATIONS = (
    makes("CreateInternetGateway", create, "TagSpecifications", "internet-gateway"),
    reads("DescribeInternetGateways", describe, f"InternetGatewayIds {PAGES}"),
    acts("DeleteInternetGateway", delete, "InternetGatewayId", "InternetGatewayId"),
    acts("AttachInternetGateway", attach, "InternetGatewayId VpcId", "InternetGatewayId", "VpcId"),
    acts("DetachInternetGateway", detach, "InternetGatewayId VpcId", "InternetGatewayId", "VpcId"),
)
