"""Answers that are given again: the same as if they were made anew, to whom may have them, and never an older one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fresh_state import fresh_state, quick_directory

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import User
from skylift.cloud.domain.instance import KeyPair
from skylift.cloud.services.iam.identity import make_root_key, make_user_key
from skylift.cloud.store.database import Database
from skylift.cloud.wire.call import Call, Credential, Response
from skylift.cloud.wiring.dispatcher import Dispatcher

ACCOUNT = "123456789012"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALL = {"all": '{"Statement": {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}}'}
WRITERS, READERS = 2, 3


class Desk:
    """A dispatcher, and how often an answer was made for it rather than given again."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.dispatcher = Dispatcher(database, ACCOUNT, "us-east-1", lambda: None)
        with database.write() as tx:
            self.root = make_root_key(tx).access_key_id
            for number in range(WRITERS):
                tx.add(key_pair(str(number), "0"))
        self.made = 0
        self.while_made: Callable[[], None] = lambda: None

    def ask(self, *, key: str = "", request: str = "request", **params: Any) -> Response:
        """As wire asks: at once, and else in a worker."""
        call = Call("ec2", "DescribeKeyPairs", params, Credential(key or self.root), "127.0.0.1", request)

        def encode(result: Mapping[str, object]) -> Response:
            self.made += 1
            self.while_made()
            return Response(200, {"id": request}, json.dumps([request, result], default=str).encode())

        return self.dispatcher.at_once(call, encode) or self.dispatcher.perform(call, encode)

    def values(self, **asked: Any) -> dict[str, int]:
        """The tag of each key pair, as the answer has it."""
        _, result = json.loads(self.ask(**asked).body)
        return {each["KeyName"]: int(each["Tags"][0]["Value"]) for each in result["KeyPairs"]}

    def write(self, name: str, value: int) -> None:
        with self.database.write() as tx:
            found = tx.get(KeyPair, name=name)
            assert found is not None
            tx.save(replace(found, tags={"value": str(value)}))


def key_pair(name: str, value: str) -> KeyPair:
    return KeyPair(
        name=name,
        id=f"key-0000000000000000{name}",
        kind="ed25519",
        fingerprint="",
        public_key="ssh-ed25519 AAAA",
        created=NOW,
        tags={"value": value},
    )


@pytest.fixture(name="desk")
def desk_fixture(tmp_path: Path) -> Iterator[Desk]:
    database = Database(fresh_state(tmp_path), clock=lambda: NOW)
    yield Desk(database)
    database.close()


def test_an_answer_is_given_again_under_the_id_of_the_request(desk: Desk) -> None:
    first, second = desk.ask(request="first-request"), desk.ask(request="second-request")
    assert desk.made == 1
    assert (second.status, second.headers) == (200, {"id": "second-request"})
    assert json.loads(second.body) == ["second-request", json.loads(first.body)[1]]
    assert json.loads(first.body)[0] == "first-request"


def test_other_parameters_are_another_question(desk: Desk) -> None:
    assert desk.values() == {"0": 0, "1": 0}
    assert desk.values(KeyNames=["1"]) == {"1": 0}
    assert desk.values(KeyNames=["1"]) == {"1": 0}
    assert desk.made == 2


def test_a_change_is_seen_by_the_next_request(desk: Desk) -> None:
    for value in range(5):
        desk.write("0", value)
        assert desk.values() == {"0": value, "1": 0}
        assert desk.values() == {"0": value, "1": 0}
    assert desk.made == 5


def test_a_change_that_comes_while_the_answer_is_made_is_seen_by_the_next_request(desk: Desk) -> None:
    """The answer was made of a snapshot from before it."""

    def write() -> None:
        desk.while_made = lambda: None
        desk.write("0", 7)

    desk.while_made = write
    assert desk.values()["0"] == 0
    assert desk.values()["0"] == 7


def test_who_may_no_longer_see_it_is_refused(desk: Desk) -> None:
    user = User("worker", "AIDA000000000000WORK", f"arn:aws:iam::{ACCOUNT}:user/worker", "/", NOW, inline=ALL)
    other = replace(user, name="other", id="AIDA0000000000OTHER0", arn=f"arn:aws:iam::{ACCOUNT}:user/other", inline={})
    with desk.database.write() as tx:
        tx.add(user)
        tx.add(other)
        allowed, refused = make_user_key(tx, user).id, make_user_key(tx, other).id
    assert desk.values(key=allowed)
    desk.made = 0
    assert desk.values(key=allowed)
    assert desk.made == 0
    with pytest.raises(ServiceError, match="not authorized"):
        desk.ask(key=refused)
    with desk.database.write() as tx:
        found = tx.get(User, name="worker")
        assert found is not None
        tx.save(replace(found, inline={}))
    with pytest.raises(ServiceError, match="not authorized"):
        desk.ask(key=allowed)


def test_a_dry_run_and_a_refusal_are_what_they_were(desk: Desk) -> None:
    for _ in range(3):
        with pytest.raises(ServiceError, match="DryRun flag is set"):
            desk.ask(DryRun=True)
        with pytest.raises(ServiceError, match="does not exist"):
            desk.ask(KeyNames=["none"])
        with pytest.raises(ServiceError, match="does not support"):
            desk.ask(Unknown=1)
        assert desk.values()


def look_for_an_older_answer(reads: int) -> None:
    """Writers count in rows of their own; no reader may see less than was acknowledged before it asked, nor less than
    it has seen."""
    with quick_directory() as directory, ExitStack() as stack:
        desk = Desk(Database(fresh_state(directory)))
        stack.callback(desk.database.close)
        acknowledged = [0] * WRITERS
        done = threading.Event()
        faults: list[str] = []

        def count(writer: int) -> None:
            while not done.is_set():
                desk.write(str(writer), acknowledged[writer] + 1)
                acknowledged[writer] += 1

        def look() -> None:
            seen = [0] * WRITERS
            for _ in range(reads // READERS):
                before = list(acknowledged)
                values = desk.values()
                for writer in range(WRITERS):
                    least = max(before[writer], seen[writer])
                    seen[writer] = values[str(writer)]
                    if seen[writer] < least:
                        faults.append(f"{seen[writer]} of writer {writer}, after {least}")

        writers = [threading.Thread(target=count, args=(number,)) for number in range(WRITERS)]
        readers = [threading.Thread(target=look) for _ in range(READERS)]
        for thread in (*writers, *readers):
            thread.start()
        for thread in readers:
            thread.join()
        done.set()
        for thread in writers:
            thread.join()
        assert faults == []
        # Both happened: answers were given again, and changes were seen.
        assert desk.made < READERS * (reads // READERS) / 2
        assert min(acknowledged) > 0


def test_no_answer_is_older_than_what_was_acknowledged() -> None:
    look_for_an_older_answer(20_000)


@pytest.mark.heavy
def test_no_answer_of_a_million_is_older_than_what_was_acknowledged() -> None:
    look_for_an_older_answer(1_000_000)
