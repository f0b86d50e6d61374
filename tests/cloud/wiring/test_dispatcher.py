"""What happens when the state changes while a request is under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.fresh_state import fresh_state

from skylift.cloud.domain.bucket import Bucket
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import AccessKey, Caller, Group, User
from skylift.cloud.services.api.operation import Answer, Handler, Outdated, Params
from skylift.cloud.services.iam.identity import make_root_key, make_user_key
from skylift.cloud.services.table import TABLE
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.wire.call import Credential, ModelCall, Response
from skylift.cloud.wiring.dispatcher import TRIES, Dispatcher

ACCOUNT = "123456789012"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULE = {"ID": "rule", "Status": "Enabled", "Prefix": "", "Expiration": {"Days": 1}}
USER = User(
    name="worker",
    id="AIDA000000000000WORK",
    arn=f"arn:aws:iam::{ACCOUNT}:user/worker",
    path="/",
    created=NOW,
    inline={"all": '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'},
)


def encode(result: Mapping[str, object]) -> Response:
    return Response(200, {}, repr(result).encode())


@pytest.fixture(name="database")
def database_fixture(tmp_path: Path) -> Iterator[Database]:
    database = Database(fresh_state(tmp_path), clock=lambda: NOW)
    yield database
    database.close()


def test_a_key_that_is_deleted_while_its_use_is_noted_does_not_act(database: Database) -> None:
    with database.write() as tx:
        tx.add(USER)
        key = make_user_key(tx, USER)

    def delete_once_noted() -> None:
        with database.read() as tx:
            noted = tx.get(AccessKey, id=key.id)
        if noted is not None and noted.used is not None:
            with database.write() as tx:
                tx.remove(noted)

    database.when_changed(delete_once_noted)
    dispatcher = Dispatcher(database, ACCOUNT, "us-east-1", lambda: None)
    call = ModelCall("iam", "CreateGroup", {"GroupName": "made"}, Credential(key.id), "127.0.0.1", "request")
    with pytest.raises(ServiceError) as refused:
        dispatcher.perform(call, encode)
    assert refused.value.code == "InvalidAccessKeyId"
    with database.read() as tx:
        assert tx.get(AccessKey, id=key.id) is None
        assert tx.find(Group) == []


@pytest.mark.parametrize(
    ("operation", "params", "woken"),
    [
        ("PutBucketVersioning", {"VersioningConfiguration": {"Status": "Enabled"}}, 0),
        ("PutBucketLifecycleConfiguration", {"LifecycleConfiguration": {"Rules": [RULE]}}, 1),
    ],
)
def test_rules_of_lifecycle_wake_the_loops(
    database: Database, operation: str, params: dict[str, object], woken: int
) -> None:
    """Or what has expired goes up to a minute later. Other changes of S3 do not: they would wake them all the time."""
    with database.write() as tx:
        key = make_root_key(tx)
        tx.add(Bucket("bucket", "us-east-1", NOW, ACCOUNT))
    wakes: list[str] = []
    dispatcher = Dispatcher(database, ACCOUNT, "us-east-1", lambda: wakes.append(operation))
    credential = Credential(key.access_key_id)
    dispatcher.perform(
        ModelCall("s3", operation, {"Bucket": "bucket", **params}, credential, "127.0.0.1", "request"), encode
    )
    assert len(wakes) == woken


@pytest.mark.parametrize(
    ("operation", "params"), [("PutObject", {"Key": "k", "ObjectLockMode": "GOVERNANCE"}), ("PutBucketWebsite", {})]
)
def test_s3_finds_the_bucket_before_it_refuses_by_name(
    database: Database, operation: str, params: dict[str, str]
) -> None:
    with database.write() as tx:
        key = make_root_key(tx)
        tx.add(Bucket("known", "us-east-1", NOW, ACCOUNT))
    dispatcher = Dispatcher(database, ACCOUNT, "us-east-1", lambda: None)
    for name, code in (("known", "NotImplemented"), ("unknown", "NoSuchBucket")):
        call = ModelCall(
            "s3", operation, {"Bucket": name, **params}, Credential(key.access_key_id), "127.0.0.1", "request"
        )
        with pytest.raises(ServiceError) as refused:
            dispatcher.perform(call, encode)
        assert refused.value.code == code


def test_who_does_not_sign_learns_of_no_bucket_by_what_is_refused_by_name(database: Database) -> None:
    with database.write() as tx:
        tx.add(Bucket("known", "us-east-1", NOW, ACCOUNT))
    dispatcher = Dispatcher(database, ACCOUNT, "us-east-1", lambda: None)
    answers = []
    for name in ("known", "unknown"):
        call = ModelCall("s3", "PutBucketWebsite", {"Bucket": name}, Credential(None), "127.0.0.1", "request")
        with pytest.raises(ServiceError) as refused:
            dispatcher.perform(call, encode)
        answers.append((refused.value.code, refused.value.message))
    assert answers[0] == answers[1]
    assert answers[0][0] == "NotImplemented"


def test_what_is_not_here_is_refused_by_name_also_where_nobody_signs(database: Database) -> None:
    dispatcher = Dispatcher(database, ACCOUNT, "us-east-1", lambda: None)
    call = ModelCall("sts", "AssumeRoleWithSAML", {}, Credential(None), "127.0.0.1", "request")
    with pytest.raises(ServiceError, match="AssumeRoleWithSAML is not supported") as refused:
        dispatcher.perform(call, encode)
    assert refused.value.code == "InvalidAction"


@pytest.mark.parametrize("overtaken", [2, 1000])
def test_what_others_overtake_is_prepared_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch, overtaken: int
) -> None:
    with database.write() as tx:
        key = make_root_key(tx)
    prepared: list[int] = []

    def prepare(_tx: Tx, _caller: Caller, _params: Params) -> Handler:
        prepared.append(len(prepared))
        number = len(prepared)

        def handler(_tx: Tx, _caller: Caller, _params: Params) -> Answer:
            if number <= overtaken:
                raise Outdated
            return {}

        return handler

    row = replace(TABLE["iam", "CreateGroup"], prepare=prepare)
    monkeypatch.setitem(TABLE, ("iam", "CreateGroup"), row)
    dispatcher = Dispatcher(database, ACCOUNT, "us-east-1", lambda: None)
    call = ModelCall("iam", "CreateGroup", {"GroupName": "made"}, Credential(key.access_key_id), "127.0.0.1", "request")
    if overtaken == 2:
        assert dispatcher.perform(call, encode).status == 200
        assert len(prepared) == 3
        return
    with pytest.raises(ServiceError) as refused:
        dispatcher.perform(call, encode)
    assert (refused.value.code, refused.value.status, len(prepared)) == ("OperationAborted", 409, TRIES)
