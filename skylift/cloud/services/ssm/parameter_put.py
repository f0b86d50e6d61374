"""PutParameter and DescribeParameters: all of a parameter but its value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.parameter import Kind, Parameter, ParameterVersion, Tier
from skylift.cloud.services.api.iam_rules import request_tags
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.page_token import after
from skylift.cloud.services.api.parameter_check import on_name
from skylift.cloud.services.api.parameter_name import arn, check_new, invalid, reference
from skylift.cloud.services.api.public_parameter import check_image_value
from skylift.cloud.services.ssm import parameter
from skylift.cloud.services.ssm.operation import FILTERS, PAGES, reads, writes
from skylift.cloud.services.ssm.parameter import merged
from skylift.cloud.services.ssm.parameter_filter import describe_filters, matches
from skylift.cloud.services.ssm.parameter_page import NOT_VALID, page
from skylift.cloud.store.database import Tx
from skylift.cloud.store.parameter import count, forget_version, newest, parameter_named

if TYPE_CHECKING:
    from aws_shapes import ssm

LONGEST: dict[Tier, int] = {"Standard": 4096, "Advanced": 8192}
"""The most bytes of a value."""
MOST: dict[Tier, int] = {"Standard": 10_000, "Advanced": 100_000}
VERSIONS = 100
DESCRIBE_PAGE = 10
DATA_TYPES = ("text", "aws:ec2:image")


def put(tx: Tx, caller: Caller, params: ssm.PutParameterRequest) -> ssm.PutParameterResult:
    """Every value makes a new version; of more than a hundred the oldest goes."""
    name = _name(caller, params["Name"])
    if params.get("Type") == "SecureString":
        raise ServiceError(
            "UnsupportedParameterType",
            "This cloud has no KMS to encrypt a SecureString with; it takes String and StringList.",
        )
    if params.get("Tags") and params.get("Overwrite"):
        raise invalid(
            "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please "
            "remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or "
            "RemoveTagsFromResource."
        )
    parameter = parameter_named(tx, name)
    version = _first(tx, caller, params, name) if parameter is None else _next(tx, caller, params, parameter)
    _check_value(tx, version)
    if parameter is None:
        tx.add(Parameter(name, version.number, merged({}, params.get("Tags") or [])))
    else:
        tx.save(replace(parameter, latest=version.number))
    tx.add(version)
    _forget_oldest(tx, version)
    return {"Version": version.number, "Tier": version.tier}


def _forget_oldest(tx: Tx, version: ParameterVersion) -> None:
    """https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-versions.html"""
    oldest = tx.get(ParameterVersion, name=version.name, number=version.number - VERSIONS)
    if oldest is not None and oldest.labels:
        raise ServiceError(
            "ParameterMaxVersionLimitExceeded",
            f"You attempted to create a new version of {version.name} by calling the PutParameter API with the "
            f"overwrite flag. Version {oldest.number}, the oldest version, can't be deleted because it has a label "
            "associated with it. Move the label to another version of the parameter, and try again.",
        )
    forget_version(tx, version.name, version.number - VERSIONS)


def describe(tx: Tx, caller: Caller, params: ssm.DescribeParametersRequest) -> ssm.DescribeParametersResult:
    filters = describe_filters(params)
    found = (version for version in newest(tx, after=after(params, NOT_VALID)) if matches(tx, version, filters))
    chosen, token = page(params, found, DESCRIBE_PAGE)
    return {"Parameters": [_metadata(caller, version) for version in chosen], **token}


def checks(tx: Tx, caller: Caller, params: ssm.PutParameterRequest) -> Iterator[Check]:
    overwrite = "true" if params.get("Overwrite") else "false"
    tags = request_tags(params)
    yield on_name(caller, "PutParameter", params["Name"], {**tags, "ssm:Overwrite": overwrite})
    if tags:
        yield on_name(caller, "AddTagsToResource", params["Name"], tags)


def _name(caller: Caller, text: str) -> str:
    wanted = reference(caller, text) if text.startswith("arn:") else None
    name = wanted.name if wanted else text
    check_new(caller, name)
    return name


def _first(tx: Tx, caller: Caller, params: ssm.PutParameterRequest, name: str) -> ParameterVersion:
    if "Type" not in params:
        raise invalid("A parameter type is required when you create a parameter.")
    tier = _tier(params.get("Tier", "Standard"), params["Value"])
    if count(tx, tier) >= MOST[tier]:
        raise ServiceError("ParameterLimitExceeded", f"The account has {MOST[tier]} parameters of the {tier} tier.")
    return ParameterVersion(
        name,
        1,
        _kind(params["Type"]),
        params["Value"],
        tx.now,
        caller.arn,
        tier,
        params.get("DataType") or "text",
        params.get("Description"),
    )


def _next(tx: Tx, caller: Caller, params: ssm.PutParameterRequest, parameter: Parameter) -> ParameterVersion:
    """Values that are not given stay as they were."""
    if not params.get("Overwrite"):
        raise ServiceError(
            "ParameterAlreadyExists",
            "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
        )
    before = tx.get(ParameterVersion, name=parameter.name, number=parameter.latest)
    assert before is not None
    if params.get("Type", before.kind) != before.kind:
        raise ServiceError(
            "HierarchyTypeMismatchException",
            f"The parameter is a {before.kind}: its type can't be changed. Delete it, and make it again.",
        )
    tier = _tier(params.get("Tier", before.tier), params["Value"])
    if before.tier == "Advanced" and params.get("Tier") == "Standard":
        raise invalid(
            "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the "
            "advanced-parameter tier to the standard-parameter tier. If necessary, you can delete the advanced "
            "parameter and recreate it as a standard parameter."
        )
    return replace(
        before,
        number=before.number + 1,
        labels=(),
        value=params["Value"],
        modified=tx.now,
        modified_by=caller.arn,
        tier="Advanced" if before.tier == "Advanced" else tier,
        data_type=params.get("DataType") or before.data_type,
        description=params.get("Description", before.description),
    )


def _kind(asked: str) -> Kind:
    match asked:
        case "String" | "StringList":
            return asked
    raise _not_one_of(asked, "type", "SecureString, StringList, String")


def _tier(asked: str, value: str) -> Tier:
    """Intelligent tiering takes the standard tier for what fits in."""
    match asked:
        case "Intelligent-Tiering":
            return "Advanced" if len(value.encode()) > LONGEST["Standard"] else "Standard"
        case "Standard" | "Advanced":
            return asked
    raise _not_one_of(asked, "tier", "Advanced, Intelligent-Tiering, Standard")


def _not_one_of(asked: str, member: str, known: str) -> ServiceError:
    return invalid(
        f"1 validation error detected: Value '{asked}' at '{member}' failed to satisfy constraint: Member must satisfy "
        f"enum value set: [{known}]"
    )


def _check_value(tx: Tx, version: ParameterVersion) -> None:
    value = version.value
    if not value:
        raise invalid(
            "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length "
            "greater than or equal to 1."
        )
    if len(value.encode()) > LONGEST[version.tier]:
        more = (
            " To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier."
            if version.tier == "Standard"
            else ""
        )
        raise invalid(
            f"{version.tier} tier parameters support a maximum parameter value of {LONGEST[version.tier]} "
            f"characters.{more}"
        )
    if "{{" in value:
        raise invalid('Parameter value can\'t nest another parameter. Do not use "{{}}" in the value.')
    if version.data_type not in DATA_TYPES:
        raise invalid(
            f"The following data type is not supported: {version.data_type} (Data type names are all lowercase.)"
        )
    check_image_value(tx, version.data_type, value)


def _metadata(caller: Caller, version: ParameterVersion) -> ssm.ParameterMetadata:
    return {
        "Name": version.name,
        "ARN": arn(caller, version.name),
        "Type": version.kind,
        "LastModifiedDate": version.modified,
        "LastModifiedUser": version.modified_by,
        **({"Description": version.description} if version.description else {}),
        "Version": version.number,
        "Tier": version.tier,
        "Policies": [],
        "DataType": version.data_type,
    }


OPERATIONS = (
    reads("DescribeParameters", describe, f"Filters {FILTERS} {PAGES}", parameter.on_all),
    writes("PutParameter", put, "Name Description Value Type Overwrite Tags Tier DataType", checks),
)
