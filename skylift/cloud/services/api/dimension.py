"""What identifies a metric beside its name."""

from __future__ import annotations

from typing import Any

from skylift.cloud.domain.error import ServiceError


def dimensions(params: Any, place: str) -> tuple[tuple[str, str], ...]:
    """What identifies a metric beside its name, in an order of our own."""
    given = [(each["Name"], each["Value"]) for each in params.get("Dimensions", [])]
    if len(dict(given)) != len(given):
        where = f"{place}.Dimensions" if place else "Dimensions"
        raise ServiceError("InvalidParameterValue", f"The parameter {where} must not name a dimension more than once.")
    return tuple(sorted(given))
