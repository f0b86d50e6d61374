"""How a row of STS is made."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Brief, Checks, Handler, Operation


def reads(name: str, handler: Handler, takes: str, checks: Checks, *, brief: Brief | None = None) -> Operation:
    return Operation("sts", name, handler, frozenset(takes.split()), checks, writes=False, brief=brief)


def writes(name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return Operation("sts", name, handler, frozenset(takes.split()), checks, writes=True)
