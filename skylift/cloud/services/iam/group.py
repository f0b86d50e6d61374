"""Groups: users who share policies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller, Group
from skylift.cloud.services.api.iam_rules import (
    checked_name,
    checked_path,
    checked_prefix,
    conflict,
    exists,
    new_id,
    no_such,
    over_quota,
    page,
    page_of,
)
from skylift.cloud.services.api.operation import Check, Checks, Nothing, Params
from skylift.cloud.services.iam import user as users
from skylift.cloud.services.iam.operation import PAGES, OnNoun, reads, writes
from skylift.cloud.services.iam.user import ON_USER
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import count, members, name_taken, under_path

if TYPE_CHECKING:
    from aws_shapes import iam

MAX_GROUPS = 300
MAX_GROUPS_OF_USER = 10


def create(tx: Tx, caller: Caller, params: iam.CreateGroupRequest) -> iam.CreateGroupResponse:
    name, path = checked_name(params, "GroupName", 128), checked_path(params)
    if name_taken(tx, Group, name):
        raise exists(f"Group with name {name}")
    if count(tx, Group) >= MAX_GROUPS:
        raise over_quota("GroupsPerAccount", MAX_GROUPS)
    group = Group(name=name, id=new_id("AGPA"), arn=arn_of(caller, name, path), path=path, created=tx.now)
    tx.add(group)
    return {"Group": described(group)}


def get(tx: Tx, _caller: Caller, params: iam.GetGroupRequest) -> iam.GetGroupResponse:
    """The group and a page of its users."""
    group = existing(tx, params["GroupName"])
    found, more = page_of(params, members(tx, group.name), lambda user: user.name)
    return {"Group": described(group), "Users": [users.summary(user) for user in found], **more}


def list_all(tx: Tx, _caller: Caller, params: iam.ListGroupsRequest) -> iam.ListGroupsResponse:
    prefix = checked_prefix(params)
    found, more = page(
        params, lambda after, limit: under_path(tx, Group, prefix, after, limit), lambda group: group.name
    )
    return {"Groups": [described(group) for group in found], **more}


def list_for_user(tx: Tx, _caller: Caller, params: iam.ListGroupsForUserRequest) -> iam.ListGroupsForUserResponse:
    user = users.existing(tx, params["UserName"])
    found, more = page_of(params, [existing(tx, name) for name in user.groups], lambda group: group.name)
    return {"Groups": [described(group) for group in found], **more}


def update(tx: Tx, caller: Caller, params: iam.UpdateGroupRequest) -> Nothing:
    """A new name or path makes a new ARN; users and policies stay with the group."""
    group = existing(tx, params["GroupName"])
    name = checked_name(params, "NewGroupName", 128) if "NewGroupName" in params else group.name
    path = checked_path(params, "NewPath") if "NewPath" in params else group.path
    if name.lower() != group.name.lower() and name_taken(tx, Group, name):
        raise exists(f"Group with name {name}")
    # The name is the key of the row.
    tx.remove(group)
    tx.add(replace(group, name=name, path=path, arn=arn_of(caller, name, path)))
    for user in members(tx, group.name):
        tx.save(replace(user, groups=tuple(name if one == group.name else one for one in user.groups)))
    return {}


def delete(tx: Tx, _caller: Caller, params: iam.DeleteGroupRequest) -> Nothing:
    group = existing(tx, params["GroupName"])
    if members(tx, group.name):
        raise conflict("remove users from group")
    if group.attached:
        raise conflict("detach all policies")
    if group.inline:
        raise conflict("delete policies")
    tx.remove(group)
    return {}


def add_user(tx: Tx, _caller: Caller, params: iam.AddUserToGroupRequest) -> Nothing:
    """A user who is in the group already stays in it."""
    group, user = existing(tx, params["GroupName"]), users.existing(tx, params["UserName"])
    if group.name in user.groups:
        return {}
    if len(user.groups) >= MAX_GROUPS_OF_USER:
        raise over_quota("GroupsPerUser", MAX_GROUPS_OF_USER)
    tx.save(replace(user, groups=(*user.groups, group.name)))
    return {}


def remove_user(tx: Tx, _caller: Caller, params: iam.RemoveUserFromGroupRequest) -> Nothing:
    group, user = existing(tx, params["GroupName"]), users.existing(tx, params["UserName"])
    if group.name not in user.groups:
        raise no_such(f"user with name {user.name} in the group with name {group.name}")
    tx.save(replace(user, groups=tuple(name for name in user.groups if name != group.name)))
    return {}


def existing(tx: Tx, name: str) -> Group:
    group = tx.get(Group, name=name)
    if group is None:
        raise no_such(f"group with name {name}")
    return group


def described(group: Group) -> iam.Group:
    return {
        "Path": group.path,
        "GroupName": group.name,
        "GroupId": group.id,
        "Arn": group.arn,
        "CreateDate": group.created,
    }


def arn_of(caller: Caller, name: str, path: str = "/") -> str:
    return f"arn:aws:iam::{caller.account}:group{path}{name}"


def check(action: str) -> Checks:
    """The caller must be allowed `action` on the group that `GroupName` names."""

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterable[Check]:
        group = tx.get(Group, name=params["GroupName"])
        context = {"iam:PolicyARN": params["PolicyArn"]} if "PolicyArn" in params else {}
        return [Check(f"iam:{action}", group.arn if group else arn_of(caller, params["GroupName"]), context)]

    return checks


def check_create(_tx: Tx, caller: Caller, params: iam.CreateGroupRequest) -> Iterable[Check]:
    return [Check("iam:CreateGroup", arn_of(caller, params["GroupName"], params.get("Path", "/")))]


def check_list(_tx: Tx, caller: Caller, params: iam.ListGroupsRequest) -> Iterable[Check]:
    return [Check("iam:ListGroups", arn_of(caller, "", params.get("PathPrefix", "/")))]


def check_update(tx: Tx, caller: Caller, params: iam.UpdateGroupRequest) -> Iterable[Check]:
    """AWS asks for permission on the group as it is and as it is to be."""
    yield from check("UpdateGroup")(tx, caller, params)
    group = tx.get(Group, name=params["GroupName"])
    path = params.get("NewPath", group.path if group else "/")
    yield Check("iam:UpdateGroup", arn_of(caller, params.get("NewGroupName", params["GroupName"]), path))


ON_GROUP = OnNoun("GroupName", check)

OPERATIONS = (
    ON_USER.reads("ListGroupsForUser", list_for_user, PAGES),
    writes("CreateGroup", create, "Path GroupName", check_create),
    reads("ListGroups", list_all, f"PathPrefix {PAGES}", check_list),
    ON_GROUP.reads("GetGroup", get, PAGES),
    ON_GROUP.writes("DeleteGroup", delete),
    writes("UpdateGroup", update, "GroupName NewPath NewGroupName", check_update),
    ON_GROUP.writes("AddUserToGroup", add_user, "UserName"),
    ON_GROUP.writes("RemoveUserFromGroup", remove_user, "UserName"),
)
