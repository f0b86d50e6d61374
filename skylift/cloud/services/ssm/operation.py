"""How a row of Systems Manager is made."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Checks, Handler, Operation

PAGES = "MaxResults NextToken"
FILTERS = "ParameterFilters.Key ParameterFilters.Option ParameterFilters.Values"


def reads(name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return Operation("ssm", name, handler, frozenset(takes.split()), checks, writes=False)


def writes(name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return Operation("ssm", name, handler, frozenset(takes.split()), checks, writes=True)
