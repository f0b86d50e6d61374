"""Tags of Auto Scaling groups. Those that say so are given to the instances that the group launches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.scaling_group import GroupTag, ScalingGroup
from skylift.cloud.services.api.operation import Check, Checks, Nothing
from skylift.cloud.services.api.scaling_check import check_of
from skylift.cloud.services.autoscaling.operation import FILTERS, PAGES, reads, writes
from skylift.cloud.services.autoscaling.scaling_rules import changeable_group, invalid, page, tag_context
from skylift.cloud.store.database import Tx

MOST_TAGS = 50
KIND = "auto-scaling-group"

if TYPE_CHECKING:
    from aws_shapes import autoscaling

    TagsRequest = autoscaling.CreateOrUpdateTagsType | autoscaling.DeleteTagsType


def create_or_update(tx: Tx, _caller: Caller, params: autoscaling.CreateOrUpdateTagsType) -> Nothing:
    for name, pairs in _by_group(params).items():
        group = changeable_group(tx, name)
        tx.save(replace(group, tags=_limited({**_by_key(group.tags), **_by_key(checked_tags(name, pairs))})))
    return {}


def delete(tx: Tx, _caller: Caller, params: autoscaling.DeleteTagsType) -> Nothing:
    """A key with a value goes only where the value is that one."""
    for name, pairs in _by_group(params).items():
        group = changeable_group(tx, name)
        gone = {
            tag.key
            for tag in group.tags
            for pair in pairs
            if pair["Key"] == tag.key and pair.get("Value", tag.value) in ("", tag.value)
        }
        tx.save(replace(group, tags=tuple(tag for tag in group.tags if tag.key not in gone)))
    return {}


def describe(tx: Tx, _caller: Caller, params: autoscaling.DescribeTagsType) -> autoscaling.TagsType:
    items = [tag_view(group.name, tag) for group in tx.find(ScalingGroup) for tag in group.tags]
    for asked in params.get("Filters") or []:
        items = [item for item in items if _matches(item, asked)]
    items.sort(key=_place)
    chosen, more = page(params, items, _place)
    return {"Tags": chosen, **more}


def checked_tags(name: str, pairs: list[autoscaling.Tag]) -> tuple[GroupTag, ...]:
    """The tags in a request about the group of this name."""
    found: dict[str, GroupTag] = {}
    for pair in pairs:
        key = pair["Key"]
        if pair.get("ResourceId", name) != name or pair.get("ResourceType", KIND) != KIND:
            raise invalid(f"A tag of the group {name} is of ResourceId {name} and ResourceType {KIND}, or of none.")
        if key.lower().startswith("aws:"):
            raise invalid("Tag keys starting with 'aws:' are reserved for internal use")
        if key in found:
            raise invalid(f"Tag keys must be unique; {key} is there twice.")
        found[key] = GroupTag(key, pair.get("Value", ""), pair.get("PropagateAtLaunch", False))
    return _limited(found)


def tag_view(name: str, tag: GroupTag) -> autoscaling.TagDescription:
    return {
        "ResourceId": name,
        "ResourceType": KIND,
        "Key": tag.key,
        "Value": tag.value,
        "PropagateAtLaunch": tag.propagate,
    }


def checks(action: str) -> Checks:
    def asked(tx: Tx, caller: Caller, params: TagsRequest) -> Iterator[Check]:
        for name, pairs in _by_group(params).items():
            yield check_of(tx, caller, action, name, tag_context(pairs))

    return asked


def _by_group(params: TagsRequest) -> dict[str, list[autoscaling.Tag]]:
    found: dict[str, list[autoscaling.Tag]] = {}
    for pair in params["Tags"]:
        if not pair.get("ResourceId"):
            raise invalid("Each tag needs the ResourceId of its group.")
        found.setdefault(pair["ResourceId"], []).append(pair)
    return found


def _by_key(tags: tuple[GroupTag, ...]) -> dict[str, GroupTag]:
    return {tag.key: tag for tag in tags}


def _limited(tags: dict[str, GroupTag]) -> tuple[GroupTag, ...]:
    if len(tags) > MOST_TAGS:
        raise ServiceError("LimitExceeded", f"A group can have at most {MOST_TAGS} tags.")
    return tuple(tags.values())


def _place(item: autoscaling.TagDescription) -> str:
    return f"{item['ResourceId']}/{item['Key']}"


def _matches(item: autoscaling.TagDescription, asked: autoscaling.Filter) -> bool:
    name, values = asked.get("Name", ""), asked.get("Values") or []
    members = {
        "auto-scaling-group": item["ResourceId"],
        "key": item["Key"],
        "value": item["Value"],
        "propagate-at-launch": str(item["PropagateAtLaunch"]).lower(),
    }
    if name not in members:
        raise invalid(f"The filter {name} is not one of auto-scaling-group, key, value and propagate-at-launch.")
    return members[name] in values


TAG_MEMBERS = "Tags.ResourceId Tags.ResourceType Tags.Key Tags.Value Tags.PropagateAtLaunch"


OPERATIONS = (
    writes("CreateOrUpdateTags", create_or_update, TAG_MEMBERS, checks("CreateOrUpdateTags")),
    writes("DeleteTags", delete, TAG_MEMBERS, checks("DeleteTags")),
    reads("DescribeTags", describe, f"{FILTERS} {PAGES}"),
)
