"""The tables of IAM, STS, S3, Systems Manager and CloudWatch against botocore's models."""

from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import OPERATIONS, model

from skylift.cloud.services.api.operation import Operation

ALL = list(OPERATIONS.values())


def dotted_members(shape: Any, prefix: str = "", within: tuple[str, ...] = ()) -> set[str]:
    while shape is not None and shape.type_name == "list":
        shape = shape.member
    if shape is None or shape.type_name != "structure" or shape.name in within:
        return set()
    found = set()
    for name, member in shape.members.items():
        found |= {f"{prefix}{name}"} | dotted_members(member, f"{prefix}{name}.", (*within, shape.name))
    return found


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: f"{operation.service}-{operation.name}")
def test_what_an_operation_takes_is_in_the_model(operation: Operation) -> None:
    shape = model(operation.service).operation_model(operation.name).input_shape
    assert operation.takes <= dotted_members(shape)


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: f"{operation.service}-{operation.name}")
def test_an_operation_takes_all_that_the_model_requires(operation: Operation) -> None:
    shape = model(operation.service).operation_model(operation.name).input_shape
    for name in shape.required_members if shape else ():
        assert any(taken.split(".")[0] == name for taken in operation.takes)


@pytest.mark.parametrize(
    ("service", "name", "params", "refused"),
    [
        ("s3", "PutObject", {"Bucket": "b", "Key": "k", "ObjectLockMode": "GOVERNANCE"}, ["ObjectLockMode"]),
        ("s3", "PutObject", {"Bucket": "b", "Key": "k", "Metadata": {"a": "b"}}, []),
        ("s3", "DeleteObjects", {"Delete": {"Objects": [{"Key": "k", "Size": 1}]}}, ["Delete.Objects.Size"]),
        ("sts", "AssumeRole", {"RoleArn": "a", "ProvidedContexts": ["p"]}, ["ProvidedContexts"]),
        ("iam", "CreateRole", {"RoleName": "r", "Tags": [{"Key": "k", "Value": "v"}]}, []),
    ],
)
def test_what_is_not_carried_out_is_refused_by_name(
    service: str, name: str, params: dict[str, Any], refused: list[str]
) -> None:
    assert OPERATIONS[service, name].unsupported(params) == refused
