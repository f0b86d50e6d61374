"""Credentials of a user for one service: CodeCommit's, and those of Keyspaces, which is Cassandra to IAM.

Neither service is here, so that nobody can sign in with them. Tools can make, rotate and remove them, and no password
is kept. As AWS was recorded:
https://github.com/localstack/localstack/blob/main/tests/aws/services/iam/test_iam.snapshot.json
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, ServiceCredential, User
from skylift.cloud.services.api.iam_rules import invalid_value, new_id, over_quota, page_of
from skylift.cloud.services.api.operation import Nothing, Params
from skylift.cloud.services.iam import user as users
from skylift.cloud.services.iam.operation import PAGES
from skylift.cloud.services.iam.user import ON_USER
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam

SERVICES = ("codecommit.amazonaws.com", "cassandra.amazonaws.com")
MAX_OF_USER = 2
"""For each service."""


def create(
    tx: Tx, caller: Caller, params: iam.CreateServiceSpecificCredentialRequest
) -> iam.CreateServiceSpecificCredentialResponse:
    user, service = _user(tx, caller, params), params["ServiceName"]
    _require_service(service)
    known = tx.find(ServiceCredential, user_id=user.id, service=service)
    if len(known) >= MAX_OF_USER:
        raise over_quota("ServiceSpecificCredentialsPerUser", MAX_OF_USER)
    taken = {one.service_user for one in known}
    names = (f"{user.name}{more}-at-{caller.account}" for more in ("", "+1"))
    made = ServiceCredential(
        id=new_id("ACCA"),
        user_id=user.id,
        service=service,
        service_user=next(name for name in names if name not in taken),
        created=tx.now,
    )
    tx.add(made)
    return {"ServiceSpecificCredential": {**_view(user, made), "ServicePassword": _password()}}


def list_all(
    tx: Tx, caller: Caller, params: iam.ListServiceSpecificCredentialsRequest
) -> iam.ListServiceSpecificCredentialsResponse:
    user, service = _user(tx, caller, params), params.get("ServiceName")
    if service is not None:
        _require_service(service)
    found = [one for one in tx.find(ServiceCredential, user_id=user.id) if service in (None, one.service)]
    shown, more = page_of(params, found, lambda one: one.id)
    return {"ServiceSpecificCredentials": [_view(user, one) for one in shown], **more}


def update(tx: Tx, caller: Caller, params: iam.UpdateServiceSpecificCredentialRequest) -> Nothing:
    _, credential = _existing(tx, caller, params)
    # The model has a third one, Expired, which only Bedrock's keys come to have.
    status = params["Status"]
    if status not in ("Active", "Inactive"):
        raise invalid_value(status, "status", "satisfy enum value set: [Active, Inactive]")
    tx.save(replace(credential, active=status == "Active"))
    return {}


def reset(
    tx: Tx, caller: Caller, params: iam.ResetServiceSpecificCredentialRequest
) -> iam.ResetServiceSpecificCredentialResponse:
    user, credential = _existing(tx, caller, params)
    return {"ServiceSpecificCredential": {**_view(user, credential), "ServicePassword": _password()}}


def delete(tx: Tx, caller: Caller, params: iam.DeleteServiceSpecificCredentialRequest) -> Nothing:
    _, credential = _existing(tx, caller, params)
    tx.remove(credential)
    return {}


def _user(tx: Tx, caller: Caller, params: Params) -> User:
    return users.existing(tx, users.named_or_own(caller, params))


def _existing(tx: Tx, caller: Caller, params: Params) -> tuple[User, ServiceCredential]:
    user, credential_id = _user(tx, caller, params), params["ServiceSpecificCredentialId"]
    credential = tx.get(ServiceCredential, id=credential_id)
    if credential is None or credential.user_id != user.id:
        raise ServiceError("NoSuchEntity", f"No such credential {credential_id} exists", status=404)
    return user, credential


def _require_service(name: str) -> None:
    if name not in SERVICES:
        raise ServiceError(
            "NoSuchEntity", f"No such service {name} is supported for Service Specific Credentials", status=404
        )


def _view(user: User, credential: ServiceCredential) -> iam.ServiceSpecificCredentialMetadata:
    return {
        "UserName": user.name,
        "Status": "Active" if credential.active else "Inactive",
        "ServiceUserName": credential.service_user,
        "CreateDate": credential.created,
        "ServiceSpecificCredentialId": credential.id,
        "ServiceName": credential.service,
    }


def _password() -> str:
    return secrets.token_urlsafe(33)


OPERATIONS = (
    ON_USER.writes("CreateServiceSpecificCredential", create, "ServiceName"),
    ON_USER.reads("ListServiceSpecificCredentials", list_all, f"ServiceName {PAGES}"),
    ON_USER.writes("UpdateServiceSpecificCredential", update, "ServiceSpecificCredentialId Status"),
    ON_USER.writes("ResetServiceSpecificCredential", reset, "ServiceSpecificCredentialId"),
    ON_USER.writes("DeleteServiceSpecificCredential", delete, "ServiceSpecificCredentialId"),
)
