"""How a row of this cloud's own service, `skylift`, is made: what AWS does by itself, this cloud's owner does."""

from __future__ import annotations

from collections.abc import Iterator

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.operation import Check, Checks, Handler, Operation, Params
from skylift.cloud.store.database import Tx


def _anywhere(name: str) -> Checks:
    return lambda _tx, caller, _params: [Check(f"skylift:{name}", "*", {"aws:RequestedRegion": caller.region})]


def _on_instance(name: str) -> Checks:
    def checks(tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        yield on_row(tx, caller, f"skylift:{name}", Instance, params["InstanceId"])

    return checks


def reads(name: str, handler: Handler, takes: str = "") -> Operation:
    return Operation("skylift", name, handler, frozenset(takes.split()), _anywhere(name), writes=False)


def writes(name: str, handler: Handler, takes: str) -> Operation:
    return Operation("skylift", name, handler, frozenset(takes.split()), _anywhere(name), writes=True)


def notifies(name: str, handler: Handler, takes: str = "") -> Operation:
    """A notice to an instance, or the end of one."""
    return Operation(
        "skylift", name, handler, frozenset(("InstanceId", *takes.split())), _on_instance(name), writes=True
    )
