"""The coordinator's end of the log: it begins an epoch, and writes outcomes down as they come."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from skylift.runner.map.outcome import (
    MOST_IN_AN_ENTRY,
    InputOutcome,
    LogEntry,
    MapEnd,
    MapLog,
    encode_entry,
    parse_entry,
)
from skylift.runner.text.json_object import Malformed

_MOST_BYTES = 8 << 20
"""Bytes of streams after which an entry is closed."""


class Superseded(Exception):
    """Another coordinator writes the log now."""


class Store(Protocol):
    """The part of a job's prefix that a log needs. Both calls are repeated until they are answered."""

    def read(self, key: str) -> bytes | None:
        """None where it is not there, or cannot be known to be there: a role that may not list is denied either way."""

    def create(self, key: str, body: bytes) -> bool:
        """Whether it was not there before."""


def entry_key(number: int) -> str:
    return f"server/map/log/{number:08}"


class LogWriter:
    """`begin` first. `add` gives outcomes to a thread that writes them, all that have come meanwhile at once; `close`
    waits for the last one."""

    def __init__(self, store: Store, instance: str, clock: Callable[[], float] = time.time) -> None:
        self._store, self._instance, self._clock = store, instance, clock
        self.log = MapLog()
        self._waiting: queue.SimpleQueue[InputOutcome | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)

    def begin(self) -> MapLog:
        """Read the log to its end and begin an epoch there. Raises Malformed for an entry that is none."""
        while True:
            data = self._store.read(entry_key(self.log.next))
            if data is not None:
                self.log.add(parse_entry(data))
            elif self._create(LogEntry(self.log.epoch + 1, self._clock(), self._instance)):
                self._thread.start()
                return self.log

    def _create(self, entry: LogEntry) -> bool:
        """Whether the entry that comes next is ours now."""
        key, body = entry_key(self.log.next), encode_entry(entry)
        if not self._store.create(key, body) and self._store.read(key) != body:
            return False
        # It may be there from a try of our own, the answer to which was lost.
        self.log.add(entry)
        return True

    def add(self, outcome: InputOutcome) -> None:
        """Raises Superseded when that is known by now, or whatever else the writing has failed with."""
        self.check()
        self._waiting.put(outcome)

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            last = False
            while not last:
                gathered, last = self._gather()
                if gathered:
                    self._write(LogEntry(self.log.epoch, self._clock(), outcomes=tuple(gathered)))
        except Exception as error:  # noqa: BLE001 (raised again for the coordinator)
            self._failure = error

    def _gather(self) -> tuple[list[InputOutcome], bool]:
        gathered: list[InputOutcome] = []
        size = 0
        each = self._waiting.get()
        while each is not None:
            gathered.append(each)
            size += sum(len(stream.content or b"") for stream in (each.stdout, each.stderr)) + 100 * len(each.results)
            if len(gathered) >= MOST_IN_AN_ENTRY or size > _MOST_BYTES:
                return gathered, False
            try:
                each = self._waiting.get_nowait()
            except queue.Empty:
                return gathered, False
        return gathered, True

    def _write(self, entry: LogEntry) -> None:
        if not self._create(entry):
            raise Superseded(f"epoch {self.log.epoch} is over: entry {self.log.next} is another coordinator's")

    def close(self, end: MapEnd | None) -> None:
        """Write what is left, and the end, if it is one. Raises Superseded."""
        self._waiting.put(None)
        self._thread.join()
        self.check()
        if end is not None:
            self._write(LogEntry(self.log.epoch, self._clock(), ended=end))


__all__ = ["LogWriter", "Malformed", "Store", "Superseded", "entry_key"]
