"""Users: their names and paths, their tags, and the groups they are in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import AccessKey, Caller, LoginProfile, MfaDevice, ServiceCredential, User
from skylift.cloud.services.api.iam_rules import (
    checked_tags,
    conflict,
    new_id,
    request_tags,
    require_no_policies,
    tags_and_boundary,
)
from skylift.cloud.services.api.named_principal import principal_created, principal_deleted, principal_renamed
from skylift.cloud.services.api.operation import Check, Checks, Nothing, Params
from skylift.cloud.services.iam.named import Named
from skylift.cloud.services.iam.operation import PAGES, OnNoun, reads, writes
from skylift.cloud.services.iam.policy import attachable
from skylift.cloud.services.iam.tagging import Tags
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam

MAX_USERS = 5000

USERS = Named(User, "user", "User with name", longest=64, most=MAX_USERS)
existing, arn_of = USERS.existing, USERS.arn_of


def create(tx: Tx, caller: Caller, params: iam.CreateUserRequest) -> iam.CreateUserResponse:
    name, path = USERS.name_and_path(params)
    boundary = params.get("PermissionsBoundary")
    if boundary:
        attachable(tx, boundary, "Scope ARN")
    USERS.make_room(tx, name)
    user = User(
        name=name,
        id=new_id("AIDA"),
        arn=arn_of(caller, name, path),
        path=path,
        created=tx.now,
        permissions_boundary=boundary,
        tags=checked_tags(params),
    )
    principal_created(tx, user)
    tx.add(user)
    return {"User": described(user)}


def get(tx: Tx, caller: Caller, params: iam.GetUserRequest) -> iam.GetUserResponse:
    """Without a name: the caller. The account's root has no name and no path, though the model requires them."""
    if "UserName" not in params and caller.kind == "root":
        # The account is as old as its first key.
        created = min(key.created for key in tx.find(AccessKey, user=None))
        return {"User": {"UserId": caller.account, "Arn": caller.arn, "CreateDate": created}}
    return {"User": described(existing(tx, named_or_own(caller, params)))}


def list_all(tx: Tx, _caller: Caller, params: iam.ListUsersRequest) -> iam.ListUsersResponse:
    users, more = USERS.page(tx, params)
    return {"Users": [summary(user) for user in users], **more}


def update(tx: Tx, caller: Caller, params: iam.UpdateUserRequest) -> Nothing:
    """A new name or path makes a new ARN; keys, policies and groups stay with the user, and so does what trusts it."""
    user = existing(tx, params["UserName"])
    renamed = USERS.renamed(tx, caller, params, user)
    if renamed.arn != user.arn:
        principal_renamed(tx, user, renamed)
    # The name is the key of the row.
    tx.remove(user)
    tx.add(renamed)
    for key in tx.find(AccessKey, user=user.name):
        tx.save(replace(key, user=renamed.name))
    for profile in tx.find(LoginProfile, user=user.name):
        tx.remove(profile)
        tx.add(replace(profile, user=renamed.name))
    return {}


def delete(tx: Tx, _caller: Caller, params: iam.DeleteUserRequest) -> Nothing:
    user = existing(tx, params["UserName"])
    if tx.find(AccessKey, user=user.name):
        raise conflict("delete access keys")
    if tx.find(LoginProfile, user=user.name):
        raise conflict("delete login profile")
    if tx.find(MfaDevice, user_id=user.id):
        raise conflict("deactivate MFA device")
    if tx.find(ServiceCredential, user_id=user.id):
        raise conflict("remove referenced objects")
    if user.groups:
        raise conflict("remove users from group")
    require_no_policies(user)
    principal_deleted(tx, user)
    tx.remove(user)
    return {}


def named_or_own(caller: Caller, params: Params) -> str:
    """The name of the user that a request is about: by default the caller's own."""
    name: str | None = params.get("UserName", caller.user)
    if name is None:
        raise ServiceError(
            "ValidationError", "Must specify userName when calling with non-User credentials", status=400
        )
    return name


def summary(user: User) -> iam.User:
    """A user as lists and groups carry it: without tags and boundary, as on AWS."""
    return {"Path": user.path, "UserName": user.name, "UserId": user.id, "Arn": user.arn, "CreateDate": user.created}


def described(user: User) -> iam.User:
    return {**summary(user), **tags_and_boundary(user)}


def check(action: str) -> Checks:
    """The caller must be allowed `action` on the user that `UserName` names, or on itself without one."""

    on_named = USERS.check(action)

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterable[Check]:
        if "UserName" in params:
            return on_named(tx, caller, params)
        if caller.user is not None:
            return on_named(tx, caller, {**params, "UserName": caller.user})
        # Only the account's root gets further than this without a name.
        return [Check(f"iam:{action}", arn_of(caller, "*"), request_tags(params))]

    return checks


ON_USER = OnNoun("UserName", check)
TAGS = Tags("TagsPerUser", "UserName", existing, existing)

OPERATIONS = (
    writes("CreateUser", create, "Path UserName PermissionsBoundary Tags", USERS.check_create),
    reads("ListUsers", list_all, f"PathPrefix {PAGES}", USERS.check_list),
    ON_USER.reads("GetUser", get),
    ON_USER.writes("DeleteUser", delete),
    writes("UpdateUser", update, "UserName NewPath NewUserName", USERS.check_update),
    ON_USER.writes("TagUser", TAGS.tag, "Tags"),
    ON_USER.writes("UntagUser", TAGS.untag, "TagKeys"),
    ON_USER.reads("ListUserTags", TAGS.list_all, PAGES),
)
