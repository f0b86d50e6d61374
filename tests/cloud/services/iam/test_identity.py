from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from identity_fixtures import ACCOUNT, EC2_TRUST, START, Account, allow, policy, refused, trust
from support.plain_instance import plain_instance

from skylift.cloud.domain.identity import AccessKey, Caller, Session
from skylift.cloud.domain.network import NetworkInterface, Subnet, Vpc
from skylift.cloud.services.iam.identity import Circumstances, authenticate, instance_credentials, secret_for
from skylift.cloud.store import instance as _instances  # noqa: F401 - says where instances are kept


def secret(account: Account, key: str, token: str | None) -> str:
    with account.database.read() as tx:
        return secret_for(tx, key, token)


def credentials(account: Account, role: str = "r", **params: Any) -> dict[str, Any]:
    arn = account.iam("GetRole", RoleName=role)["Role"]["Arn"]
    answer = account.call("sts", "AssumeRole", RoleArn=arn, RoleSessionName="name", **params)
    made: dict[str, Any] = answer["Credentials"]
    return made


@pytest.fixture(name="role")
def role_fixture(account: Account) -> str:
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust({"AWS": ACCOUNT}))
    return "r"


def test_the_root_key(account: Account) -> None:
    key = account.root_key
    assert key.access_key_id.startswith("AKIA") and len(key.access_key_id) == 20
    assert len(key.secret_access_key) == 40
    assert secret(account, key.access_key_id, None) == key.secret_access_key
    assert account.root == Caller(
        kind="root",
        account=ACCOUNT,
        region="us-east-1",
        arn=f"arn:aws:iam::{ACCOUNT}:root",
        user_id=ACCOUNT,
        access_key_id=key.access_key_id,
        source_ip="127.0.0.1",
        request_id="request",
    )
    assert key.secret_access_key not in repr(AccessKey("a", key.secret_access_key, None, START))


def test_a_session(account: Account, role: str) -> None:
    made = credentials(account, role)
    assert made["AccessKeyId"].startswith("ASIA")
    assert secret(account, made["AccessKeyId"], made["SessionToken"]) == made["SecretAccessKey"]
    caller = account.caller(made["AccessKeyId"], made["SessionToken"])
    assert caller.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/r/name"
    assert caller.user_id == account.iam("GetRole", RoleName="r")["Role"]["RoleId"] + ":name"
    assert (caller.kind, caller.role, caller.instance_arn) == ("role", "r", None)


def test_credentials_that_are_none(account: Account, role: str) -> None:
    made = credentials(account, role)
    key, token = made["AccessKeyId"], made["SessionToken"]
    with refused("InvalidAccessKeyId"):
        secret(account, "AKIAAAAAAAAAAAAAAAAA", None)
    with refused("InvalidAccessKeyId"):
        secret(account, key, None)
    with refused("InvalidToken"):
        secret(account, key, token[:-1] + "é")
    with refused("InvalidToken"):
        secret(account, account.root_key.access_key_id, token)
    account.pass_time(minutes=59, seconds=59)
    secret(account, key, token)
    account.pass_time(seconds=1)
    with refused("ExpiredToken"):
        secret(account, key, token)


def test_nobody_signed(account: Account) -> None:
    with account.database.read() as tx, refused("MissingAuthenticationToken", status=403):
        asked: Circumstances = {"account": ACCOUNT, "region": "us-east-1", "source_ip": "", "request_id": ""}
        authenticate(tx, None, None, asked, service="iam")
    caller = account.anonymous
    assert (caller.kind, caller.user, caller.role) == ("anonymous", None, None)
    with refused("AccessDenied", "Access Denied", status=403):
        account.s3("ListBuckets", caller=caller)


def test_an_inactive_key_is_unknown(account: Account) -> None:
    with account.database.write() as tx:
        key = tx.get(AccessKey, id=account.root_key.access_key_id)
        assert key is not None
        tx.save(replace(key, active=False))
    with refused("InvalidAccessKeyId"):
        secret(account, account.root_key.access_key_id, None)


def test_credentials_end_with_their_role_and_do_not_come_back(account: Account, role: str) -> None:
    made = credentials(account, role)
    account.iam("DeleteRole", RoleName="r")
    with refused("InvalidAccessKeyId"):
        secret(account, made["AccessKeyId"], made["SessionToken"])
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust({"AWS": ACCOUNT}))
    with refused("InvalidAccessKeyId"):
        secret(account, made["AccessKeyId"], made["SessionToken"])


def test_long_expired_sessions_are_forgotten(account: Account, role: str) -> None:
    credentials(account, role)
    account.pass_time(days=2)
    made = credentials(account, role)
    with account.database.read() as tx:
        assert [session.access_key_id for session in tx.find(Session)] == [made["AccessKeyId"]]


INSTANCE = "i-0123456789abcdef0"


def launch(account: Account, profile: str | None) -> None:
    given = {}
    if profile:
        found = account.iam("GetInstanceProfile", InstanceProfileName=profile)["InstanceProfile"]
        given = {"profile_arn": found["Arn"], "profile_id": found["InstanceProfileId"]}
    with account.database.write() as tx:
        tx.add(plain_instance(id=INSTANCE, launched=START, **given))


def ask_metadata(account: Account, version: str = "2.0") -> Session | None:
    with account.database.write() as tx:
        return instance_credentials(tx, INSTANCE, version)


@pytest.fixture(name="server")
def server_fixture(account: Account) -> str:
    account.iam("CreateRole", RoleName="server", AssumeRolePolicyDocument=EC2_TRUST)
    account.iam("CreateInstanceProfile", InstanceProfileName="p")
    account.iam("AddRoleToInstanceProfile", InstanceProfileName="p", RoleName="server")
    launch(account, "p")
    return INSTANCE


def test_a_server_gets_the_credentials_of_its_role(account: Account, server: str) -> None:
    session = ask_metadata(account)
    assert session is not None
    assert session.expires == START.replace(microsecond=0) + timedelta(hours=6)
    caller = account.caller(session.access_key_id, session.token)
    assert caller.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/server/{server}"
    assert caller.instance_arn == f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{server}"
    assert session.secret not in repr(session) and session.token not in repr(session)


def test_policies_can_ask_how_and_where_a_server_got_its_credentials(account: Account, server: str) -> None:
    with account.database.write() as tx:
        tx.add(Vpc("vpc-1", "10.0.0.0/16"))
        tx.add(Subnet("subnet-1", "vpc-1", "10.0.1.0/24", "us-east-1a"))
        mac, address = "02:00:00:00:00:01", "10.0.1.5"
        tx.add(NetworkInterface("eni-1", "vpc-1", "subnet-1", mac, address, (), START, instance_id=server))
    condition = {
        "NumericGreaterThanEquals": {"ec2:RoleDelivery": "2.0"},
        "StringEquals": {"aws:Ec2InstanceSourceVpc": "vpc-1", "aws:Ec2InstanceSourcePrivateIPv4": "10.0.1.5"},
    }
    allowed = policy(allow("iam:GetRole", Condition=condition))
    account.iam("PutRolePolicy", RoleName="server", PolicyName="p", PolicyDocument=allowed)

    def caller(version: str) -> Caller:
        session = ask_metadata(account, version)
        assert session is not None
        return account.caller(session.access_key_id, session.token)

    account.iam("GetRole", RoleName="server", caller=caller("2.0"))
    with refused("AccessDenied"):
        account.iam("GetRole", RoleName="server", caller=caller("1.0"))
    account.iam("GetRole", RoleName="server", caller=caller("2.0"))


def test_they_stay_until_less_than_an_hour_is_left(account: Account, server: str) -> None:
    first = ask_metadata(account)
    assert first is not None
    account.pass_time(hours=4, minutes=59, seconds=59)
    assert ask_metadata(account) == first
    account.pass_time(seconds=1)
    second = ask_metadata(account)
    assert second is not None and second.access_key_id != first.access_key_id
    # The old ones go on until they expire.
    account.caller(first.access_key_id, first.token)
    assert ask_metadata(account) == second


def test_another_role_in_the_profile_means_other_credentials(account: Account, server: str) -> None:
    first = ask_metadata(account)
    account.iam("CreateRole", RoleName="next", AssumeRolePolicyDocument=EC2_TRUST)
    account.iam("RemoveRoleFromInstanceProfile", InstanceProfileName="p", RoleName="server")
    assert ask_metadata(account) is None
    account.iam("AddRoleToInstanceProfile", InstanceProfileName="p", RoleName="next")
    second = ask_metadata(account)
    assert first is not None and second is not None and (first.role, second.role) == ("server", "next")


def test_a_role_that_does_not_trust_ec2(account: Account, server: str) -> None:
    account.iam("UpdateAssumeRolePolicy", RoleName="server", PolicyDocument=trust({"AWS": ACCOUNT}))
    with refused("AssumeRoleUnauthorizedAccess", "EC2 cannot assume the role server."):
        ask_metadata(account)


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}, {"AWS": "*", "Service": "scheduler.amazonaws.com"}])
def test_a_role_that_denies_everybody_denies_ec2(account: Account, server: str, principal: Any) -> None:
    statement = {"Effect": "Deny", "Principal": principal, "Action": "sts:AssumeRole"}
    denied = json.dumps({"Statement": [*(json.loads(EC2_TRUST)["Statement"],), statement]})
    account.iam("UpdateAssumeRolePolicy", RoleName="server", PolicyDocument=denied)
    with refused("AssumeRoleUnauthorizedAccess", "EC2 cannot assume the role server."):
        ask_metadata(account)


def test_a_role_that_spares_somebody_else_trusts_no_service(account: Account, server: str) -> None:
    """AWS supports NotPrincipal neither with an Allow nor in a trust policy.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
    """
    statement = {"Effect": "Allow", "NotPrincipal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    account.iam("UpdateAssumeRolePolicy", RoleName="server", PolicyDocument=json.dumps({"Statement": statement}))
    with refused("AssumeRoleUnauthorizedAccess", "EC2 cannot assume the role server."):
        ask_metadata(account)


def test_a_server_without_a_profile(account: Account) -> None:
    launch(account, None)
    assert ask_metadata(account) is None
