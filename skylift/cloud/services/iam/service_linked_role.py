"""Service-linked roles: those that a service of AWS's acts in, which nobody but the service may change.

This cloud knows those of the services around EC2. That of Auto Scaling stays as long as a group acts in it.
https://docs.aws.amazon.com/IAM/latest/UserGuide/using-service-linked-roles.html
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from skylift.cloud.account import RoleDeletion
from skylift.cloud.identity import Caller, Role
from skylift.cloud.scaling_group import ScalingGroup
from skylift.cloud.services.api.iam_rules import checked_name, checked_text, invalid_input, new_id, no_such, over_quota
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.iam.named_principal import begins, is_gone
from skylift.cloud.services.iam.operation import reads, writes
from skylift.cloud.services.iam.role import MAX_ROLES, SERVICE_PATH, arn_of, described, existing, on_role, resource
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import count, name_taken

LONGEST_NAME = 64

_TASK = re.compile(r"task(/aws-service-role/[^/]+/)([^/]+)/[0-9a-f-]{36}")


@dataclass(frozen=True)
class ServiceRole:
    """`policy` is the managed policy below `aws-service-role/`; `suffixes` tells that there may be more than one."""

    name: str
    policy: str
    suffixes: bool = False


SERVICES = {
    "autoscaling.amazonaws.com": ServiceRole(
        "AWSServiceRoleForAutoScaling", "AutoScalingServiceRolePolicy", suffixes=True
    ),
    "ec2fleet.amazonaws.com": ServiceRole("AWSServiceRoleForEC2Fleet", "AWSEC2FleetServiceRolePolicy"),
    "elasticloadbalancing.amazonaws.com": ServiceRole(
        "AWSServiceRoleForElasticLoadBalancing", "AWSElasticLoadBalancingServiceRolePolicy"
    ),
    "imagebuilder.amazonaws.com": ServiceRole("AWSServiceRoleForImageBuilder", "AWSServiceRoleForImageBuilder"),
    "spot.amazonaws.com": ServiceRole("AWSServiceRoleForEC2Spot", "AWSEC2SpotServiceRolePolicy"),
    "spotfleet.amazonaws.com": ServiceRole("AWSServiceRoleForEC2SpotFleet", "AWSEC2SpotFleetServiceRolePolicy"),
    "ssm.amazonaws.com": ServiceRole("AWSServiceRoleForAmazonSSM", "AmazonSSMServiceRolePolicy"),
}


def create(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    service = params["AWSServiceName"]
    if service not in SERVICES:
        raise invalid_input(
            f"This cloud has no service-linked role for {service}; it has those of {', '.join(SERVICES)}."
        )
    known = SERVICES[service]
    name = _name(params)
    if params.get("CustomSuffix"):
        checked_name(params, "CustomSuffix", LONGEST_NAME)
        if not known.suffixes:
            raise invalid_input(f"Custom suffix is not allowed for {service}")
    if len(name) > LONGEST_NAME:
        raise invalid_input(f"Service role name {name} is longer than {LONGEST_NAME} characters.")
    description = checked_text(params, "Description", 1000)
    if name_taken(tx, Role, name):
        raise invalid_input(f"Service role name {name} has been taken in this account, please try a different suffix.")
    if count(tx, Role) >= MAX_ROLES:
        raise over_quota("RolesPerAccount", MAX_ROLES)
    path = f"{SERVICE_PATH}{service}/"
    role = Role(
        name=name,
        id=new_id("AROA"),
        arn=arn_of(caller, name, path),
        path=path,
        trust_policy=_trust(service),
        created=tx.now,
        description=description,
        attached=(f"arn:aws:iam::aws:policy{SERVICE_PATH}{known.policy}",),
    )
    begins(tx, role)
    tx.add(role)
    return {"Role": described(role)}


def delete(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """Done at once, where nobody uses the role; the task is there to be asked about."""
    role = existing(tx, params["RoleName"])
    if not role.path.startswith(SERVICE_PATH):
        raise no_such(f"service-linked role with name {role.name}")
    task = RoleDeletion(f"task{role.path}{role.name}/{uuid.uuid4()}", tx.now)
    tx.add(task)
    if not _users(tx, role):
        is_gone(tx, role)
        tx.remove(role)
    return {"DeletionTaskId": task.id}


def deletion_status(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
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
    usage = {"Region": users[0].split(":")[3], "Resources": users}
    return {"Status": "FAILED", "Reason": {"Reason": _IN_USE, "RoleUsageList": [usage]}}


_IN_USE = "The role is in use by Auto Scaling groups. Delete them, and then the role."


def _users(tx: Tx, role: Role) -> list[str]:
    """The ARNs of what acts in a role."""
    return [group.arn for group in tx.find(ScalingGroup) if group.service_role == role.arn]


def check_create(_tx: Tx, caller: Caller, params: Any) -> Iterator[Check]:
    service = params["AWSServiceName"]
    arn = arn_of(caller, _name(params) if service in SERVICES else "*", f"{SERVICE_PATH}{service}/")
    yield Check("iam:CreateServiceLinkedRole", arn, {"iam:AWSServiceName": service})


def check_status(tx: Tx, caller: Caller, params: Any) -> Iterator[Check]:
    found = _TASK.fullmatch(params["DeletionTaskId"])
    arn = arn_of(caller, found[2], found[1]) if found else resource(tx, caller, "*")
    yield Check("iam:GetServiceLinkedRoleDeletionStatus", arn)


def _name(params: Any) -> str:
    """With the suffix, as AWS joins them: `AWSServiceRoleForAutoScaling_SUFFIX`."""
    name, suffix = SERVICES[params["AWSServiceName"]].name, params.get("CustomSuffix")
    return f"{name}_{suffix}" if suffix else name


def _trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))


OPERATIONS = (
    writes(
        "CreateServiceLinkedRole",
        create,
        "AWSServiceName Description CustomSuffix",
        check_create,
    ),
    on_role("DeleteServiceLinkedRole", delete, writes=True),
    reads(
        "GetServiceLinkedRoleDeletionStatus",
        deletion_status,
        "DeletionTaskId",
        check_status,
    ),
)
