"""VPCs, the default one among them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Literal

from skylift.cloud.domain import network
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.peering import JOINED
from skylift.cloud.domain.vpc_endpoint import VpcEndpoint
from skylift.cloud.services.api.ec2_operation import PAGES, acts, makes, reads, shows
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.refusal import combination, invalid_value, missing, one_of, refuse_other_values
from skylift.cloud.services.api.resource import new_id, require
from skylift.cloud.services.api.tag import Tags, tag_list, tags_for
from skylift.cloud.services.api.zone import zones
from skylift.cloud.services.vpc import dhcp_options
from skylift.cloud.services.vpc.cidr import block, usable_for_vpc
from skylift.cloud.services.vpc.network_acl import default_acl, join_default
from skylift.cloud.services.vpc.peering import ended
from skylift.cloud.services.vpc.security_rule import default_group
from skylift.cloud.services.vpc.subnet import DEFAULT_BITS
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import of_vpc

if TYPE_CHECKING:
    from aws_shapes import ec2

TENANCIES: tuple[Literal["default", "dedicated"], ...] = ("default", "dedicated")

DEFAULT_CIDR = "172.31.0.0/16"

LISTING = Listing(
    network.Vpc,
    ids="VpcIds",
    key="VpcId",
    filters={
        **same_named("cidr-block dhcp-options-id is-default owner-id state vpc-id"),
        **same_named("association-id cidr-block", "cidr-block-association", "CidrBlockAssociationSet"),
        **same_named(
            "association-id ipv6-cidr-block ipv6-pool", "ipv6-cidr-block-association", "Ipv6CidrBlockAssociationSet"
        ),
        "cidr": "CidrBlock",
        "cidr-block-association.state": "CidrBlockAssociationSet.CidrBlockState.State",
        "ipv6-cidr-block-association.state": "Ipv6CidrBlockAssociationSet.Ipv6CidrBlockState.State",
        "isDefault": "IsDefault",
    },
)

NEUTRAL: dict[str, tuple[object, ...]] = {"AmazonProvidedIpv6CidrBlock": (False,)}


def view(vpc: network.Vpc, owner: str) -> ec2.Vpc:
    return {
        "VpcId": vpc.id,
        "OwnerId": owner,
        "State": "available",
        "CidrBlock": vpc.cidr,
        "CidrBlockAssociationSet": [
            cidr_view(one, "associated")
            for one in (network.CidrBlock(primary_association(vpc), vpc.cidr), *vpc.more_cidrs)
        ],
        "DhcpOptionsId": vpc.dhcp_options_id,
        "InstanceTenancy": vpc.tenancy,
        "IsDefault": vpc.is_default,
        "Tags": tag_list(vpc.tags),
    }


def cidr_view(found: network.CidrBlock, state: str) -> ec2.VpcCidrBlockAssociation:
    return {"AssociationId": found.id, "CidrBlock": found.cidr, "CidrBlockState": {"State": state}}


def primary_association(vpc: network.Vpc) -> str:
    """The id under which the range that a VPC was made with is associated."""
    return f"vpc-cidr-assoc-{vpc.id.removeprefix('vpc-')}"


def create(tx: Tx, caller: Caller, params: ec2.CreateVpcRequest) -> ec2.CreateVpcResult:
    refuse_other_values(params, NEUTRAL)
    if not params.get("CidrBlock"):
        raise missing("cidrBlock")
    cidr = block(params["CidrBlock"], "cidrBlock")
    if not usable_for_vpc(cidr):
        raise ServiceError("InvalidVpc.Range", f"The CIDR '{params['CidrBlock']}' is invalid.")
    tenancy = one_of(params.get("InstanceTenancy") or "default", "instanceTenancy", TENANCIES)
    vpc = _make(tx, cidr, caller.region, tags_for(params, "vpc"), tenancy=tenancy)
    return {"Vpc": view(vpc, caller.account) | {"State": "pending", "Ipv6CidrBlockAssociationSet": []}}


def describe(tx: Tx, caller: Caller, params: ec2.DescribeVpcsRequest) -> ec2.DescribeVpcsResult:
    shown = LISTING.describe(tx, params, lambda vpc: view(vpc, caller.account))
    return {"Vpcs": shown.items, **shown.next}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteVpcRequest) -> Nothing:
    """Deletes its main route table, default security group and default ACL, too. All else has to be deleted before."""
    vpc = require(tx, network.Vpc, params["VpcId"])
    tables = tx.find(network.RouteTable, vpc_id=vpc.id)
    groups = tx.find(network.SecurityGroup, vpc_id=vpc.id)
    acls = tx.find(network.NetworkAcl, vpc_id=vpc.id)
    in_the_way: list[Any] = (
        tx.find(network.Subnet, vpc_id=vpc.id)
        or tx.find(network.InternetGateway, vpc_id=vpc.id)
        or tx.find(network.NetworkInterface, vpc_id=vpc.id)
        or tx.find(VpcEndpoint, vpc_id=vpc.id)
        or [table for table in tables if not table.is_main]
        or [group for group in groups if group.name != "default"]
        or [acl for acl in acls if not acl.is_default]
    )
    if in_the_way:
        raise ServiceError("DependencyViolation", f"The vpc '{vpc.id}' has dependencies and cannot be deleted.")
    for row in (*tables, *groups, *acls, vpc):
        tx.remove(row)
    for peering in of_vpc(tx, vpc.id):
        if peering.state in ("pending-acceptance", *JOINED):
            tx.save(ended(tx, peering))
    return {}


def modify_attribute(tx: Tx, _caller: Caller, params: ec2.ModifyVpcAttributeRequest) -> Nothing:
    vpc = require(tx, network.Vpc, params["VpcId"])
    support, hostnames = params.get("EnableDnsSupport"), params.get("EnableDnsHostnames")
    if support is None and hostnames is None:
        raise missing("enableDnsSupport or enableDnsHostnames")
    if support is not None and hostnames is not None:
        raise combination("Only one attribute can be modified at a time.")
    changed = replace(vpc, dns_support=support.get("Value", False)) if support is not None else vpc
    if hostnames is not None:
        changed = replace(vpc, dns_hostnames=hostnames.get("Value", False))
    if changed.dns_hostnames and not changed.dns_support and hostnames is not None:
        raise combination("DNS hostnames cannot be enabled while DNS support is disabled.")
    tx.save(changed)
    return {}


def describe_attribute(
    tx: Tx, _caller: Caller, params: ec2.DescribeVpcAttributeRequest
) -> ec2.DescribeVpcAttributeResult:
    vpc = require(tx, network.Vpc, params["VpcId"])
    if params["Attribute"] == "enableDnsSupport":
        return {"VpcId": vpc.id, "EnableDnsSupport": {"Value": vpc.dns_support}}
    if params["Attribute"] == "enableDnsHostnames":
        return {"VpcId": vpc.id, "EnableDnsHostnames": {"Value": vpc.dns_hostnames}}
    if params["Attribute"] == "enableNetworkAddressUsageMetrics":
        return {"VpcId": vpc.id, "EnableNetworkAddressUsageMetrics": {"Value": False}}
    raise invalid_value(params["Attribute"], "attribute", "Unknown attribute.")


def modify_tenancy(tx: Tx, _caller: Caller, params: ec2.ModifyVpcTenancyRequest) -> ec2.ModifyVpcTenancyResult:
    """Back to `default`, and not the other way. Instances that are there stay as they are."""
    vpc = require(tx, network.Vpc, params["VpcId"])
    if params["InstanceTenancy"] != "default":
        raise invalid_value(params["InstanceTenancy"], "instanceTenancy", "It has to be default.")
    tx.save(replace(vpc, tenancy="default"))
    return {"ReturnValue": True}


def create_default(tx: Tx, caller: Caller, _params: object) -> ec2.CreateDefaultVpcResult:
    if tx.get(network.Vpc, is_default=True) is not None:
        raise ServiceError("DefaultVpcAlreadyExists", "A Default VPC already exists for this account in this region.")
    return {"Vpc": view(make_default_vpc(tx, caller.region), caller.account)}


def make_default_vpc(tx: Tx, region: str) -> network.Vpc:
    """The VPC that an account finds in a region: a public subnet in every zone.

    https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc-components.html
    """
    cidr = IPv4Network(DEFAULT_CIDR)
    gateway = network.InternetGateway(new_id("igw"))
    vpc = _make(
        tx, cidr, region, {}, default=True, routes=(network.Route("0.0.0.0/0", network.ToInternetGateway(gateway.id)),)
    )
    tx.add(replace(gateway, vpc_id=vpc.id))
    for zone, subnet in zip(zones(region), cidr.subnets(new_prefix=DEFAULT_BITS), strict=False):
        made = network.Subnet(new_id("subnet"), vpc.id, str(subnet), zone, map_public_ip=True, default_for_zone=True)
        tx.add(made)
        join_default(tx, made)
    return vpc


def default_vpc(tx: Tx) -> network.Vpc:
    """The default VPC, or EC2's error for what needs one and does not find it."""
    vpc = tx.get(network.Vpc, is_default=True)
    if vpc is None:
        raise ServiceError(
            "VPCIdNotSpecified",
            "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.",
        )
    return vpc


def default_subnets(tx: Tx, within: Collection[str] | None = None) -> list[network.Subnet]:
    """The default VPC's subnets for a launch that names none, by their zones; only these if there are some."""
    found = tx.find(network.Subnet, vpc_id=default_vpc(tx).id, default_for_zone=True)
    return sorted((one for one in found if within is None or one.id in within), key=lambda one: one.zone)


def _make(
    tx: Tx,
    cidr: IPv4Network,
    region: str,
    tags: Tags,
    *,
    default: bool = False,
    routes: tuple[network.Route, ...] = (),
    tenancy: Literal["default", "dedicated"] = "default",
) -> network.Vpc:
    """A VPC with what every one has: a main route table, a default security group and a default network ACL."""
    vpc = network.Vpc(
        new_id("vpc"),
        str(cidr),
        is_default=default,
        dns_hostnames=default,
        dhcp_options_id=dhcp_options.amazons(tx, region).id,
        tags=tags,
        tenancy=tenancy,
    )
    tx.add(vpc)
    local = network.Route(vpc.cidr, network.ToLocal(), "CreateRouteTable")
    tx.add(
        network.RouteTable(
            new_id("rtb"), vpc.id, routes=(local, *routes), associations=(network.RouteAssociation(new_id("rtbassoc")),)
        )
    )
    tx.add(default_group(vpc.id))
    tx.add(default_acl(vpc.id))
    return vpc


OPERATIONS = (
    makes("CreateVpc", create, "CidrBlock InstanceTenancy TagSpecifications " + " ".join(NEUTRAL), "vpc"),
    makes("CreateDefaultVpc", create_default, "", "vpc"),
    reads("DescribeVpcs", describe, f"VpcIds {PAGES}"),
    acts("DeleteVpc", delete, "VpcId", "VpcId"),
    acts("ModifyVpcAttribute", modify_attribute, "VpcId EnableDnsHostnames EnableDnsSupport", "VpcId"),
    shows("DescribeVpcAttribute", describe_attribute, "VpcId Attribute", "VpcId"),
    acts("ModifyVpcTenancy", modify_tenancy, "VpcId InstanceTenancy", "VpcId"),
)
