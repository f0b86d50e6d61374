"""Cuts large files into parts between two rows: CSV, whose header each part repeats, and JSON lines.

A file is refused unless it is certain where its rows end: a cut within a quoted text would change what the program
reads, and nobody would notice. So quotes must stand around a whole field, as RFC 4180 has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO

from skylift.client.errors import UsageError
from skylift.client.text.visible import shown

LONGEST_ROW = 16 << 20
"""The most bytes of a row. A longer one is more likely a quote that is never closed."""
_READ = 1 << 20
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class FileRange:
    """Bytes [begin, end) of a file, behind its header."""

    begin: int
    end: int
    header: bytes = b""

    @property
    def size(self) -> int:
        return len(self.header) + self.end - self.begin


def split_file(name: str, file: IO[bytes], most: int) -> list[FileRange]:
    """The parts of an open file of this name, in their order, each of at most `most` bytes where its rows allow it: a
    part has one row at least. A file without rows is one part. Raises UsageError for what cannot be split."""
    start = file.read(_READ)
    file.seek(0)
    packed = [name for magic, name in _PACKED.items() if start.startswith(magic)]
    if packed:
        raise _refused(name, f"it is packed ({packed[0]}), so its rows are not known.", "Unpack it first.")
    if start.startswith(_UTF16):
        raise _refused(name, "it is UTF-16.", "Make it UTF-8: iconv -f UTF-16 -t UTF-8")
    suffix = PurePath(name).suffix.lower()
    if suffix in (".csv", ".tsv"):
        return list(_csv_parts(_Reader(name, file, _Csv(_delimiter(start, suffix))), most))
    if suffix in (".jsonl", ".ndjson"):
        return list(_json_parts(_Reader(name, file, _Lines()), most))
    raise _refused(name, "only CSV (.csv, .tsv) and JSON lines (.jsonl, .ndjson) can be.")


def _refused(name: str, why: str, advice: str = "") -> UsageError:
    return UsageError(f"--split: {shown(name)} cannot be split: {why}", advice or "Without --split it is one input.")


def _delimiter(start: bytes, suffix: str) -> bytes:
    if suffix == ".tsv":
        return b"\t"
    line = re.sub(rb'"[^"]*+"', b"", start).partition(b"\n")[0]
    return max((b",", b";", b"\t", b"|"), key=line.count)


def _csv_parts(reader: _Reader, most: int) -> Iterator[FileRange]:
    header = reader.take_row()
    begin = reader.at
    while reader.take_rows(most - len(header)):
        yield FileRange(begin, reader.at, header)
        begin = reader.at
    if begin == len(header):
        yield FileRange(0, begin)


def _json_parts(reader: _Reader, most: int) -> Iterator[FileRange]:
    begin = 0
    while row := reader.take_rows(most):
        try:
            json.loads(row.removeprefix(_BOM) or b"null")
        except (ValueError, RecursionError):
            raise _refused(reader.name, f"the line at byte {begin} is not JSON.") from None
        yield FileRange(begin, reader.at)
        begin = reader.at
    if begin == 0:
        yield FileRange(0, 0)


class _Lines:
    """Rows that are lines, as of JSON lines. Each method is asked about bytes that begin where a row begins."""

    def rows(self, data: bytes, end: int) -> int:
        """The length of all rows that end before `end`."""
        return data.rfind(b"\n", 0, end) + 1

    def row(self, data: bytes) -> int:
        """The length of the first row; 0 where it does not end."""
        return data.find(b"\n") + 1

    def mistake(self, data: bytes) -> int | None:
        """Where a row that does not end stops being one."""
        return None


class _Csv(_Lines):
    def __init__(self, delimiter: bytes) -> None:
        mark = re.escape(delimiter)
        # Nothing is tried twice: all repeats are possessive.
        quoted = rb'"[^"]*+(?:""[^"]*+)*+"'
        plain = rb'[^"\r\n' + mark + rb"]*+"
        field = rb"(?:" + quoted + rb"|" + plain + rb")"
        row = field + rb"(?:" + mark + field + rb")*+\r?\n"
        self._rows = re.compile(rb"(?:" + row + rb")*+")
        self._row = re.compile(row)
        begun = rb'(?:"[^"]*+(?:""[^"]*+)*+"?|' + plain + rb")"
        self._begun = re.compile(rb"(?:" + field + mark + rb")*+" + begun + rb"\r?")

    def rows(self, data: bytes, end: int) -> int:
        if data.find(b'"', 0, end) < 0 and data.find(b"\r", 0, end) < 0:
            return super().rows(data, end)  # the same, and some twenty times as fast
        found = self._rows.match(data, 0, end)
        return found.end() if found is not None else 0

    def row(self, data: bytes) -> int:
        found = self._row.match(data)
        return found.end() if found is not None else 0

    def mistake(self, data: bytes) -> int | None:
        found = self._begun.match(data)
        end = found.end() if found is not None else 0
        return end if end < len(data) else None


class _Reader:
    """Takes rows from a file. `at` is where the next one begins."""

    def __init__(self, name: str, file: IO[bytes], form: _Lines) -> None:
        self.name, self._file, self._form = name, file, form
        self.at = 0
        self._data, self._at_end = b"", False

    def take_row(self) -> bytes:
        """The next row; empty at the file's end."""
        while not (length := self._form.row(self._data)):
            if self._at_end:
                self._check()
                length = len(self._data)
                break
            self._read_on()
        return self._drop(length)

    def take_rows(self, most: int) -> bytes:
        """The first of the rows that fit into `most` bytes, all of which are taken; one, if none fits. Empty at the
        file's end."""
        end = self.at + most
        first = self.take_row()
        while self.at < end:
            if length := self._form.rows(self._data, min(len(self._data), end - self.at)):
                self._drop(length)
            elif len(self._data) >= end - self.at:
                break
            elif not self._at_end:
                self._read_on()
            else:
                self._check()
                self._drop(len(self._data))
                break
        return first

    def _drop(self, length: int) -> bytes:
        taken, self._data = self._data[:length], self._data[length:]
        self.at += length
        return taken

    def _read_on(self) -> None:
        self._check()
        data = self._file.read(_READ)
        self._at_end = not data
        self._data += data

    def _check(self) -> None:
        """Raises UsageError unless the row that has begun may end further on."""
        mistake = self._form.mistake(self._data)
        if mistake is not None:
            raise _refused(
                self.name,
                f"a quotation mark or a line's end at byte {self.at + mistake} is not where CSV has it (RFC 4180), "
                "so it is not certain where its rows end.",
            )
        if len(self._data) > LONGEST_ROW:
            raise _refused(self.name, f"the row at byte {self.at} has more than {LONGEST_ROW >> 20} MiB.")
