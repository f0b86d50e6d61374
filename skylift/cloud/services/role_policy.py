"""What a role may do: inline policies, attached managed policies, and the boundary around both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller, ManagedPolicy
from skylift.cloud.services.iam_rules import (
    checked_name,
    checked_prefix,
    encoded,
    no_such,
    over_quota,
    page_of,
)
from skylift.cloud.services.policy import attachable, checked_arn, find
from skylift.cloud.services.policy_document import document_size, parse_policy
from skylift.cloud.services.role import existing
from skylift.cloud.store.database import Tx

MAX_INLINE_SIZE = 10240
MAX_ATTACHED = 10


def put(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    name, text = checked_name(params, "PolicyName", 128), params["PolicyDocument"]
    parse_policy(text)
    inline = {**role.inline, name: text}
    if sum(map(document_size, inline.values())) > MAX_INLINE_SIZE:
        raise ServiceError(
            "LimitExceeded",
            f"Maximum policy size of {MAX_INLINE_SIZE} bytes exceeded for role {role.name}",
            status=409,
        )
    tx.save(replace(role, inline=inline))
    return {}


def get(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    name = params["PolicyName"]
    if name not in role.inline:
        raise no_such(f"role policy with name {name}")
    return {"RoleName": role.name, "PolicyName": name, "PolicyDocument": encoded(role.inline[name])}


def list_all(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    names, more = page_of(params, list(role.inline), str)
    return {"PolicyNames": names, **more}


def delete(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    name = params["PolicyName"]
    if name not in role.inline:
        raise no_such(f"role policy with name {name}")
    tx.save(replace(role, inline={kept: text for kept, text in role.inline.items() if kept != name}))
    return {}


def attach(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    policy = attachable(tx, params["PolicyArn"], "Policy")
    if policy.arn in role.attached:
        return {}
    if len(role.attached) >= MAX_ATTACHED:
        raise over_quota("PoliciesPerRole", MAX_ATTACHED)
    tx.save(replace(role, attached=(*role.attached, policy.arn)))
    return {}


def detach(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    arn = checked_arn(params["PolicyArn"])
    if arn not in role.attached:
        raise ServiceError("NoSuchEntity", f"Policy {arn} was not found.", status=404)
    tx.save(replace(role, attached=tuple(kept for kept in role.attached if kept != arn)))
    return {}


def list_attached(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    prefix = checked_prefix(params)
    found = [policy for arn in role.attached if (policy := find(tx, arn)) and policy.path.startswith(prefix)]
    policies, more = page_of(params, found, _name_and_arn)
    return {
        "AttachedPolicies": [{"PolicyName": policy.name, "PolicyArn": policy.arn} for policy in policies],
        **more,
    }


def put_boundary(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    policy = attachable(tx, params["PermissionsBoundary"], "Policy")
    tx.save(replace(role, permissions_boundary=policy.arn))
    return {}


def delete_boundary(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = existing(tx, params["RoleName"])
    if role.permissions_boundary is None:
        raise no_such(f"permissions boundary of the role with name {role.name}")
    tx.save(replace(role, permissions_boundary=None))
    return {}


def _name_and_arn(policy: ManagedPolicy) -> str:
    """A customer's policy may have the name of one of AWS's."""
    return f"{policy.name} {policy.arn}"
