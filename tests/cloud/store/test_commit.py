"""Writers that come while another writes: one commit for all, each with its own outcome."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from skylift.cloud.store import commit
from skylift.cloud.store.commit import CommitFailed, Commits

Act = Callable[[sqlite3.Connection], None]


class Writers:
    """Threads that write one after the other, in the order they came; each stays in its transaction until it may go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(self.connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
            connection.execute("CREATE TABLE rows (name TEXT, parent INTEGER REFERENCES parents (id))")
        self.commits = Commits(self.connect())
        self.statements: list[str] = []
        self._pool = ThreadPoolExecutor()
        self._gates: list[threading.Event] = []

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.set_trace_callback(lambda statement: self.statements.append(statement.split()[0]))
        return connection

    def start(self, act: Act) -> tuple[threading.Event, Future[None]]:
        """The writer is in its transaction, or waits for it, when this returns. The event lets it leave."""
        inside, gate = threading.Event(), threading.Event()
        self._gates.append(gate)
        before = self.commits.waiting

        def write() -> None:
            with self.commits.transaction() as connection:
                inside.set()
                gate.wait()
                act(connection)

        done = self._pool.submit(write)
        while not inside.is_set() and self.commits.waiting == before:
            time.sleep(0.001)
        return gate, done

    def await_turn(self) -> None:
        """Until who waited is in the transaction."""
        while self.commits.waiting:
            time.sleep(0.001)

    def rows(self) -> list[str]:
        """What another connection sees."""
        with closing(sqlite3.connect(self.path)) as connection:
            return [name for (name,) in connection.execute("SELECT name FROM rows ORDER BY name")]

    def close(self) -> None:
        for gate in self._gates:
            gate.set()
        self._pool.shutdown()


@pytest.fixture(name="writers")
def writers_fixture(tmp_path: Path) -> Iterator[Writers]:
    writers = Writers(tmp_path / "state.db")
    yield writers
    writers.close()


def add(name: str) -> Act:
    def act(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO rows (name) VALUES (?)", (name,))

    return act


def test_who_waited_shares_a_commit_and_nobody_is_told_before_it(writers: Writers) -> None:
    first_gate, first = writers.start(add("first"))
    second_gate, second = writers.start(add("second"))
    first_gate.set()
    # The second is in the transaction once the first has left it, and the first is not done.
    writers.await_turn()
    assert (first.done(), writers.rows()) == (False, [])
    second_gate.set()
    assert (first.result(), second.result()) == (None, None)
    assert writers.rows() == ["first", "second"]
    assert writers.statements.count("COMMIT") == 1


def test_one_that_fails_takes_only_its_own_part_away(writers: Writers) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        add("second")(connection)
        raise RuntimeError("no")

    first_gate, first = writers.start(add("first"))
    second_gate, second = writers.start(fail)
    first_gate.set()
    second_gate.set()
    assert first.result() is None
    with pytest.raises(RuntimeError, match="no"):
        second.result()
    assert writers.rows() == ["first"]


def test_one_that_fails_first_leaves_nothing_for_the_others_to_commit(writers: Writers) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        add("first")(connection)
        raise RuntimeError("no")

    first_gate, first = writers.start(fail)
    second_gate, second = writers.start(add("second"))
    first_gate.set()
    second_gate.set()
    with pytest.raises(RuntimeError, match="no"):
        first.result()
    assert second.result() is None
    assert writers.rows() == ["second"]


def test_who_fails_has_had_a_turn_too(writers: Writers, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: sqlite3.Connection) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(commit, "MOST_TOGETHER", 2)
    started = [writers.start(act) for act in (add("first"), fail, fail, fail)]
    for gate, _ in started:
        gate.set()
    assert started[0][1].result() is None
    assert [type(done.exception()) for _, done in started[1:]] == [RuntimeError] * 3
    assert writers.statements[: writers.statements.index("COMMIT")].count("SAVEPOINT") == 2


def test_who_fails_for_what_another_has_done_is_told_only_when_that_is_durable(writers: Writers) -> None:
    def refuse(connection: sqlite3.Connection) -> None:
        assert connection.execute("SELECT count(*) FROM rows").fetchone() == (0,), "somebody was here before"

    first_gate, first = writers.start(add("first"))
    second_gate, second = writers.start(refuse)
    first_gate.set()
    writers.await_turn()
    third_gate, third = writers.start(rolled_back)
    second_gate.set()
    writers.await_turn()
    third_gate.set()
    for done in (first, second, third):
        # That of the first never was, so nobody may say that it is there.
        assert isinstance(done.exception(), CommitFailed)
    gate, again = writers.start(refuse)
    gate.set()
    assert again.result() is None


def rolled_back(connection: sqlite3.Connection) -> None:
    """As SQLite does it by itself when the disk is full."""
    connection.execute("ROLLBACK")
    raise sqlite3.OperationalError("database or disk is full")


def not_committed(connection: sqlite3.Connection) -> None:
    """Found out by the commit only."""
    connection.execute("PRAGMA defer_foreign_keys = ON")
    connection.execute("INSERT INTO rows VALUES ('orphan', 1)")


@pytest.mark.parametrize("break_it", [rolled_back, not_committed])
def test_a_transaction_that_is_lost_is_lost_to_all_in_it_and_the_next_goes_on(writers: Writers, break_it: Act) -> None:
    first_gate, first = writers.start(add("first"))
    second_gate, second = writers.start(break_it)
    first_gate.set()
    second_gate.set()
    with pytest.raises(CommitFailed) as failed:
        first.result()
    assert isinstance(failed.value.__cause__, sqlite3.Error)
    with pytest.raises((CommitFailed, sqlite3.OperationalError)):
        second.result()
    assert writers.rows() == []
    gate, third = writers.start(add("third"))
    gate.set()
    assert third.result() is None
    assert writers.rows() == ["third"]


def test_many_at_once_all_come_through(writers: Writers) -> None:
    def write(number: int) -> None:
        with writers.commits.transaction() as connection:
            add(f"{number:03}")(connection)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(200)))
    assert writers.rows() == [f"{number:03}" for number in range(200)]
