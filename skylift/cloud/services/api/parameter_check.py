"""The permissions that a caller needs to use a parameter of Systems Manager."""

from __future__ import annotations

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.parameter_name import Reference, arn, reference
from skylift.cloud.store.database import Tx
from skylift.cloud.store.parameter import parameter_named

Context = dict[str, str | tuple[str, ...]]


def on_name(tx: Tx, caller: Caller, action: str, text: str, more: Context | None = None) -> Check:
    """Includes parameters that do not exist: the handler refuses those."""
    wanted = _meant(caller, text)
    parameter = parameter_named(tx, wanted.name)
    tags = parameter.tags if parameter else {}
    context: Context = {f"{key}/{name}": value for name, value in tags.items() for key in _TAG_KEYS}
    return Check(f"ssm:{action}", arn(caller, wanted.name), {**context, **(more or {})})


_TAG_KEYS = ("aws:ResourceTag", "ssm:resourceTag")


def _meant(caller: Caller, text: str) -> Reference:
    try:
        return reference(caller, text)
    except ServiceError:
        return Reference(text)
