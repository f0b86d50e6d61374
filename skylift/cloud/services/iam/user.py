"""Users: their names and paths, their tags, and the groups they are in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import AccessKey, Caller, LoginProfile, MfaDevice, ServiceCredential, User
from skylift.cloud.services.api.iam_rules import (
    checked_name,
    checked_path,
    checked_prefix,
    checked_tags,
    conflict,
    entity_context,
    exists,
    new_id,
    no_such,
    over_quota,
    page,
    request_tags,
    tags_and_boundary,
)
from skylift.cloud.services.api.named_principal import principal_created, principal_deleted, principal_renamed
from skylift.cloud.services.api.operation import Check, Checks, Nothing, Params
from skylift.cloud.services.iam.operation import PAGES, OnNoun, checks_to_make, reads, writes
from skylift.cloud.services.iam.policy import attachable
from skylift.cloud.services.iam.tagging import Tags
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import count, name_taken, under_path

if TYPE_CHECKING:
    from aws_shapes import iam

MAX_USERS = 5000


def create(tx: Tx, caller: Caller, params: iam.CreateUserRequest) -> iam.CreateUserResponse:
    name, path = checked_name(params, "UserName", 64), checked_path(params)
    boundary = params.get("PermissionsBoundary")
    if boundary:
        attachable(tx, boundary, "Scope ARN")
    if name_taken(tx, User, name):
        raise exists(f"User with name {name}")
    if count(tx, User) >= MAX_USERS:
        raise over_quota("UsersPerAccount", MAX_USERS)
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
    prefix = checked_prefix(params)
    users, more = page(params, lambda after, limit: under_path(tx, User, prefix, after, limit), lambda user: user.name)
    return {"Users": [summary(user) for user in users], **more}


def update(tx: Tx, caller: Caller, params: iam.UpdateUserRequest) -> Nothing:
    """A new name or path makes a new ARN; keys, policies and groups stay with the user, and so does what trusts it."""
    user = existing(tx, params["UserName"])
    name = checked_name(params, "NewUserName", 64) if "NewUserName" in params else user.name
    path = checked_path(params, "NewPath") if "NewPath" in params else user.path
    if name.lower() != user.name.lower() and name_taken(tx, User, name):
        raise exists(f"User with name {name}")
    renamed = replace(user, name=name, path=path, arn=arn_of(caller, name, path))
    if renamed.arn != user.arn:
        principal_renamed(tx, user, renamed)
    # The name is the key of the row.
    tx.remove(user)
    tx.add(renamed)
    for key in tx.find(AccessKey, user=user.name):
        tx.save(replace(key, user=name))
    for profile in tx.find(LoginProfile, user=user.name):
        tx.remove(profile)
        tx.add(replace(profile, user=name))
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
    if user.attached:
        raise conflict("detach all policies")
    if user.inline:
        raise conflict("delete policies")
    principal_deleted(tx, user)
    tx.remove(user)
    return {}


def existing(tx: Tx, name: str) -> User:
    user = tx.get(User, name=name)
    if user is None:
        raise no_such(f"user with name {name}")
    return user


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
    return {
        "Path": user.path,
        "UserName": user.name,
        "UserId": user.id,
        "Arn": user.arn,
        "CreateDate": user.created,
    }


def described(user: User) -> iam.User:
    return {**summary(user), **tags_and_boundary(user)}


def arn_of(caller: Caller, name: str, path: str = "/") -> str:
    return f"arn:aws:iam::{caller.account}:user{path}{name}"


def check(action: str) -> Checks:
    """The caller must be allowed `action` on the user that `UserName` names, or on itself without one."""

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterable[Check]:
        name = params.get("UserName", caller.user)
        if name is None:
            # Only the account's root gets further than this without a name.
            return [Check(f"iam:{action}", arn_of(caller, "*"), request_tags(params))]
        user = tx.get(User, name=name)
        return [Check(f"iam:{action}", user.arn if user else arn_of(caller, name), entity_context(params, user))]

    return checks


def check_create(_tx: Tx, caller: Caller, params: iam.CreateUserRequest) -> Iterable[Check]:
    return checks_to_make("User", arn_of(caller, params["UserName"], params.get("Path", "/")), params)


def check_list(_tx: Tx, caller: Caller, params: iam.ListUsersRequest) -> Iterable[Check]:
    return [Check("iam:ListUsers", arn_of(caller, "", params.get("PathPrefix", "/")))]


def check_update(tx: Tx, caller: Caller, params: iam.UpdateUserRequest) -> Iterable[Check]:
    """AWS asks for permission on the user as it is and as it is to be."""
    yield from check("UpdateUser")(tx, caller, params)
    user = tx.get(User, name=params["UserName"])
    path = params.get("NewPath", user.path if user else "/")
    yield Check("iam:UpdateUser", arn_of(caller, params.get("NewUserName", params["UserName"]), path))


ON_USER = OnNoun("UserName", check)
TAGS = Tags("TagsPerUser", "UserName", existing, existing)

OPERATIONS = (
    writes("CreateUser", create, "Path UserName PermissionsBoundary Tags", check_create),
    reads("ListUsers", list_all, f"PathPrefix {PAGES}", check_list),
    ON_USER.reads("GetUser", get),
    ON_USER.writes("DeleteUser", delete),
    writes("UpdateUser", update, "UserName NewPath NewUserName", check_update),
    ON_USER.writes("TagUser", TAGS.tag, "Tags"),
    ON_USER.writes("UntagUser", TAGS.untag, "TagKeys"),
    ON_USER.reads("ListUserTags", TAGS.list_all, PAGES),
)
