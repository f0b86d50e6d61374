"""The log of a map has one writer at a time, and what it says once it says for good."""

from __future__ import annotations

import pytest

from skylift.client.map.log_writer import LogWriter, Superseded
from skylift.client.map.outcome import InputOutcome, InputState, MapEnd, MapLog, entry_key


class Bucket:
    """Conditional writes, of which the answer to some is lost; a look at what is there may be denied."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.lost = self.denied = 0
        self.reads: list[str] = []

    def look(self, key: str) -> bytes | None:
        if self.denied:
            self.denied -= 1
            return None
        return self.objects.get(key)

    def read(self, key: str) -> bytes | None:
        self.reads.append(key)
        return self.objects.get(key)

    def create(self, key: str, body: bytes) -> bool:
        if key in self.objects:
            return False
        self.objects[key] = body
        if self.lost:
            self.lost -= 1
            return self.create(key, body)  # the request is repeated, since its answer was lost
        return True

    def log(self) -> MapLog:
        log = MapLog()
        log.read(self.objects[entry_key(number)] for number in range(len(self.objects)))
        return log


def outcome(index: int, exit_code: int = 0) -> InputOutcome:
    return InputOutcome(index, InputState.FAILED if exit_code else InputState.SUCCEEDED, exit_code)


def test_what_is_written_is_there_in_order_and_each_epoch_goes_on_from_the_last() -> None:
    bucket = Bucket()
    first = LogWriter(bucket, "i-a")
    first.begin()
    for index in range(50):
        first.note([outcome(index)])
    first.close(None)
    second = LogWriter(bucket, "i-b")
    assert sorted(second.begin().outcomes) == list(range(50))
    second.note([outcome(50)])
    second.close(MapEnd("Done."))
    log = bucket.log()
    assert (log.epoch, sorted(log.outcomes), log.ended) == (2, list(range(51)), MapEnd("Done."))


def test_what_ran_on_a_server_that_was_shut_down_has_lost_it_when_another_one_goes_on() -> None:
    """An input may turn its server off in order, each time."""
    bucket = Bucket()
    first = LogWriter(bucket, "i-a")
    first.begin()
    first.note(begun=[(1, 1), (2, 1)])
    first.note([outcome(2)])
    first.close(None)
    assert not bucket.log().losses_so_far(), "it may have been cancelled"
    second = LogWriter(bucket, "i-b")
    assert second.begin().losses == bucket.log().losses == {1: 1}
    second.note(begun=[(1, 1), (3, 1)])
    second.note(lost=[3])
    second.close(None)
    third = LogWriter(bucket, "i-c")
    assert third.begin().losses == {1: 2, 3: 1}
    third.close(MapEnd("Done."))
    assert LogWriter(bucket, "i-d").begin().losses == {1: 2, 3: 1}


def test_what_ran_on_a_server_that_was_taken_back_has_lost_nothing() -> None:
    bucket = Bucket()
    first = LogWriter(bucket, "i-a")
    first.begin()
    first.note(begun=[(1, 1)])
    first.close(None, noticed=True)
    assert not LogWriter(bucket, "i-b").begin().losses


def test_an_entry_that_is_not_there_is_asked_for_once() -> None:
    """The role of a map's server is denied it. Reading patiently would cost the map seconds."""
    bucket = Bucket()
    LogWriter(bucket, "i-a").begin()
    LogWriter(bucket, "i-b").begin()
    assert bucket.reads == []


def test_an_entry_that_cannot_be_read_yet_is_no_free_one() -> None:
    bucket = Bucket()
    first = LogWriter(bucket, "i-a")
    first.begin()
    first.note([outcome(1)])
    first.close(None)
    bucket.denied = 2
    second = LogWriter(bucket, "i-b")
    assert (second.begin().epoch, list(second.log.outcomes)) == (2, [1])


def test_a_writer_that_has_a_successor_writes_nothing_more() -> None:
    bucket = Bucket()
    first, second = LogWriter(bucket, "i-a"), LogWriter(bucket, "i-b")
    first.begin()
    second.begin()
    first.note([outcome(1, 7)])
    with pytest.raises(Superseded):
        first.close(MapEnd("Done."))
    second.note([outcome(1)])
    second.close(None)
    assert bucket.log().outcomes == {1: outcome(1)}


def test_of_two_that_begin_at_once_one_has_the_next_epoch_and_the_other_the_one_after() -> None:
    bucket = Bucket()
    first = LogWriter(bucket, "i-a")

    class Meanwhile:
        def __init__(self) -> None:
            self.come = False

        def look(self, key: str) -> bytes | None:
            found = bucket.look(key)
            if found is None and not self.come:
                self.come = True
                first.begin()
            return found

        def read(self, key: str) -> bytes | None:
            return bucket.read(key)

        def create(self, key: str, body: bytes) -> bool:
            return bucket.create(key, body)

    second = LogWriter(Meanwhile(), "i-b")
    assert second.begin().epoch == 2
    first.note([outcome(1)])
    with pytest.raises(Superseded):
        first.close(None)


def test_a_write_whose_answer_was_lost_is_no_successors() -> None:
    bucket = Bucket()
    bucket.lost = 3
    writer = LogWriter(bucket, "i-a")
    writer.begin()
    writer.note([outcome(1)])
    writer.close(MapEnd("Done."))
    assert bucket.log().ended == MapEnd("Done.")
    assert bucket.lost == 0
