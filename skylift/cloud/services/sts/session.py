"""STS: the caller's identity, and temporary credentials of a role or user."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import AccessKey, Caller, Role, Session, User, assumed_arn
from skylift.cloud.services.api.authorize import Decision, context_of, decide_on, denial, managed_document
from skylift.cloud.services.api.iam_rules import MAX_TAGS, checked_number, checked_tags, invalid_value, request_tags
from skylift.cloud.services.api.operation import Check, Params, Rows
from skylift.cloud.services.api.policy_document import parse_policy
from skylift.cloud.services.api.trust import trust_in_caller
from skylift.cloud.services.iam.identity import federated_arn, open_federated_session, open_own_session, open_session
from skylift.cloud.services.iam.mfa_device import authenticated, counting
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import sts

ACTION = "sts:AssumeRole"
TAG_ACTION = "sts:TagSession"
SOURCE_ACTION = "sts:SetSourceIdentity"
LONGEST_CHAINED = 3600
LONGEST_OF_ROOT = 3600
MAX_SESSION_POLICY = 2048
MAX_POLICY_ARNS = 10

ROLE_ARN = re.compile(r"arn:aws:iam::(\d{12}):role/(?:[!-~]+/)?([\w+=,.@-]+)", re.ASCII)


def get_caller_identity(
    _tx: Tx, caller: Caller, _params: sts.GetCallerIdentityRequest
) -> sts.GetCallerIdentityResponse:
    return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn}


def assume_role(tx: Tx, caller: Caller, params: sts.AssumeRoleRequest) -> sts.AssumeRoleResponse:
    """Raises AccessDenied unless the role trusts the caller.

    AWS never lets the account's root assume a role. Here the root key is the one that everybody begins with, so that a
    trust policy that names the root, the account or everybody lets it in.
    """
    if caller.kind == "federated":
        raise ServiceError(
            "AccessDenied", "Cannot call AssumeRole with the credentials of a federated user", status=403
        )
    name = checked_name(params["RoleSessionName"], "roleSessionName")
    _check_external_id(params)
    tags, transitive = _session_tags(caller, params)
    source = _source_identity(caller, params)
    mfa = authenticated(tx, caller, params)
    role = _trusting_role(tx, replace(caller, mfa=tx.now) if mfa else caller, params)
    longest = LONGEST_CHAINED if caller.kind == "role" else 43200
    seconds = checked_number(params, "DurationSeconds", 900, 43200, 3600)
    if seconds > longest:
        raise ServiceError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            status=400,
        )
    check_role_length(role, seconds)
    policies = session_policies(tx, params)
    length = timedelta(seconds=seconds)
    session = open_session(
        tx, role, name, length, policies=policies, tags=tags, transitive=transitive, source_identity=source, mfa=mfa
    )
    return {
        "Credentials": credentials(session),
        "AssumedRoleUser": {"AssumedRoleId": f"{role.id}:{name}", "Arn": assumed_arn(caller.account, role.name, name)},
        **({"SourceIdentity": source} if source is not None else {}),
        **({"PackedPolicySize": packed_size(params)} if policies or params.get("Tags") else {}),
    }


def get_session_token(tx: Tx, caller: Caller, params: sts.GetSessionTokenRequest) -> sts.GetSessionTokenResponse:
    """Temporary credentials for the caller itself: up to 36 hours for a user, never more than one for root."""
    if caller.issued is not None:
        raise ServiceError("AccessDenied", "Cannot call GetSessionToken with session credentials", status=403)
    root = caller.kind == "root"
    seconds = checked_number(params, "DurationSeconds", 900, 129600, LONGEST_OF_ROOT if root else 43200)
    user = tx.get(User, name=caller.user) if caller.user is not None else None
    assert root or user is not None, "an access key is a user's or root's"
    length = timedelta(seconds=min(seconds, LONGEST_OF_ROOT) if root else seconds)
    return {"Credentials": credentials(open_own_session(tx, user, length, mfa=authenticated(tx, caller, params)))}


def get_federation_token(
    tx: Tx, caller: Caller, params: sts.GetFederationTokenRequest
) -> sts.GetFederationTokenResponse:
    """Temporary credentials for somebody of another name: what the caller may, as far as the session's policies allow
    it. By a user up to 36 hours, by root never more than one."""
    if caller.issued is not None:
        raise ServiceError("AccessDenied", "Cannot call GetFederationToken with session credentials", status=403)
    name, tags = _federated_name(params), checked_tags(params, "InvalidParameterValue")
    root = caller.kind == "root"
    seconds = checked_number(params, "DurationSeconds", 900, 129600, LONGEST_OF_ROOT if root else 43200)
    policies = session_policies(tx, params)
    user = tx.get(User, name=caller.user) if caller.user is not None else None
    if user is None and not root:
        # Deleted or renamed since the request was let in: credentials without a user would be root's.
        raise ServiceError("AccessDenied", f"The user {caller.user} does not exist by now", status=403)
    length = timedelta(seconds=min(seconds, LONGEST_OF_ROOT) if root else seconds)
    session = open_federated_session(tx, user, name, length, policies, tags)
    return {
        "Credentials": credentials(session),
        "FederatedUser": {"FederatedUserId": f"{caller.account}:{name}", "Arn": federated_arn(caller.account, name)},
        "PackedPolicySize": packed_size(params),
    }


def check_federation(_tx: Tx, caller: Caller, params: sts.GetFederationTokenRequest) -> Iterable[Check]:
    arn = federated_arn(caller.account, params.get("Name") or "*")
    context = request_tags(params)
    yield Check("sts:GetFederationToken", arn, context)
    if params.get("Tags"):
        yield Check(TAG_ACTION, arn, context)


def get_access_key_info(tx: Tx, caller: Caller, params: sts.GetAccessKeyInfoRequest) -> sts.GetAccessKeyInfoResponse:
    """The account that a key belongs to; active or not, expired or not."""
    key_id = params["AccessKeyId"]
    if tx.get(AccessKey, id=key_id) is None and tx.get(Session, access_key_id=key_id) is None:
        raise ServiceError(
            "ValidationError", f"Invalid AccessKeyId: {key_id} is of no account in this cloud", status=400
        )
    return {"Account": caller.account}


def no_checks(_tx: Tx, _caller: Caller, _params: Params) -> Iterable[Check]:
    """GetCallerIdentity and GetSessionToken need no permission; AssumeRole weighs the caller's policies against the
    trust policy."""
    return ()


def check_role_length(role: Role, seconds: int) -> None:
    if seconds > role.max_session_seconds:
        raise ServiceError(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            status=400,
        )


def _trusting_role(tx: Tx, caller: Caller, params: sts.AssumeRoleRequest) -> Role:
    arn = params["RoleArn"]
    found = ROLE_ARN.fullmatch(arn)
    if not found:
        raise ServiceError("ValidationError", f"{arn} is invalid", status=400)
    role = tx.get(Role, name=found[2])
    if role is None or role.arn != arn:
        # A caller that may not assume a role does not learn whether it exists.
        raise denial(caller, Check(ACTION, arn), Decision(False), "sts")
    context = request_tags(params)
    context["sts:RoleSessionName"] = params["RoleSessionName"]
    if params.get("ExternalId"):
        context["sts:ExternalId"] = params["ExternalId"]
    if params.get("TransitiveTagKeys"):
        context["sts:TransitiveTagKeys"] = tuple(params["TransitiveTagKeys"])
    source = params.get("SourceIdentity") or caller.source_identity
    if source:
        context["sts:SourceIdentity"] = source
    _require_trust(tx, caller, role, Check(ACTION, arn, context))
    if source:
        _require_trust(tx, caller, role, Check(SOURCE_ACTION, arn, context))
    if params.get("Tags") or caller.transitive:
        _require_trust(tx, caller, role, Check(TAG_ACTION, arn, context))
    return role


def _require_trust(tx: Tx, caller: Caller, role: Role, check: Check) -> None:
    """The role's trust policy and the caller's own policies must let the caller do this to the role."""
    trust = trust_in_caller(tx, role, caller, check.action, context_of(tx, caller, check))
    if trust in ("named", "account"):
        # Within an account, trust in this very caller is enough, within the caller's own limits.
        decision = decide_on(tx, caller, check, (parse_policy(role.trust_policy, "trust"),))
        if not decision.allowed:
            raise denial(caller, check, decision, "sts")
        return
    why = (
        "with an explicit deny in the role trust policy"
        if trust == "denied"
        else "because the role trust policy does not allow it"
    )
    raise denial(caller, check, Decision(False, why), "sts")


def _session_tags(caller: Caller, params: sts.AssumeRoleRequest) -> tuple[dict[str, str], tuple[str, ...]]:
    """The tags of the session, with those that pass on from the caller's, and the keys that pass on further.

    By the IAM user guide's "Pass session tags in AWS STS": a tag that passes on cannot be set anew.
    """
    asked = checked_tags(params, "InvalidParameterValue")
    inherited = {key: value for key, value in caller.session_tags.items() if key in caller.transitive}
    taken = {key.lower() for key in inherited}
    for key in asked:
        if key.lower() in taken:
            raise ServiceError(
                "InvalidParameterValue",
                f"One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key "
                f"from the calling session: {key}",
                status=400,
            )
    passed_on = checked_transitive(params.get("TransitiveTagKeys", []), [*asked, *inherited])
    tags = {**inherited, **asked}
    if len(tags) > MAX_TAGS:
        raise invalid_value(len(tags), "tags", f"have length less than or equal to {MAX_TAGS}")
    return tags, tuple(dict.fromkeys([*inherited, *(key for key in passed_on if key in asked)]))


def checked_transitive(keys: Iterable[str], tags: Iterable[str]) -> tuple[str, ...]:
    """The keys of tags that pass on, as they are spelled in the tags."""
    spelled = {key.lower(): key for key in reversed([*tags])}
    for key in keys:
        if key.lower() not in spelled:
            raise ServiceError(
                "InvalidParameterValue",
                f"The specified transitive tag key must be included in the requested tags: {key}",
                status=400,
            )
    return tuple(spelled[key.lower()] for key in keys)


def _source_identity(caller: Caller, params: sts.AssumeRoleRequest) -> str | None:
    """The source identity of the session: set once, it stays for every role that is assumed from there."""
    asked: str | None = params.get("SourceIdentity")
    if asked is None:
        return caller.source_identity
    checked_name(asked, "sourceIdentity")
    if caller.source_identity not in (None, asked):
        raise ServiceError(
            "AccessDenied", "The source identity of a session cannot be changed by assuming another role.", status=403
        )
    return asked


def checked_name(name: str, parameter: str) -> str:
    """A session's name, or its source identity."""
    if not 2 <= len(name) <= 64:
        raise invalid_value(name, parameter, "have length between 2 and 64")
    if not re.fullmatch(r"[\w+=,.@-]*", name, re.ASCII):
        raise invalid_value(name, parameter, r"satisfy regular expression pattern: [\w+=,.@-]*")
    return name


def credentials(session: Session) -> sts.Credentials:
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret,
        "SessionToken": session.token,
        "Expiration": session.expires,
    }


def _check_external_id(params: sts.AssumeRoleRequest) -> None:
    external = params.get("ExternalId")
    if external is not None and not re.fullmatch(r"[\w+=,.@:\/-]{2,1224}", external, re.ASCII):
        raise invalid_value(external, "externalId", r"satisfy regular expression pattern: [\w+=,.@:\/-]*")


def _federated_name(params: sts.GetFederationTokenRequest) -> str:
    name: str = params["Name"]
    if not 2 <= len(name) <= 32:
        raise invalid_value(name, "name", "have length between 2 and 32")
    if not re.fullmatch(r"[\w+=,.@-]*", name, re.ASCII):
        raise invalid_value(name, "name", r"satisfy regular expression pattern: [\w+=,.@-]*")
    return name


def session_policies(tx: Tx, params: Params) -> tuple[str, ...]:
    """The documents that narrow the session. Managed ones are taken as they are now."""
    documents = []
    if "Policy" in params:
        parse_policy(params["Policy"])
        documents.append(params["Policy"])
    listed = params.get("PolicyArns", [])
    if len(listed) > MAX_POLICY_ARNS:
        raise invalid_value(len(listed), "policyArns", f"have length less than or equal to {MAX_POLICY_ARNS}")
    if packed_size(params) > 100:
        raise ServiceError(
            "PackedPolicyTooLarge",
            f"Packed size of session policies consumes {packed_size(params)}% of allotted space.",
            status=400,
        )
    for item in listed:
        document = managed_document(tx, item.get("arn", ""))
        if document is None:
            raise ServiceError("ValidationError", f"Policy {item.get('arn')} does not exist.", status=400)
        documents.append(document)
    return tuple(documents)


def packed_size(params: Params) -> int:
    """The share, in per cent, of the 2,048 characters that session policies, ARNs of managed ones and tags may have."""
    characters = len(params.get("Policy", "")) + sum(len(item.get("arn", "")) for item in params.get("PolicyArns", []))
    characters += sum(len(tag["Key"]) + len(tag["Value"]) for tag in params.get("Tags", []))
    return -(-characters * 100 // MAX_SESSION_POLICY)


_ROWS = Rows("sts", "sts")

OPERATIONS = (
    _ROWS.reads("GetCallerIdentity", get_caller_identity, "", no_checks),
    _ROWS.writes(
        "AssumeRole",
        assume_role,
        "RoleArn RoleSessionName PolicyArns Policy DurationSeconds ExternalId Tags TransitiveTagKeys SourceIdentity "
        "SerialNumber TokenCode",
        no_checks,
        prepare=counting(assume_role),
    ),
    _ROWS.writes(
        "GetSessionToken",
        get_session_token,
        "DurationSeconds SerialNumber TokenCode",
        no_checks,
        prepare=counting(get_session_token),
    ),
    _ROWS.writes(
        "GetFederationToken", get_federation_token, "Name Policy PolicyArns DurationSeconds Tags", check_federation
    ),
    _ROWS.reads("GetAccessKeyInfo", get_access_key_info, "AccessKeyId"),
)
