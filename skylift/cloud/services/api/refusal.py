"""The refusals that EC2 words the same way for every operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from skylift.cloud.domain.error import ServiceError

Value = TypeVar("Value", bound=str)


def invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterValue", message)


def invalid_value(value: object, parameter: str, why: str) -> ServiceError:
    """`parameter` as EC2's messages spell it: `cidrBlock`."""
    return invalid(f"Value ({value}) for parameter {parameter} is invalid. {why}")


def one_of(value: str | None, parameter: str, values: tuple[Value, ...]) -> Value:
    """The one of two or more values that is asked for; raises InvalidParameterValue where it is another one."""
    for known in values:
        if value == known:
            return known
    *others, last = values
    raise invalid_value(value, parameter, f"It has to be {', '.join(others)} or {last}.")


def missing(parameter: str) -> ServiceError:
    return ServiceError("MissingParameter", f"The request must contain the parameter {parameter}")


def combination(message: str) -> ServiceError:
    return ServiceError("InvalidParameterCombination", message)


def refuse_other_values(params: Mapping[str, object], carried_out: Mapping[str, tuple[object, ...]]) -> None:
    """Refuses, by name, values of parameters other than those that describe what this cloud does anyway.

    `carried_out` maps a dotted name below `params` to those values.
    """
    for name, values in carried_out.items():
        for value in values_at(params, tuple(name.split("."))):
            if value not in values:
                accepted = " or ".join(_spelled(item) for item in values)
                raise ServiceError(
                    "UnsupportedOperation",
                    f"This cloud does not carry out {name}={_spelled(value)}; it takes {accepted}, or nothing.",
                )


def values_at(value: object, path: tuple[str, ...]) -> list[object]:
    """The values at a path of member names; a list on the path counts for each of its items."""
    if isinstance(value, list):
        return [found for item in value for found in values_at(item, path)]
    if not path:
        return [value]
    if isinstance(value, Mapping) and path[0] in value:
        return values_at(value[path[0]], path[1:])
    return []


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
