"""CBOR documents: the examples of RFC 8949's appendix A, and what is none."""

from __future__ import annotations

import math
import tracemalloc
from datetime import UTC, datetime
from io import BufferedReader, BytesIO
from typing import Any

import pytest
from botocore.parsers import RpcV2CBORParser
from botocore.serialize import create_serializer
from botocore.session import get_session
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
    "a key that is not text": "a10102",
    "the same key twice": "a2616101616102",
    "a tag on a tag": "c1c100",
    "a timestamp that is true": "c1f5",
    "a key that is bytes": "a1416100",
    "a date that is text": "c16161",
    "a date far away": "c11bffffffffffffffff",
    "a date that is no number": "c1f97e00",
    "a simple value that is not known": "f0",
    "a break with nothing to break": "ff",
    "a piece of another kind": "7f4101ff",
    "a list in a list in a list": "81" * 100_000 + "00",
    "a map in a map in a map": "a16161" * 100_000 + "00",
    "a moment of a moment of a moment": "c1" * 100_000 + "00",
    "a list one deeper than there are": "81" * (cbor.DEEPEST + 1) + "00",
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


TAGS = {
    0: "6a323031332d30332d3231",
    2: "41ff",
    3: "41ff",
    4: "821b7fffffffffffffff01",
    5: "821b7fffffffffffffff01",
    25: "00",
    28: "80",
    29: "00",
    30: "820102",
    35: "6428612b29",
    36: "6161",
    37: "50" + "00" * 16,
    100: "00",
    256: "80",
    258: "80",
    260: "447f000001",
    43000: "820000",
    55799: "00",
    2**64 - 1: "00",
}
"""Tags that CBOR has and AWS's protocol has not, each with an item that is right for it."""


@pytest.mark.parametrize("tag", TAGS)
def test_no_tag_but_that_of_a_moment_is_read(tag: int) -> None:
    head = cbor.dumps(tag)
    coded = bytes([head[0] | 0xC0]) + head[1:] + bytes.fromhex(TAGS[tag])
    with pytest.raises(ValueError, match="a tag that is not"):
        cbor.loads(b"\xa1\x61a" + coded)


def test_a_document_is_as_deep_as_any_shape_and_no_deeper() -> None:
    found = cbor.loads(bytes.fromhex("81" * cbor.DEEPEST + "00"))
    for _ in range(cbor.DEEPEST):
        (found,) = found
    assert found == 0


@pytest.mark.parametrize(
    "coded", ["9a7fffffff", "9b0fffffffffffffff", "ba7fffffff", "5a7fffffff", "7b00ffffffffffffff"]
)
def test_nothing_gets_room_before_it_is_there(coded: str) -> None:
    with pytest.raises(ValueError):
        cbor.loads(b"")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            cbor.loads(bytes.fromhex(coded))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


MOMENT = datetime(2026, 11, 28, 9, 30, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize("value", [0.1, -1e300, math.inf, -math.inf, math.nan, 2**63 - 1, -(2**63), "ä€😀", b"\0\xff"])
def test_botocore_reads_what_is_written(value: Any) -> None:
    assert repr(RpcV2CBORParser().parse_data_item(BufferedReader(BytesIO(cbor.dumps(value))))) == repr(value)


def test_botocore_reads_a_moment_as_it_is() -> None:
    """It makes a moment of it once it knows the shape."""
    assert RpcV2CBORParser().parse_data_item(BufferedReader(BytesIO(cbor.dumps(MOMENT)))) == MOMENT


def test_what_botocore_writes_is_read() -> None:
    cloudwatch = get_session().get_service_model("cloudwatch")
    datum = {"MetricName": "ä", "Timestamp": MOMENT, "Value": 1.5, "Values": [0.1, 1e300], "StorageResolution": 60}
    asked = {"Namespace": "n", "MetricData": [datum]}
    sent = create_serializer("smithy-rpc-v2-cbor").serialize_to_request(
        asked, cloudwatch.operation_model("PutMetricData")
    )
    assert cbor.loads(sent["body"]) == asked


def test_half_a_pair_of_surrogates_is_replaced() -> None:
    assert cbor.loads(cbor.dumps({"\ud800": "a\udfffb"})) == {"?": "a?b"}


def test_what_has_no_form_is_no_document() -> None:
    with pytest.raises(TypeError):
        cbor.dumps({"a": object()})


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        found = cbor.loads(data)
    except ValueError:
        return
    assert not isinstance(found, Exception)
