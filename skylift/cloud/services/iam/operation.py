"""How a row of IAM is made."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Check, Checks, Handler, Operation

PAGES = "Marker MaxItems"


def reads(name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return Operation("iam", name, handler, frozenset(takes.split()), checks, writes=False)


def writes(name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return Operation("iam", name, handler, frozenset(takes.split()), checks, writes=True)


def on_account(action: str) -> Checks:
    return lambda _tx, _caller, _params: [Check(f"iam:{action}", "*")]
