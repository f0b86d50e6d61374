"""The inputs of a map, as the pages of jobs show them: how each one went, and what one has written."""

from __future__ import annotations

import io
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from skylift.client.errors import RunError, UsageError
from skylift.client.map.live import InputLive
from skylift.client.map.outcome import InputOutcome, RunStream
from skylift.client.map.places import read_template
from skylift.client.map.reading import MapReader
from skylift.client.remote.account import Account
from skylift.console.rows import Row
from skylift.contract.map_progress import Progress
from skylift.contract.map_spec import MapInput

MOST_ROWS = 5000
"""The most inputs in a page's table. Where there are more, those that have not succeeded come first."""
_MOST_BYTES = 1 << 20
"""Bytes of a stream that a page shows."""
_LONGEST = 300

Reached = Callable[[], AbstractContextManager[Account]]


@dataclass(frozen=True)
class InputRow(Row):
    """`id` is the input's index."""

    name: str
    state: str
    exit: int | None
    seconds: float | None
    attempt: int | None
    server: str
    why: str


@dataclass(frozen=True)
class MapSummary:
    """Numbers of inputs. `errors` are what failed inputs have said last, and how many of each."""

    total: int
    succeeded: int
    failed: int
    running: int
    ended: bool
    servers: tuple[str, ...]
    errors: tuple[tuple[str, int], ...]
    note: str = ""

    @property
    def words(self) -> str:
        parts = [f"{self.succeeded + self.failed:,} of {self.total:,} done"]
        parts += [f"{self.failed:,} failed"] if self.failed else []
        parts += [f"{self.running:,} running"] if self.running else []
        left = self.total - self.succeeded - self.failed - self.running
        parts += [f"{left:,} {'without an outcome' if self.ended else 'waiting'}"] if left else []
        parts += [f"{len(self.servers)} server{'s' * (len(self.servers) != 1)}"] if self.servers else []
        return ", ".join(parts) + ("." if not self.note else f". {self.note}")


@dataclass(frozen=True)
class ShownInput:
    """One input, with what it has written: the beginning of it, and what is said of the rest. `live` is of one that has
    not ended."""

    given: MapInput
    row: InputRow
    outcome: InputOutcome | None
    losses: int
    stdout: str = ""
    stderr: str = ""
    cut: str = ""
    live: InputLive | None = None


class MapInputs:
    """Of one map. What is known of it is kept, and its record is read on. `reached` gives the account; one that was
    opened anew is another one, whose record is read from its beginning."""

    def __init__(self, reached: Reached, name: str) -> None:
        self._reached, self._name = reached, name
        with reached() as account:
            self._reader = MapReader(account, name)
        # Two tabs may ask at once.
        self._reading = threading.Lock()
        self._is_over = False
        self.summary = MapSummary(len(self._reader.inputs), 0, 0, 0, False, (), ())

    def rows(self) -> Sequence[InputRow]:
        """In a thread. Raises SkyliftError."""
        with self._read_on():
            progress = None if self._is_over else self._reader.progress()
            found = [self._row(each) for each in self._reader.spec.inputs]
            self.summary = self._sum_up(found, progress)
        if len(found) > MOST_ROWS:
            found.sort(key=lambda row: row.state in ("succeeded", "waiting"))
        return found[:MOST_ROWS]

    @contextmanager
    def _read_on(self) -> Iterator[None]:
        with self._reading, self._reached() as account:
            if account is not self._reader.account:
                self._reader = MapReader(account, self._name)
            self._reader.read_on()
            self._is_over = self._is_over or self._reader.is_over()
            yield

    def _row(self, given: MapInput) -> InputRow:
        outcome = self._reader.outcomes.get(given.index)
        name = given.name[:_LONGEST]
        if outcome is None:
            attempt = self._reader.running.get(given.index)
            state = "no outcome" if self._is_over else "waiting" if attempt is None else "running"
            return InputRow(str(given.index), name, state, None, None, attempt, "", "")
        why = "" if outcome.succeeded else outcome.last_line
        return InputRow(
            str(given.index),
            name,
            str(outcome.state),
            outcome.exit_code,
            round(outcome.seconds, 2),
            outcome.attempt,
            outcome.server or "",
            why[:_LONGEST],
        )

    def _sum_up(self, rows: Sequence[InputRow], progress: Progress | None) -> MapSummary:
        states = Counter(row.state for row in rows)
        succeeded, running = states["succeeded"], states["running"]
        failed = len(rows) - succeeded - running - states["waiting"] - states["no outcome"]
        notes = [self._reader.ended.reason] if self._reader.ended and self._reader.ended.halted else []
        if len(rows) > MOST_ROWS:
            notes.append(f"Of all inputs, {MOST_ROWS:,} are listed: first those that have not succeeded.")
        if self._reader.gone:
            notes.append(f"It went on from {self._reader.gone}, which was removed: what ran there is not known.")
        errors = Counter(row.why for row in rows if row.why)
        servers = tuple(each.instance for each in progress.servers) if progress is not None else ()
        common = tuple(errors.most_common(5))
        return MapSummary(len(rows), succeeded, failed, running, self._is_over, servers, common, " ".join(notes))

    def one(self, index: str) -> ShownInput:
        """In a thread. Raises SkyliftError."""
        with self._read_on():
            given = self._reader.inputs.get(int(index)) if index.isascii() and index.isdecimal() else None
            if given is None:
                raise UsageError(f"The map has no input {index!r}.", "Inputs have numbers, from 0 on.")
            outcome = self._reader.outcomes.get(given.index)
            row = self._row(given)
            if outcome is None:
                runs = row.state == "running"
                # One that runs counts as lost, too: so it would be if the map had ended.
                losses = self._reader.losses(given.index) - runs
                return ShownInput(given, row, None, losses, live=self._reader.live(given.index) if runs else None)
            cut = [_cut(words, each) for words, each in (("output", outcome.stdout), ("errors", outcome.stderr))]
            return ShownInput(
                given,
                row,
                outcome,
                outcome.losses,
                self._text(outcome, "stdout"),
                self._text(outcome, "stderr"),
                " ".join(filter(None, cut)),
            )

    def _text(self, outcome: InputOutcome, name: str) -> str:
        """The beginning of a stream."""
        into = io.BytesIO()
        short = replace(outcome, stdout=_short(outcome.stdout), stderr=_short(outcome.stderr))
        self._reader.write_stream(short, name, into)
        return into.getvalue().decode(errors="replace")

    def result(self, index: str, path: str) -> bytes:
        """The content of a result, checked. In a thread. Raises SkyliftError."""
        shown = self.one(index)
        wanted = tuple(each for each in shown.outcome.results if each.path == path) if shown.outcome else ()
        if shown.outcome is None or not wanted:
            raise RunError(f"The input {index} has no result {path!r}.")
        with self._read_on(), tempfile.TemporaryDirectory(prefix="skylift-result-") as folder:
            outcome = replace(shown.outcome, results=wanted)
            places = self._reader.bring_home([outcome], Path(folder), read_template("{index}"), lambda _: None)
            if not places:
                raise RunError(f"{path!r} is not among the results that the map was asked for.")
            return (places[0][1] / path).read_bytes()


def _short(stream: RunStream) -> RunStream:
    return replace(stream, kept=min(stream.kept, _MOST_BYTES))


def _cut(words: str, stream: RunStream) -> str:
    shown = min(stream.kept, _MOST_BYTES)
    return f"Of its {words}, the first {shown:,} of {stream.size:,} bytes are shown." if shown < stream.size else ""
