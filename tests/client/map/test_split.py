"""Cutting CSV and JSON lines between rows."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.client.errors import UsageError
from skylift.client.map import split
from skylift.client.map.split import split_file

CELLS = st.text(st.sampled_from('ab,;"\n\r é'), max_size=8)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=20).map(
        lambda rows: [[f"column{number}" for number in range(width)], *rows]
    )
)


def parts_of(name: str, data: bytes, most: int) -> list[bytes]:
    """What each part's program reads."""
    parts = split_file(name, io.BytesIO(data), most)
    whole = [part.header + data[part.begin : part.end] for part in parts]
    assert [len(each) for each in whole] == [part.size for part in parts]
    return whole


def rows_of(data: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter))


@given(TABLES, st.integers(1, 200), st.sampled_from("\n \r\n".split(" ")), st.sampled_from(",;\t|"), st.booleans())
def test_the_parts_of_a_csv_file_have_its_rows_each_once(
    table: list[list[str]], most: int, ending: str, delimiter: str, last_ends: bool
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL).writerows(table)
    data = text.getvalue().removesuffix("" if last_ends else ending).encode()
    parts = [rows_of(part, delimiter) for part in parts_of("a.csv", data, most)]
    assert all(part[0] == table[0] for part in parts)
    assert [row for part in parts for row in part[1:]] == table[1:]


@given(st.text(st.sampled_from('a,;"\n\r'), max_size=60), st.integers(1, 40))
def test_whatever_a_csv_file_has_its_rows_stay_whole_or_it_is_refused(text: str, most: int) -> None:
    data = b"one,two,three\n" + text.encode()
    try:
        parts = parts_of("a.csv", data, most)
    except UsageError:
        return
    rows = [row for part in parts for row in rows_of(part)[1:]]
    assert rows == rows_of(data)[1:]
    assert b"".join(part[14:] for part in parts) == data[14:]


@given(st.lists(st.recursive(st.none() | st.integers() | CELLS, lambda inner: st.lists(inner, max_size=3))), st.data())
def test_the_parts_of_json_lines_have_its_lines_each_once(values: list[object], draw: st.DataObject) -> None:
    data = "\n".join(map(json.dumps, values)).encode() + (b"\n" if draw.draw(st.booleans()) and values else b"")
    parts = parts_of("a.jsonl", data, draw.draw(st.integers(1, 100)))
    assert b"".join(parts) == data
    assert [json.loads(line) for part in parts for line in part.splitlines()] == values


@given(TABLES, st.integers(60, 200), st.sampled_from([1, 2, 7, 64]))
def test_a_part_is_no_larger_than_asked_for_unless_it_is_one_row(table: list[list[str]], most: int, read: int) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(table)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(split, "_READ", read)
        parts = parts_of("a.tsv" if len(table[0]) == 1 else "a.csv", text.getvalue().encode(), most)
    assert all(len(part) <= most or len(rows_of(part)) == 2 for part in parts)


def test_parts_are_filled() -> None:
    data = b"a,b\n" + b"1,2\n" * 100
    assert {len(part) for part in parts_of("a.csv", data, 44)} == {44}


def test_a_file_with_a_header_alone_or_nothing_is_one_part() -> None:
    assert parts_of("a.csv", b"a,b\n", 100) == [b"a,b\n"]
    assert parts_of("a.csv", b"", 100) == [b""]
    assert parts_of("a.jsonl", b"", 100) == [b""]


def test_a_mark_of_the_order_of_bytes_stays_with_the_header() -> None:
    parts = parts_of("a.csv", b"\xef\xbb\xbfa,b\n1,2\n3,4\n", 12)
    assert parts == [b"\xef\xbb\xbfa,b\n1,2\n", b"\xef\xbb\xbfa,b\n3,4\n"]


@pytest.mark.parametrize(
    ("name", "data", "word"),
    [
        ("a.csv", gzip.compress(b"a,b\n", mtime=0), "packed (gzip)"),
        ("a.csv.gz", gzip.compress(b"a,b\n", mtime=0), "packed (gzip)"),
        ("a.txt", b"a\n", "only CSV"),
        ("a.json", b"[1,\n2]\n", "only CSV"),
        ("a.csv", "a,b\n".encode("utf-16"), "UTF-16"),
        ("a.csv", b'a,b\n1,5" pipe\n', "at byte 7"),
        ("a.csv", b'a,b\n1,"x"y\n', "at byte 9"),
        ("a.csv", b"a,b\r1,2\r", "at byte 4"),
        ("a.jsonl", b'{\n "a": 1\n}\n', "line at byte 0"),
        ("a.jsonl", b"[" * 100_000, "line at byte 0"),
    ],
)
def test_what_cannot_be_split_is_refused(name: str, data: bytes, word: str) -> None:
    with pytest.raises(UsageError) as refused:
        parts_of(name, data, 5)
    assert word in refused.value.message


def test_a_quote_that_is_never_closed_is_not_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "LONGEST_ROW", 1 << 10)
    monkeypatch.setattr(split, "_READ", 256)
    file = io.BytesIO(b'a,b\n1,"' + b"x,y\n" * 10_000)
    with pytest.raises(UsageError, match="the row at byte 4 has more than"):
        split_file("a.csv", file, 100)
    assert file.tell() < 3000
