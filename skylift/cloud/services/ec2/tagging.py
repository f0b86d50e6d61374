"""CreateTags, DeleteTags and DescribeTags: of whatever has an id.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.network import SecurityGroup
from skylift.cloud.services.api.check import tagging
from skylift.cloud.services.api.ec2_operation import PAGES, reads, writes
from skylift.cloud.services.api.filter import matching
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.page import page
from skylift.cloud.services.api.refusal import invalid, missing
from skylift.cloud.services.api.resource import KINDS, SECURITY_GROUP_RULE, kind_of_id, require
from skylift.cloud.services.api.tag import RESERVED, Tags, check_metadata_keys, checked, limited, rule_by_id
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


def create(tx: Tx, _caller: Caller, params: ec2.CreateTagsRequest) -> Nothing:
    added = checked(params["Tags"], last_wins=True)
    if not added:
        raise missing("Tag")
    for resource_id in dict.fromkeys(params["Resources"]):
        _change(tx, resource_id, lambda tags: limited({**tags, **added}))
    return {}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteTagsRequest) -> Nothing:
    """Without `Tags` all of them go; a key with a value goes only where the value is that one."""
    unwanted = params.get("Tags")
    for pair in unwanted or []:
        if pair["Key"].lower().startswith(RESERVED):
            raise invalid("Tag keys starting with 'aws:' are reserved for internal use")
    for resource_id in dict.fromkeys(params["Resources"]):
        _change(tx, resource_id, lambda tags: _without(tags, unwanted))
    return {}


class _Found(TypedDict):
    """A tag, and once more as filters on tags look for it."""

    Description: ec2.TagDescription
    Tags: list[ec2.Tag]


_FILTERS = {
    "key": "Description.Key",
    "resource-id": "Description.ResourceId",
    "resource-type": "Description.ResourceType",
    "value": "Description.Value",
}


def describe(tx: Tx, _caller: Caller, params: ec2.DescribeTagsRequest) -> ec2.DescribeTagsResult:
    items: list[_Found] = [
        {
            "Description": {
                "Key": key,
                "Value": value,
                "ResourceId": resource_id,
                "ResourceType": resource_type,
            },
            "Tags": [{"Key": key, "Value": value}],
        }
        for resource_id, resource_type, tags in _everything(tx)
        for key, value in tags.items()
    ]
    found = matching(items, params.get("Filters"), _FILTERS, tags="Tags")
    shown = page([item["Description"] for item in found], params, lambda tag: f"{tag['ResourceId']} {tag['Key']}")
    return {"Tags": shown.items, **shown.next}


def _everything(tx: Tx) -> Iterator[tuple[str, str, Tags]]:
    for kind in KINDS:
        for row in tx.find(kind.noun):
            yield row.id, kind.type, row.tags
            if isinstance(row, SecurityGroup):
                for rule in row.rules:
                    yield rule.id, SECURITY_GROUP_RULE, rule.tags


def _change(tx: Tx, resource_id: str, changed: Callable[[Tags], Tags]) -> None:
    if resource_id.startswith("sgr-"):
        group, rule = rule_by_id(tx, resource_id)
        rules = tuple(replace(one, tags=changed(one.tags)) if one is rule else one for one in group.rules)
        tx.save(replace(group, rules=rules))
        return
    kind = kind_of_id(resource_id)
    if kind is None:
        raise ServiceError("InvalidID", f"The ID '{resource_id}' is not valid")
    row = require(tx, kind.noun, resource_id)
    tags = changed(row.tags)
    if isinstance(row, Instance) and row.metadata.tags == "enabled":
        check_metadata_keys(tags)
    tx.save(replace(row, tags=tags))


def _without(tags: Tags, unwanted: list[ec2.Tag] | None) -> Tags:
    if not unwanted:
        return {key: value for key, value in tags.items() if key.startswith(RESERVED)}
    gone = {
        pair["Key"]
        for pair in unwanted
        if pair["Key"] in tags and ("Value" not in pair or pair["Value"] == tags[pair["Key"]])
    }
    return {key: value for key, value in tags.items() if key not in gone}


OPERATIONS = (
    writes("CreateTags", create, "Resources Tags", tagging("ec2:CreateTags")),
    writes("DeleteTags", delete, "Resources Tags", tagging("ec2:DeleteTags")),
    reads("DescribeTags", describe, PAGES, kept=True),
)
