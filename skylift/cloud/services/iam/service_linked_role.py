"""Service-linked roles: those that a service of AWS's acts in, which only the service may change.

This cloud knows their names, of services that it does not have, too: tools make them beside what they need. That of
Auto Scaling stays as long as a group acts in it.
https://docs.aws.amazon.com/IAM/latest/UserGuide/using-service-linked-roles.html
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from skylift.cloud.domain.account import RoleDeletion
from skylift.cloud.domain.identity import Caller, Role
from skylift.cloud.domain.scaling_group import ScalingGroup
from skylift.cloud.services.api.iam_rules import invalid_input, no_such
from skylift.cloud.services.api.named_principal import principal_deleted
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.service_role import SERVICE_PATH, check_create, make, role_arn
from skylift.cloud.services.iam.operation import reads, writes
from skylift.cloud.services.iam.role import ON_ROLE, existing, made, resource
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam

_TASK = re.compile(r"task(/aws-service-role/[^/]+/)([^/]+)/[0-9a-f-]{36}")


def create(tx: Tx, caller: Caller, params: iam.CreateServiceLinkedRoleRequest) -> iam.CreateServiceLinkedRoleResponse:
    return {"Role": made(make(tx, caller, params))}


def delete(tx: Tx, _caller: Caller, params: iam.DeleteServiceLinkedRoleRequest) -> iam.DeleteServiceLinkedRoleResponse:
    """Deletes the role at once where no group acts in it; the task is kept, for its status."""
    role = existing(tx, params["RoleName"])
    if not role.path.startswith(SERVICE_PATH):
        raise no_such(f"service-linked role with name {role.name}")
    task = RoleDeletion(f"task{role.path}{role.name}/{uuid.uuid4()}", tx.now)
    tx.add(task)
    if not _users(tx, role):
        principal_deleted(tx, role)
        tx.remove(role)
    return {"DeletionTaskId": task.id}


def deletion_status(
    tx: Tx, _caller: Caller, params: iam.GetServiceLinkedRoleDeletionStatusRequest
) -> iam.GetServiceLinkedRoleDeletionStatusResponse:
    task = params["DeletionTaskId"]
    found = _TASK.fullmatch(task)
    if found is None:
        raise invalid_input(f"The deletion task ID {task} is not valid.")
    if tx.get(RoleDeletion, id=task) is None:
        raise no_such(f"deletion task with ID {task}")
    role = tx.get(Role, name=found[2])
    users = _users(tx, role) if role is not None else []
    if role is None or not users:
        return {"Status": "SUCCEEDED"}
    usage: iam.RoleUsageType = {"Region": users[0].split(":")[3], "Resources": users}
    return {"Status": "FAILED", "Reason": {"Reason": _IN_USE, "RoleUsageList": [usage]}}


_IN_USE = "The role is in use by Auto Scaling groups. Delete them, and then the role."


def _users(tx: Tx, role: Role) -> list[str]:
    """The ARNs of what acts in a role."""
    return [group.arn for group in tx.find(ScalingGroup) if group.service_role == role.arn]


def check_status(tx: Tx, caller: Caller, params: iam.GetServiceLinkedRoleDeletionStatusRequest) -> Iterator[Check]:
    found = _TASK.fullmatch(params["DeletionTaskId"])
    arn = role_arn(caller, found[2], found[1]) if found else resource(tx, caller, "*")
    yield Check("iam:GetServiceLinkedRoleDeletionStatus", arn)


OPERATIONS = (
    writes("CreateServiceLinkedRole", create, "AWSServiceName Description CustomSuffix", check_create),
    ON_ROLE.writes("DeleteServiceLinkedRole", delete),
    reads("GetServiceLinkedRoleDeletionStatus", deletion_status, "DeletionTaskId", check_status),
)
