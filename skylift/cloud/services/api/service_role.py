"""Service-linked roles, by the service that acts in them: their names, policies, and whether there may be several."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller, Role
from skylift.cloud.services.api.iam_rules import checked_name, checked_text, invalid_input, new_id, over_quota
from skylift.cloud.services.api.named_principal import principal_created
from skylift.cloud.services.api.operation import Check
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import name_taken

if TYPE_CHECKING:
    from aws_shapes import iam

LONGEST_NAME = 64

MAX_ROLES = 1000

SERVICE_PATH = "/aws-service-role/"
"""The path of the roles that AWS's services have made for themselves. Nobody else changes these roles."""


def role_arn(caller: Caller, name: str, path: str = "/") -> str:
    return f"arn:aws:iam::{caller.account}:role{path}{name}"


@dataclass(frozen=True)
class ServiceRole:
    """`policy` is the managed policy below `aws-service-role/`; `suffixes` is whether there may be more than one."""

    name: str
    policy: str
    suffixes: bool = False


def _services() -> dict[str, ServiceRole]:
    """The services by principal, from `service_roles.csv`.

    AWS was recorded with half of them. The others' roles are named in its managed policies
    (https://github.com/iann0036/iam-dataset) or in its documentation, and each of their policies exists.
    """
    text = (Path(__file__).parent / "service_roles.csv").read_text()
    rows = csv.DictReader(text.splitlines())
    return {row["service"]: ServiceRole(row["role"], row["policy"], row["suffixes"] == "yes") for row in rows}


SERVICES = _services()


def check_create(_tx: Tx, caller: Caller, params: iam.CreateServiceLinkedRoleRequest) -> Iterator[Check]:
    service = params["AWSServiceName"]
    arn = role_arn(caller, _name(params) if service in SERVICES else "*", f"{SERVICE_PATH}{service}/")
    yield Check("iam:CreateServiceLinkedRole", arn, {"iam:AWSServiceName": service})


def make(tx: Tx, caller: Caller, params: iam.CreateServiceLinkedRoleRequest) -> Role:
    service = params["AWSServiceName"]
    if service not in SERVICES:
        raise invalid_input(f"This cloud knows no service-linked role of {service}; it knows {len(SERVICES)} services.")
    known = SERVICES[service]
    name = _name(params)
    if params.get("CustomSuffix"):
        checked_name(params, "CustomSuffix", LONGEST_NAME)
        if not known.suffixes:
            raise invalid_input(f"Custom suffix is not allowed for {service}")
    if len(name) > LONGEST_NAME:
        raise invalid_input(f"Service role name {name} is longer than {LONGEST_NAME} characters.")
    description = checked_text(params, "Description", 1000)
    if name_taken(tx, Role, name):
        raise invalid_input(f"Service role name {name} has been taken in this account, please try a different suffix.")
    if tx.count(Role) >= MAX_ROLES:
        raise over_quota("RolesPerAccount", MAX_ROLES)
    path = f"{SERVICE_PATH}{service}/"
    role = Role(
        name=name,
        id=new_id("AROA"),
        arn=role_arn(caller, name, path),
        path=path,
        trust_policy=_trust(service),
        created=tx.now,
        description=description,
        attached=(f"arn:aws:iam::aws:policy{SERVICE_PATH}{known.policy}",),
    )
    principal_created(tx, role)
    tx.add(role)
    return role


def _name(params: iam.CreateServiceLinkedRoleRequest) -> str:
    """The name with the suffix, as AWS joins them: `AWSServiceRoleForAutoScaling_SUFFIX`."""
    name, suffix = SERVICES[params["AWSServiceName"]].name, params.get("CustomSuffix")
    return f"{name}_{suffix}" if suffix else name


def _trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))
