"""The dimensions of a metric, which identify it together with its name."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from skylift.cloud.domain.error import ServiceError


class Dimension(TypedDict):
    Name: NotRequired[str]
    Value: NotRequired[str]


class Dimensioned(TypedDict):
    """The members of a request about a metric: CloudWatch's dimensions, or Auto Scaling's of the same shape."""

    Dimensions: NotRequired[list[Dimension]]


def dimensions(params: Dimensioned, place: str) -> tuple[tuple[str, str], ...]:
    """The dimensions that identify a metric besides its name, in an order of our own."""
    given = [(each["Name"], each["Value"]) for each in params.get("Dimensions", [])]
    if len(dict(given)) != len(given):
        where = f"{place}.Dimensions" if place else "Dimensions"
        raise ServiceError("InvalidParameterValue", f"The parameter {where} must not name a dimension more than once.")
    return tuple(sorted(given))
