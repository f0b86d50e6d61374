"""A long log is read by its folds, and says the same as its entries, whoever was killed while it was written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest

from skylift.client.map import log_writer, outcome
from skylift.client.map.keys import MapKeys
from skylift.client.map.log_writer import LogWriter
from skylift.client.map.outcome import (
    FOLD,
    InputOutcome,
    InputState,
    LogEntry,
    MapEnd,
    MapLog,
    encode_entry,
    entry_key,
    fold_key,
)
from skylift.client.map.reading import MapReader

SMALL = 4
"""The entries of a fold, where a test kills writers at every step."""


class Killed(Exception):
    """Of a coordinator: it does nothing any more."""


class Bucket:
    """Conditional writes. The coordinator is killed before its step number `last`, or right behind it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.steps, self.last, self.behind = 0, -1, False

    def kill(self, at: int, *, behind: bool) -> None:
        self.steps, self.last, self.behind = 0, at, behind

    def step(self, act: Callable[[], Any]) -> Any:
        self.steps += 1
        if self.last >= 0 and (self.steps > self.last or (self.steps == self.last and not self.behind)):
            raise Killed
        found = act()
        if self.steps == self.last:
            raise Killed
        return found

    def look(self, key: str) -> bytes | None:
        self.asked.append(key)
        return cast(bytes | None, self.step(lambda: self.objects.get(key)))

    def read(self, key: str) -> bytes | None:
        return self.look(key)

    def create(self, key: str, body: bytes) -> bool:
        def write() -> bool:
            return self.objects.setdefault(key, body) is body

        return bool(self.step(write))


def done(index: int) -> InputOutcome:
    content = b"%d" % index
    return InputOutcome(index, InputState.SUCCEEDED, 0, stdout=outcome.RunStream(len(content), content, len(content)))


def by_entries(bucket: Bucket) -> MapLog:
    """As every reader had it before there were folds."""
    log = MapLog()
    while (data := bucket.objects.get(entry_key(log.next))) is not None:
        log.read([data])
    return log


def by_folds(bucket: Bucket) -> MapLog:
    log = MapLog()
    for _, entries in log.coming(bucket.objects.get):
        log.read(entries)
    return log


def all_of(log: MapLog) -> dict[str, Any]:
    return dict(vars(log))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (outcome, log_writer):
        monkeypatch.setattr(module, "FOLD", SMALL)


def write(bucket: Bucket, server: str, told: set[int]) -> None:
    """Coordinate: run what has no outcome, one input after the other. `told` are those of which the log was said to
    have the outcome."""
    writer = LogWriter(bucket, server)
    had = writer.begin().outcomes
    for index in [each for each in range(9) if each not in had]:
        writer.note(begun=[(index, 1)], wait=True)
        writer.note([done(index)], wait=True)
        told.add(index)
    writer.close(MapEnd("Done."))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("behind", [False, True])
def test_a_coordinator_may_be_killed_at_any_step(behind: bool) -> None:
    """Every outcome that was there is there for all readers, once, and a fold says what its entries say."""
    steps = Bucket()
    write(steps, "i-0a", set())
    assert steps.steps > 24
    for at in range(1, steps.steps + 1):
        bucket, told = Bucket(), set[int]()
        bucket.kill(at, behind=behind)
        with pytest.raises(Killed):
            write(bucket, "i-0a", told)
        # The next one is killed as well, a little later.
        bucket.kill(at % 7 + 3, behind=not behind)
        with pytest.raises(Killed):
            write(bucket, "i-0b", told)
        before = by_entries(bucket).outcomes
        assert told <= before.keys()
        bucket.kill(-1, behind=False)
        write(bucket, "i-0c", told)
        log = by_folds(bucket)
        assert all_of(log) == all_of(by_entries(bucket))
        assert sorted(log.outcomes) == list(range(9)) and log.ended == MapEnd("Done.")
        assert before == {index: log.outcomes[index] for index in before}
        written = Counter[int]()
        for number in range(log.next):
            written.update(each.index for each in outcome.parse_entry(bucket.objects[entry_key(number)]).outcomes)
        assert set(written.values()) == {1}, "an input has two outcomes"
        whole = {fold_key(number) for number in range(0, log.next - SMALL + 1, SMALL)}
        assert {each for each in bucket.objects if "folds" in each} == whole, "a successor writes what is missing"


class Long(Bucket):
    """A log of `entries`, of one outcome each, without folds or with all of them."""

    def __init__(self, entries: int, *, folded: bool) -> None:
        super().__init__()
        self.entries, self.folded = entries, folded

    def body(self, number: int) -> bytes:
        return encode_entry(LogEntry(1, 1.0, "i-0a" if number == 0 else None, (done(number),)))

    def look(self, key: str) -> bytes | None:
        self.asked.append(key)
        kind, number = key.split("/")[-2:]
        return self.body_of(kind, int(number), key)

    def body_of(self, kind: str, number: int, key: str) -> bytes | None:
        if kind == "log":
            return self.body(number) if number < self.entries else self.objects.get(key)
        if not self.folded or number + FOLD > self.entries:
            return None
        return b"\n".join(map(self.body, range(number, number + FOLD)))


def test_a_log_of_a_hundred_thousand_outcomes_is_read_by_a_hundredth_of_the_requests() -> None:
    """A successor of the coordinator reads it before it hands anything out: 18 ms for each request are half an hour."""
    bucket = Long(100_000, folded=True)
    assert len(LogWriter(bucket, "i-0b").begin().outcomes) == 100_000
    assert len(bucket.asked) == 2 * (100_000 // FOLD) + 100_000 % FOLD + 2 == 552
    assert list(bucket.objects) == [entry_key(100_000)]


def test_a_log_of_before_there_were_folds_is_read_and_folded_by_the_next_coordinator() -> None:
    bucket = Long(3 * FOLD + 1, folded=False)
    assert len(LogWriter(bucket, "i-0b").begin().outcomes) == 3 * FOLD + 1
    assert len(bucket.asked) == 3 * FOLD + 1 + 4 + 1
    assert sorted(bucket.objects) == [*(fold_key(each * FOLD) for each in range(3)), entry_key(3 * FOLD + 1)]


def test_a_new_map_asks_for_no_fold() -> None:
    bucket = Bucket()
    LogWriter(bucket, "i-0a").begin()
    assert bucket.asked == [entry_key(0)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("wrong", [b"", b"{}\n{}\n{}\n{}", b"\n\n\n", b"{}"])
def test_a_fold_of_something_else_is_none(wrong: bytes) -> None:
    bucket = Bucket()
    write(bucket, "i-0a", set())
    expected = by_entries(bucket)
    bucket.objects[fold_key(0)] = wrong
    assert all_of(by_folds(bucket)) == all_of(expected)


@pytest.mark.usefixtures("small")
def test_entries_that_are_large_are_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would have to be kept in memory until there are enough of them."""
    bucket = Bucket()
    monkeypatch.setattr(log_writer, "_LARGEST_FOLD", 300)
    write(bucket, "i-0a", set())
    assert not [each for each in bucket.objects if "folds" in each]
    assert sorted(by_folds(bucket).outcomes) == list(range(9))


@pytest.mark.usefixtures("small")
def test_whoever_watches_reads_folds_too() -> None:
    """The client, `map-results`, `--resume` and the console read by MapReader."""
    bucket = Bucket()
    write(bucket, "i-0a", set())
    asked: list[str] = []

    class Api:
        def get(self, _bucket: str, key: str, _most: int) -> bytes | None:
            asked.append(key)
            return bucket.objects.get(key.removeprefix("jobs/x/"))

    reader = MapReader.__new__(MapReader)
    account: Any = type("Account", (), {"api": Api(), "bucket": "b"})
    spec = type("Spec", (), {"places": (), "resumes": ""})
    vars(reader).update(
        account=account, is_there=True, own=spec, outcomes={}, _carried=[], _log=MapLog(), _runs_here=set(range(9)),
        _keys=MapKeys("x"),
    )  # fmt: skip
    assert [each.index for each in reader.read_on()] == list(range(9))
    entries = by_entries(bucket).next
    assert len(asked) == 2 * (entries // SMALL) + entries % SMALL + 1
    assert not reader.read_on()
