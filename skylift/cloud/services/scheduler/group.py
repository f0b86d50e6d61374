"""Groups of schedules, which carry the tags; `default` is always there.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-group.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.schedule import Schedule, ScheduleGroup
from skylift.cloud.services.api.iam_rules import request_tags, tag_list
from skylift.cloud.services.api.operation import Check, Checks, Nothing
from skylift.cloud.services.scheduler import operation
from skylift.cloud.store.database import Tx
from skylift.cloud.store.schedule import forget_groups

if TYPE_CHECKING:
    from aws_shapes import scheduler

DEFAULT = "default"
MOST_GROUPS = 500
MOST_TAGS = 50


def make_default_group(tx: Tx, account: str, region: str) -> None:
    if tx.get(ScheduleGroup, name=DEFAULT) is None:
        arn = f"arn:aws:scheduler:{region}:{account}:schedule-group/{DEFAULT}"
        tx.add(ScheduleGroup(DEFAULT, arn, tx.now, tx.now))


def require_group(tx: Tx, name: str) -> ScheduleGroup:
    found = tx.get(ScheduleGroup, name=name)
    if found is None:
        raise operation.not_found(f"Schedule group {name} does not exist.")
    return found


def create(tx: Tx, caller: Caller, params: scheduler.CreateScheduleGroupInput) -> scheduler.CreateScheduleGroupOutput:
    made = operation.once(
        tx,
        "CreateScheduleGroup",
        params,
        lambda: _create(tx, caller, params),
        lambda arn: tx.get(ScheduleGroup, arn=arn) is not None,
    )
    return {"ScheduleGroupArn": made}


def _create(tx: Tx, caller: Caller, params: scheduler.CreateScheduleGroupInput) -> str:
    name = params["Name"]
    if tx.get(ScheduleGroup, name=name) is not None:
        raise operation.conflict(f"Schedule group {name} already exists.")
    if len(tx.find(ScheduleGroup)) >= MOST_GROUPS:
        raise ServiceError("ServiceQuotaExceededException", f"There are {MOST_GROUPS} schedule groups already.")
    tags = _with({}, params.get("Tags", []))
    made = ScheduleGroup(name, operation.group_arn(caller, name), tx.now, tx.now, tags)
    tx.add(made)
    return made.arn


def get(tx: Tx, _caller: Caller, params: scheduler.GetScheduleGroupInput) -> scheduler.GetScheduleGroupOutput:
    return _view(require_group(tx, params["Name"]))


def list_groups(
    tx: Tx, _caller: Caller, params: scheduler.ListScheduleGroupsInput
) -> scheduler.ListScheduleGroupsOutput:
    prefix = params.get("NamePrefix", "")
    found = [group for group in tx.find(ScheduleGroup) if group.name.startswith(prefix)]
    chosen, more = operation.paged(found, params, lambda group: group.name)
    return {"ScheduleGroups": [_view(group) for group in chosen], **more}


def delete(tx: Tx, _caller: Caller, params: scheduler.DeleteScheduleGroupInput) -> Nothing:
    """A group goes with its schedules, some of them at a time: the loop goes on."""

    def act() -> str:
        if params["Name"] == DEFAULT:
            raise operation.invalid("The default schedule group cannot be deleted.")
        tx.save(replace(require_group(tx, params["Name"]), state="DELETING"))
        forget_groups(tx)
        return ""

    operation.once(tx, "DeleteScheduleGroup", params, act)
    return {}


def list_tags(
    tx: Tx, _caller: Caller, params: scheduler.ListTagsForResourceInput
) -> scheduler.ListTagsForResourceOutput:
    return {"Tags": tag_list(_tagged(tx, params["ResourceArn"]).tags)}


def tag(tx: Tx, _caller: Caller, params: scheduler.TagResourceInput) -> Nothing:
    group = _tagged(tx, params["ResourceArn"])
    tx.save(replace(group, tags=_with(group.tags, params["Tags"]), modified=tx.now))
    return {}


def untag(tx: Tx, _caller: Caller, params: scheduler.UntagResourceInput) -> Nothing:
    group = _tagged(tx, params["ResourceArn"])
    kept = {key: value for key, value in group.tags.items() if key not in params["TagKeys"]}
    tx.save(replace(group, tags=kept, modified=tx.now))
    return {}


def _tagged(tx: Tx, arn: str) -> ScheduleGroup:
    found = tx.get(ScheduleGroup, arn=arn)
    if found is None:
        raise operation.not_found(f"Schedule group {arn.rpartition('/')[2]} does not exist.")
    return found


def _with(tags: dict[str, str], more: list[scheduler.Tag]) -> dict[str, str]:
    keys = [each["Key"] for each in more]
    if len(set(keys)) != len(keys):
        raise operation.invalid("A tag key occurs more than once.")
    if any(key.lower().startswith("aws:") for key in keys):
        raise operation.invalid("Tag keys that begin with aws: are reserved.")
    found = tags | {each["Key"]: each["Value"] for each in more}
    if len(found) > MOST_TAGS:
        raise ServiceError("ServiceQuotaExceededException", f"A resource can have at most {MOST_TAGS} tags.")
    return found


def _view(group: ScheduleGroup) -> scheduler.ScheduleGroupSummary:
    return {
        "Arn": group.arn,
        "Name": group.name,
        "State": group.state,
        "CreationDate": group.created,
        "LastModificationDate": group.modified,
    }


def check_create(tx: Tx, caller: Caller, params: scheduler.CreateScheduleGroupInput) -> Iterator[Check]:
    for action in ("CreateScheduleGroup", *(["TagResource"] if params.get("Tags") else [])):
        yield Check(f"scheduler:{action}", operation.group_arn(caller, params["Name"]), request_tags(params))


def _on_group(action: str) -> Checks:
    return lambda _tx, caller, params: [
        Check(f"scheduler:{action}", operation.group_arn(caller, params.get("Name", "*")))
    ]


def _check_delete(tx: Tx, caller: Caller, params: scheduler.DeleteScheduleGroupInput) -> Iterator[Check]:
    """Its schedules go with it: as on AWS that takes the permission to delete each of them."""
    yield Check("scheduler:DeleteScheduleGroup", operation.group_arn(caller, params["Name"]))
    for schedule in tx.find(Schedule, group=params["Name"]):
        yield Check("scheduler:DeleteSchedule", schedule.arn)


def _on_arn(action: str) -> Checks:
    return lambda _tx, _caller, params: [Check(f"scheduler:{action}", params["ResourceArn"], request_tags(params))]


OPERATIONS = (
    operation.writes("CreateScheduleGroup", create, "Name ClientToken Tags.Key Tags.Value", check_create),
    operation.reads("GetScheduleGroup", get, "Name", _on_group("GetScheduleGroup")),
    operation.reads(
        "ListScheduleGroups", list_groups, "NamePrefix MaxResults NextToken", _on_group("ListScheduleGroups")
    ),
    operation.writes("DeleteScheduleGroup", delete, "Name ClientToken", _check_delete),
    operation.reads("ListTagsForResource", list_tags, "ResourceArn", _on_arn("ListTagsForResource")),
    operation.writes("TagResource", tag, "ResourceArn Tags.Key Tags.Value", _on_arn("TagResource")),
    operation.writes("UntagResource", untag, "ResourceArn TagKeys", _on_arn("UntagResource")),
)
