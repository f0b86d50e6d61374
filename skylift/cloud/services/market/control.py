"""How a row of this cloud's own service, `skylift`, is made: what AWS does by itself, this cloud's owner does."""

from __future__ import annotations

from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.operation import Checks, Handler, Operation, Rows

_ROWS = Rows("skylift", "skylift")
reads, writes = _ROWS.reads, _ROWS.writes


def _on_instance(name: str) -> Checks:
    return lambda tx, caller, params: [on_row(tx, caller, f"skylift:{name}", Instance, params["InstanceId"])]


def notifies(name: str, handler: Handler, takes: str = "") -> Operation:
    """A notice to an instance, or the end of one."""
    return writes(name, handler, f"InstanceId {takes}", _on_instance(name))
