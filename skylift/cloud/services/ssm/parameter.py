"""Parameters of Systems Manager: reading, listing by path, removing and tagging them.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.parameter import Parameter, ParameterVersion
from skylift.cloud.services.api.iam_rules import request_tags, tag_list
from skylift.cloud.services.api.operation import Check, Checks, Params
from skylift.cloud.services.api.page_token import after
from skylift.cloud.services.api.parameter_check import on_name
from skylift.cloud.services.api.parameter_name import Reference, arn, check_path, invalid, not_found, reference
from skylift.cloud.services.api.public_parameter import public_parameters, version_of
from skylift.cloud.services.ssm.operation import FILTERS, PAGES, reads, writes
from skylift.cloud.services.ssm.parameter_filter import by_path_filters, matches, with_label
from skylift.cloud.services.ssm.parameter_page import NOT_VALID, page
from skylift.cloud.store.database import Tx
from skylift.cloud.store.parameter import history as stored_history
from skylift.cloud.store.parameter import newest, parameter_named

if TYPE_CHECKING:
    from aws_shapes import ssm

MAX_TAGS = 50
BY_PATH_PAGE = 10
PAGE = 50


def get(tx: Tx, caller: Caller, params: ssm.GetParameterRequest) -> ssm.GetParameterResult:
    wanted = reference(caller, params["Name"])
    return {"Parameter": view(caller, version_of(tx, wanted), wanted)}


def get_many(tx: Tx, caller: Caller, params: ssm.GetParametersRequest) -> ssm.GetParametersResult:
    found, missing = [], []
    for name in dict.fromkeys(params["Names"]):
        try:
            wanted = reference(caller, name)
            found.append(view(caller, version_of(tx, wanted), wanted))
        except ServiceError as error:
            if error.code not in ("ParameterNotFound", "ParameterVersionNotFound"):
                raise
            missing.append(name)
    return {"Parameters": found, "InvalidParameters": missing}


def by_path(tx: Tx, caller: Caller, params: ssm.GetParametersByPathRequest) -> ssm.GetParametersByPathResult:
    path = params["Path"]
    check_path(path)
    filters = by_path_filters(params.get("ParameterFilters"))
    prefix, start = f"{path.rstrip('/')}/", after(params, NOT_VALID)
    # The two kinds of names do not mix: the account's own never begin with /aws/.
    found = public_parameters(tx, prefix, start) if prefix.startswith("/aws/") else _below(tx, prefix, start)
    if not params.get("Recursive", False):
        found = (version for version in found if "/" not in version.name.removeprefix(prefix))
    labels = [one for one in filters if one.key == "Label"]
    if labels:
        found = (version for newest in found if (version := with_label(tx, newest.name, labels)))
    others = [one for one in filters if one.key != "Label"]
    chosen, token = page(params, (version for version in found if matches(tx, version, others)), BY_PATH_PAGE)
    return {"Parameters": [view(caller, version) for version in chosen], **token}


def _below(tx: Tx, prefix: str, start: str) -> Iterator[ParameterVersion]:
    """A name without a slash is at the root, as `/NAME` is."""
    return newest(tx, after=start, prefix="" if prefix == "/" else prefix)


def history(tx: Tx, caller: Caller, params: ssm.GetParameterHistoryRequest) -> ssm.GetParameterHistoryResult:
    name = _required(tx, caller, params["Name"]).name
    start = after(params, NOT_VALID) or "0"
    if not re.fullmatch("[0-9]{1,9}", start):
        raise ServiceError("InvalidNextToken", "The specified token is of another operation.")
    size = params.get("MaxResults", PAGE)
    rows = stored_history(tx, name, int(start), size + 1)
    chosen, token = page(params, iter(rows), PAGE, key=lambda version: str(version.number))
    return {"Parameters": [_history_view(version) for version in chosen], **token}


def delete(tx: Tx, caller: Caller, params: ssm.DeleteParameterRequest) -> ssm.DeleteParameterResult:
    tx.remove(_required(tx, caller, params["Name"]))
    return {}


def delete_many(tx: Tx, caller: Caller, params: ssm.DeleteParametersRequest) -> ssm.DeleteParametersResult:
    deleted, missing = [], []
    for name in dict.fromkeys(params["Names"]):
        parameter = parameter_named(tx, name)
        if parameter is None:
            missing.append(name)
        else:
            tx.remove(parameter)
            deleted.append(name)
    return {"DeletedParameters": deleted, "InvalidParameters": missing}


def _required(tx: Tx, caller: Caller, text: str) -> Parameter:
    """The parameter as a whole: a reference to one version of it is none to it."""
    wanted = reference(caller, text)
    parameter = None if wanted.selector else parameter_named(tx, wanted.name)
    if parameter is None:
        raise not_found(text)
    return parameter


def add_tags(tx: Tx, _caller: Caller, params: ssm.AddTagsToResourceRequest) -> ssm.AddTagsToResourceResult:
    parameter = _tagged(tx, params)
    tx.save(replace(parameter, tags=merged(parameter.tags, params["Tags"])))
    return {}


def remove_tags(tx: Tx, _caller: Caller, params: ssm.RemoveTagsFromResourceRequest) -> ssm.RemoveTagsFromResourceResult:
    parameter = _tagged(tx, params)
    kept = {key: value for key, value in parameter.tags.items() if key not in params["TagKeys"]}
    tx.save(replace(parameter, tags=kept))
    return {}


def list_tags(tx: Tx, _caller: Caller, params: ssm.ListTagsForResourceRequest) -> ssm.ListTagsForResourceResult:
    return {"TagList": tag_list(_tagged(tx, params).tags)}


def merged(tags: dict[str, str], pairs: list[ssm.Tag]) -> dict[str, str]:
    added = {pair["Key"]: pair["Value"] for pair in pairs}
    if any(key.lower().startswith("aws:") for key in added):
        raise invalid("Tag keys that begin with aws: are reserved for system use.")
    result = {**tags, **added}
    if len(result) > MAX_TAGS:
        raise ServiceError("TooManyTagsError", f"A parameter can have at most {MAX_TAGS} tags.")
    return result


def view(caller: Caller, version: ParameterVersion, asked: Reference | None = None) -> ssm.Parameter:
    """The parameter under the requested name, which may differ at the root from the one it was made by."""
    selector = asked.selector if asked else None
    return {
        "Name": asked.name if asked else version.name,
        "Type": version.kind,
        "Value": version.value,
        "Version": version.number,
        **({"Selector": f":{selector}"} if selector else {}),
        "LastModifiedDate": version.modified,
        "ARN": arn(caller, version.name),
        "DataType": version.data_type,
    }


def _history_view(version: ParameterVersion) -> ssm.ParameterHistory:
    return {
        "Name": version.name,
        "Type": version.kind,
        "LastModifiedDate": version.modified,
        "LastModifiedUser": version.modified_by,
        **({"Description": version.description} if version.description else {}),
        "Value": version.value,
        "Version": version.number,
        "Labels": list(version.labels),
        "Tier": version.tier,
        "Policies": [],
        "DataType": version.data_type,
    }


def _tagged(
    tx: Tx, params: ssm.AddTagsToResourceRequest | ssm.ListTagsForResourceRequest | ssm.RemoveTagsFromResourceRequest
) -> Parameter:
    if params["ResourceType"] != "Parameter":
        raise ServiceError("InvalidResourceType", "This cloud has no resource to tag but parameters: Parameter.")
    parameter = parameter_named(tx, params["ResourceId"])
    if parameter is None:
        raise ServiceError("InvalidResourceId", f"There is no parameter {params['ResourceId']}.")
    return parameter


# What a caller must be allowed to do.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html


def on_names(action: str, member: str) -> Checks:
    """Operations on the parameter or parameters that `member` refers to."""

    def checks(_tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        given = params[member]
        for text in given if isinstance(given, list) else [given]:
            yield on_name(caller, action, text, request_tags(params))

    return checks


def on_path(_tx: Tx, caller: Caller, params: ssm.GetParametersByPathRequest) -> Iterator[Check]:
    """Permission is checked for the path itself, not for the parameters below it; the root's ARN is `parameter/`.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/ps-retrieval-authorization.html
    """
    recursive = "true" if params.get("Recursive") else "false"
    yield Check("ssm:GetParametersByPath", arn(caller, params["Path"].rstrip("/")), {"ssm:Recursive": recursive})


def on_all(_tx: Tx, caller: Caller, _params: Params) -> Iterator[Check]:
    yield Check("ssm:DescribeParameters", f"arn:aws:ssm:{caller.region}:{caller.account}:*")


_TAGGED = "ResourceType ResourceId"


OPERATIONS = (
    # WithDecryption is for SecureStrings only; AWS ignores it for other parameters too.
    reads("GetParameter", get, "Name WithDecryption", on_names("GetParameter", "Name")),
    reads("GetParameters", get_many, "Names WithDecryption", on_names("GetParameters", "Names")),
    reads("GetParametersByPath", by_path, f"Path Recursive WithDecryption {FILTERS} {PAGES}", on_path),
    reads("GetParameterHistory", history, f"Name WithDecryption {PAGES}", on_names("GetParameterHistory", "Name")),
    writes("DeleteParameter", delete, "Name", on_names("DeleteParameter", "Name")),
    writes("DeleteParameters", delete_many, "Names", on_names("DeleteParameters", "Names")),
    writes("AddTagsToResource", add_tags, f"{_TAGGED} Tags", on_names("AddTagsToResource", "ResourceId")),
    writes(
        "RemoveTagsFromResource", remove_tags, f"{_TAGGED} TagKeys", on_names("RemoveTagsFromResource", "ResourceId")
    ),
    reads("ListTagsForResource", list_tags, _TAGGED, on_names("ListTagsForResource", "ResourceId")),
)
