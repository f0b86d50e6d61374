"""What a server reports of an input that runs: it may be a program's own words."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from skylift.client.map.live import LIVE_LIMIT, LiveStream, parse_live
from skylift.contract.document import Malformed

STREAM = {"start": 3, "content": base64.b64encode(b"abc").decode()}
GOOD = {
    "run": "0123456789abcdef",
    "attempt": 2,
    "written": 1.5,
    "stdout": STREAM,
    "stderr": {"start": 0, "content": ""},
}


def test_a_report_has_the_end_of_both_streams() -> None:
    found = parse_live(json.dumps({**GOOD, "more": 1}).encode())
    assert (found.stdout, found.stderr) == (LiveStream(3, b"abc"), LiveStream(0, b""))
    assert found.stdout.end == 6


@pytest.mark.parametrize(
    "changes",
    [
        *({each: None} for each in GOOD),
        {"run": "../../x"},
        {"run": 7},
        *({"attempt": each} for each in (0, "2", 1.5, 1 << 32)),
        {"written": "now"},
        {"written": -1},
        {"stdout": []},
        *({"stdout": {**STREAM, **each}} for each in ({"start": -1}, {"start": "3"}, {"start": 1 << 63})),
        *({"stdout": {**STREAM, "content": each}} for each in ("%", None, 5, "YWJj\nYWJj", "A" * (64 << 11))),
    ],
)
def test_a_report_of_another_form_is_none(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse_live(json.dumps({**GOOD, **changes}).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b" " * (LIVE_LIMIT + 1)])
def test_what_is_no_report_is_none(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_live(data)


@pytest.mark.parametrize(
    ("offset", "after"), [(0, (3, b"abc")), (3, (0, b"abc")), (5, (0, b"c")), (6, (0, b"")), (99, (0, b""))]
)
def test_what_a_reader_has_already_is_passed_over(offset: int, after: tuple[int, bytes]) -> None:
    assert LiveStream(3, b"abc").after(offset) == after
