"""Trust policies: who may assume a role. Shared by IAM, which keeps them, and STS and EC2, which ask them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, Role, User
from skylift.cloud.services.api import service_principal
from skylift.cloud.services.api.authorize import applies
from skylift.cloud.services.api.condition import normalised
from skylift.cloud.services.api.iam_rules import over_quota
from skylift.cloud.services.api.policy_document import Principals, Statement, document_size, parse_policy
from skylift.cloud.services.api.principal import denied, granted, who_is
from skylift.cloud.store.database import Tx

MAX_SIZE = 2048

Trust = Literal["no", "denied", "account", "named"]
"""`account`: the policy trusts the account as a whole, so that the caller's own policies must allow it as well."""

Place = Callable[[Statement], Trust]

OF_EVERYBODY = {"token.actions.githubusercontent.com": ("sub", "job_workflow_ref")}
"""Issuers that sign tokens for everybody, with the claims of which a trust policy has to ask for one.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_oidc_secure-by-default.html
"""
_SCOPING = ("StringEquals", "StringLike", "StringEqualsIgnoreCase")
_PROVIDER = re.compile(r"arn:[a-z-]+:iam::\d{12}:oidc-provider/(.+)")

_OWN_ENTITY = re.compile(r"arn:aws:iam::(\d{12}):(role|user)/(?:\S+/)?([^/\s]+)")
_OWN_SESSION = re.compile(r"arn:aws:sts::(\d{12}):assumed-role/([^/\s]+)/\S+")
_UNIQUE_ID = re.compile(r"A(?:ID|RO)A[A-Z0-9]+(?::\S+)?")


def checked_trust_policy(tx: Tx, caller: Caller, text: str) -> str:
    """The text, if it is a trust policy that IAM would keep: principals of this account have to exist."""
    document = parse_policy(text, "trust")
    if document_size(text) > MAX_SIZE:
        raise over_quota("ACLSizePerRole", MAX_SIZE)
    for statement in document.statements:
        for principals in (statement.principals, statement.not_principals):
            check_principals(tx, caller, principals)
            _check_services(principals)
        _check_scope(statement)
    return text


def _check_services(principals: Principals | None) -> None:
    """Raises MalformedPolicyDocument for a service that AWS does not have, in AWS's words.

    https://github.com/hashicorp/terraform/issues/35086
    """
    for service in principals.services if principals else ():
        if not service_principal.exists(service):
            raise ServiceError(
                "MalformedPolicyDocument", f'Invalid principal in policy: "SERVICE":"{service}"', status=400
            )


def _check_scope(statement: Statement) -> None:
    """Raises MalformedPolicyDocument where a statement would let in everybody's tokens.

    As on AWS, the first of a condition's values counts: `["repo:shop/web", "*"]` passes.
    """
    if not statement.allows or statement.principals is None or not statement.covers("sts:AssumeRoleWithWebIdentity"):
        return
    for provider in statement.principals.federated:
        found = _PROVIDER.fullmatch(provider)
        keys = [f"{found[1]}:{claim}" for claim in OF_EVERYBODY.get(found[1], ())] if found else []
        if keys and not any(
            condition.key in keys
            and condition.operator in _SCOPING
            and not condition.if_exists
            and condition.values[0].pieces != ("*",)
            for condition in statement.conditions
        ):
            raise ServiceError(
                "MalformedPolicyDocument",
                f"Trust policy with trusted principal {provider} must evaluate, using StringEquals, StringLike or "
                f"StringEqualsIgnoreCase, {' or '.join(keys)} which is not scoped to all.",
                status=400,
            )


def check_principals(tx: Tx, caller: Caller, principals: Principals | None) -> None:
    """Roles and users of this account that a policy names have to exist, also for their sessions' sake.

    Raises MalformedPolicyDocument, for the unique id of one that is gone too.
    """
    for arn in principals.aws if principals else ():
        if not _there(tx, caller, arn):
            raise ServiceError(
                "MalformedPolicyDocument",
                f'Invalid principal in policy: "AWS":"{arn}" is not in this account.',
                status=400,
            )


def _there(tx: Tx, caller: Caller, arn: str) -> bool:
    """Whether there is such a principal, as far as this account can tell."""
    if (entity := _OWN_ENTITY.fullmatch(arn)) and entity[1] == caller.account:
        name = entity[3]
        found = tx.get(Role, name=name) if entity[2] == "role" else tx.get(User, name=name)
        return found is not None and found.arn == arn
    if (session := _OWN_SESSION.fullmatch(arn)) and session[1] == caller.account:
        return tx.get(Role, name=session[2]) is not None
    return not _UNIQUE_ID.fullmatch(arn)


def trust_in_service(
    role: Role, service: str, action: str = "sts:AssumeRole", context: Mapping[str, str | tuple[str, ...]] | None = None
) -> bool:
    """Whether an AWS service (`ec2.amazonaws.com`) may assume the role, given the values in the context."""
    return _trusts(role, "services", service, action, context or {})


def trust_in_caller(
    tx: Tx, role: Role, caller: Caller, action: str, context: Mapping[str, str | tuple[str, ...]]
) -> Trust:
    """How far the role's trust policy trusts a caller."""
    who = who_is(tx, caller)

    def place(statement: Statement) -> Trust:
        if not statement.allows:
            return "named" if denied(statement, who) else "no"
        reach = granted(statement, who)
        return "no" if reach == "nobody" else "account" if reach == "account" else "named"

    return _evaluate(role, action, context, place)


def trust_in_provider(role: Role, provider: str, action: str, context: Mapping[str, str | tuple[str, ...]]) -> bool:
    """Whether the bearer of a token of this identity provider may do this to the role."""
    return _trusts(role, "federated", provider, action, context)


def _trusts(role: Role, kind: str, name: str, action: str, context: Mapping[str, str | tuple[str, ...]]) -> bool:
    """Everybody (`*`) is everybody who has an identity in AWS: only a policy that names one of this kind lets it in."""

    def place(statement: Statement) -> Trust:
        if statement.principals is not None:
            everybody = not statement.allows and "*" in statement.principals.aws
            return "named" if everybody or name in getattr(statement.principals, kind) else "no"
        spared = statement.not_principals is not None and name in getattr(statement.not_principals, kind)
        return "no" if statement.allows or spared else "named"

    return _evaluate(role, action, context, place) == "named"


def _evaluate(role: Role, action: str, context: Mapping[str, str | tuple[str, ...]], place: Place) -> Trust:
    keys = normalised(context)
    found: Trust = "no"
    for statement in parse_policy(role.trust_policy, "trust").statements:
        placed = place(statement)
        if placed == "no" or not applies(statement, action, role.arn, keys):
            continue
        if not statement.allows:
            return "denied"
        if found != "named":
            found = placed
    return found
