"""How a row of Service Quotas is made, and its refusals."""

from __future__ import annotations

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.operation import Checks, Handler, Operation


def reads(name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return Operation("service-quotas", name, handler, frozenset(takes.split()), checks, writes=False)


def no_such(message: str) -> ServiceError:
    return ServiceError("NoSuchResourceException", message)
