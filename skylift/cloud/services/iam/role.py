"""Roles: who may assume them, how long, under which tags and boundary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller, InstanceProfile, Role
from skylift.cloud.services.api.iam_rules import (
    checked_name,
    checked_number,
    checked_path,
    checked_prefix,
    checked_tags,
    checked_text,
    conflict,
    encoded,
    exists,
    invalid_input,
    merged_tags,
    new_id,
    no_such,
    over_quota,
    page,
    page_of,
    request_tags,
    resource_tags,
    tag_list,
    without_tags,
)
from skylift.cloud.services.api.named_principal import begins, is_gone
from skylift.cloud.services.api.operation import Check, Checks, Handler, Operation
from skylift.cloud.services.api.service_role import MAX_ROLES, SERVICE_PATH, role_arn
from skylift.cloud.services.api.trust import checked_trust_policy
from skylift.cloud.services.iam.operation import PAGES, reads, writes
from skylift.cloud.services.iam.policy import attachable
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import count, name_taken, under_path


def create(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    name, path = checked_name(params, "RoleName", 64), checked_path(params)
    description = checked_text(params, "Description", 1000)
    seconds = checked_number(params, "MaxSessionDuration", 3600, 43200, 3600)
    trust_policy = checked_trust_policy(tx, caller, params["AssumeRolePolicyDocument"])
    boundary = params.get("PermissionsBoundary")
    if boundary:
        attachable(tx, boundary, "Scope ARN")
    if path.startswith(SERVICE_PATH):
        raise invalid_input(f"Roles under the path {SERVICE_PATH} are made by CreateServiceLinkedRole.")
    if name_taken(tx, Role, name):
        raise exists(f"Role with name {name}")
    if count(tx, Role) >= MAX_ROLES:
        raise over_quota("RolesPerAccount", MAX_ROLES)
    role = Role(
        name=name,
        id=new_id("AROA"),
        arn=role_arn(caller, name, path),
        path=path,
        trust_policy=trust_policy,
        created=tx.now,
        description=description,
        max_session_seconds=seconds,
        permissions_boundary=boundary,
        tags=checked_tags(params),
    )
    begins(tx, role)
    tx.add(role)
    return {"Role": described(role)}


def get(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    return {"Role": described(existing(tx, params["RoleName"]))}


def list_all(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    prefix = checked_prefix(params)
    roles, more = page(params, lambda after, limit: under_path(tx, Role, prefix, after, limit), lambda role: role.name)
    return {"Roles": [summary(role) for role in roles], **more}


def delete(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = changeable(tx, params["RoleName"])
    if tx.find(InstanceProfile, role=role.name):
        raise conflict("remove roles from instance profile")
    if role.attached:
        raise conflict("detach all policies")
    if role.inline:
        raise conflict("delete policies")
    is_gone(tx, role)
    tx.remove(role)
    return {}


def update(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """As the API reference says, a call without MaxSessionDuration sets it back to an hour."""
    named = existing if "MaxSessionDuration" not in params else changeable
    role = named(tx, params["RoleName"])
    tx.save(
        replace(
            role,
            description=checked_text(params, "Description", 1000) if "Description" in params else role.description,
            max_session_seconds=checked_number(params, "MaxSessionDuration", 3600, 43200, 3600),
        )
    )
    return {}


def update_description(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """What UpdateRole does, as the API had it before; the answer is the role."""
    role = replace(existing(tx, params["RoleName"]), description=checked_text(params, "Description", 1000))
    tx.save(role)
    return {"Role": described(role)}


def update_trust(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    role = changeable(tx, params["RoleName"])
    tx.save(replace(role, trust_policy=checked_trust_policy(tx, caller, params["PolicyDocument"])))
    return {}


def tag(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    tx.save(replace(role, tags=merged_tags(role.tags, checked_tags(params), "TagsPerRole")))
    return {}


def untag(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    tx.save(replace(role, tags=without_tags(role.tags, params["TagKeys"])))
    return {}


def list_tags(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    tags, more = page_of(params, tag_list(role.tags), lambda pair: pair["Key"])
    return {"Tags": tags, **more}


def existing(tx: Tx, name: str) -> Role:
    role = tx.get(Role, name=name)
    if role is None:
        raise no_such(f"role with name {name}")
    return role


def changeable(tx: Tx, name: str) -> Role:
    """As `existing`; a service's own role is refused."""
    role = existing(tx, name)
    if role.path.startswith(SERVICE_PATH):
        raise ServiceError(
            "UnmodifiableEntity",
            f"Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS",
            status=400,
        )
    return role


def summary(role: Role) -> dict[str, Any]:
    """A role as lists and instance profiles carry it: without tags and boundary, as on AWS."""
    described = {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.id,
        "Arn": role.arn,
        "CreateDate": role.created,
        "AssumeRolePolicyDocument": encoded(role.trust_policy),
        "MaxSessionDuration": role.max_session_seconds,
    }
    return {**described, "Description": role.description} if role.description else described


def described(role: Role) -> dict[str, Any]:
    answer = summary(role)
    if role.permissions_boundary:
        answer["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "Policy",
            "PermissionsBoundaryArn": role.permissions_boundary,
        }
    if role.tags:
        answer["Tags"] = tag_list(role.tags)
    return answer


def resource(tx: Tx, caller: Caller, name: str) -> str:
    """The ARN to authorise against: the role's own, or the one it would have if it were there."""
    role = tx.get(Role, name=name)
    return role.arn if role else role_arn(caller, name)


def check(action: str) -> Checks:
    """The caller must be allowed `action` on the role that `RoleName` names."""

    def checks(tx: Tx, caller: Caller, params: Any) -> Iterable[Check]:
        role = tx.get(Role, name=params["RoleName"])
        context = dict(request_tags(params))
        if role is not None:
            context |= resource_tags(role.tags)
        boundary = params.get("PermissionsBoundary") or (role.permissions_boundary if role else None)
        if boundary:
            context["iam:PermissionsBoundary"] = boundary
        if "PolicyArn" in params:
            context["iam:PolicyARN"] = params["PolicyArn"]
        return [Check(f"iam:{action}", resource(tx, caller, params["RoleName"]), context)]

    return checks


def check_create(_tx: Tx, caller: Caller, params: Any) -> Iterable[Check]:
    context = dict(request_tags(params))
    if params.get("PermissionsBoundary"):
        context["iam:PermissionsBoundary"] = params["PermissionsBoundary"]
    arn = role_arn(caller, params["RoleName"], params.get("Path", "/"))
    actions = ["iam:CreateRole", "iam:TagRole"] if params.get("Tags") else ["iam:CreateRole"]
    return [Check(action, arn, context) for action in actions]


def check_list(_tx: Tx, caller: Caller, params: Any) -> Iterable[Check]:
    return [Check("iam:ListRoles", role_arn(caller, "", params.get("PathPrefix", "/")))]


def on_role(name: str, handler: Handler, takes: str = "", *, writes: bool) -> Operation:
    return Operation("iam", name, handler, frozenset(["RoleName", *takes.split()]), check(name), writes)


OPERATIONS = (
    writes(
        "CreateRole",
        create,
        "Path RoleName AssumeRolePolicyDocument Description MaxSessionDuration PermissionsBoundary Tags",
        check_create,
    ),
    reads("ListRoles", list_all, f"PathPrefix {PAGES}", check_list),
    on_role("GetRole", get, writes=False),
    on_role("DeleteRole", delete, writes=True),
    on_role("UpdateRole", update, "Description MaxSessionDuration", writes=True),
    on_role("UpdateRoleDescription", update_description, "Description", writes=True),
    on_role("UpdateAssumeRolePolicy", update_trust, "PolicyDocument", writes=True),
    on_role("TagRole", tag, "Tags", writes=True),
    on_role("UntagRole", untag, "TagKeys", writes=True),
    on_role("ListRoleTags", list_tags, PAGES, writes=False),
)
