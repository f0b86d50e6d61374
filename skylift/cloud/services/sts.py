"""STS: who am I, and becoming somebody else for a while."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller, Role
from skylift.cloud.services.authorize import Decision, caller_context, denial, managed_document, permits
from skylift.cloud.services.iam_rules import checked_number, invalid_value
from skylift.cloud.services.identity import assumed_arn, open_session
from skylift.cloud.services.operation import Check
from skylift.cloud.services.policy_document import parse_policy
from skylift.cloud.services.trust import trust_in_caller
from skylift.cloud.store.database import Tx

ACTION = "sts:AssumeRole"
LONGEST_CHAINED = 3600
MAX_SESSION_POLICY = 2048
MAX_POLICY_ARNS = 10

_ROLE_ARN = re.compile(r"arn:aws:iam::(\d{12}):role/(?:[!-~]+/)?([\w+=,.@-]+)", re.ASCII)


def get_caller_identity(_tx: Tx, caller: Caller, _params: Any) -> dict[str, Any]:
    return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn}


def assume_role(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """Raises AccessDenied unless the role trusts the caller.

    AWS never lets the account's root assume a role. Here the root key is the only long-lived one there is, so that a
    trust policy that names the root, the account or everybody lets it in.
    """
    name = _checked_session_name(params)
    role = _trusting_role(tx, caller, params)
    longest = LONGEST_CHAINED if caller.kind == "role" else 43200
    seconds = checked_number(params, "DurationSeconds", 900, 43200, 3600)
    if seconds > longest:
        raise ServiceError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            status=400,
        )
    if seconds > role.max_session_seconds:
        raise ServiceError(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            status=400,
        )
    policies = _session_policies(tx, params)
    session = open_session(tx, role, name, timedelta(seconds=seconds), policies=policies)
    answer: dict[str, Any] = {
        "Credentials": {
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret,
            "SessionToken": session.token,
            "Expiration": session.expires,
        },
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.id}:{name}",
            "Arn": assumed_arn(caller.account, role.name, name),
        },
    }
    if policies:
        answer["PackedPolicySize"] = _packed_size(params)
    return answer


def no_checks(_tx: Tx, _caller: Caller, _params: Any) -> Iterable[Check]:
    """GetCallerIdentity needs no permission; AssumeRole weighs the caller's policies against the trust policy."""
    return ()


def _trusting_role(tx: Tx, caller: Caller, params: Any) -> Role:
    arn = params["RoleArn"]
    found = _ROLE_ARN.fullmatch(arn)
    if not found:
        raise ServiceError("ValidationError", f"{arn} is invalid", status=400)
    check = Check(ACTION, arn)
    role = tx.get(Role, name=found[2])
    if role is None or role.arn != arn:
        # Whoever may not assume a role does not learn whether it exists.
        raise denial(caller, check, Decision(False), "sts")
    context = caller_context(tx, caller, tx.now)
    context["sts:RoleSessionName"] = params["RoleSessionName"]
    if params.get("ExternalId"):
        context["sts:ExternalId"] = params["ExternalId"]
    own_role = tx.get(Role, name=caller.role) if caller.role else None
    principal = own_role.arn if own_role else caller.arn
    trust = trust_in_caller(role, caller, principal, ACTION, context)
    if trust == "named":
        # Trust in this very caller is enough within an account, unless a policy of its own forbids it.
        decision = permits(tx, caller, check)
        if not decision.allowed and "explicit deny" in decision.why:
            raise denial(caller, check, decision, "sts")
        return role
    if trust == "account":
        decision = permits(tx, caller, check)
        if not decision.allowed:
            raise denial(caller, check, decision, "sts")
        return role
    why = (
        "with an explicit deny in the role trust policy"
        if trust == "denied"
        else "because the role trust policy does not allow it"
    )
    raise denial(caller, check, Decision(False, why), "sts")


def _checked_session_name(params: Any) -> str:
    name: str = params["RoleSessionName"]
    if not 2 <= len(name) <= 64:
        raise invalid_value(name, "roleSessionName", "have length between 2 and 64")
    if not re.fullmatch(r"[\w+=,.@-]*", name, re.ASCII):
        raise invalid_value(name, "roleSessionName", r"satisfy regular expression pattern: [\w+=,.@-]*")
    external = params.get("ExternalId")
    if external is not None and not re.fullmatch(r"[\w+=,.@:\/-]{2,1224}", external, re.ASCII):
        raise invalid_value(external, "externalId", r"satisfy regular expression pattern: [\w+=,.@:\/-]*")
    return name


def _session_policies(tx: Tx, params: Any) -> tuple[str, ...]:
    """The documents that narrow the session. Managed ones are taken as they are now."""
    documents = []
    if "Policy" in params:
        parse_policy(params["Policy"])
        documents.append(params["Policy"])
    listed = params.get("PolicyArns", [])
    if len(listed) > MAX_POLICY_ARNS:
        raise invalid_value(len(listed), "policyArns", f"have length less than or equal to {MAX_POLICY_ARNS}")
    if _packed_size(params) > 100:
        raise ServiceError(
            "PackedPolicyTooLarge",
            f"Packed size of session policies consumes {_packed_size(params)}% of allotted space.",
            status=400,
        )
    for item in listed:
        document = managed_document(tx, item.get("arn", ""))
        if document is None:
            raise ServiceError("ValidationError", f"Policy {item.get('arn')} does not exist.", status=400)
        documents.append(document)
    return tuple(documents)


def _packed_size(params: Any) -> int:
    """In per cent of the 2,048 characters that session policies and the ARNs of managed ones may have together."""
    characters = len(params.get("Policy", "")) + sum(len(item.get("arn", "")) for item in params.get("PolicyArns", []))
    return -(-characters * 100 // MAX_SESSION_POLICY)
