"""Whom the Principal of a policy on a resource names, and how far the policy's permissions reach for them.

The distinctions are those of the IAM user guide's "Evaluating identity-based policies with resource-based policies" and
of its table of identity types and implicit denies in other types of policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skylift.cloud.domain.identity import Caller, Role, User
from skylift.cloud.services.api.policy_document import Principals, Statement
from skylift.cloud.store.database import Tx

Reach = Literal["nobody", "account", "limited", "whole"]
"""`account`: the policy names the account as a whole, and the caller's own policies decide.

`limited`: the caller may, if permissions boundary and session policy allow it as well. `whole`: only an explicit deny
prevents it.
"""

_ORDER: tuple[Reach, ...] = ("nobody", "account", "limited", "whole")


@dataclass(frozen=True)
class CallerNames:
    """The names of a caller in policies. An anonymous one has none. `holder` is the role or user of a session."""

    own: str | None = None
    holder: str | None = None
    account: frozenset[str] = frozenset()
    root: bool = False
    bounded: bool = False


def who_is(tx: Tx, caller: Caller) -> CallerNames:
    if caller.kind == "anonymous":
        return CallerNames()
    name = caller.user or caller.federator
    holder = tx.get(Role, name=caller.role) if caller.role else tx.get(User, name=name) if name else None
    account = frozenset({caller.account, f"arn:aws:iam::{caller.account}:root"})
    if holder is None:
        return CallerNames(caller.arn, None, account, caller.kind == "root")
    return CallerNames(caller.arn, holder.arn, account, bounded=bool(holder.permissions_boundary))


def granted(statement: Statement, who: CallerNames) -> Reach:
    """The way in which an Allow of this statement names the caller in its principals."""
    if statement.principals is not None:
        return _reach(statement.principals, who)
    excepted = statement.not_principals is not None and _reach(statement.not_principals, who) != "nobody"
    return "nobody" if excepted else "limited"


def denied(statement: Statement, who: CallerNames) -> bool:
    """Whether a Deny of this statement is meant for the caller. A deny for the account is for everybody in it."""
    if statement.principals is not None:
        return _reach(statement.principals, who) != "nobody"
    return statement.not_principals is None or not _spared(statement.not_principals, who)


def widest(reaches: list[Reach]) -> Reach:
    return max(reaches, key=_ORDER.index, default="nobody")


def _reach(principals: Principals, who: CallerNames) -> Reach:
    named = set(principals.aws)
    if who.own in named:
        return "whole"
    if "*" in named or who.holder in named:
        return "limited"
    if who.account & named:
        return "whole" if who.root else "account"
    return "nobody"


def _spared(principals: Principals, who: CallerNames) -> bool:
    """Whether NotPrincipal takes this very caller out of a Deny. Naming the account spares its root only.

    A session is denied with its role and by itself, so that both have to be named: "AWS might validate the account
    first, then the role, and then the assumed-role user". Who has a permissions boundary is never spared.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
    """
    named = set(principals.aws)
    if "*" in named or (who.root and who.account & named):
        return True
    return who.own in named and who.holder in (None, *named) and not who.bounded
