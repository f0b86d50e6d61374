"""Managed prefix lists: address ranges that security group rules and routes name by one id, in versions.

https://docs.aws.amazon.com/vpc/latest/userguide/managed-prefix-lists.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import (
    EarlierPrefixList,
    PrefixEntry,
    PrefixList,
    RouteTable,
    Rule,
    SecurityGroup,
    services_prefix_list,
)
from skylift.cloud.services.api.client_token import remember, result_of
from skylift.cloud.services.api.ec2_operation import PAGES, acts, makes, reads, shows
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.page import Limits, page
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing, one_of
from skylift.cloud.services.api.resource import arn, new_id, require
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.vpc.cidr import block, peer6
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import keep_version, prefix_lists, service_prefix_lists

if TYPE_CHECKING:
    from aws_shapes import ec2


FAMILIES: tuple[Literal["IPv4", "IPv6"], ...] = ("IPv4", "IPv6")

MOST_ENTRIES = 1000
"""The largest MaxEntries of a list."""
MOST_VERSIONS = 1000
"""Then the oldest goes with each new one."""
MOST_CHANGES = 100
"""The most entries that one request may add or remove."""
MOST_RULES = 60
"""AWS's quota for a security group, of each direction and family of addresses."""
RESERVED = "com.amazonaws"

LIMITS = Limits(most=100, least=1)

LISTING = Listing(
    PrefixList,
    ids="PrefixListIds",
    key="PrefixListId",
    limits=LIMITS,
    filters={"owner-id": "OwnerId", "prefix-list-id": "PrefixListId", "prefix-list-name": "PrefixListName"},
)


def create(tx: Tx, caller: Caller, params: ec2.CreateManagedPrefixListRequest) -> ec2.CreateManagedPrefixListResult:
    made_before = result_of(tx, "CreateManagedPrefixList", params)
    if made_before:
        found = require(tx, PrefixList, made_before)
    else:
        most = _room(params["MaxEntries"])
        family = one_of(params["AddressFamily"], "addressFamily", FAMILIES)
        found = PrefixList(
            id=new_id("pl"),
            name=_name(params["PrefixListName"]),
            family=family,
            max_entries=most,
            version=1,
            entries=_fitting(_added((), params.get("Entries") or [], family), most),
            tags=tags_for(params, "prefix-list"),
        )
        tx.add(found)
        remember(tx, "CreateManagedPrefixList", params, found.id)
    return {"PrefixList": view(found, caller)}


def describe(
    tx: Tx, caller: Caller, params: ec2.DescribeManagedPrefixListsRequest
) -> ec2.DescribeManagedPrefixListsResult:
    """AWS's own among them."""
    wanted = params.get("PrefixListIds")
    rows = [known(tx, one) for one in dict.fromkeys(wanted)] if wanted else list(prefix_lists(tx).values())
    shown = LISTING.page(params, [view(row, caller) for row in rows])
    return {"PrefixLists": shown.items, **shown.next}


def describe_services(tx: Tx, caller: Caller, params: ec2.DescribePrefixListsRequest) -> ec2.DescribePrefixListsResult:
    """Those of AWS's services alone, as this operation had them before there were others."""
    service = services_prefix_list(caller.region)
    for asked in params.get("PrefixListIds") or []:
        if known(tx, asked) != service:
            raise invalid(f"The prefix list '{asked}' is not one of AWS's services.")
    described: ec2.PrefixList = {
        "PrefixListId": service.id,
        "PrefixListName": service.name,
        "Cidrs": [entry.cidr for entry in service.entries],
    }
    shown = LISTING.page(params, [described])
    return {"PrefixLists": shown.items, **shown.next}


def get_entries(
    tx: Tx, _caller: Caller, params: ec2.GetManagedPrefixListEntriesRequest
) -> ec2.GetManagedPrefixListEntriesResult:
    found = known(tx, params["PrefixListId"])
    entries = _version(tx, found, params.get("TargetVersion", found.version))
    items: list[ec2.PrefixListEntry] = [
        {"Cidr": entry.cidr, **({"Description": entry.description} if entry.description else {})} for entry in entries
    ]
    shown = page(items, params, lambda item: str(item["Cidr"]), LIMITS)
    return {"Entries": shown.items, **shown.next}


def get_associations(
    tx: Tx, caller: Caller, params: ec2.GetManagedPrefixListAssociationsRequest
) -> ec2.GetManagedPrefixListAssociationsResult:
    found = known(tx, params["PrefixListId"])
    items: list[ec2.PrefixListAssociation] = [
        {"ResourceId": one, "ResourceOwner": caller.account} for one in users_of(tx, found.id)
    ]
    shown = page(items, params, lambda item: str(item["ResourceId"]), LIMITS)
    return {"PrefixListAssociations": shown.items, **shown.next}


def modify(tx: Tx, caller: Caller, params: ec2.ModifyManagedPrefixListRequest) -> ec2.ModifyManagedPrefixListResult:
    """Entries that come or go make a new version; what goes goes first, so that an entry can be described anew."""
    found = _own(tx, params["PrefixListId"])
    added, removed = params.get("AddEntries") or [], params.get("RemoveEntries") or []
    most = params.get("MaxEntries")
    if most is not None and (added or removed):
        raise combination(
            "You cannot modify the entries and the maximum entries for the prefix list in the same request."
        )
    if not (added or removed or most is not None or params.get("PrefixListName")):
        raise missing("PrefixListName, AddEntries, RemoveEntries or MaxEntries")
    _refuse_other_version(found, params.get("CurrentVersion"))
    changed = replace(found, state="modify-complete")
    if params.get("PrefixListName"):
        changed = replace(changed, name=_name(params["PrefixListName"]))
    if most is not None:
        _fitting(found.entries, _room(most))
        changed = replace(changed, max_entries=most)
    if added or removed:
        entries = _added(_without(found.entries, removed, found.family), added, found.family)
        changed = _next(tx, changed, _fitting(entries, found.max_entries))
    tx.save(changed)
    for group in tx.find(SecurityGroup) if changed.max_entries > found.max_entries else ():
        if any(rule.prefix_list_id == found.id for rule in group.rules):
            refuse_crowd(tx, group.rules)
    return {"PrefixList": view(changed, caller)}


def restore(
    tx: Tx, caller: Caller, params: ec2.RestoreManagedPrefixListVersionRequest
) -> ec2.RestoreManagedPrefixListVersionResult:
    """The entries of an earlier version, as a new one."""
    found = _own(tx, params["PrefixListId"])
    _refuse_other_version(found, params["CurrentVersion"])
    entries = _fitting(_version(tx, found, params["PreviousVersion"]), found.max_entries)
    changed = replace(_next(tx, found, entries), state="restore-complete")
    tx.save(changed)
    return {"PrefixList": view(changed, caller)}


def delete(tx: Tx, caller: Caller, params: ec2.DeleteManagedPrefixListRequest) -> ec2.DeleteManagedPrefixListResult:
    found = _own(tx, params["PrefixListId"])
    users = users_of(tx, found.id)
    if users:
        raise ServiceError(
            "DependencyViolation",
            f"The prefix list '{found.id}' is in use by {', '.join(users)} and cannot be deleted.",
        )
    tx.remove(found)
    return {"PrefixList": {**view(found, caller), "State": "delete-complete"}}


def known(tx: Tx, prefix_list_id: str) -> PrefixList:
    """The account's own list of this id, or AWS's."""
    service = service_prefix_lists(tx).get(prefix_list_id)
    return require(tx, PrefixList, prefix_list_id) if service is None else service


def users_of(tx: Tx, prefix_list_id: str) -> list[str]:
    """The security groups and route tables that name a list."""
    groups = [one.id for one in tx.find(SecurityGroup) if any(r.prefix_list_id == prefix_list_id for r in one.rules)]
    tables = [one.id for one in tx.find(RouteTable) if any(r.prefix_list_id == prefix_list_id for r in one.routes)]
    return [*groups, *tables]


def refuse_crowd(tx: Tx, rules: Iterable[Rule]) -> None:
    """Raises where a group would have more rules than it may. A list counts as all that there may be in it."""
    counts: Counter[tuple[bool, str]] = Counter()
    for rule in rules:
        listed = known(tx, rule.prefix_list_id) if rule.prefix_list_id else None
        for family, other in (("IPv4", rule.cidr6), ("IPv6", rule.cidr)):
            if other is None and (listed is None or listed.family == family):
                counts[rule.egress, family] += listed.max_entries if listed else 1
    refuse_more(max(counts.values(), default=0))


def refuse_more(count: int) -> None:
    if count > MOST_RULES:
        raise ServiceError(
            "RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached."
        )


def view(found: PrefixList, caller: Caller) -> ec2.ManagedPrefixList:
    return {
        "PrefixListId": found.id,
        "PrefixListName": found.name,
        "PrefixListArn": _arn(found, caller),
        "AddressFamily": found.family,
        "MaxEntries": found.max_entries,
        "Version": found.version,
        "State": found.state,
        "OwnerId": "AWS" if found.owner == "AWS" else caller.account,
        "Tags": tag_list(found.tags),
    }


def _arn(found: PrefixList, caller: Caller) -> str:
    if found.owner == "AWS":
        return f"arn:aws:ec2:{caller.region}:aws:prefix-list/{found.id}"
    return arn(caller, "prefix-list", found.id)


def _own(tx: Tx, prefix_list_id: str) -> PrefixList:
    found = known(tx, prefix_list_id)
    if found.owner == "AWS":
        raise ServiceError("UnsupportedOperation", f"The prefix list {found.id} is managed by AWS.")
    return found


def _next(tx: Tx, found: PrefixList, entries: tuple[PrefixEntry, ...]) -> PrefixList:
    keep_version(tx, found)
    tx.remove(EarlierPrefixList(found.id, found.version + 1 - MOST_VERSIONS, ()))
    return replace(found, version=found.version + 1, entries=entries)


def _version(tx: Tx, found: PrefixList, version: int) -> tuple[PrefixEntry, ...]:
    if version == found.version:
        return found.entries
    earlier = tx.get(EarlierPrefixList, id=found.id, version=version)
    if earlier is None:
        raise ServiceError("PrefixListVersionNotFound", f"The prefix list {found.id} has no version {version}.")
    return earlier.entries


def _refuse_other_version(found: PrefixList, current: int | None) -> None:
    if current is not None and current != found.version:
        raise ServiceError("PrefixListVersionMismatch", "The prefix list has the incorrect version number.")


def _fitting(entries: tuple[PrefixEntry, ...], most: int) -> tuple[PrefixEntry, ...]:
    if len(entries) > most:
        raise ServiceError(
            "PrefixListMaxEntriesExceeded", f"The prefix list has room for {most} entries; these are {len(entries)}."
        )
    return entries


def _added(
    entries: tuple[PrefixEntry, ...], asked: Iterable[ec2.AddPrefixListEntry], family: Literal["IPv4", "IPv6"]
) -> tuple[PrefixEntry, ...]:
    """An entry that is there already is described anew."""
    new: dict[str, PrefixEntry] = {}
    for item in asked:
        cidr, text = _cidr(item.get("Cidr", ""), family), item.get("Description", "")
        if cidr in new:
            raise invalid(f"The CIDR {cidr} must not appear multiple times.")
        if len(text) > 255:
            raise invalid_value(text, "description", "It has to be at most 255 characters long.")
        new[cidr] = PrefixEntry(cidr, text)
    _refuse_many(new)
    return tuple({**{entry.cidr: entry for entry in entries}, **new}.values())


def _without(
    entries: tuple[PrefixEntry, ...], asked: Iterable[ec2.RemovePrefixListEntry], family: Literal["IPv4", "IPv6"]
) -> tuple[PrefixEntry, ...]:
    gone = {_cidr(item["Cidr"], family) for item in asked}
    absent = gone - {entry.cidr for entry in entries}
    if absent:
        raise invalid(f"The prefix list has no entry {', '.join(sorted(absent))}.")
    _refuse_many(gone)
    return tuple(entry for entry in entries if entry.cidr not in gone)


def _refuse_many(changes: Iterable[str]) -> None:
    if len(list(changes)) > MOST_CHANGES:
        raise invalid(f"At most {MOST_CHANGES} entries can be added to or removed from a prefix list at a time.")


def _cidr(text: str, family: Literal["IPv4", "IPv6"]) -> str:
    return str(block(text, "cidr")) if family == "IPv4" else str(peer6(text))


def _name(text: str) -> str:
    if not 1 <= len(text) <= 255 or text.startswith(RESERVED):
        raise invalid_value(
            text, "prefixListName", f"It has to be 1 to 255 characters that do not start with {RESERVED}."
        )
    return text


def _room(most: int) -> int:
    if not 1 <= most <= MOST_ENTRIES:
        raise invalid_value(most, "maxEntries", f"It has to be between 1 and {MOST_ENTRIES}.")
    return most


OPERATIONS = (
    makes(
        "CreateManagedPrefixList",
        create,
        "PrefixListName Entries MaxEntries AddressFamily ClientToken TagSpecifications",
        "prefix-list",
    ),
    reads("DescribeManagedPrefixLists", describe, f"PrefixListIds {PAGES}"),
    reads("DescribePrefixLists", describe_services, f"PrefixListIds {PAGES}"),
    shows(
        "GetManagedPrefixListEntries", get_entries, "PrefixListId TargetVersion MaxResults NextToken", "PrefixListId"
    ),
    shows("GetManagedPrefixListAssociations", get_associations, "PrefixListId MaxResults NextToken", "PrefixListId"),
    acts(
        "ModifyManagedPrefixList",
        modify,
        "PrefixListId CurrentVersion PrefixListName AddEntries RemoveEntries MaxEntries",
        "PrefixListId",
    ),
    acts("RestoreManagedPrefixListVersion", restore, "PrefixListId PreviousVersion CurrentVersion", "PrefixListId"),
    acts("DeleteManagedPrefixList", delete, "PrefixListId", "PrefixListId"),
)
