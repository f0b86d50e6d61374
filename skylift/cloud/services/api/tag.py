"""Tags: what may be one, and the operations that set, remove and list them.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller
from skylift.cloud.instance import Instance
from skylift.cloud.network import SecurityGroup
from skylift.cloud.services.api.filter import matching
from skylift.cloud.services.api.page import answer, page
from skylift.cloud.services.api.refusal import invalid, missing
from skylift.cloud.services.api.resource import KINDS, SECURITY_GROUP_RULE, kind_of_id, require
from skylift.cloud.store.database import Tx

MAX_TAGS = 50
RESERVED = "aws:"
"""Tags that EC2 itself sets; they do not count, and cannot be changed."""

_METADATA_KEY = re.compile(r"[0-9a-zA-Z\-_+=,.@:]{1,255}")
_METADATA_RESERVED = (".", "..", "_index")

Tags = dict[str, str]


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as EC2 answers them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def specified(params: Any, *types: str) -> dict[str, Tags]:
    """Tags by resource type from `TagSpecifications`; `types` are those that the operation makes."""
    found: dict[str, Tags] = {}
    for specification in params.get("TagSpecifications", []):
        resource_type = specification.get("ResourceType")
        if resource_type is None:
            raise invalid("Tag specification resource type must have a value")
        if resource_type not in types:
            raise invalid(f"'{resource_type}' is not a valid taggable resource type for this operation.")
        if resource_type in found:
            raise invalid(f"Duplicate resource type '{resource_type}' in tag specifications.")
        if not specification.get("Tags"):
            raise invalid("Tag specification must have at least one tag")
        found[resource_type] = _limited(checked(specification["Tags"]))
    return found


def tags_for(params: Any, resource_type: str) -> Tags:
    """The tags of the one resource that an operation makes."""
    return specified(params, resource_type).get(resource_type, {})


def checked(pairs: Iterable[Mapping[str, str]]) -> Tags:
    """Keys and values within EC2's rules, no key twice."""
    tags: Tags = {}
    for pair in pairs:
        key, value = pair.get("Key"), pair.get("Value", "")
        if not key:
            raise invalid("Tag key cannot be null or empty")
        if len(key) > 128:
            raise invalid(f"Tag key exceeds the maximum length of 128 characters: {key}")
        if len(value) > 256:
            raise invalid(f"Tag value exceeds the maximum length of 256 characters: {value}")
        if key.lower().startswith("aws:"):
            raise invalid("Tag keys starting with 'aws:' are reserved for internal use")
        if key in tags:
            raise invalid(f"Duplicate tag key '{key}' specified.")
        tags[key] = value
    return tags


def check_metadata_keys(keys: Iterable[str]) -> None:
    """The metadata service has a path for each tag of an instance that shows them: its key has to fit in one."""
    for key in keys:
        if not _METADATA_KEY.fullmatch(key) or key in _METADATA_RESERVED:
            raise invalid(
                f"'{key}' is not a valid tag key. Tag keys must match pattern ({_METADATA_KEY.pattern}), and must not "
                "be a reserved name ('.', '..', '_index')"
            )


def create(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    added = checked(params["Tags"])
    if not added:
        raise missing("Tag")
    for resource_id in dict.fromkeys(params["Resources"]):
        _change(tx, resource_id, lambda tags: _limited({**tags, **added}))
    return {}


def delete(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """Without `Tags` all of them go; a key with a value goes only where the value is that one."""
    unwanted = params.get("Tags")
    for pair in unwanted or []:
        if pair["Key"].lower().startswith(RESERVED):
            raise invalid("Tag keys starting with 'aws:' are reserved for internal use")
    for resource_id in dict.fromkeys(params["Resources"]):
        _change(tx, resource_id, lambda tags: _without(tags, unwanted))
    return {}


def describe(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    items = [
        {
            "Key": key,
            "Value": value,
            "ResourceId": resource_id,
            "ResourceType": resource_type,
            "Tags": [{"Key": key, "Value": value}],
        }
        for resource_id, resource_type, tags in _everything(tx)
        for key, value in tags.items()
    ]
    paths = {"key": "Key", "resource-id": "ResourceId", "resource-type": "ResourceType", "value": "Value"}
    found = matching(items, params.get("Filters"), paths, tags="Tags")
    chosen, token = page(found, params, lambda item: f"{item['ResourceId']} {item['Key']}")
    return answer("Tags", ([{key: item[key] for key in item if key != "Tags"} for item in chosen], token))


def _everything(tx: Tx) -> Iterator[tuple[str, str, Tags]]:
    for kind in KINDS:
        for row in tx.find(kind.noun):
            yield row.id, kind.type, row.tags
            if isinstance(row, SecurityGroup):
                for rule in row.rules:
                    yield rule.id, SECURITY_GROUP_RULE, rule.tags


def _change(tx: Tx, resource_id: str, changed: Any) -> None:
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


def rule_by_id(tx: Tx, rule_id: str) -> tuple[SecurityGroup, Any]:
    for group in tx.find(SecurityGroup):
        for rule in group.rules:
            if rule.id == rule_id:
                return group, rule
    raise ServiceError("InvalidSecurityGroupRuleId.NotFound", f"The security group rule ID '{rule_id}' does not exist")


def _limited(tags: Tags) -> Tags:
    if sum(not key.startswith(RESERVED) for key in tags) > MAX_TAGS:
        raise ServiceError("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
    return tags


def _without(tags: Tags, unwanted: list[dict[str, str]] | None) -> Tags:
    if not unwanted:
        return {key: value for key, value in tags.items() if key.startswith(RESERVED)}
    gone = {
        pair["Key"]
        for pair in unwanted
        if pair["Key"] in tags and ("Value" not in pair or pair["Value"] == tags[pair["Key"]])
    }
    return {key: value for key, value in tags.items() if key not in gone}
