"""Filters of DescribeParameters and GetParametersByPath.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ParameterStringFilter.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.parameter import Parameter, ParameterVersion
from skylift.cloud.services.api.parameter_name import check_path, invalid
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ssm

_VALUES = {"Type": ("String", "StringList", "SecureString"), "Tier": ("Standard", "Advanced", "Intelligent-Tiering")}
_DESCRIBE = ("Path", "Name", "Type", "KeyId", "Tier", "DataType")
_BY_PATH = ("Type", "KeyId", "Label")


@dataclass(frozen=True)
class ParameterFilter:
    """Values of one filter are alternatives; several filters must all match."""

    key: str
    option: str
    values: tuple[str, ...]


def describe_filters(params: ssm.DescribeParametersRequest) -> list[ParameterFilter]:
    """Either kind of filters that DescribeParameters takes; the older one compares names from their beginning."""
    if params.get("Filters") and params.get("ParameterFilters"):
        raise invalid("You can use either Filters or ParameterFilters in a single request.")
    older = [
        ParameterFilter(one["Key"], "BeginsWith" if one["Key"] == "Name" else "Equals", tuple(one["Values"]))
        for one in params.get("Filters") or []
    ]
    return older or _checked(params.get("ParameterFilters"), _DESCRIBE, tags=True)


def by_path_filters(given: list[ssm.ParameterStringFilter] | None) -> list[ParameterFilter]:
    return _checked(given, _BY_PATH, tags=False)


def matches(tx: Tx, version: ParameterVersion, filters: Iterable[ParameterFilter]) -> bool:
    return all(_matches(tx, version, one) for one in filters)


def with_label(tx: Tx, name: str, labels: Iterable[ParameterFilter]) -> ParameterVersion | None:
    """The version of a parameter whose labels are asked for, the newest of several."""
    versions = reversed(tx.find(ParameterVersion, name=name))
    return next(
        (one for one in versions if all(any(_compares(text, each) for text in one.labels) for each in labels)), None
    )


def _matches(tx: Tx, version: ParameterVersion, wanted: ParameterFilter) -> bool:
    match wanted.key:
        case "Path":
            return any(_is_below(version.name, path, wanted.option == "Recursive") for path in wanted.values)
        case "Name":
            return _compares(version.name, wanted)
        case "Type":
            return _compares(version.kind, wanted)
        case "Tier":
            return _compares(version.tier, wanted)
        case "DataType":
            return _compares(version.data_type, wanted)
        case "KeyId":
            # SecureStrings have keys: no parameter here does.
            return False
    parameter = tx.get(Parameter, name=version.name)
    value = parameter.tags.get(wanted.key.removeprefix("tag:")) if parameter else None
    return value is not None and (not wanted.values or value in wanted.values)


def _compares(text: str, wanted: ParameterFilter) -> bool:
    match wanted.option:
        case "BeginsWith":
            return text.startswith(wanted.values)
        case "Contains":
            return any(value in text for value in wanted.values)
    return text in wanted.values


def _is_below(name: str, path: str, deep: bool) -> bool:
    prefix = f"{path.rstrip('/')}/"
    rooted = name if name.startswith("/") else f"/{name}"
    return rooted.startswith(prefix) and (deep or "/" not in rooted.removeprefix(prefix))


def _checked(
    given: list[ssm.ParameterStringFilter] | None, keys: tuple[str, ...], *, tags: bool
) -> list[ParameterFilter]:
    filters: list[ParameterFilter] = []
    for one in given or []:
        key = one["Key"]
        if key not in keys and not (tags and key.startswith("tag:")):
            valid = ", ".join((*keys, "tag:KEY") if tags else keys)
            raise ServiceError(
                "InvalidFilterKey",
                f"The following filter key is not valid: {key}. Valid filter keys include: [{valid}].",
            )
        if any(known.key == key for known in filters):
            raise ServiceError(
                "InvalidFilterKey",
                f"The following filter is duplicated in the request: {key}. A request can contain only one occurrence "
                "of a specific filter.",
            )
        option = one.get("Option", "OneLevel" if key == "Path" else "Equals")
        _check_option(key, option)
        values = tuple(one.get("Values") or ())
        _check_values(key, values)
        filters.append(ParameterFilter(key, option, values))
    return filters


def _check_option(key: str, option: str) -> None:
    valid = {"Path": ("Recursive", "OneLevel"), "Name": ("BeginsWith", "Contains", "Equals")}.get(
        key, ("Equals",) if key.startswith("tag:") else ("BeginsWith", "Equals")
    )
    if option not in valid:
        raise ServiceError(
            "InvalidFilterOption",
            f"The following filter option is not valid: {option}. Valid options include: [{', '.join(valid)}].",
        )


def _check_values(key: str, values: tuple[str, ...]) -> None:
    if not values and not key.startswith("tag:"):
        raise ServiceError(
            "InvalidFilterValue", f"The following filter values are missing : null for filter key {key}."
        )
    for value in values:
        if key in _VALUES and value not in _VALUES[key]:
            raise ServiceError(
                "InvalidFilterValue",
                f"The following filter value is not valid: {value}. Valid values include: [{', '.join(_VALUES[key])}].",
            )
        if key == "Path":
            if value.lower().startswith(("/aws", "/ssm")):
                raise invalid(
                    'Filters for common parameters can\'t be prefixed with "aws" or "ssm" (case-insensitive). When '
                    "using global parameters, please specify within a global namespace."
                )
            check_path(value)
