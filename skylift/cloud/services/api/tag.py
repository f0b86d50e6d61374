"""Tags: what may be one, and how they are asked for and answered.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NotRequired, TypedDict

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.refusal import invalid
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import group_of_rule

if TYPE_CHECKING:
    from aws_shapes import ec2

MAX_TAGS = 50
RESERVED = "aws:"
"""EC2 itself sets tags with this prefix; they do not count against the limit, and users cannot change them."""

_METADATA_KEY = re.compile(r"[0-9a-zA-Z\-_+=,.@:]{1,255}")
_METADATA_RESERVED = (".", "..", "_index")

Tags = dict[str, str]


class Tagged(TypedDict):
    """The members of a request that makes something."""

    TagSpecifications: NotRequired[list[ec2.TagSpecification]]


def tag_list(tags: Mapping[str, str]) -> list[ec2.Tag]:
    """Tags as EC2 answers them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def specified(params: Tagged, *types: str) -> dict[str, Tags]:
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
        found[resource_type] = limited(checked(specification["Tags"]))
    return found


def tags_for(params: Tagged, resource_type: str) -> Tags:
    """The tags of the one resource that an operation makes."""
    return specified(params, resource_type).get(resource_type, {})


def checked(pairs: Iterable[ec2.Tag], *, last_wins: bool = False) -> Tags:
    """Keys and values within EC2's rules, no key twice; with `last_wins` a key has its last value."""
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
        if key in tags and not last_wins:
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


def group_with_rule(tx: Tx, rule_id: str) -> str:
    """Its id."""
    found = group_of_rule(tx, rule_id)
    if found is None:
        words = f"The security group rule ID '{rule_id}' does not exist"
        raise ServiceError("InvalidSecurityGroupRuleId.NotFound", words)
    return found


def limited(tags: Tags) -> Tags:
    if sum(not key.startswith(RESERVED) for key in tags) > MAX_TAGS:
        raise ServiceError("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
    return tags
