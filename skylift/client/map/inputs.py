"""Finds the inputs of a map as the user names them: files of this machine, objects of S3, or values.

    INPUT...           files, globs and s3:// places
    --inputs FILE      one a line: all of them files or s3:// objects that are there, or else all of them values
    --range A..B       numbers, both ends among them; with leading zeros where A has some
    --split SIZE       each file and object is cut into parts (split.py)

An input that is named twice is run once.
"""

from __future__ import annotations

import glob
import io
import os
import re
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from skylift.client.errors import UsageError
from skylift.client.job.job import SentFile
from skylift.client.job.requirements import MIB, read_size
from skylift.client.map.split import FileRange, split_file
from skylift.client.plan.plan_job import read_s3
from skylift.client.ship.bundle import expand, no_such
from skylift.client.ship.s3_input import S3Object, S3Source
from skylift.client.ship.sent_file import open_sent
from skylift.client.text.s3_glob import literal
from skylift.client.text.visible import shown
from skylift.contract.map_progress import MOST_INPUTS
from skylift.contract.map_spec import LONGEST_TEXT, ObjectRange

_LONGEST = LONGEST_TEXT - len("SKYLIFT_INPUT=") - 1
"""The most bytes of an input, which is an argument and the value of a variable. Both end with a null character."""
_RANGE = re.compile(r"(-?\d{1,18})\.\.(-?\d{1,18})")
_LEAST_PART = 1 << 10
_UNITS = {**MIB, "KIB": 1 / 1024, "K": 1 / 1024, "KB": 1e3 / 2**20}
"""A part may be smaller than what a server could have."""
_MOST_LISTED = 256 << 20
_MOST_SHOWN = 3
_MOST_ARNS = 20
"""The most objects of a bucket that a role's policy, of at most 10,240 characters, names one by one."""


@dataclass(frozen=True)
class InputWords:
    """Inputs as they were asked for. `listed` is what --inputs names, as text, and `listed_name` what it was called."""

    words: tuple[str, ...] = ()
    listed: bytes | None = None
    listed_name: str = "--inputs"
    numbers: str | None = None
    split: int | None = None


@dataclass(frozen=True)
class FoundInput:
    """One input. `text` is what stands for it, `name` what it is called for people and in templates. `file` is what
    travels, if it is a file here, and `part` which of its bytes. Of an object that is split, `object` says which bytes
    the server fetches."""

    text: str
    name: str
    file: SentFile | None = None
    part: FileRange | None = None
    object: ObjectRange | None = None

    @property
    def size(self) -> int:
        if self.file is None:
            return 0
        return self.file.size if self.part is None else self.part.size

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """What travels, from its start. Raises OSError, also when another file is in its place."""
        assert self.file is not None
        file = open_sent(self.file)
        return file if self.part is None else closing(io.BufferedReader(_PartFile(file, self.part), 1 << 20))


@dataclass(frozen=True)
class Inputs:
    """All inputs of a map, in their order. `arns` are objects of S3 that its program reads, as a policy names them;
    `buckets` are theirs. `notes` are for the user."""

    found: tuple[FoundInput, ...]
    arns: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Listing = Callable[[str], S3Source]
"""The objects that a s3:// place names. Raises UsageError."""
Reading = Callable[[str, S3Object], IO[bytes]]
"""The content of an object in a bucket, from its start (see s3_file.py)."""


def find_inputs(asked: InputWords, cwd: Path, listing: Listing, reading: Reading) -> Inputs:
    """Raises UsageError."""
    return _Search(asked, cwd, listing, reading).run()


def permitted(places: Sequence[str], option: str) -> tuple[list[str], list[str]]:
    """These objects as a role's policy names them, and their buckets. Raises UsageError, which begins with `option`."""
    keys = defaultdict(list)
    for each in places:
        wanted = read_s3(each, option)
        if not wanted.key:
            raise UsageError(f"{option}{shown(each)} is a bucket, not an object.")
        keys[wanted.bucket].append(wanted.key)
    arns = []
    for bucket, named in keys.items():
        if len(named) > _MOST_ARNS:
            folder = os.path.commonprefix(named).rpartition("/")[0]  # noqa: RUF071 - cut at a slash
            patterns = [f"{literal(folder)}/*" if folder else "*"]
        else:
            patterns = [literal(each) for each in named]
        arns += [f"arn:aws:s3:::{bucket}/{each}" for each in patterns]
    return arns, list(keys)


def read_split(text: str) -> int:
    """Bytes. Raises UsageError."""
    size = round(read_size(text, "--split", _UNITS, "256MiB") * (1 << 20))
    if size < _LEAST_PART:
        raise UsageError(
            f"--split {text} is less than 1KiB.", "Each part is an input, and costs a start of the program."
        )
    return size


class _Search:
    def __init__(self, asked: InputWords, cwd: Path, listing: Listing, reading: Reading) -> None:
        self._asked, self._cwd, self._listing, self._reading = asked, cwd, listing, reading
        self._objects: dict[str, tuple[S3Source, S3Object]] = {}
        self._found: dict[tuple[str, str], FoundInput] = {}
        self._twice: dict[str, None] = {}
        self._arns: dict[str, None] = {}
        self._buckets: dict[str, None] = {}

    def run(self) -> Inputs:
        asked = self._asked
        for word in asked.words:
            self._take_word(word)
        if asked.listed is not None:
            self._take_lines(_lines(asked.listed, asked.listed_name))
        if asked.numbers is not None:
            self._take_numbers(asked.numbers)
        found = list(self._found.values())
        if not found:
            raise UsageError("There are no inputs.", "Name files or globs, or use --inputs FILE or --range A..B.")
        if asked.split is not None:
            found = list(self._split(found, asked.split))
        _check_count(len(found))
        for each in found:
            _check_text(each.text)
        return Inputs(tuple(found), tuple(self._arns), tuple(self._buckets), tuple(self._notes()))

    def _notes(self) -> Iterator[str]:
        if self._twice:
            names = [shown(each) for each in self._twice]
            more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
            yield f"Named twice, and run once: {', '.join(names[:_MOST_SHOWN])}{more}."

    def _take(self, key: tuple[str, str], found: FoundInput) -> None:
        if key in self._found:
            self._twice[found.text] = None
        self._found.setdefault(key, found)
        _check_count(len(self._found))

    def _take_word(self, word: str) -> None:
        if word.startswith("s3:"):
            source = self._listing(word)
            self._arns[source.arn] = None
            self._buckets[source.bucket] = None
            for each in source.objects:
                self._take_object(source.bucket, each.key)
                self._objects[f"s3://{source.bucket}/{each.key}"] = source, each
            return
        paths = expand(self._cwd, word)
        named = not glob.has_magic(word) or paths == [self._cwd / word]
        # A glob may match folders, too: they are no inputs, unless there is nothing else.
        files = paths if named else [each for each in paths if not each.is_dir()]
        if not files:
            raise no_such(word, self._cwd)
        for path in files:
            below = not named and not Path(word).is_absolute() and not word.startswith("~")
            self._take_file(os.path.relpath(path, self._cwd) if below else word if named else str(path), path)

    def _take_file(self, text: str, path: Path) -> None:
        self._take(("file", str(path)), FoundInput(text, path.name, _sent(path, text)))

    def _take_object(self, bucket: str, key: str) -> None:
        text = f"s3://{bucket}/{key}"
        self._take(("s3", text), FoundInput(text, key.rstrip("/").rpartition("/")[2] or bucket))

    def _take_lines(self, lines: Sequence[str]) -> None:
        places = [line for line in lines if line.startswith("s3://")]
        files = [line for line in lines if not line.startswith("s3://")]
        # Not Path.is_file: a value may be longer than any name, which is no error.
        there = [line for line in files if os.path.isfile(self._cwd / line)]  # noqa: PTH113
        if there or places:
            if len(there) < len(files):
                known = set(there)
                line = next(each for each in files if each not in known)
                number, other = lines.index(line) + 1, (there or places)[0]
                raise UsageError(
                    f"{self._asked.listed_name}: line {number} names no file: {shown(line)}. Others do, like "
                    f"{shown(other)}.",
                    "Either all lines are files or objects that are there, or all are values.",
                )
            self._permit(places)
        for line in lines:
            if line.startswith("s3://"):
                wanted = read_s3(line, f"{self._asked.listed_name}: ")
                self._take_object(wanted.bucket, wanted.key)
            elif there:
                self._take_file(line, Path(os.path.normpath(self._cwd / line)))
            else:
                self._take(("value", line), FoundInput(line, line))

    def _permit(self, places: Sequence[str]) -> None:
        """Objects that are listed are not looked at one by one here: one that is gone fails by itself."""
        arns, buckets = permitted(places, f"{self._asked.listed_name}: ")
        self._arns.update(dict.fromkeys(arns))
        self._buckets.update(dict.fromkeys(buckets))

    def _take_numbers(self, text: str) -> None:
        found = _RANGE.fullmatch(text)
        if found is None:
            raise UsageError(f"--range {text!r} is not a range.", "A range is like 1..100.")
        first, last = int(found[1]), int(found[2])
        if first > last:
            raise UsageError(f"--range {text} ends before it begins.", f"Meant as {last}..{first}?")
        _check_count(last - first + 1)
        width = len(found[1]) if found[1].lstrip("-").startswith("0") and len(found[1].lstrip("-")) > 1 else 0
        for number in range(first, last + 1):
            self._take(("value", f"{number:0{width}}"), FoundInput(f"{number:0{width}}", f"{number:0{width}}"))

    def _split(self, found: Sequence[FoundInput], most: int) -> Iterator[FoundInput]:
        for each in found:
            if each.file is not None:
                yield from _parts(each, each.file, most)
            elif each.text.startswith("s3://"):
                yield from self._parts_of_object(each, most)
            else:
                raise UsageError(f"--split is for files and for objects of S3; {shown(each.text)} is neither.")

    def _parts_of_object(self, whole: FoundInput, most: int) -> Iterator[FoundInput]:
        """One that is not larger is a part, too: the program gets a file in each case."""
        if whole.text not in self._objects:
            listed = self._listing(whole.text)
            self._objects[whole.text] = listed, listed.objects[0]
        source, found = self._objects[whole.text]
        if whole.text != f"s3://{source.bucket}/{found.key}":
            raise UsageError(f"--split: {shown(whole.text)} is a folder.", f"Name its objects: {shown(whole.text)}/*")
        try:
            with self._reading(source.bucket, found) as content:
                parts = split_file(whole.text, content, most)
        except OSError as error:
            raise UsageError(f"--split: {shown(whole.text)} cannot be read: {error}") from None
        _check_count(len(parts))
        for name, part in zip(_names(whole.name, len(parts)), parts, strict=True):
            where = (source.bucket, source.region, found.key, found.etag)
            piece = ObjectRange(*where, len(part.header), part.begin, part.end, name)
            yield replace(whole, name=name, object=piece)


def _parts(whole: FoundInput, file: SentFile, most: int) -> Iterator[FoundInput]:
    try:
        with open_sent(file) as content:
            parts = split_file(str(file.path), content, most)
    except OSError as error:
        raise UsageError(f"{shown(whole.text)} cannot be read: {error.strerror}.") from None
    if len(parts) == 1:
        yield whole
        return
    _check_count(len(parts))
    for name, part in zip(_names(whole.name, len(parts)), parts, strict=True):
        yield replace(whole, name=name, part=part)


def _names(whole: str, count: int) -> list[str]:
    if count == 1:
        return [whole]
    name, width = Path(whole), max(len(str(count - 1)), 4)
    return [f"{name.stem}-{number:0{width}}{name.suffix}" for number in range(count)]


def _sent(path: Path, text: str) -> SentFile:
    """A file that the user named, wherever it is, and whatever link leads to it."""
    try:
        real = path.resolve(strict=True)
        status = real.lstat()
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "links go round in a circle"
        raise UsageError(f"{shown(text)} cannot be read: {why}.") from None
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{shown(text)} is a folder, not an input.", f"Name its files: {shown(text)}/*")
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{shown(text)} is not a regular file, so it cannot be sent.")
    if not os.access(real, os.R_OK):
        raise UsageError(f"{shown(text)} cannot be read by this user.", f"chmod u+r {shown(text)}")
    return SentFile(text, path, real, status.st_dev, status.st_ino, status.st_size)


def _lines(data: bytes, name: str) -> list[str]:
    if len(data) > _MOST_LISTED:
        raise UsageError(f"{name} has more than {_MOST_LISTED >> 20} MiB.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 text: byte {error.start}.") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return [line for line in lines if line]


def _check_count(count: int) -> None:
    if count > MOST_INPUTS:
        raise UsageError(f"There are more than {MOST_INPUTS:,} inputs.", "A larger --split, or several maps.")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise UsageError(f"The input {shown(text)} has a null character, which no argument can have.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise UsageError(f"The name of {shown(text)} is not UTF-8.", "Rename it.") from None
    if size > _LONGEST:
        raise UsageError(f"The input {shown(text)} has {size} bytes; {_LONGEST} are the most.")


class _PartFile(io.RawIOBase):
    """A part of an open file, behind its header."""

    def __init__(self, file: IO[bytes], part: FileRange) -> None:
        self._file, self._part = file, part
        self._at = -len(part.header)
        file.seek(part.begin)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        length = self._part.end - self._part.begin
        if self._at < 0:
            data = self._part.header[self._at :][: len(view)]
        else:
            data = self._file.read(min(len(view), length - self._at))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
