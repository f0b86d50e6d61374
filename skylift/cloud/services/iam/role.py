"""Roles: who may assume them, how long, under which tags and boundary."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, InstanceProfile, Role
from skylift.cloud.services.api import iam_rules
from skylift.cloud.services.api.named_principal import principal_created, principal_deleted
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.service_role import LONGEST_NAME, MAX_ROLES, SERVICE_PATH
from skylift.cloud.services.api.trust import checked_trust_policy
from skylift.cloud.services.iam.named import Named
from skylift.cloud.services.iam.operation import PAGES, OnNoun, reads, writes
from skylift.cloud.services.iam.policy import attachable
from skylift.cloud.services.iam.tagging import Tags
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam
ROLES = Named(Role, "role", "Role with name", longest=LONGEST_NAME, most=MAX_ROLES)
existing, resource = ROLES.existing, ROLES.resource


def create(tx: Tx, caller: Caller, params: iam.CreateRoleRequest) -> iam.CreateRoleResponse:
    name, path = ROLES.name_and_path(params)
    description = iam_rules.checked_text(params, "Description", 1000)
    seconds = iam_rules.checked_number(params, "MaxSessionDuration", 3600, 43200, 3600)
    trust_policy = checked_trust_policy(tx, caller, params["AssumeRolePolicyDocument"])
    boundary = params.get("PermissionsBoundary")
    if boundary:
        attachable(tx, boundary, "Scope ARN")
    if path.startswith(SERVICE_PATH):
        raise iam_rules.invalid_input(f"Roles under the path {SERVICE_PATH} are made by CreateServiceLinkedRole.")
    ROLES.make_room(tx, name)
    role = Role(
        name=name,
        id=iam_rules.new_id("AROA"),
        arn=ROLES.arn_of(caller, name, path),
        path=path,
        trust_policy=trust_policy,
        created=tx.now,
        description=description,
        max_session_seconds=seconds,
        permissions_boundary=boundary,
        tags=iam_rules.checked_tags(params),
    )
    principal_created(tx, role)
    tx.add(role)
    return {"Role": made(role)}


def get(tx: Tx, _caller: Caller, params: iam.GetRoleRequest) -> iam.GetRoleResponse:
    role = existing(tx, params["RoleName"])
    return {"Role": {**described(role), "RoleLastUsed": last_used(role)}}


def list_all(tx: Tx, _caller: Caller, params: iam.ListRolesRequest) -> iam.ListRolesResponse:
    roles, more = ROLES.page(tx, params)
    return {"Roles": [summary(role) for role in roles], **more}


def delete(tx: Tx, _caller: Caller, params: iam.DeleteRoleRequest) -> Nothing:
    role = changeable(tx, params["RoleName"])
    if tx.find(InstanceProfile, role=role.name):
        raise iam_rules.conflict("remove roles from instance profile")
    iam_rules.require_no_policies(role)
    principal_deleted(tx, role)
    tx.remove(role)
    return {}


def update(tx: Tx, _caller: Caller, params: iam.UpdateRoleRequest) -> Nothing:
    """As the API reference says, a call without MaxSessionDuration sets it back to an hour."""
    named = existing if "MaxSessionDuration" not in params else changeable
    role = named(tx, params["RoleName"])
    tx.save(
        replace(
            role,
            description=iam_rules.checked_text(params, "Description", 1000)
            if "Description" in params
            else role.description,
            max_session_seconds=iam_rules.checked_number(params, "MaxSessionDuration", 3600, 43200, 3600),
        )
    )
    return {}


def update_description(
    tx: Tx, _caller: Caller, params: iam.UpdateRoleDescriptionRequest
) -> iam.UpdateRoleDescriptionResponse:
    """UpdateRole as the API had it before; the answer is the role."""
    role = replace(existing(tx, params["RoleName"]), description=iam_rules.checked_text(params, "Description", 1000))
    tx.save(role)
    return {"Role": described(role)}


def update_trust(tx: Tx, caller: Caller, params: iam.UpdateAssumeRolePolicyRequest) -> Nothing:
    role = changeable(tx, params["RoleName"])
    tx.save(replace(role, trust_policy=checked_trust_policy(tx, caller, params["PolicyDocument"])))
    return {}


def changeable(tx: Tx, name: str) -> Role:
    """Like `existing`, but refuses a service's own role."""
    role = existing(tx, name)
    if role.path.startswith(SERVICE_PATH):
        raise ServiceError(
            "UnmodifiableEntity",
            f"Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS",
            status=400,
        )
    return role


def summary(role: Role) -> iam.Role:
    """A role as lists and instance profiles carry it: without tags and boundary, as on AWS."""
    described: iam.Role = {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.id,
        "Arn": role.arn,
        "CreateDate": role.created,
        "AssumeRolePolicyDocument": iam_rules.encoded(role.trust_policy),
        "MaxSessionDuration": role.max_session_seconds,
    }
    return {**described, "Description": role.description} if role.description else described


def described(role: Role) -> iam.Role:
    return {**summary(role), **iam_rules.tags_and_boundary(role)}


def made(role: Role) -> iam.Role:
    """As the answers that make a role show it: without its longest session, as AWS was recorded.

    https://github.com/localstack/localstack/blob/main/tests/aws/services/iam/test_iam.snapshot.json
    """
    shown = described(role)
    del shown["MaxSessionDuration"]
    return shown


def last_used(role: Role) -> iam.RoleLastUsed:
    """Empty for a role in which nobody has made a request yet."""
    if role.used is None:
        return {}
    used: iam.RoleLastUsed = {"LastUsedDate": role.used}
    return {**used, "Region": role.used_region} if role.used_region else used


ON_ROLE = OnNoun("RoleName", ROLES.check)
TAGS = Tags("TagsPerRole", "RoleName", existing, existing)

OPERATIONS = (
    writes(
        "CreateRole",
        create,
        "Path RoleName AssumeRolePolicyDocument Description MaxSessionDuration PermissionsBoundary Tags",
        ROLES.check_create,
    ),
    reads("ListRoles", list_all, f"PathPrefix {PAGES}", ROLES.check_list),
    ON_ROLE.reads("GetRole", get),
    ON_ROLE.writes("DeleteRole", delete),
    ON_ROLE.writes("UpdateRole", update, "Description MaxSessionDuration"),
    ON_ROLE.writes("UpdateRoleDescription", update_description, "Description"),
    ON_ROLE.writes("UpdateAssumeRolePolicy", update_trust, "PolicyDocument"),
    ON_ROLE.writes("TagRole", TAGS.tag, "Tags"),
    ON_ROLE.writes("UntagRole", TAGS.untag, "TagKeys"),
    ON_ROLE.reads("ListRoleTags", TAGS.list_all, PAGES),
)
