"""The record of a map: what goes in comes out, and what is not one is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.client.map.keys import MapKeys
from skylift.client.map.outcome import (
    InputOutcome,
    InputState,
    LogEntry,
    MapEnd,
    MapLog,
    RunResult,
    RunStream,
    encode_entry,
    parse_entry,
)
from skylift.client.map.spec import encode_spec, parse_spec
from skylift.contract.document import Malformed, parse, write
from skylift.contract.map_progress import (
    MOST_KINDS,
    PROGRESS_LIMIT,
    GroupedError,
    Progress,
    ServerProgress,
    ServerTime,
    times_in,
)
from skylift.contract.map_spec import Blob, Halt, MapInput, MapSpec, Resumed

SHA = "ab" * 32
SPEC = MapSpec(
    argv=("python", "job.py"),
    python=True,
    args=("--file", "{}"),
    inputs=(MapInput(3, "a b", "a b"), MapInput(7, "data/x.csv", "x", Blob(SHA, 5, "x.csv"))),
    outputs=("*.txt",),
    total=9,
    servers=4,
    per_server=2,
    batch=5,
    retries=2,
    losses=2,
    halt=Halt(share=0.2),
)
FAILED = InputOutcome(
    index=7,
    state=InputState.FAILED,
    exit_code=137,
    attempt=3,
    losses=1,
    signal="SIGKILL",
    run="0123456789abcdef",
    server="i-0123",
    started=1.5,
    seconds=2.25,
    reason="It was ended by SIGKILL.",
    stdout=RunStream(5, b"\x00a\xffb\n", 5),
    stderr=RunStream(1 << 20, None, 1 << 16),
    results=(RunResult("out/ä.txt", 3, SHA),),
    missing=("gone.txt",),
)
ENDED = InputOutcome(index=3, state=InputState.SUCCEEDED, exit_code=0, seconds=0.5)
PROGRESS = Progress(
    epoch=2,
    updated=5.0,
    total=10,
    succeeded=4,
    failed=1,
    running=2,
    rate=0.5,
    left=10.0,
    servers=(ServerProgress("i-1", 2, 5, "t3.small"),),
    errors=(GroupedError("ValueError: x", 1, 7),),
    others=(ServerTime("t3.small", "spot", 3, 90.5),),
)


@pytest.mark.parametrize(
    "others",
    [
        {},
        [1],
        [{}],
        [{"instance_type": "t3.small", "market": "spot", "servers": 1}],
        [{"instance_type": "\x1b[2J", "market": "spot", "servers": 1, "seconds": 1}],
        [{"instance_type": "t3.small", "market": "gift", "servers": 1, "seconds": 1}],
        [{"instance_type": "t3.small", "market": "spot", "servers": -1, "seconds": 1}],
        [{"instance_type": "t3.small", "market": "spot", "servers": 1, "seconds": -1e300}],
        [{"instance_type": "t3.small", "market": "spot", "servers": 1, "seconds": 1}] * 2,
        [{"instance_type": f"t3.x{n}", "market": "spot", "servers": 1, "seconds": 1} for n in range(MOST_KINDS + 1)],
    ],
)
def test_times_of_servers_that_cannot_be_are_none(others: object) -> None:
    told = {"epoch": 1, "updated": 1, "total": 1, "succeeded": 0, "failed": 0, "running": 0, "others": others}
    with pytest.raises(Malformed):
        parse(Progress, json.dumps(told).encode(), PROGRESS_LIMIT)
    assert times_in(json.dumps(told).encode()) == ()


def test_what_is_written_is_read() -> None:
    entry = LogEntry(
        2, 10.0, "i-0abc", (FAILED, ENDED), MapEnd("It was halted.", halted=True), ((5, 1), (3, 2)), (7,), True
    )
    assert parse_spec(encode_spec(SPEC)) == SPEC
    again = SPEC._replace(script=SHA, resumes=Resumed("first", 3), inputs=(MapInput(3, "a", "a", losses=2),))
    assert parse_spec(encode_spec(again)) == again
    assert parse_entry(encode_entry(entry)) == entry
    assert parse(Progress, json.dumps(write(PROGRESS)).encode(), PROGRESS_LIMIT) == PROGRESS
    assert times_in(json.dumps(write(PROGRESS)).encode()) == PROGRESS.others
    assert PROGRESS.waiting == 3


@pytest.mark.parametrize(
    ("halt", "limit"), [(Halt(count=3), 3), (Halt(share=0.2), 2), (Halt(share=0.25), 3), (Halt(share=0.0), 1)]
)
def test_a_share_of_failures_is_a_number_of_inputs(halt: Halt, limit: int) -> None:
    assert halt.limit(10) == limit


def test_the_first_outcome_of_an_input_stays_and_an_epoch_that_is_over_has_none() -> None:
    log = MapLog()
    log.add(LogEntry(1, 1.0, "i-a"))
    assert log.add(LogEntry(1, 2.0, None, (ENDED,))) == [ENDED]
    log.add(LogEntry(2, 3.0, "i-b"))
    assert log.add(LogEntry(1, 4.0, None, (FAILED,))) == []
    assert log.add(LogEntry(2, 5.0, None, (replace(ENDED, attempt=2), FAILED))) == [FAILED]
    assert log.add(LogEntry(3, 6.0, None, (replace(FAILED, index=5),))) == [], "it has not begun"
    assert (log.next, log.epoch, log.outcomes) == (6, 2, {3: ENDED, 7: FAILED})


def test_a_map_that_is_resumed_has_not_ended() -> None:
    log = MapLog()
    log.read([encode_entry(LogEntry(1, 1.0, "i-a")), encode_entry(LogEntry(1, 2.0, ended=MapEnd("Halted.", True)))])
    assert log.ended == MapEnd("Halted.", True)
    log.add(LogEntry(2, 3.0, "i-b"))
    assert log.ended is None


def test_what_ran_when_a_coordinator_was_lost_was_lost_with_it() -> None:
    log = MapLog()
    log.add(LogEntry(1, 1.0, "i-a"))
    log.add(LogEntry(1, 2.0, None, (ENDED,), begun=((3, 1), (4, 1), (7, 2))))
    log.add(LogEntry(1, 3.0, lost=(4,), begun=((4, 1), (5, 1))))
    assert log.running == {7: 2, 4: 1, 5: 1}
    assert log.losses_so_far() == {7: 1, 4: 2, 5: 1}
    log.add(LogEntry(2, 4.0, "i-b"))
    assert (log.losses, log.running, log.attempts[7]) == ({7: 1, 4: 2, 5: 1}, {}, 2)
    log.add(LogEntry(2, 5.0, begun=((7, 2),)))
    log.add(LogEntry(2, 6.0, stopped=True))
    assert log.losses_so_far()[7] == 1, "it was told to stop"
    log.add(LogEntry(3, 7.0, "i-c"))
    log.add(LogEntry(3, 8.0, begun=((7, 2),)))
    log.add(LogEntry(3, 9.0, ended=MapEnd("Halted.", True)))
    log.add(LogEntry(4, 9.0, "i-d"))
    assert log.losses == {7: 1, 4: 2, 5: 1}


@pytest.mark.parametrize(
    "change",
    [
        {"begun": [[1]]},
        {"begun": [[1, 0]]},
        {"begun": [["1", 1]]},
        {"begun": [[-1, 1]]},
        {"begun": {"1": 1}},
        {"begun": [[True, 1]]},
        {"lost": [1 << 40]},
        {"lost": [None]},
        {"lost": 3},
        {"stopped": "yes"},
        {"stopped": True, "noticed": 1},
    ],
)
def test_an_entry_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        parse_entry(json.dumps({**json.loads(encode_entry(LogEntry(1, 1.0))), **change}).encode())


def _outcome(**change: object) -> bytes:
    told = json.loads(encode_entry(LogEntry(1, 1.0, None, (FAILED,))))
    told["outcomes"][0].update(change)
    return json.dumps(told).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"index": -1},
        {"index": 1 << 40},
        {"index": None},
        {"state": "fine"},
        {"exit_code": 0},
        {"exit_code": 256},
        {"run": None},
        {"run": "../../x"},
        {"server": "i-0/../x"},
        {"stdout": {"size": 3, "content": "AAAAAA=="}},
        {"stdout": {"size": 3, "content": "A\u0000"}},
        {"stderr": {"size": 3, "kept": 4}},
        {"results": [["../x", 1, SHA]]},
        {"results": [["/x", 1, SHA]]},
        {"results": [["a\udcff", 1, SHA]]},
        {"results": [["x", 1, SHA], ["x", 1, SHA]]},
        {"results": [["x", 1]]},
        {"seconds": float("inf")},
        {"signal": "kill"},
    ],
)
def test_an_outcome_that_is_none_is_refused(change: dict[str, object]) -> None:
    parse_entry(_outcome())
    with pytest.raises(Malformed):
        parse_entry(_outcome(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"argv": []},
        {"servers": 0},
        {"halt": {"share": 2}},
        {"script": "x"},
        {"resumes": {"failed": 1}},
        {"resumes": {"job": "../x"}},
        {"resumes": {"job": "x", "failed": -1}},
        {"inputs": [{"index": 1, "text": "a", "losses": -1}]},
        {"inputs": [{"index": 1, "text": "a"}, {"index": 1, "text": "b"}]},
        {"inputs": [{"index": 1, "text": "a\0"}]},
        {"inputs": [{"index": 1}]},
        {"inputs": [{"index": 1, "text": "a", "blob": {"sha256": SHA, "size": 1, "name": "../x"}}]},
        {"inputs": [{"index": 1, "text": "a", "blob": {"sha256": "x", "size": 1, "name": "x"}}]},
    ],
)
def test_a_map_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        parse_spec(json.dumps({**json.loads(encode_spec(SPEC)), **change}).encode())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
_EXAMPLES = [
    encode_spec(SPEC),
    encode_entry(LogEntry(1, 1.0, "i-a", (FAILED,), MapEnd("x"), ((1, 1),), (2,), True)),
    json.dumps(write(PROGRESS)).encode(),
]


@given(st.data())
def test_whatever_a_server_writes_is_parsed_or_refused(data: st.DataObject) -> None:
    told = json.loads(data.draw(st.sampled_from(_EXAMPLES)))
    where = told
    while isinstance(where, dict | list) and where:
        key = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
        if not isinstance(where[key], dict | list) or not where[key] or data.draw(st.booleans()):
            where[key] = data.draw(_JSON)
            break
        where = where[key]
    for reading in (parse_spec, parse_entry, lambda data: parse(Progress, data, PROGRESS_LIMIT)):
        try:
            reading(json.dumps(told).encode())
        except Malformed as error:
            assert str(error)


@given(st.binary(max_size=200))
def test_whatever_bytes_are_there_are_refused_in_words(content: bytes) -> None:
    for reading in (parse_spec, parse_entry, lambda data: parse(Progress, data, PROGRESS_LIMIT)):
        with pytest.raises(Malformed):
            reading(content)


def test_the_server_can_write_none_of_what_the_client_has() -> None:
    keys = MapKeys("x")
    assert keys.spec == "jobs/x/in/map.json"
    assert keys.blob(SHA) == f"jobs/x/in/map/blobs/{SHA}"
    assert keys.log_entry(12) == "jobs/x/server/map/log/00000012"
    assert keys.run(3, "ab") == "jobs/x/server/map/runs/00000003-ab/"
    assert keys.progress == "jobs/x/server/map/progress.json"
