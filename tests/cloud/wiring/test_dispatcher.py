"""Who may act, when the state changes while a request is under way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fresh_state import fresh_state

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import AccessKey, Group, User
from skylift.cloud.services.iam.identity import make_user_key
from skylift.cloud.store.database import Database
from skylift.cloud.wire.call import Call, Credential
from skylift.cloud.wiring.dispatcher import Dispatcher

ACCOUNT = "123456789012"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
USER = User(
    name="worker",
    id="AIDA000000000000WORK",
    arn=f"arn:aws:iam::{ACCOUNT}:user/worker",
    path="/",
    created=NOW,
    inline={"all": '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'},
)


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
    call = Call("iam", "CreateGroup", {"GroupName": "made"}, Credential(key.id), "127.0.0.1", "request")
    with pytest.raises(ServiceError) as refused:
        dispatcher.perform(call)
    assert refused.value.code == "InvalidAccessKeyId"
    with database.read() as tx:
        assert tx.get(AccessKey, id=key.id) is None
        assert tx.find(Group) == []
