"""The bytes of objects on disk: when they come, when they go, and what a restart makes of them."""

from __future__ import annotations

import errno
import gc
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skylift.cloud.domain.bucket import Bucket, Extent, Object, Part, Spool, Upload
from skylift.cloud.store.content import body as body_of
from skylift.cloud.store.content import discard, keep, read, share, sweep_files
from skylift.cloud.store.database import Database, Tx

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(name="home")
def home_fixture(tmp_path: Path) -> Path:
    (tmp_path / "objects").mkdir()
    return tmp_path


@pytest.fixture(name="database")
def database_fixture(home: Path) -> Iterator[Database]:
    database = Database(home / "state.db", clock=lambda: NOW)
    with database.write() as tx:
        tx.add(Bucket(name="b", region="us-east-1", created=NOW, owner="1"))
    yield database
    database.close()


def spooled(home: Path, name: str, data: bytes = b"data") -> Spool:
    (home / "objects" / name).write_bytes(data)
    return Spool(name, len(data), "")


def put(tx: Tx, home: Path, key: str, data: bytes = b"data") -> Object:
    extents = keep(tx, spooled(home, f"file-{key}", data))
    stored = Object(bucket="b", key=key, size=len(data), etag="", modified=NOW, extents=extents)
    tx.add(stored)
    return stored


def files(home: Path, folder: str = "objects") -> list[str]:
    path = home / folder
    return sorted(entry.name for entry in path.iterdir()) if path.exists() else []


def test_a_body_is_taken_where_it_arrived(home: Path, database: Database) -> None:
    body, empty = spooled(home, "body"), spooled(home, "empty", b"")
    with database.write() as tx:
        assert keep(tx, body) == (Extent("body", 0, 4),)
        assert keep(tx, empty) == ()
    assert (body.taken, empty.taken) == (True, False)


def test_a_rollback_takes_the_file_away(home: Path, database: Database) -> None:
    def fail_after_keeping() -> None:
        with database.write() as tx:
            put(tx, home, "a")
            assert files(home) == ["file-a"]
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail_after_keeping()
    assert files(home) == []


def test_a_rollback_keeps_what_it_would_have_discarded(home: Path, database: Database) -> None:
    with database.write() as tx:
        stored = put(tx, home, "a")

    def fail_after_removing() -> None:
        with database.write() as tx:
            tx.remove(stored)
            discard(tx, stored.extents)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail_after_removing()
    assert files(home) == ["file-a"]


def remove(database: Database, stored: Object) -> None:
    with database.write() as tx:
        tx.remove(stored)
        discard(tx, stored.extents)


def test_a_snapshot_keeps_the_files_it_can_see(home: Path, database: Database) -> None:
    with database.write() as tx:
        stored = put(tx, home, "a")
    with database.read() as before:
        assert before.get(Object, bucket="b", key="a") == stored
        thread = threading.Thread(target=remove, args=(database, stored))
        thread.start()
        thread.join()
        assert before.get(Object, bucket="b", key="a") == stored
        assert files(home) == ["file-a"]
        body = body_of(before, stored.extents)
        assert b"".join(read(before, stored.extents)) == b"data"
    assert files(home) == ["file-a"], "the body still needs it"
    del body
    gc.collect()
    database.close()
    assert files(home) == []


def test_a_snapshot_that_began_later_keeps_nothing(home: Path, database: Database) -> None:
    with database.write() as tx:
        stored = put(tx, home, "a")
    remove(database, stored)
    with database.read() as tx:
        assert tx.get(Object, bucket="b", key="a") is None
        assert files(home) == []


def test_two_bodies_of_one_file(home: Path, database: Database) -> None:
    with database.write() as tx:
        stored = put(tx, home, "a")
    with database.read() as tx:
        one, two = body_of(tx, stored.extents), body_of(tx, stored.extents)
    remove(database, stored)
    del one
    assert files(home) == ["file-a"]
    del two
    database.close()
    assert files(home) == []


def test_who_drops_a_body_does_not_remove_its_file(
    home: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the event loop that does once an answer is sent, and a file of gigabytes takes its time."""
    with database.write() as tx:
        stored = put(tx, home, "a")
    with database.read() as tx:
        body = body_of(tx, stored.extents)
    remove(database, stored)
    removers: list[threading.Thread] = []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        removers.append(threading.current_thread())
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    del body
    database.close()
    assert files(home) == []
    assert len(removers) == 1
    assert removers[0] is not threading.current_thread()


def test_a_shared_file_is_there_until_its_last_owner_goes(home: Path, database: Database) -> None:
    with database.write() as tx:
        stored = put(tx, home, "a", b"0123456789")
        extents = share(tx, (Extent("file-a", 2, 3),), None)
        copy = Object(bucket="b", key="copy", size=3, etag="", modified=NOW, extents=extents)
        tx.add(copy)
    assert len(files(home)) == 2
    remove(database, stored)
    with database.read() as tx:
        assert b"".join(read(tx, copy.extents)) == b"234"
    remove(database, copy)
    assert files(home) == []


def test_a_file_that_is_too_short_is_an_error(home: Path, database: Database) -> None:
    with database.write() as tx:
        stored = put(tx, home, "a")
    (home / "objects" / "file-a").write_bytes(b"da")
    with database.read() as tx, pytest.raises(OSError, match="ends 2 bytes early"):
        list(read(tx, stored.extents))


def test_a_restart_removes_what_no_row_names(home: Path, database: Database) -> None:
    upload: dict[str, Any] = {"bucket": "b", "key": "k", "started": NOW, "initiator": ""}
    with database.write() as tx:
        put(tx, home, "a")
        tx.add(Upload(id="u", **upload))
        part = keep(tx, spooled(home, "part"))
        tx.add(Part(upload_id="u", number=1, size=4, md5="", modified=NOW, extents=part))
    spooled(home, "half an upload")
    spooled(home, "committed by nobody")
    database.close()
    again = Database(home / "state.db")
    assert sweep_files(again) == 2
    assert files(home) == ["file-a", "part"]
    again.close()


def test_a_first_start_makes_the_folder(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    assert sweep_files(database) == 0
    assert (tmp_path / "objects").stat().st_mode & 0o777 == 0o700
    database.close()


def test_what_waits_for_snapshots_waits_for_all_of_them(database: Database) -> None:
    done: list[str] = []
    first = database.read()
    second = database.read()
    first.__enter__()
    opened, release = threading.Event(), threading.Event()

    def hold() -> None:
        with second:
            opened.set()
            release.wait()

    other = threading.Thread(target=hold)
    other.start()
    opened.wait()

    def write() -> None:
        with database.write() as tx:
            tx.when_unseen(lambda: done.append("unseen"))

    writer = threading.Thread(target=write)
    writer.start()
    writer.join()
    first.__exit__(None, None, None)
    assert done == []
    release.set()
    other.join()
    assert done == ["unseen"]


def test_what_an_attempt_would_have_discarded_stays_when_it_comes_to_nothing(home: Path, database: Database) -> None:
    with database.write() as tx:
        kept = keep(tx, spooled(home, "kept"))

    def give_up(tx: Tx) -> None:
        with tx.attempt():
            keep(tx, spooled(home, "new"))
            discard(tx, kept)
            raise RuntimeError("no")

    with database.write() as tx:
        with pytest.raises(RuntimeError, match="no"):
            give_up(tx)
        # What it has kept is gone with it, and not only when all of the transaction comes to nothing.
        assert files(home) == ["kept"]
    with database.read() as tx:
        assert b"".join(read(tx, kept)) == b"data"


def test_what_an_attempt_has_discarded_goes_when_it_is_committed(home: Path, database: Database) -> None:
    with database.write() as tx:
        kept = keep(tx, spooled(home, "kept"))
    with database.write() as tx, tx.attempt():
        discard(tx, kept)
    assert files(home) == []


def test_a_file_that_cannot_be_removed_is_nobodys_fault(database: Database) -> None:
    """The change is durable, and the next one has its own file to remove."""
    done = []

    def fail() -> None:
        raise OSError(errno.EROFS, "no")

    with database.write() as tx:
        tx.when_unseen(fail)
        tx.when_unseen(lambda: done.append("the next one"))
    assert done == ["the next one"]


def test_the_database_is_its_owners_alone(home: Path, database: Database) -> None:
    """It holds secret keys, and so does what SQLite writes beside it."""
    found = {path.name: path.stat().st_mode & 0o777 for path in home.glob("state.db*")}
    assert found["state.db"] == found["state.db-wal"] == 0o600
