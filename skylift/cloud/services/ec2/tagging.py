"""CreateTags, DeleteTags and DescribeTags: of whatever has an id.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.network import RuleTags, SecurityGroup
from skylift.cloud.services.api.check import on, tagging
from skylift.cloud.services.api.client_token import Repeatable, remember, result_of
from skylift.cloud.services.api.ec2_operation import PAGES, prepares, reads
from skylift.cloud.services.api.filter import matching
from skylift.cloud.services.api.operation import Answer, Handler, Item, Nothing, Operation, Outdated, Params, in_turns
from skylift.cloud.services.api.page import page
from skylift.cloud.services.api.refusal import invalid, missing
from skylift.cloud.services.api.resource import KINDS, SECURITY_GROUP_RULE, kind_of_id, new_id, require, require_all
from skylift.cloud.services.api.tag import RESERVED, Tags, check_metadata_keys, checked, group_with_rule, limited
from skylift.cloud.store.database import Rehearsal, Tx
from skylift.cloud.store.mapping import weight
from skylift.cloud.store.network import rule_tags, tag_rules

if TYPE_CHECKING:
    from aws_shapes import ec2


MOST_AT_ONCE = 1 << 20
"""The most bytes of rows that one transaction changes, but for a row that has more: a thousand with all their tags have
some hundred megabytes, and other writers wait."""
OF_ROW = 1 << 14
"""A row takes as long as so many bytes."""


def prepare_create(tx: Tx, _caller: Caller, params: ec2.CreateTagsRequest) -> list[Handler]:
    added = checked(params["Tags"], last_wins=True)
    if not added:
        raise missing("Tag")
    return _in_turns(tx, params["Resources"], lambda tags: limited({**tags, **added}))


def prepare_delete(tx: Tx, _caller: Caller, params: ec2.DeleteTagsRequest) -> list[Handler]:
    """Without `Tags` all of them go; a key with a value goes only where the value is that one."""
    unwanted = params.get("Tags")
    for pair in unwanted or []:
        if pair["Key"].lower().startswith(RESERVED):
            raise invalid("Tag keys starting with 'aws:' are reserved for internal use")
    return _in_turns(tx, params["Resources"], lambda tags: _without(tags, unwanted))


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
            "Description": {"Key": key, "Value": value, "ResourceId": resource_id, "ResourceType": resource_type},
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
                    yield rule.id, SECURITY_GROUP_RULE, rule_tags(tx, rule.id)


def _in_turns(tx: Tx, resources: Iterable[str], changed: Callable[[Tags], Tags]) -> list[Handler]:
    """All of the resources are looked at before the first is changed: either each of them can be, or none is."""
    rows = ((row_id, _changed(tx, row_id, changed)) for row_id in dict.fromkeys(resources))
    return [partial(_change, ids=some, changed=changed) for some in rows_in_turns(rows)]


def acts_in_turns(name: str, handler: Handler, noun: type[Any], ids: str, takes: str = "") -> Operation:
    """An operation on rows that this parameter names. All are looked at before the first is changed; of many, some are
    changed at a time."""

    def prepare(tx: Tx, caller: Caller, params: Params) -> list[Handler]:
        handler(Rehearsal(tx), caller, params)
        done: dict[str, Any] = {}

        def act(tx: Tx, caller: Caller, params: Params, some: Sequence[str]) -> Answer:
            for member, changes in handler(tx, caller, {**params, ids: some}).items():
                done[member] = [*done.get(member, ()), *cast("list[object]", changes)]
            return done

        rows = ((row.id, row) for row in require_all(tx, noun, params[ids]))
        return [partial(act, some=some) for some in rows_in_turns(rows)]

    return prepares(name, prepare, f"{ids} {takes}", on(f"ec2:{name}", ids))


def added_in_turns(operation: str, params: Repeatable, rows: Sequence[Any], answer: Answer) -> list[Handler]:
    """New rows, of which some are written at a time. The first of them remember the request, whose token others may
    have used since it was looked for."""

    def add(tx: Tx, _caller: Caller, _params: Params, some: Sequence[Any]) -> Answer:
        if some[0] is rows[0]:
            if result_of(tx, operation, params):
                raise Outdated
            remember(tx, operation, params, " ".join(row.id for row in rows))
        for row in some:
            tx.add(row)
        return answer

    return [partial(add, some=some) for some in rows_in_turns((row, row) for row in rows)]


def rows_in_turns(rows: Iterable[tuple[Item, Any]]) -> list[list[Item]]:
    """What names the rows, in lists of as many as one transaction may change."""
    return in_turns(((name, OF_ROW + weight(row)) for name, row in rows), MOST_AT_ONCE)


def _change(tx: Tx, _caller: Caller, _params: Params, ids: Iterable[str], changed: Callable[[Tags], Tags]) -> Nothing:
    for row_id in ids:
        row = _changed(tx, row_id, changed)
        if isinstance(row, RuleTags):
            tag_rules(tx, row, [row_id])
        else:
            tx.save(row)
    return {}


def _changed(tx: Tx, row_id: str, changed: Callable[[Tags], Tags]) -> Any:
    """The row with other tags; of a rule only these."""
    if row_id.startswith("sgr-"):
        return RuleTags(new_id("tags"), group_with_rule(tx, row_id), changed(rule_tags(tx, row_id)))
    kind = kind_of_id(row_id)
    if kind is None:
        raise ServiceError("InvalidID", f"The ID '{row_id}' is not valid")
    row = require(tx, kind.noun, row_id)
    tags = changed(row.tags)
    if isinstance(row, Instance) and row.metadata.tags == "enabled":
        check_metadata_keys(tags)
    return replace(row, tags=tags)


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
    prepares("CreateTags", prepare_create, "Resources Tags", tagging("ec2:CreateTags")),
    prepares("DeleteTags", prepare_delete, "Resources Tags", tagging("ec2:DeleteTags")),
    reads("DescribeTags", describe, PAGES),
)
