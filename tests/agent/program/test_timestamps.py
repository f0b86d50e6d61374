"""When which bytes were written: never later than they were, and to the second where there is room."""

from __future__ import annotations

import json
from random import Random

from skylift.agent.program.timestamps import StreamTimes


def test_a_time_between_two_writes_leads_to_the_second() -> None:
    times = StreamTimes()
    times.note(100.0, 0)
    times.note(100.4, 10)
    times.note(200.0, 20)
    assert times.offset_at(99.0, 30) is None, "longer ago than we know"
    assert times.offset_at(100.5, 30) == 0
    assert times.offset_at(101.0, 30) == 20
    assert times.offset_at(200.9, 30) == 20
    assert times.offset_at(201.0, 30) == 30, "nothing has come since then"


def test_nothing_that_came_since_is_left_out_however_many_marks_there_were() -> None:
    random, times = Random(1), StreamTimes()
    now, offset, written = 1000.0, 0, []
    for _ in range(20000):
        now += random.expovariate(1)
        times.note(now, offset)
        written.append((now, offset))
        offset += random.randrange(1, 100)
    assert len(json.loads(times.encoded(0, offset))[1]) <= 60
    assert len(times.encoded(0, offset)) < 1900
    for _ in range(500):
        when, _ = written[random.randrange(len(written))]
        expected = next(start for time, start in written if time >= when)
        found = times.offset_at(when, offset)
        assert found is None or found <= expected
        grain, marks = json.loads(times.encoded(0, offset))
        piece = next((start for time, start in marks if time + grain + 0.1 > when), offset)
        assert piece <= expected


def test_a_piece_begins_with_the_mark_that_was_before_it() -> None:
    times = StreamTimes()
    times.note(100.0, 0)
    times.note(105.04, 50)
    assert json.loads(times.encoded(20, 80)) == [1.0, [[100.0, 20], [105.0, 50]]]
    assert json.loads(times.encoded(50, 80)) == [1.0, [[105.0, 50]]]
    assert json.loads(times.encoded(80, 90)) == [1.0, [[105.0, 80]]]


def test_what_is_in_s3_is_forgotten_here_after_a_while() -> None:
    times = StreamTimes()
    for second in range(10):
        times.note(100.0 + 2 * second, 10 * second)
    times.forget(35, 150.0)
    assert times.offset_at(100.0, 100) == 0
    times.forget(35, 1000.0)
    assert times.offset_at(100.0, 100) is None
    assert times.offset_at(106.0, 100) == 30
