"""The state of one cloud: one SQLite database, read and written in transactions that carry `now`.

StoreError
+-- StateTooNew      the database was written by a newer skylift
+-- StateTooOld      the database is of another schema from before the first release, or is not skylift's
+-- StateUnreadable  the database cannot be opened or is damaged
+-- DiskFull         there is no room for what was to be written
+-- Duplicate        a row with this key or unique name is there already
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shlex
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from skylift.cloud.domain.bucket import RunningChecksum, StartChecksum
from skylift.cloud.domain.instance import Console
from skylift.cloud.store.commit import CommitFailed, Commits
from skylift.cloud.store.files import Files
from skylift.cloud.store.mapping import Table, mapped, to_column

log = logging.getLogger(__name__)

T = TypeVar("T")

ConsoleOf = Callable[[str], Console | None]
MIGRATIONS = Path(__file__).parent / "migrations"
"""The first script makes a new state. Each later one changes a state of the version before; no script changes once it
is released.
"""
LEAST_ROOM = 1 << 20
MOST_FORGOTTEN = 500
"""The most unneeded rows that are deleted at a time."""
MOST_READERS = 4
"""The most idle connections that are kept. More are opened when they are needed."""
_FILES_OF_ONE = 4
"""The database, its log and the log's index, and perhaps a temporary file."""
_CANNOT_OPEN = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
GIVES_BACK = "auto_vacuum = INCREMENTAL"
"""So that pages can be given back (shrink.py). It means something for a file that is empty yet, before WAL, and it is
written each time that it is said: by the writer's connection only.
"""
PRAGMAS = (
    "journal_mode = WAL",
    # Not WAL's usual NORMAL: an answer of 200 has to survive a power cut.
    "synchronous = FULL",
    "foreign_keys = ON",
    # The log is as long as the largest change since the cloud began, unless it is cut.
    "journal_size_limit = 67108864",
)


class StoreError(Exception):
    """Something about the state directory that the user has to know."""


class StateTooNew(StoreError):
    """The database was written by a newer version of skylift than this one."""


class StateTooOld(StoreError):
    """The database is of another schema from before the first release, or was not made by skylift."""


class StateUnreadable(StoreError):
    """The database cannot be opened, or is not one."""


class DiskFull(StoreError):
    """The disk is full. Nothing of the transaction was written."""


class Duplicate(StoreError):
    """A row with the same key, or the same unique name, is there already."""


def application_id(first_script: str) -> int:
    """SQLite's application id of the databases that began with this script: a digest of it.

    A script that is released does not change, and neither does this number. Before the first release, each change of
    the script makes another number, and what was made before is refused rather than read with columns that it lacks.
    """
    return int.from_bytes(hashlib.sha256(first_script.encode()).digest()[:4], "big", signed=True)


def _no_checksum(algorithm: str) -> RunningChecksum:
    raise LookupError(f"this database was opened without checksums, and {algorithm} is asked for")


class Tx:
    """One transaction. Everything in it sees the same `now` (UTC) and the same snapshot of the state.

    `files` are the bytes of larger S3 objects. They are next to the database and not part of the transaction: each
    operation on them registers here what happens at its end. `console` reads a server's console as it is now, None
    without a server. `checksum` begins one of S3's checksums.
    """

    def __init__(
        self, connection: sqlite3.Connection, now: datetime, files: Files, console: ConsoleOf, checksum: StartChecksum
    ) -> None:
        self._connection = connection
        self.now = now
        self.files = files
        self.console = console
        self.checksum = checksum
        self._after_rollback: list[Callable[[], None]] = []
        self._when_unseen: list[Callable[[], None]] = []

    def after_rollback(self, act: Callable[[], None]) -> None:
        """Do this when the transaction comes to nothing."""
        self._after_rollback.append(act)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """What may come to nothing by itself: leaving by an exception takes back what was written in here only, and
        does at once what was to be done after that."""
        undo, unseen = len(self._after_rollback), len(self._when_unseen)
        self._connection.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            # SQLite may have rolled back all of it by itself, as it does when the disk is full.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO attempt")
                self._connection.execute("RELEASE attempt")
            undone = self._after_rollback[undo:]
            del self._after_rollback[undo:], self._when_unseen[unseen:]
            for act in undone:
                act()
            raise
        self._connection.execute("RELEASE attempt")

    def when_unseen(self, act: Callable[[], None]) -> None:
        """Do this after the commit, once no open transaction still sees the state before it."""
        self._when_unseen.append(act)

    def get(self, noun: type[T], **where: Any) -> T | None:
        """The one row that matches, or None."""
        rows = self.find(noun, **where)
        if len(rows) > 1:
            raise LookupError(f"{len(rows)} rows of {noun.__name__} match {sorted(where)}")
        return rows[0] if rows else None

    def find(self, noun: type[T], **where: Any) -> list[T]:
        """All rows whose columns equal `where`, in the order they were added."""
        table = mapped(noun)
        values = [to_column(value) for value in where.values()]
        return table.decode_all(self._connection.execute(table.where(tuple(where)), values))

    def count(self, noun: type[T]) -> int:
        (found,) = self._connection.execute(f"SELECT count(*) FROM {mapped(noun).name}").fetchone()  # noqa: S608
        return int(found)

    def find_among(self, noun: type[T], wanted: Mapping[str, Sequence[Any]]) -> list[T]:
        """All rows of which each column in `wanted` equals one of its values, in the order they were added."""
        table = mapped(noun)
        conditions = " AND ".join(f'"{column}" IN ({", ".join("?" * len(some))})' for column, some in wanted.items())
        values = [table.encode(column, value) for column, some in wanted.items() for value in some]
        return self.select(noun, f"{'WHERE ' + conditions if conditions else ''} ORDER BY rowid", *values)

    def select(self, noun: type[T], rest: str, *values: Any) -> list[T]:
        """Rows by hand-written SQL after `SELECT columns FROM table`; for the store's own files only."""
        table = mapped(noun)
        return table.decode_all(self._connection.execute(f"{table.select} {rest}", values))

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """A statement of the store's own files."""
        return self._connection.execute(sql, values)

    def add(self, noun: Any) -> None:
        """Insert; raises Duplicate where the key or a unique name is taken."""
        table = mapped(type(noun))
        try:
            self._connection.execute(table.insert, table.values(noun))
        except sqlite3.IntegrityError as error:
            raise Duplicate(f"{table.name}: {error}") from error
        if table.follow is not None:
            table.follow(self, noun, False)

    def save(self, noun: Any) -> None:
        """Write every column of a row that is there already, found by its key."""
        table = mapped(type(noun))
        changed = self._connection.execute(table.update, table.values(noun) + table.key_values(noun))
        if changed.rowcount != 1:
            raise LookupError(f"no row of {table.name} has the key {table.key_values(noun)}")
        if table.follow is not None:
            table.follow(self, noun, False)

    def remove(self, noun: Any) -> None:
        """Delete the row with this key; nothing happens when it is gone."""
        table: Table[Any] = mapped(type(noun))
        self._connection.execute(table.delete, table.key_values(noun))
        if table.follow is not None:
            table.follow(self, noun, True)

    def forget(self, noun: type[Any], condition: str, *values: Any) -> bool:
        """Deletes at most MOST_FORGOTTEN rows, as other writers wait. Returns whether there may be more."""
        name = mapped(noun).name
        some = f"SELECT rowid FROM {name} WHERE {condition} LIMIT {MOST_FORGOTTEN}"  # noqa: S608 - names of ours
        return self.execute(f"DELETE FROM {name} WHERE rowid IN ({some})", *values).rowcount == MOST_FORGOTTEN  # noqa: S608


class Rehearsal(Tx):
    """A reader's transaction in which nothing is written: what is done in it raises what would be in its way."""

    def __init__(self, tx: Tx) -> None:
        vars(self).update(vars(tx))

    def add(self, noun: Any) -> None: ...

    save = remove = add

    def forget(self, noun: type[Any], condition: str, *values: Any) -> bool:
        return False


class Database:
    """Opens the database, brings its schema up to date and hands out transactions to any thread."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        console: ConsoleOf = lambda _: None,
        checksum: StartChecksum = _no_checksum,
    ) -> None:
        self._path = path
        self._clock = clock
        self._console = console
        self._checksum = checksum
        self._files = Files(path.parent)
        self._snapshots = _Snapshots()
        self._open: set[sqlite3.Connection] = set()
        self._readers: list[sqlite3.Connection] = []
        """The idle connections. The last one is taken first, because its cache is the most recent."""
        self._lock = threading.Lock()
        self._changed: list[Callable[[], None]] = []
        refuse_unreadable(path)
        writer = self._connect(GIVES_BACK, *PRAGMAS)
        self._migrate(writer)
        self._commits = Commits(writer)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A snapshot of the state; writing in it is an error."""
        reader = self._reader()
        number = self._snapshots.open()
        try:
            reader.execute("BEGIN")
            try:
                yield Tx(reader, self._clock(), self._files, self._console, self._checksum)
            finally:
                reader.execute("ROLLBACK")
        finally:
            self._snapshots.close(number)
            self._give_back(reader)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """One writer at a time. Leaving normally commits durably, leaving by an exception changes nothing."""
        tx: Tx | None = None
        try:
            with self._commits.transaction() as connection:
                tx = Tx(connection, self._clock(), self._files, self._console, self._checksum)
                yield tx
        except BaseException as error:
            if tx is not None:
                for act in tx._after_rollback:
                    act()
            cause = error.__cause__ if isinstance(error, CommitFailed) else error
            if cause is not None and self._is_for_want_of_room(cause):
                raise DiskFull(f"there is no space left where {self._path} is") from error
            if cause is not None and (want := _want_of_descriptors(cause)) is not None:
                raise want from error
            raise
        assert tx is not None, "it was made before the block began"
        self._snapshots.when_closed(tx._when_unseen)
        for tell in self._changed:
            tell()

    def when_changed(self, tell: Callable[[], None]) -> None:
        """Calls `tell` after each commit, in the committing thread. It must be quick, and must not fail."""
        self._changed.append(tell)

    def close(self) -> None:
        self._files.finish()
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._readers.clear()

    def _reader(self) -> sqlite3.Connection:
        """A connection for one transaction. Connections are shared between dozens of threads, because each comes to
        hold two megabytes of the database and every compiled statement."""
        with self._lock:
            if self._readers:
                return self._readers.pop()
        connection = self._connect(*PRAGMAS)
        # Once and for all: a pragma that sets something has the connection compile every statement anew.
        connection.execute("PRAGMA query_only = 1")
        return connection

    def _give_back(self, reader: sqlite3.Connection) -> None:
        with self._lock:
            if reader not in self._open:
                # The database has been closed.
                return
            if len(self._readers) < MOST_READERS and not reader.in_transaction:
                self._readers.append(reader)
                return
            self._open.remove(reader)
        reader.close()

    def _connect(self, *pragmas: str) -> sqlite3.Connection:
        try:
            # The database has secret keys; SQLite gives its further files (WAL) the same mode.
            self._path.touch(mode=0o600)
            connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=30, cached_statements=512
            )
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}")
        except (sqlite3.Error, OSError) as error:
            if (want := _want_of_descriptors(error)) is not None:
                raise want from error
            raise StateUnreadable(f"{self._path}: {error}") from error
        with self._lock:
            self._open.add(connection)
        return connection

    def _is_for_want_of_room(self, error: BaseException) -> bool:
        """For a file next to the database the system's error says so; for the database SQLite's does."""
        if isinstance(error, OSError):
            return error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not isinstance(error, sqlite3.OperationalError):
            return False
        # Some file systems find out only when data is synced; what SQLite says then may also mean a broken disk.
        failed = error.sqlite_errorcode & 0xFF
        return failed == sqlite3.SQLITE_FULL or (failed == sqlite3.SQLITE_IOERR and self._room() < LEAST_ROOM)

    def _room(self) -> int:
        return shutil.disk_usage(self._path.parent).free

    def _migrate(self, connection: sqlite3.Connection) -> None:
        scripts = _scripts()
        own = application_id(scripts[0].read_text())
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == len(scripts):
            return
        # One transaction, as a commit waits for the disk.
        steps = [f"PRAGMA application_id = {own};"]
        steps += [
            f"{script.read_text()}; PRAGMA user_version = {number};"
            for number, script in enumerate(scripts[version:], start=version + 1)
        ]
        try:
            connection.executescript("\n".join(["BEGIN IMMEDIATE;", *steps, "COMMIT;"]))
        except sqlite3.Error as error:
            reached: int = connection.execute("PRAGMA user_version").fetchone()[0]
            # Closing takes back what has been done so far.
            self.close()
            if self._is_for_want_of_room(error):
                raise DiskFull(f"there is no space left where {self._path} is") from error
            script = scripts[min(reached, len(scripts) - 1)]
            raise StateUnreadable(f"{self._path}: {script.name}: {error}") from error


def refuse_unreadable(path: Path) -> None:
    """Raises StateTooOld, StateTooNew or StateUnreadable for a database that this version does not read. Changes
    nothing, and makes no database."""
    if not path.exists():
        return
    scripts = _scripts()
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            own = connection.execute("PRAGMA application_id").fetchone() == (application_id(scripts[0].read_text()),)
            empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        raise StateUnreadable(f"{path}: {error}") from error
    if not own and not empty:
        where = path.parent
        raise StateTooOld(
            f"{path} was written by another skylift from before the first release, and this one does not "
            "read it. Nothing was changed. To begin anew and keep it: "
            f"skylift cloud down; sudo mv {shlex.quote(str(where))} {shlex.quote(f'{where}-old')}. "
            "To begin anew without it: skylift cloud down --erase."
        )
    if version > len(scripts):
        raise StateTooNew(
            f"{path} is of schema version {version}; this skylift knows versions up to {len(scripts)}. "
            "Upgrade skylift, or use another SKYLIFT_HOME."
        )


def _scripts() -> list[Path]:
    return sorted(MIGRATIONS.glob("*.sql"))


def _want_of_descriptors(error: BaseException) -> OSError | None:
    """The system's error if this process has no descriptors left. SQLite says only that it cannot open a file."""
    if isinstance(error, OSError):
        return error if error.errno in (errno.EMFILE, errno.ENFILE) else None
    if not isinstance(error, sqlite3.OperationalError) or error.sqlite_errorcode & 0xFF not in _CANNOT_OPEN:
        return None
    with ExitStack() as probes:
        try:
            for _ in range(_FILES_OF_ONE):
                probes.enter_context(Path(os.devnull).open("rb"))
        except OSError as want:
            return want
    return None


class _Snapshots:
    """The open read transactions, and the work that waits until older ones have ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0
        self._open: set[int] = set()
        self._waiting: list[tuple[int, Callable[[], None]]] = []

    def open(self) -> int:
        """The number of a new one."""
        with self._lock:
            number = self._next
            self._next += 1
            self._open.add(number)
        return number

    def close(self, number: int) -> None:
        with self._lock:
            self._open.remove(number)
            if not self._waiting:
                return
        _run(self._due())

    def when_closed(self, acts: list[Callable[[], None]]) -> None:
        """Run these once every snapshot that is open now has been closed."""
        with self._lock:
            self._waiting += [(self._next, act) for act in acts]
        _run(self._due())

    def _due(self) -> list[Callable[[], None]]:
        """What waits for no snapshot any more: it is the caller's to do."""
        with self._lock:
            oldest = min(self._open, default=self._next)
            due = [act for before, act in self._waiting if before <= oldest]
            self._waiting = [(before, act) for before, act in self._waiting if before > oldest]
        return due


def _run(due: list[Callable[[], None]]) -> None:
    for act in due:
        try:
            act()
        except OSError as error:
            # A caller must not fail for work that is done for others, least of all when its change is durable by now.
            log.error("what has been deleted could not be removed from the disk: %s", error)
