"""Condition keys of EC2: what a policy can ask about a resource that is there, and about a change to one.

Which keys a type of resource has is documented at
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skylift.cloud.domain import network
from skylift.cloud.domain.dedicated_host import DedicatedHost
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image, Instance, KeyPair, MetadataOptions
from skylift.cloud.domain.peering import Peering
from skylift.cloud.domain.placement_group import PlacementGroup
from skylift.cloud.domain.volume import Snapshot, Volume
from skylift.cloud.domain.vpc_endpoint import VpcEndpoint
from skylift.cloud.services.api import sharing
from skylift.cloud.services.api.resource import arn
from skylift.cloud.services.api.zone import require_zone, zone_id
from skylift.cloud.store.database import Tx

Context = dict[str, str | tuple[str, ...]]

_NOT_ATTRIBUTES = frozenset({"ClientToken", "DryRun"})


def of_type(tx: Tx, caller: Caller, row: Any) -> Context:
    """The keys that AWS documents for a type of resource, besides its tags."""
    describe = _BY_NOUN.get(type(row))
    return describe(tx, caller, row) if describe else {}


def of_zone(zone: str) -> Context:
    return {"ec2:AvailabilityZone": zone, "ec2:AvailabilityZoneId": zone_id(zone)}


def of_asked_zone(caller: Caller, params: Mapping[str, Any]) -> Context:
    """Of the zone that a request names, by its name or its id; what names none is the handler's to refuse."""
    try:
        zone = require_zone(caller.region, params.get("AvailabilityZone"), params.get("AvailabilityZoneId"))
    except ServiceError:
        return {}
    return of_zone(zone) if zone else {}


def of_metadata(options: MetadataOptions) -> Context:
    return {
        "ec2:MetadataHttpTokens": options.tokens,
        "ec2:MetadataHttpEndpoint": options.endpoint,
        "ec2:MetadataHttpPutResponseHopLimit": str(options.hop_limit),
        "ec2:InstanceMetadataTags": options.tags,
    }


def of_change(params: Mapping[str, Any], *resources: str) -> Context:
    """`ec2:Attribute` names all parameters that a request sets, `ec2:Attribute/NAME` has the value of one.

    A structure has a value when it is nothing but one (`{"Value": "x"}`). `resources` are the parameters that say which
    resource is meant.
    """
    asked = {name: value for name, value in params.items() if name not in _NOT_ATTRIBUTES and name not in resources}
    if isinstance(named := asked.get("Attribute"), str):
        # `Attribute=description` with `Value=x` is the older spelling of the parameter Description.
        asked.setdefault(named[:1].upper() + named[1:], asked.get("Value"))
    context: Context = {"ec2:Attribute": tuple(asked)} if asked else {}
    context |= sharing.keys_of(asked)
    for name, value in asked.items():
        alone = value["Value"] if isinstance(value, Mapping) and list(value) == ["Value"] else value
        if isinstance(alone, bool):
            context[f"ec2:Attribute/{name}"] = "true" if alone else "false"
        elif isinstance(alone, str | int):
            context[f"ec2:Attribute/{name}"] = str(alone)
    return context


def _instance(_tx: Tx, caller: Caller, row: Instance) -> Context:
    return {
        **of_metadata(row.metadata),
        "ec2:InstanceID": row.id,
        "ec2:InstanceType": row.type,
        **of_zone(row.zone),
        "ec2:InstanceMarketType": "spot" if row.spot_request_id else "on-demand",
        "ec2:RootDeviceType": "ebs",
        "ec2:Tenancy": row.tenancy,
        "ec2:EbsOptimized": "false",
        **({"ec2:InstanceProfile": row.profile_arn} if row.profile_arn else {}),
        **({"ec2:PlacementGroup": arn(caller, "placement-group", row.placement_group)} if row.placement_group else {}),
    }


def _image(_tx: Tx, caller: Caller, row: Image) -> Context:
    return {
        "ec2:ImageID": row.id,
        "ec2:ImageType": "machine",
        "ec2:Owner": "amazon" if row.owner == "amazon" else caller.account,
        "ec2:Public": "true" if row.public else "false",
        "ec2:RootDeviceType": "ebs",
    }


def _volume(_tx: Tx, caller: Caller, row: Volume) -> Context:
    return {
        "ec2:VolumeID": row.id,
        "ec2:VolumeSize": str(row.size_gib),
        "ec2:VolumeType": row.type,
        "ec2:Encrypted": "false",
        **of_zone(row.zone),
        **({"ec2:VolumeIops": str(row.iops)} if row.iops else {}),
        **({"ec2:VolumeThroughput": str(row.throughput)} if row.throughput else {}),
        **({"ec2:ParentSnapshot": arn(caller, "snapshot", row.snapshot_id)} if row.snapshot_id else {}),
    }


def _snapshot(_tx: Tx, caller: Caller, row: Snapshot) -> Context:
    return {
        "ec2:SnapshotID": row.id,
        "ec2:SnapshotTime": row.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ec2:Owner": caller.account,
        "ec2:ParentVolume": arn(caller, "volume", row.volume_id),
        "ec2:VolumeSize": str(row.size_gib),
        "ec2:Encrypted": "false",
    }


def _in_vpc(key: str) -> Callable[[Tx, Caller, Any], Context]:
    return lambda _tx, caller, row: {key: row.id, "ec2:Vpc": arn(caller, "vpc", row.vpc_id)}


def _interface(tx: Tx, caller: Caller, row: network.NetworkInterface) -> Context:
    subnet = tx.get(network.Subnet, id=row.subnet_id)
    return {
        "ec2:NetworkInterfaceID": row.id,
        "ec2:Subnet": arn(caller, "subnet", row.subnet_id),
        "ec2:Vpc": arn(caller, "vpc", row.vpc_id),
        **({"ec2:AvailabilityZone": subnet.zone} if subnet else {}),
    }


def _peering(_tx: Tx, caller: Caller, row: Peering) -> Context:
    return {
        "ec2:VpcPeeringConnectionID": row.id,
        "ec2:RequesterVpc": arn(caller, "vpc", row.requester_vpc_id),
        "ec2:AccepterVpc": arn(caller, "vpc", row.accepter_vpc_id),
    }


_BY_NOUN: dict[type[Any], Callable[[Tx, Caller, Any], Context]] = {
    Instance: _instance,
    DedicatedHost: lambda _tx, _caller, row: {
        "ec2:AutoPlacement": row.auto_placement,
        "ec2:AvailabilityZone": row.zone,
    },
    Image: _image,
    Volume: _volume,
    Snapshot: _snapshot,
    KeyPair: lambda _tx, _caller, row: {"ec2:KeyPairName": row.name, "ec2:KeyPairType": row.kind},
    network.Vpc: lambda _tx, _caller, row: {"ec2:VpcID": row.id, "ec2:Tenancy": row.tenancy},
    network.Subnet: lambda _tx, caller, row: {
        "ec2:SubnetID": row.id,
        **of_zone(row.zone),
        "ec2:Vpc": arn(caller, "vpc", row.vpc_id),
    },
    network.InternetGateway: lambda _tx, _caller, row: {"ec2:InternetGatewayID": row.id},
    network.RouteTable: _in_vpc("ec2:RouteTableID"),
    network.SecurityGroup: _in_vpc("ec2:SecurityGroupID"),
    network.NetworkAcl: _in_vpc("ec2:NetworkAclID"),
    network.DhcpOptions: lambda _tx, _caller, row: {"ec2:DhcpOptionsID": row.id},
    network.Address: lambda _tx, _caller, row: {
        "ec2:AllocationId": row.id,
        "ec2:Domain": "vpc",
        "ec2:PublicIpAddress": row.public_ip,
    },
    network.NetworkInterface: _interface,
    Peering: _peering,
    PlacementGroup: lambda _tx, _caller, row: {
        "ec2:PlacementGroupName": row.name,
        "ec2:PlacementGroupStrategy": row.strategy,
    },
    VpcEndpoint: lambda _tx, _caller, row: {"ec2:VpceServiceName": row.service, "ec2:VpceServiceOwner": "amazon"},
}
"""Nouns that are missing here have only their tags as keys: launch templates, NAT gateways."""
