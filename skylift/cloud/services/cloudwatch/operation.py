"""How a row of CloudWatch is made."""

from __future__ import annotations

from collections.abc import Iterator

from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Check, Checks, Handler, Operation, Params
from skylift.cloud.store.database import Tx

DIMENSIONS = "Dimensions.Name Dimensions.Value"


def reads(name: str, handler: Handler, takes: str, checks: Checks | None = None) -> Operation:
    return Operation("cloudwatch", name, handler, frozenset(takes.split()), checks or _on_all(name), writes=False)


def writes(name: str, handler: Handler, takes: str, checks: Checks | None = None) -> Operation:
    return Operation("cloudwatch", name, handler, frozenset(takes.split()), checks or _on_all(name), writes=True)


def below(name: str, members: str) -> str:
    """`members` as members of `name`."""
    return " ".join(f"{name}.{member}" for member in members.split())


def _on_all(action: str) -> Checks:
    def checks(_tx: Tx, _caller: Caller, _params: Params) -> Iterator[Check]:
        yield Check(f"cloudwatch:{action}", "*")

    return checks
