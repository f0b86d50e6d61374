"""Dedicated hosts: allocated, described, modified, released.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/dedicated-hosts-overview.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypedDict

from skylift.catalogue import InstanceType, types
from skylift.cloud.domain.dedicated_host import DedicatedHost
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.check import making
from skylift.cloud.services.api.client_token import result_of
from skylift.cloud.services.api.condition_key import of_asked_zone
from skylift.cloud.services.api.ec2_operation import prepares, reads
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Check, Handler
from skylift.cloud.services.api.page import Limits
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing, one_of, refuse_other_values
from skylift.cloud.services.api.resource import new_id, require_all
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.api.zone import require_zone, zone_id
from skylift.cloud.services.ec2.instance_type import is_offered
from skylift.cloud.services.ec2.tagging import acts_in_turns, added_in_turns
from skylift.cloud.store.database import Tx
from skylift.cloud.store.instance import on_host

if TYPE_CHECKING:
    from aws_shapes import ec2


REMEMBERED = timedelta(hours=1)
"""DescribeHosts shows a released host for this long."""

MOST_AT_ONCE = 1000
"""The most hosts of one request. AWS's own limit is the account's quota of each family."""

NEUTRAL: dict[str, tuple[object, ...]] = {"HostRecovery": ("off",), "HostMaintenance": ("off",)}
"""Recovery and maintenance can only be off: the only host is this machine, and there is no other to go to."""

SWITCH: tuple[Literal["on", "off"], ...] = ("on", "off")

OVERCOMMITTED = {"t3": 192}
"""The vCPUs of hosts that have more than their family's largest type."""

LISTING = Listing(
    DedicatedHost,
    ids="HostIds",
    key="HostId",
    filtered_by="Filter",
    limits=Limits(most=500, not_with=("HostIds", "hostIdSet")),
    filters={
        **same_named("auto-placement availability-zone availability-zone-id client-token host-reservation-id state"),
        "instance-type": "HostProperties.InstanceType",
    },
)


def allocate(tx: Tx, caller: Caller, params: ec2.AllocateHostsRequest) -> Handler | list[Handler]:
    made_before = result_of(tx, "AllocateHosts", params)
    if made_before:
        return lambda _tx, _caller, _params: {"HostIds": made_before.split()}
    refuse_other_values(params, NEUTRAL)
    family, kind = _wanted(params)
    zone = require_zone(caller.region, params.get("AvailabilityZone"), params.get("AvailabilityZoneId"))
    if zone is None:
        raise missing("availabilityZone")
    quantity = params.get("Quantity", 1)
    if not 1 <= quantity <= MOST_AT_ONCE:
        raise invalid_value(quantity, "quantity", f"It has to be between 1 and {MOST_AT_ONCE}.")
    hosts = [
        DedicatedHost(
            id=new_id("h"),
            family=family,
            type=kind,
            zone=zone,
            allocated=tx.now,
            auto_placement=one_of(params.get("AutoPlacement", "on"), "autoPlacement", SWITCH),
            client_token=params.get("ClientToken"),
            tags=tags_for(params, "dedicated-host"),
        )
        for _ in range(quantity)
    ]
    answer: ec2.AllocateHostsResult = {"HostIds": [host.id for host in hosts]}
    return added_in_turns("AllocateHosts", params, hosts, answer)


def describe(tx: Tx, caller: Caller, params: ec2.DescribeHostsRequest) -> ec2.DescribeHostsResult:
    shown = LISTING.describe(tx, params, lambda host: view(tx, host, caller))
    return {"Hosts": shown.items, **shown.next}


def modify(tx: Tx, _caller: Caller, params: ec2.ModifyHostsRequest) -> ec2.ModifyHostsResult:
    """Change each host by itself: the answer lists the changed ones and those that cannot be changed."""
    refuse_other_values(params, NEUTRAL)
    auto = one_of(params["AutoPlacement"], "autoPlacement", SWITCH) if params.get("AutoPlacement") else None
    wanted = _wanted(params) if params.get("InstanceFamily") or params.get("InstanceType") else None
    if auto is None and wanted is None:
        raise missing("autoPlacement, instanceFamily or instanceType")

    def change(host: DedicatedHost) -> ServiceError | None:
        if host.released:
            return _not_available(host)
        there = on_host(tx, host.id)
        after = host if auto is None else replace(host, auto_placement=auto)
        if wanted is not None:
            after = replace(after, family=wanted[0], type=wanted[1])
        if there and wanted is not None and not _takes_all(after, there):
            return ServiceError(
                "Client.InvalidHostConfiguration",
                f"The Dedicated Host '{host.id}' has instances that are not of this type.",
            )
        tx.save(after)
        return None

    return {**_each(tx, params, change)}


def release(tx: Tx, _caller: Caller, params: ec2.ReleaseHostsRequest) -> ec2.ReleaseHostsResult:
    """What runs on it has to be off before. An instance that was stopped on it needs another one to start again."""

    def let_go(host: DedicatedHost) -> ServiceError | None:
        if host.released:
            return _not_available(host)
        if on_host(tx, host.id):
            return ServiceError(
                "Client.InvalidHost.Occupied",
                f"Dedicated host '{host.id}' cannot be released as it is occupied by instances.",
            )
        tx.save(replace(host, released=tx.now))
        return None

    return {**_each(tx, params, let_go)}


def forget_released(tx: Tx) -> None:
    for host in tx.find(DedicatedHost):
        if host.released and host.released <= tx.now - REMEMBERED:
            tx.remove(host)


def check_allocate(_tx: Tx, caller: Caller, params: ec2.AllocateHostsRequest) -> Iterator[Check]:
    more = {
        "ec2:AutoPlacement": params.get("AutoPlacement") or "on",
        "ec2:InstanceType": params.get("InstanceType") or params.get("InstanceFamily") or "",
        "ec2:Quantity": str(params.get("Quantity", 1)),
        **of_asked_zone(caller, params),
    }
    yield from making(caller, "AllocateHosts", "dedicated-host", params, more=more)


def takes(host: DedicatedHost, kind: InstanceType) -> bool:
    """Whether such instances can be on it at all."""
    return kind.name == host.type if host.type else kind.family == host.family


def room_on(tx: Tx, host: DedicatedHost, kind: InstanceType) -> int:
    """The number of further instances of this kind that fit."""
    if host.released or not takes(host, kind):
        return 0
    return max(0, (_total(host) - _used(on_host(tx, host.id))) // kind.vcpus)


def view(tx: Tx, host: DedicatedHost, caller: Caller) -> ec2.Host:
    there = on_host(tx, host.id)
    kinds = [types()[host.type]] if host.type else _of_family(host.family)
    total, used = _total(host), _used(there)
    threads = max((kind.vcpus // kind.cores for kind in kinds), default=1)
    free = 0 if host.released else total - used
    return {
        "HostId": host.id,
        "State": "released" if host.released else "available",
        "AutoPlacement": host.auto_placement,
        "AvailabilityZone": host.zone,
        "AvailabilityZoneId": zone_id(host.zone),
        "AllocationTime": host.allocated,
        **({"ReleaseTime": host.released} if host.released else {}),
        "AllowsMultipleInstanceTypes": "off" if host.type else "on",
        "AvailableCapacity": {
            "AvailableVCpus": free,
            "AvailableInstanceCapacity": [
                {
                    "InstanceType": kind.name,
                    "TotalCapacity": total // kind.vcpus,
                    "AvailableCapacity": free // kind.vcpus,
                }
                for kind in kinds
            ],
        },
        "HostProperties": {
            "InstanceFamily": host.family,
            **({"InstanceType": host.type} if host.type else {}),
            "TotalVCpus": total,
            "Cores": total // threads,
        },
        "HostMaintenance": "off",
        "HostRecovery": "off",
        "Instances": [{"InstanceId": one.id, "InstanceType": one.type, "OwnerId": caller.account} for one in there],
        "MemberOfServiceLinkedResourceGroup": False,
        "OwnerId": caller.account,
        **({"ClientToken": host.client_token} if host.client_token else {}),
        "Tags": tag_list(host.tags),
    }


def _wanted(params: ec2.AllocateHostsRequest | ec2.ModifyHostsRequest) -> tuple[str, str | None]:
    """The family, and the type if there is to be one only."""
    family, kind = params.get("InstanceFamily"), params.get("InstanceType")
    if family and kind:
        raise combination("The parameter instanceFamily cannot be used with the parameter instanceType")
    if kind:
        found = instance_type(kind).family
        if types()[kind] not in _of_family(found):
            raise _unsupported(kind)
        return found, kind
    if not family:
        raise missing("instanceType or instanceFamily")
    if not any(one.family == family for one in types().values()):
        raise invalid(f"Invalid value '{family}' for InstanceFamily.")
    if not _of_family(family):
        raise _unsupported(family)
    return family, None


def _of_family(family: str) -> list[InstanceType]:
    """The types that hosts of it take here."""
    found = [one for one in types().values() if one.family == family and one.dedicated_hosts and is_offered(one)]
    return sorted(found, key=lambda one: (one.vcpus, one.memory_mib))


def _total(host: DedicatedHost) -> int:
    """vCPUs. The largest type that hosts of the family take fills one, as on AWS for all but burstable ones."""
    whole = (one.vcpus for one in types().values() if one.family == host.family and one.dedicated_hosts)
    return OVERCOMMITTED.get(host.family) or max(whole, default=0)


def _used(there: list[Instance]) -> int:
    return sum(types()[one.type].vcpus for one in there)


def _takes_all(host: DedicatedHost, there: list[Instance]) -> bool:
    return all(takes(host, types()[one.type]) for one in there) and _used(there) <= _total(host)


Act = Callable[[DedicatedHost], ServiceError | None]


class _Done(TypedDict):
    Successful: list[str]
    Unsuccessful: list[ec2.UnsuccessfulItem]


def _each(tx: Tx, params: ec2.ModifyHostsRequest | ec2.ReleaseHostsRequest, act: Act) -> _Done:
    done: list[str] = []
    failed: list[ec2.UnsuccessfulItem] = []
    for host in require_all(tx, DedicatedHost, params["HostIds"]):
        error = act(host)
        if error is None:
            done.append(host.id)
        else:
            failed.append({"ResourceId": host.id, "Error": {"Code": error.code, "Message": error.message}})
    return {"Successful": done, "Unsuccessful": failed}


def _not_available(host: DedicatedHost) -> ServiceError:
    return ServiceError(
        "Client.InvalidHostState", f"The Dedicated Host '{host.id}' must be in the available state; it is released."
    )


def _unsupported(name: str) -> ServiceError:
    return ServiceError("UnsupportedHostConfiguration", f"There are no Dedicated Hosts for '{name}' here.")


OPERATIONS = (
    prepares(
        "AllocateHosts",
        allocate,
        "AutoPlacement AvailabilityZone AvailabilityZoneId ClientToken InstanceFamily InstanceType Quantity "
        "TagSpecifications " + " ".join(NEUTRAL),
        check_allocate,
    ),
    reads("DescribeHosts", describe, "HostIds Filter MaxResults NextToken"),
    acts_in_turns(
        "ModifyHosts",
        modify,
        DedicatedHost,
        "HostIds",
        "AutoPlacement InstanceFamily InstanceType " + " ".join(NEUTRAL),
    ),
    acts_in_turns("ReleaseHosts", release, DedicatedHost, "HostIds"),
)
