"""Groups: users who share policies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller, Group
from skylift.cloud.services.api.iam_rules import conflict, new_id, no_such, over_quota, page_of, require_no_policies
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.iam import user as users
from skylift.cloud.services.iam.named import Named
from skylift.cloud.services.iam.operation import PAGES, OnNoun, reads, writes
from skylift.cloud.services.iam.user import ON_USER
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import members

if TYPE_CHECKING:
    from aws_shapes import iam

MAX_GROUPS = 300
MAX_GROUPS_OF_USER = 10

GROUPS = Named(Group, "group", "Group with name", longest=128, most=MAX_GROUPS)
existing = GROUPS.existing


def create(tx: Tx, caller: Caller, params: iam.CreateGroupRequest) -> iam.CreateGroupResponse:
    name, path = GROUPS.name_and_path(params)
    GROUPS.make_room(tx, name)
    group = Group(name=name, id=new_id("AGPA"), arn=GROUPS.arn_of(caller, name, path), path=path, created=tx.now)
    tx.add(group)
    return {"Group": described(group)}


def get(tx: Tx, _caller: Caller, params: iam.GetGroupRequest) -> iam.GetGroupResponse:
    """The group and a page of its users."""
    group = existing(tx, params["GroupName"])
    found, more = page_of(params, members(tx, group.name), lambda user: user.name)
    return {"Group": described(group), "Users": [users.summary(user) for user in found], **more}


def list_all(tx: Tx, _caller: Caller, params: iam.ListGroupsRequest) -> iam.ListGroupsResponse:
    found, more = GROUPS.page(tx, params)
    return {"Groups": [described(group) for group in found], **more}


def list_for_user(tx: Tx, _caller: Caller, params: iam.ListGroupsForUserRequest) -> iam.ListGroupsForUserResponse:
    user = users.existing(tx, params["UserName"])
    found, more = page_of(params, [existing(tx, name) for name in user.groups], lambda group: group.name)
    return {"Groups": [described(group) for group in found], **more}


def update(tx: Tx, caller: Caller, params: iam.UpdateGroupRequest) -> Nothing:
    """A new name or path makes a new ARN; users and policies stay with the group."""
    group = existing(tx, params["GroupName"])
    renamed = GROUPS.renamed(tx, caller, params, group)
    # The name is the key of the row.
    tx.remove(group)
    tx.add(renamed)
    for user in members(tx, group.name):
        tx.save(replace(user, groups=tuple(renamed.name if one == group.name else one for one in user.groups)))
    return {}


def delete(tx: Tx, _caller: Caller, params: iam.DeleteGroupRequest) -> Nothing:
    group = existing(tx, params["GroupName"])
    if members(tx, group.name):
        raise conflict("remove users from group")
    require_no_policies(group)
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


def described(group: Group) -> iam.Group:
    return {
        "Path": group.path,
        "GroupName": group.name,
        "GroupId": group.id,
        "Arn": group.arn,
        "CreateDate": group.created,
    }


ON_GROUP = OnNoun("GroupName", GROUPS.check)

OPERATIONS = (
    ON_USER.reads("ListGroupsForUser", list_for_user, PAGES),
    writes("CreateGroup", create, "Path GroupName", GROUPS.check_create),
    reads("ListGroups", list_all, f"PathPrefix {PAGES}", GROUPS.check_list),
    ON_GROUP.reads("GetGroup", get, PAGES),
    ON_GROUP.writes("DeleteGroup", delete),
    writes("UpdateGroup", update, "GroupName NewPath NewGroupName", GROUPS.check_update),
    ON_GROUP.writes("AddUserToGroup", add_user, "UserName"),
    ON_GROUP.writes("RemoveUserFromGroup", remove_user, "UserName"),
)
