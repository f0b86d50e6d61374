"""Writes the log for the coordinator: begins an epoch, and appends outcomes as they come."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from skylift.client.map.outcome import (
    FOLD,
    MOST_IN_AN_ENTRY,
    InputOutcome,
    LogEntry,
    MapEnd,
    MapLog,
    encode_entry,
    entry_key,
    fold_key,
)

_MOST_BYTES = 8 << 20
"""The bytes of streams after which an entry is closed."""
_LARGEST_FOLD = 16 << 20
"""Bytes. Entries with more are few for their outcomes, and are read one by one."""


class Superseded(Exception):
    """Another coordinator writes the log now."""


class Store(Protocol):
    """The part of a job's prefix that a log needs."""

    def look(self, key: str) -> bytes | None:
        """The content, by one request; None when that was denied or failed. A role that may not list is denied what is
        not there."""

    def read(self, key: str) -> bytes | None:
        """The content of an object that is there, by as many requests as that takes. None when they are denied."""

    def create(self, key: str, body: bytes) -> bool:
        """Whether it was not there before. The request is repeated until it is answered."""


@dataclass
class _Note:
    """What goes into the next entry. `written` is set once it is there, or cannot be."""

    outcomes: list[InputOutcome] = field(default_factory=list)
    begun: dict[int, int] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)
    back: list[int] = field(default_factory=list)
    last: bool = False
    written: list[threading.Event] = field(default_factory=list)

    def join(self, other: _Note) -> None:
        """What was begun and is lost by now is only lost: within an entry, `lost` and `back` come before `begun`."""
        for index in (*other.lost, *other.back):
            self.begun.pop(index, None)
        self.lost += other.lost
        self.back += other.back
        self.begun.update(other.begun)
        self.outcomes += other.outcomes
        self.written += other.written
        self.last = other.last

    @property
    def size(self) -> int:
        streams = [stream.content or b"" for each in self.outcomes for stream in (each.stdout, each.stderr)]
        return sum(map(len, streams)) + 100 * sum(len(each.results) for each in self.outcomes)

    @property
    def is_empty(self) -> bool:
        return not (self.outcomes or self.begun or self.lost or self.back)


class LogWriter:
    """`begin` first. `note` gives a thread what is to be written, all that has come meanwhile at once; `close`
    waits for the last entry."""

    def __init__(self, store: Store, instance: str, clock: Callable[[], float] = time.time) -> None:
        self._store, self._instance, self._clock = store, instance, clock
        self.log = MapLog()
        self._unfolded: list[bytes] = []
        self._waiting: queue.SimpleQueue[_Note] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)

    def begin(self) -> MapLog:
        """Read the log to its end and begin an epoch there. Raises Malformed for an entry that is none.

        Only an attempt to create an entry says whether it is there. To repeat the request to read it instead would
        cost each map the seconds that a denial is not believed."""
        while True:
            for _, entries in self.log.coming(self._store.look):
                self.log.read(entries)
                self._fold(entries)
            # The coordinator before was stopped because its server was shut down: otherwise nobody would go on.
            lost = self.log.interrupted
            if self._create(LogEntry(self.log.epoch + 1, self._clock(), self._instance, lost=lost)):
                self._thread.start()
                return self.log

    def _create(self, entry: LogEntry) -> bool:
        """Whether the entry that comes next is ours now."""
        key, body = entry_key(self.log.next), encode_entry(entry)
        if not self._store.create(key, body) and self._store.read(key) != body:
            return False
        # It may be there from a try of our own, the answer to which was lost.
        self.log.add(entry)
        self._fold([body])
        return True

    def _fold(self, entries: Sequence[bytes]) -> None:
        """Write a fold once its entries are there. A coordinator that is killed before leaves that to its successor."""
        self._unfolded += entries
        if sum(map(len, self._unfolded)) > _LARGEST_FOLD:
            self._unfolded = []
        if self.log.next % FOLD == 0:
            whole, self._unfolded = self._unfolded, []
            if len(whole) == FOLD and len(entries) == 1:
                self._store.create(fold_key(self.log.next - FOLD), b"\n".join(whole))

    def note(
        self,
        outcomes: Sequence[InputOutcome] = (),
        begun: Sequence[tuple[int, int]] = (),
        lost: Sequence[int] = (),
        back: Sequence[int] = (),
        *,
        wait: bool = False,
    ) -> None:
        """Outcomes, inputs that were begun, as [index, attempt], lost ones, and those that were handed back. With
        `wait`, the entry is written on return. Raises Superseded when that is known by now, or whatever else the
        writing has failed with."""
        self._check()
        note = _Note(list(outcomes), dict(begun), list(lost), list(back))
        if wait:
            note.written.append(threading.Event())
        self._waiting.put(note)
        for event in note.written:
            event.wait()
            self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        note = _Note()
        try:
            while not note.last:
                note = self._gather()
                if not note.is_empty:
                    self._write(note)
                _release(note)
        except Exception as error:  # noqa: BLE001 (raised again for the coordinator)
            self._failure = error
            _release(note)
            # Nobody waits for what is not written any more.
            while not note.last:
                note = self._waiting.get()
                _release(note)

    def _gather(self) -> _Note:
        note = self._waiting.get()
        size = note.size
        while not note.last and len(note.outcomes) < MOST_IN_AN_ENTRY and size <= _MOST_BYTES:
            try:
                other = self._waiting.get_nowait()
            except queue.Empty:
                break
            size += other.size
            note.join(other)
        return note

    def _write(self, note: _Note) -> None:
        outcomes = note.outcomes
        # A note may have more than an entry takes.
        while len(outcomes) > MOST_IN_AN_ENTRY:
            self._append(LogEntry(self.log.epoch, self._clock(), outcomes=tuple(outcomes[:MOST_IN_AN_ENTRY])))
            outcomes = outcomes[MOST_IN_AN_ENTRY:]
        begun = tuple(note.begun.items())
        gone = (begun, tuple(note.lost), False, False, tuple(note.back))
        self._append(LogEntry(self.log.epoch, self._clock(), None, tuple(outcomes), None, *gone))

    def _append(self, entry: LogEntry) -> None:
        if not self._create(entry):
            raise Superseded(f"epoch {self.log.epoch} is over: entry {self.log.next} is another coordinator's")

    def close(self, end: MapEnd | None, *, noticed: bool = False) -> None:
        """Write what is left, and the end, if it is one. Otherwise the coordinator was asked to stop, `noticed` if EC2
        takes its server back: what it has begun is not lost unless a successor says so. Raises Superseded."""
        self._waiting.put(_Note(last=True))
        self._thread.join()
        self._check()
        self._append(LogEntry(self.log.epoch, self._clock(), ended=end, stopped=end is None, noticed=noticed))


def _release(note: _Note) -> None:
    for event in note.written:
        event.set()
