"""Credentials for one service, held against LocalStack's recordings of AWS.

https://github.com/localstack/localstack/blob/main/tests/aws/services/iam/test_iam.snapshot.json
"""

from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import ACCOUNT, START, Account, allow, refused

CODECOMMIT = "codecommit.amazonaws.com"
CASSANDRA = "cassandra.amazonaws.com"


def made(account: Account, service: str = CODECOMMIT, user: str = "ann") -> dict[str, Any]:
    answer = account.iam("CreateServiceSpecificCredential", UserName=user, ServiceName=service)
    credential: dict[str, Any] = answer["ServiceSpecificCredential"]
    return credential


def listed(account: Account, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = account.iam("ListServiceSpecificCredentials", **params)["ServiceSpecificCredentials"]
    return found


@pytest.fixture(autouse=True)
def ann(account: Account) -> None:
    account.iam("CreateUser", UserName="ann")


@pytest.mark.parametrize("service", [CODECOMMIT, CASSANDRA])
def test_the_life_of_one(account: Account, service: str) -> None:
    credential = made(account, service)
    password = credential.pop("ServicePassword")
    named = {"UserName": "ann", "ServiceSpecificCredentialId": credential["ServiceSpecificCredentialId"]}
    assert credential == {
        **named,
        "CreateDate": START,
        "ServiceName": service,
        "ServiceUserName": f"ann-at-{ACCOUNT}",
        "Status": "Active",
    }
    assert listed(account, UserName="ann", ServiceName=service) == [credential]
    with refused("ValidationError", "enum value set"):
        account.iam("UpdateServiceSpecificCredential", Status="Expired", **named)
    account.iam("UpdateServiceSpecificCredential", Status="Inactive", **named)
    assert listed(account, UserName="ann") == [{**credential, "Status": "Inactive"}]
    again = account.iam("ResetServiceSpecificCredential", **named)["ServiceSpecificCredential"]
    assert again.pop("ServicePassword") != password
    assert again == {**credential, "Status": "Inactive"}
    with refused("DeleteConflict", "Cannot delete entity, must remove referenced objects first.", status=409):
        account.iam("DeleteUser", UserName="ann")
    account.iam("DeleteServiceSpecificCredential", **named)
    account.iam("DeleteUser", UserName="ann")


def test_two_of_each_service(account: Account) -> None:
    names = [made(account)["ServiceUserName"] for _ in range(2)]
    assert names == [f"ann-at-{ACCOUNT}", f"ann+1-at-{ACCOUNT}"]
    with refused("LimitExceeded", status=409):
        made(account)
    made(account, CASSANDRA)
    assert [one["ServiceName"] for one in listed(account, UserName="ann", ServiceName=CASSANDRA)] == [CASSANDRA]


def test_what_is_not_there(account: Account) -> None:
    for service in ("nonexistentservice.amazonaws.com", "o3on3n3onosneo", "lambda.amazonaws.com"):
        sentence = f"No such service {service} is supported for Service Specific Credentials"
        with refused("NoSuchEntity", sentence, status=404):
            made(account, service)
        with refused("NoSuchEntity", sentence, status=404):
            listed(account, UserName="ann", ServiceName=service)
        with refused("NoSuchEntity", "The user with name bob cannot be found.", status=404):
            made(account, service, user="bob")
    account.iam("CreateUser", UserName="bob")
    credential_id = made(account)["ServiceSpecificCredentialId"]
    for user, wrong in (("ann", "satisfiesregexbutstillinvalid"), ("bob", credential_id)):
        named = {"UserName": user, "ServiceSpecificCredentialId": wrong}
        for operation in ("Update", "Reset", "Delete"):
            status = {"Status": "Inactive"} if operation == "Update" else {}
            with refused("NoSuchEntity", f"No such credential {wrong} exists", status=404):
                account.iam(f"{operation}ServiceSpecificCredential", **named, **status)


def test_a_user_has_its_own(account: Account) -> None:
    """They stay with the user under another name; without a name, the caller's own are meant."""
    bob = account.user("bob", allow("iam:*ServiceSpecificCredential*", f"arn:aws:iam::{ACCOUNT}:user/bob"))
    made(account, user="bob")
    (mine,) = account.iam("ListServiceSpecificCredentials", caller=bob)["ServiceSpecificCredentials"]
    with refused("AccessDenied", "iam:CreateServiceSpecificCredential"):
        account.iam("CreateServiceSpecificCredential", caller=bob, UserName="ann", ServiceName=CODECOMMIT)
    account.iam("UpdateUser", UserName="bob", NewUserName="rob")
    assert listed(account, UserName="rob") == [{**mine, "UserName": "rob"}]
