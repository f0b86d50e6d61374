"""The permissions that a caller needs to use a parameter of Systems Manager."""

from __future__ import annotations

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.parameter_name import Reference, arn, reference

Context = dict[str, str | tuple[str, ...]]


def on_name(caller: Caller, action: str, text: str, more: Context | None = None) -> Check:
    """Includes parameters that do not exist: the handler refuses those."""
    return Check(f"ssm:{action}", arn(caller, _meant(caller, text).name), more)


def _meant(caller: Caller, text: str) -> Reference:
    try:
        return reference(caller, text)
    except ServiceError:
        return Reference(text)
