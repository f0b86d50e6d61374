"""No answer is older than what was acknowledged before the question."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.fresh_state import fresh_state, quick_directory

from skylift.cloud.domain.instance import KeyPair
from skylift.cloud.services.iam.identity import make_root_key
from skylift.cloud.store.database import Database
from skylift.cloud.wire.call import Credential, ModelCall, Response
from skylift.cloud.wiring.dispatcher import Dispatcher

ACCOUNT = "123456789012"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WRITERS, READERS, READS = 2, 3, 2_000


class Desk:
    """A dispatcher that is asked for key pairs, each of which has a number as its tag."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.dispatcher = Dispatcher(database, ACCOUNT, "us-east-1", lambda: None)
        with database.write() as tx:
            self.root = make_root_key(tx).access_key_id
            for number in range(WRITERS):
                tx.add(
                    KeyPair(
                        name=str(number),
                        id=f"key-{number:017x}",
                        kind="ed25519",
                        fingerprint="",
                        public_key="ssh-ed25519 AAAA",
                        created=NOW,
                        tags={"value": "0"},
                    )
                )

    def values(self, **asked: Any) -> dict[str, int]:
        answered: list[Any] = []

        def encode(result: Any) -> Response:
            answered.extend(result["KeyPairs"])
            return Response(200, {}, b"")

        self.dispatcher.perform(
            ModelCall("ec2", "DescribeKeyPairs", asked, Credential(self.root), "127.0.0.1", "request"), encode
        )
        return {each["KeyName"]: int(each["Tags"][0]["Value"]) for each in answered}

    def write(self, name: str, value: int) -> None:
        with self.database.write() as tx:
            found = tx.get(KeyPair, name=name)
            assert found is not None
            tx.save(replace(found, tags={"value": str(value)}))


@pytest.fixture(name="desk")
def desk_fixture(tmp_path: Path) -> Iterator[Desk]:
    database = Database(fresh_state(tmp_path), clock=lambda: NOW)
    yield Desk(database)
    database.close()


def test_a_change_is_seen_by_the_next_request(desk: Desk) -> None:
    for value in range(5):
        desk.write("0", value)
        assert desk.values() == {"0": value, "1": 0}
        assert desk.values(KeyNames=["1"]) == {"1": 0}


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
        assert min(acknowledged) > 0


def test_no_answer_is_older_than_what_was_acknowledged() -> None:
    look_for_an_older_answer(READS)


@pytest.mark.nightly
def test_no_answer_of_many_is_older_than_what_was_acknowledged() -> None:
    look_for_an_older_answer(100 * READS)
