"""How a row of this cloud's own service, `skylift`, is made: what AWS does by itself, this cloud's owner does."""

from __future__ import annotations

from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.operation import Checks, Handler, Operation, on_all


def _on_instance(name: str) -> Checks:
    return lambda tx, caller, params: [on_row(tx, caller, f"skylift:{name}", Instance, params["InstanceId"])]


def reads(name: str, handler: Handler, takes: str = "") -> Operation:
    return Operation("skylift", name, handler, frozenset(takes.split()), on_all(f"skylift:{name}"), writes=False)


def writes(name: str, handler: Handler, takes: str) -> Operation:
    return Operation("skylift", name, handler, frozenset(takes.split()), on_all(f"skylift:{name}"), writes=True)


def notifies(name: str, handler: Handler, takes: str = "") -> Operation:
    """A notice to an instance, or the end of one."""
    return Operation(
        "skylift", name, handler, frozenset(("InstanceId", *takes.split())), _on_instance(name), writes=True
    )
