"""CBOR documents: the examples of RFC 8949's appendix A, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.cloud.wire import cbor

EXAMPLES: list[tuple[str, Any]] = [
    ("00", 0),
    ("17", 23),
    ("1818", 24),
    ("1903e8", 1000),
    ("1a000f4240", 1000000),
    ("1bffffffffffffffff", 18446744073709551615),
    ("20", -1),
    ("3903e7", -1000),
    ("fb3ff199999999999a", 1.1),
    ("f4", False),
    ("f5", True),
    ("f6", None),
    ("4401020304", b"\x01\x02\x03\x04"),
    ("62c3bc", "\u00fc"),
    ("80", []),
    ("83010203", [1, 2, 3]),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ("c11a514b67b0", datetime(2013, 3, 21, 20, 4, tzinfo=UTC)),
    ("c1fb41d452d9ec200000", datetime(2013, 3, 21, 20, 4, 0, 500000, tzinfo=UTC)),
]
ONLY_READ: list[tuple[str, Any]] = [
    ("f93c00", 1.0),
    ("fa47c35000", 100000.0),
    ("f97c00", float("inf")),
    ("f7", None),
    ("9fff", []),
    ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
    ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
    ("7f657374726561646d696e67ff", "streaming"),
    ("5f42010243030405ff", b"\x01\x02\x03\x04\x05"),
]
NONE: dict[str, str] = {
    "nothing": "",
    "two items": "0000",
    "a text that is cut": "6261",
    "a list that says it is endless and is not": "9f01",
    "a list longer than the world": "9bffffffffffffffff",
    "bytes longer than the world": "5bffffffffffffffff",
    "a reserved length": "1c",
    "text that is no UTF-8": "61ff",
    "a key that is no text": "a10102",
    "the same key twice": "a2616101616102",
    "a tag of another kind": "c24101",
    "a date that is text": "c16161",
    "a date far away": "c11bffffffffffffffff",
    "a date that is no number": "c1f97e00",
    "a simple value without a meaning": "f0",
    "a break with nothing to break": "ff",
    "a piece of another kind": "7f4101ff",
    "a list in a list in a list": "81" * 100_000 + "00",
}


@pytest.mark.parametrize(("coded", "value"), EXAMPLES)
def test_an_example_is_read_and_written(coded: str, value: Any) -> None:
    found = cbor.loads(bytes.fromhex(coded))
    assert found == value
    assert type(found) is type(value)
    assert cbor.dumps(value).hex() == coded


@pytest.mark.parametrize(("coded", "value"), ONLY_READ)
def test_other_forms_of_a_value_are_read(coded: str, value: Any) -> None:
    assert cbor.loads(bytes.fromhex(coded)) == value


@pytest.mark.parametrize("coded", NONE.values(), ids=list(NONE))
def test_what_is_no_document_is_refused(coded: str) -> None:
    with pytest.raises(ValueError):
        cbor.loads(bytes.fromhex(coded))


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        found = cbor.loads(data)
    except ValueError:
        return
    assert not isinstance(found, Exception)
