"""The roles that EC2 keeps fleets in, in an account that has never had one."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.client.errors import Refused
from skylift.client.launch.service_role import ensure_fleet_roles
from skylift.client.remote.api import Api

PATHS = {"/aws-service-role/ec2fleet.amazonaws.com/", "/aws-service-role/spot.amazonaws.com/"}
"""moto has names of its own."""


def roles(api: Api) -> list[Any]:
    return api.pages("iam", "list_roles", "Roles", PathPrefix="/aws-service-role/")


def test_a_new_account_gets_both_and_they_are_made_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_fleet_roles(api)
    assert {each["Path"] for each in roles(api)} == PATHS
    asked: list[str] = []
    monkeypatch.setattr(api, "retry_concurrent", lambda _, operation, **__: asked.append(operation))
    ensure_fleet_roles(api)
    assert asked == []


class Account:
    """An IAM in which somebody else makes a role right after it was looked for; or that says something else."""

    def __init__(self, message: str) -> None:
        self._message = message

    def pages(self, *_: str, **__: str) -> list[dict[str, str]]:
        return []

    def retry_concurrent(self, _: str, operation: str, **__: str) -> None:
        raise Refused("InvalidInput", self._message, operation)


def test_one_that_somebody_else_has_made_meanwhile_will_do() -> None:
    known: Any = Account(
        "Service role name AWSServiceRoleForEC2Spot has been taken in this account, please try another."
    )
    ensure_fleet_roles(known)
    unknown: Any = Account("Service name ec2fleet.amazonaws.com is not valid.")
    with pytest.raises(Refused, match="is not valid"):
        ensure_fleet_roles(unknown)
