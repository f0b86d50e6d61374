from __future__ import annotations

import pytest
from ec2_fixtures import ec2_model

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.table import OPERATIONS

EC2_OPERATIONS = [operation for operation in OPERATIONS if operation.service == "ec2"]


@pytest.mark.parametrize("operation", EC2_OPERATIONS, ids=lambda operation: operation.name)
def test_takes_only_parameters_of_the_model(operation: Operation) -> None:
    top = ec2_model().operation_model(operation.name).input_shape
    for name in operation.takes:
        shape = top
        for part in name.split("."):
            while shape.type_name == "list":
                shape = shape.member
            assert part in shape.members, f"{operation.name} has no {name}"
            shape = shape.members[part]


@pytest.mark.parametrize("operation", EC2_OPERATIONS, ids=lambda operation: operation.name)
def test_takes_what_the_model_requires(operation: Operation) -> None:
    top = ec2_model().operation_model(operation.name).input_shape
    taken = {name.split(".")[0] for name in operation.takes}
    assert set(top.required_members) <= taken
