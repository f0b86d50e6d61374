"""Every file that a server can write, against the one place that reads them: a type whose values hold, or one error."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile_json import HOST_KEYS, KEY, MANIFEST, STATUS, encoded, files, values

from skylift.client.errors import RecordDamaged
from skylift.client.job.record import parse_record
from skylift.client.job.server_record import (
    parse_host_keys,
    parse_manifest,
    parse_status,
    parse_stdin_taken,
    parse_times,
    piece_offset,
)
from skylift.contract.document import Malformed, parse, write
from skylift.contract.states import ENDED, UNDER_WAY
from skylift.contract.status import STATUS_LIMIT
from skylift.contract.stream import FRAME_LIMIT, Gauge, Offsets, Skip

PLACE = "jobs/x/server/file.json"


def test_what_a_supervisor_writes_is_read_whole() -> None:
    status = parse_status(PLACE, json.dumps(STATUS).encode())
    assert (status.state, status.final, status.exit_code, status.role) == ("succeeded", True, 0, "skylift-x")
    assert (status.cut.stdout, status.notice) == ((1, 2), (1769860800.0, "terminate"))
    assert parse_status(PLACE, json.dumps(write(status)).encode()) == status
    # What is null need not be written.
    tries = [{name: value for name, value in each.items() if value is not None} for each in STATUS["tries"]]
    assert {**STATUS, **json.loads(json.dumps(write(status)))} == {**STATUS, "tries": tries}
    assert parse_host_keys(
        PLACE, json.dumps({**HOST_KEYS, "keys": [f"{KEY} root@x", "ssh-dss AAAA"]}).encode()
    ).keys == (KEY,)
    assert [each.path for each in parse_manifest(PLACE, json.dumps(MANIFEST).encode()).results] == ["out/a", "out/b"]


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("kept_until", "soon", "`kept_until` is not a number"),
        ("kept_until", 1e300, "`kept_until` is not between 0 and 2.53402e+11"),
        ("state", "\x1b[2Jgone", r"`state` cannot be '\x1b[2Jgone'"),
        ("state", "running", "the state running is not the last one"),
        ("exit_code", 256, "`exit_code` is not between 0 and 255"),
        ("exit_code", True, "`exit_code` is not a whole number"),
        ("booted", "2026-02-30T00:00:00Z", "`booted` cannot be '2026-02-30T00:00:00Z'"),
        ("role", "../precious", "`role` cannot be '../precious'"),
        ("instance", "i-1;reboot", "`instance` cannot be 'i-1;reboot'"),
        ("cut", {"stdout": [1]}, "`stdout` is not a list of 2"),
        ("reason", ["x"], "`reason` is not text"),
        ("reason", "x" * 65537, "`reason` has more than 65536 characters"),
    ],
)
def test_the_reason_is_told(field: str, value: object, why: str) -> None:
    with pytest.raises(RecordDamaged) as caught:
        parse_status(PLACE, json.dumps({**STATUS, field: value}).encode())
    assert (caught.value.key, caught.value.why) == (PLACE, why)
    assert "skylift rm x" in caught.value.advice


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"[1,2]", "it is not an object"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"\xff", "it is not UTF-8"),
        (b"{", "it is not JSON"),
        (b'{"state": NaN}', "it is not JSON"),
        (b'{"attempt": ' + b"1" * 5000 + b"}", "it is not JSON"),
        (b" " * (STATUS_LIMIT + 1), f"it has more than {STATUS_LIMIT} bytes"),
    ],
)
def test_what_is_no_object_at_all(data: bytes, why: str) -> None:
    with pytest.raises(RecordDamaged, match=re.escape(why)):
        parse_status(PLACE, data)


@pytest.mark.parametrize(
    "user", ["-oProxyCommand=x", "", "Root", "a b", "a\n", "a" * 33, "1a", "a@b", "ä", None, 1, ["ec2-user"]]
)
def test_who_is_no_login_user(user: object) -> None:
    with pytest.raises(RecordDamaged, match="user"):
        parse_host_keys(PLACE, json.dumps({**HOST_KEYS, "user": user}).encode())


@pytest.mark.parametrize(
    "keys",
    [[], ["ssh-dss AAAA"], ["-oProxyCommand=x"], ["ssh-ed25519"], ["ssh-ed25519 !"], ["ssh-rsa " + KEY[12:]], [1], "x"],
)
def test_what_is_no_host_key(keys: object) -> None:
    with pytest.raises(RecordDamaged, match="keys"):
        parse_host_keys(PLACE, json.dumps({**HOST_KEYS, "keys": keys}).encode())


@given(files(STATUS))
def test_any_status(data: bytes) -> None:
    try:
        found = parse_status(PLACE, data)
    except RecordDamaged:
        return
    assert found.state in (*UNDER_WAY, *ENDED)
    assert found.final == (found.state in ENDED)
    assert found.exit_code is None or 0 <= found.exit_code <= 255
    assert found.role is None or not set(found.role) - set(string.ascii_letters + string.digits + "+=,.@_-")
    assert found.until(5.0).kept_until is None or 0 <= (found.until(5.0).kept_until or 0) <= 5
    assert parse_status(PLACE, json.dumps(write(found)).encode()).state == found.state


@given(files(HOST_KEYS))
def test_any_way_in(data: bytes) -> None:
    try:
        found = parse_host_keys(PLACE, data)
    except RecordDamaged:
        return
    assert re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", found.user)
    assert found.keys
    assert all(re.fullmatch(r"(ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+", each) for each in found.keys)


@given(files(MANIFEST))
def test_any_manifest(data: bytes) -> None:
    try:
        found = parse_manifest(PLACE, data)
    except RecordDamaged:
        return
    for each in found.results:
        assert each.size >= 0
        assert re.fullmatch("[0-9a-f]{64}", each.sha256)
        assert each.at is None or re.fullmatch(r"packs/[0-9a-f]{64}\.tar|files/[0-9a-f]{64}", each.at[0])
        assert each.at is None or each.at[1] >= 0
        parts = each.path.split("/")
        assert "\0" not in each.path
        assert not {"", ".", ".."} & set(parts)


@pytest.mark.parametrize(
    ("reading", "error"),
    [
        (lambda data: parse(Offsets, data, FRAME_LIMIT), Malformed),
        (lambda data: parse(Skip, data, FRAME_LIMIT), Malformed),
        (lambda data: parse(Gauge, data, FRAME_LIMIT), Malformed),
        (lambda data: parse_record("jobs/x/record.json", data), RecordDamaged),
        (lambda data: parse_stdin_taken("jobs/x/server/stdin.json", data), RecordDamaged),
        (lambda data: parse_times(PLACE, data.decode(errors="surrogateescape")), RecordDamaged),
    ],
    ids=["begin", "cut", "gauge", "record", "taken", "times"],
)
def test_anything_else_that_is_read(reading: Callable[[bytes], Any], error: type[Exception]) -> None:
    like = {"stdout": 1, "stderr": 2, "taken": 4, "stream": "stdout", "to": 3, "sha256": "a" * 64}
    record = {"created": 1, "deadline": 2, "argv": ["a"], "outputs": ["b"], "keep": 1, "terminal": {}, "choice": {}}
    marks = values.map(lambda value: encoded([0.5, [[1.0, value], value]]))

    @given(files(like) | files(record) | marks)
    def holds(data: bytes) -> None:
        try:
            reading(data)
        except error:
            return

    holds()


@given(st.text(max_size=40) | st.from_regex(r"jobs/x/server/stdout/[0-9]{18,22}\n?", fullmatch=True))
def test_any_key_of_a_piece(key: str) -> None:
    found = piece_offset(key)
    assert found is None or key.rsplit("/", 1)[-1] == f"{found:020d}"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"processor": 1.5}, "`processor` is not between 0 and 1"),
        ({"processor": "a lot"}, "`processor` is not a number"),
        ({"memory": -1}, "`memory` is not between"),
        ({"memory_limit": 0}, "`memory_limit` is not between"),
        ({"doing": "x" * 201}, "`doing` has more than 200"),
        ({"doing": ["x"]}, "`doing` is not text"),
        ({"sending": [1]}, "`sending` is not an object"),
        ({"sending": {"files": 1, "files_sent": 2}}, "`sending` has more sent than there is"),
        ({"sending": {"size": 1 << 63}}, "`size` is not between"),
    ],
)
def test_what_no_server_measures(told: object, why: str) -> None:
    with pytest.raises(Malformed, match=re.escape(why)):
        parse(Gauge, json.dumps(told).encode(), FRAME_LIMIT)
