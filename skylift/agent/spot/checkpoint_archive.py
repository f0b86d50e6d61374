"""Packing a checkpoint's folder into a tar archive, and unpacking it.

Everything is restored: sparse files, hard links, symbolic links, empty folders, modes and times. A symbolic link that
leads out of the folder, a socket, a FIFO or a device is refused by name. Nothing in an archive is trusted: an earlier
server of the job has written it, or a program there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tarfile
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, NamedTuple, Tuple

from skylift.agent.machine.walk import walk
from skylift.agent.results.open_result import path_of

_BLOCK = tarfile.BLOCKSIZE
_PIECE = 1 << 20
_LONGEST = 4_000
"""Bytes of the longest path. The kernel takes 4,095, and where a checkpoint is restored, its paths may be longer."""
_MOST_SHOWN = 200
_TIME = re.compile(r"(-?\d{1,12})\.(\d{9})")
_KINDS = (
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

Span = Tuple[int, int]
"""The offset and the length of data in a sparse file, in bytes."""


class CannotCheckpoint(Exception):
    """Something cannot be a checkpoint. The text says why, for the user."""


class WrittenWhileRead(Exception):
    """The checkpoint was written while it was read."""


class Damaged(Exception):
    """An archive that this module has not made."""


class Owner(NamedTuple):
    uid: int
    gid: int


def open_file(path: str) -> int:
    """Open a regular file and nothing else: opening a FIFO would block."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode):
        os.close(file)
        raise CannotCheckpoint("%s is %s, which cannot be kept." % (shown(path), _kind(mode)))
    return file


def shown(name: str) -> str:
    """The beginning of a file name as text. It may be any bytes."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."


def _kind(mode: int) -> str:
    return next((words for test, words in _KINDS if test(mode)), "no file")


def pack(top: Path, file: BinaryIO) -> None:
    """Raises CannotCheckpoint, WrittenWhileRead or OSError."""
    folder = os.open(str(top), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with tarfile.open(
            fileobj=file, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
        ) as tar:
            own = "/proc/self/fd/%d" % folder
            packing = _Packing(tar, own + "/.", (os.readlink(own), str(top)))
            for inner, found in walk(packing.place):
                packing.take(inner, found)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        inner = shown(str(error.filename).partition("/./")[2])
        raise CannotCheckpoint(
            "%s is at a path of more than %d bytes, which cannot be kept." % (inner, _LONGEST)
        ) from None
    finally:
        os.close(folder)


class _Packing:
    """`place` is a path of the folder that users cannot redirect. `tops` are the paths that links may name the folder
    by."""

    def __init__(self, tar: tarfile.TarFile, place: str, tops: Tuple[str, str]) -> None:
        self._tar, self.place, self._tops = tar, place, tops
        self._names: Dict[Tuple[int, int], str] = {}

    def take(self, inner: str, found: os.stat_result) -> None:
        entry = tarfile.TarInfo(inner or ".")
        entry.mode = found.st_mode & 0o777
        entry.pax_headers = {"mtime": "%d.%09d" % divmod(found.st_mtime_ns, 10**9)}
        known, full = (found.st_dev, found.st_ino), os.path.join(self.place, inner)
        if len(os.fsencode(os.path.join(self._tops[0], inner))) > _LONGEST:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), full)
        if stat.S_ISDIR(found.st_mode):
            entry.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(found.st_mode):
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(full)
            _check_link(self._tops, inner, entry.linkname, full)
        elif not stat.S_ISREG(found.st_mode):
            raise CannotCheckpoint("%s is %s, which a checkpoint cannot have." % (shown(inner), _kind(found.st_mode)))
        elif known in self._names:
            entry.type, entry.linkname = tarfile.LNKTYPE, self._names[known]
        else:
            self._names[known] = inner
            return _pack_file(self._tar, full, entry, found)
        self._tar.addfile(entry)
        return None


def _check_link(tops: Tuple[str, str], inner: str, target: str, full: str) -> None:
    real = tops[0]
    # The kernel follows a few dozen links; os.path.realpath any number, and calls itself for each.
    with contextlib.suppress(OSError):  # of a link that leads nowhere
        found = os.open(full, os.O_PATH | os.O_CLOEXEC)
        try:
            real = path_of(found)
        finally:
            os.close(found)
    if not (_is_inside(real, tops[:1]) and leads_inside(tops, inner, target)):
        text = "%s is a link to %s, which is not in the checkpoint's folder."
        raise CannotCheckpoint(text % (shown(inner), shown(target)))


def leads_inside(tops: Tuple[str, ...], inner: str, target: str) -> bool:
    """Whether a link in the folder points into it, by its text. `tops` are the folder's absolute paths."""
    return _is_inside(os.path.normpath(os.path.join(tops[0], os.path.dirname(inner), target)), tops)


def _is_inside(path: str, tops: Tuple[str, ...]) -> bool:
    return any(path == top or path.startswith(top + os.sep) for top in tops)


def _pack_file(tar: tarfile.TarFile, full: str, entry: tarfile.TarInfo, before: os.stat_result) -> None:
    with os.fdopen(os.open(full, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as source:
        found = os.fstat(source.fileno())
        if (found.st_dev, found.st_ino) != (before.st_dev, before.st_ino):
            raise WrittenWhileRead(full)
        entry.size = found.st_size
        spans = _spans(source.fileno(), found.st_size) if found.st_blocks * 512 < found.st_size else None
        if spans is None:
            try:
                return tar.addfile(entry, source)
            except OSError as error:
                if error.errno is None:  # tarfile's own: there was less to read
                    raise WrittenWhileRead(full) from None
                raise
        head = _sparse_head(entry, spans)
        target = tar.fileobj
        assert target is not None
        target.write(head)
        for start, size in spans:
            source.seek(start)
            _copy(source, target, size, WrittenWhileRead(full))
        size = len(head) + sum(size for _, size in spans)
        padding = -size % _BLOCK
        target.write(bytes(padding))
        tar.offset += size + padding
    return None


def _spans(file: int, size: int) -> List[Span]:
    """The spans with data. On a file system without sparse files, the whole file is one span."""
    spans, end = [], 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        end = min(os.lseek(file, start, os.SEEK_HOLE), size)
        spans.append((start, end - start))
    return spans


def _sparse_head(entry: tarfile.TarInfo, spans: List[Span]) -> bytes:
    """The header of a sparse file as GNU tar writes it (format 1.0), which Python can read but not write:
    https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html
    The size is in the header itself. In a pax header, Python would take the file's size for its data's size."""
    numbers = [len(spans) + 1, *(number for span in spans for number in span), entry.size, 0]
    table = b"".join(b"%d\n" % number for number in numbers)
    table += bytes(-len(table) % _BLOCK)
    fields = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": entry.name,
        "GNU.sparse.realsize": str(entry.size),
        **entry.pax_headers,
    }
    records = b"".join(map(_record, fields.items()))
    head, data = tarfile.TarInfo("PaxHeader"), tarfile.TarInfo("GNUSparseFile.0")
    head.type, head.size = tarfile.XHDTYPE, len(records)
    data.mode, data.size = entry.mode, len(table) + sum(size for _, size in spans)
    records += bytes(-len(records) % _BLOCK)
    # Larger numbers do not fit into the header that GNU tar expects here.
    plain = data.tobuf(tarfile.USTAR_FORMAT) if data.size < 8 << 30 else data.tobuf(tarfile.GNU_FORMAT)
    return head.tobuf(tarfile.USTAR_FORMAT) + records + plain + table


def _record(field: Tuple[str, str]) -> bytes:
    """ "LENGTH NAME=VALUE\\n". The length includes its own digits."""
    rest = (" %s=%s\n" % field).encode("utf-8", "surrogateescape")
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def _copy(source: Any, target: Any, size: int, short: Exception) -> None:
    while size:
        piece = source.read(min(size, _PIECE))
        if not piece:
            raise short
        target.write(piece)
        size -= len(piece)


class CheckpointUnpacking:
    """Unpacks an archive into a new folder, which no other user may enter. `tops` are the paths that the folder will
    have in its final place. Nothing is written through a link: links are made last, each path may appear once, and its
    parent must be a folder of the archive.
    """

    def __init__(self, archive: Path, place: Path, tops: Tuple[str, ...], owner: Owner) -> None:
        self._archive, self._place, self._tops, self._owner = archive, str(place), tops, owner
        self._left = archive.stat().st_size
        self._kinds: Dict[str, str] = {}
        self._links: List[Tuple[str, str, int]] = []
        self._folders: List[Tuple[str, int, int]] = []

    def run(self) -> None:
        """Raises Damaged, or OSError if the disk is full."""
        try:
            with tarfile.open(str(self._archive), "r:", encoding="utf-8", errors="surrogateescape") as tar:
                for entry in tar:
                    self._take(tar, entry)
            self._finish()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            raise Damaged("%r" % error) from None
        except (tarfile.TarError, ValueError, ArithmeticError, LookupError, TypeError, RecursionError) as error:
            raise Damaged("%r" % error) from None
        if not self._folders:
            raise Damaged("it is empty")

    def _take(self, tar: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        inner = self._inner(entry.name)
        full = os.path.join(self._place, inner) if inner else self._place
        if entry.isdir():
            os.mkdir(full, 0o700)
            self._folders.append((full, entry.mode & 0o777, _time(entry)))
            self._kinds[inner] = "folder"
        elif entry.issym():
            if not entry.linkname or not leads_inside(self._tops, inner, entry.linkname):
                raise Damaged("%s leads out of it" % shown(inner))
            self._links.append((full, entry.linkname, _time(entry)))
            self._kinds[inner] = "link"
        elif entry.islnk():
            if self._kinds.get(entry.linkname) != "file":
                raise Damaged("%s is a link to a file that it does not have" % shown(inner))
            os.link(os.path.join(self._place, entry.linkname), full, follow_symlinks=False)
            self._kinds[inner] = "file"
        elif entry.isreg():
            self._write(tar, entry, full)
            self._kinds[inner] = "file"
        else:
            raise Damaged("%s is not a file" % shown(inner))

    def _inner(self, name: str) -> str:
        inner = "" if name == "." else name
        if "\0" in name or inner in self._kinds:
            raise Damaged("%s is there twice" % shown(name))
        if inner:
            above, last = os.path.split(inner)
            if last in ("", ".", "..") or self._kinds.get(above) != "folder":
                raise Damaged("%s does not belong in it" % shown(name))
        return inner

    def _write(self, tar: tarfile.TarFile, entry: tarfile.TarInfo, full: str) -> None:
        found: Any = entry.sparse
        spans: List[Span] = [(0, entry.size)] if found is None else found
        # A hostile table may have the same bytes any number of times.
        self._left -= sum(size for _, size in spans)
        if self._left < 0 or any(number < 0 for span in spans for number in span):
            raise Damaged("%s is larger than the whole" % shown(entry.name))
        source = tar.extractfile(entry)
        assert source is not None
        with os.fdopen(os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            for start, size in spans:
                source.seek(start)
                file.seek(start)
                _copy(source, file, size, Damaged("%s ends too early" % shown(entry.name)))
            file.truncate(entry.size)
            file.flush()
            os.fchown(file.fileno(), *self._owner)
            os.fchmod(file.fileno(), entry.mode & 0o777)
            os.utime(file.fileno(), ns=(_time(entry), _time(entry)))

    def _finish(self) -> None:
        for full, target, when in self._links:
            os.symlink(target, full)
            os.lchown(full, *self._owner)
            os.utime(full, ns=(when, when), follow_symlinks=False)
        # The innermost first: making an entry in a folder changes the folder's time.
        for full, mode, when in reversed(self._folders):
            os.lchown(full, *self._owner)
            os.chmod(full, mode)
            os.utime(full, ns=(when, when))


def _time(entry: tarfile.TarInfo) -> int:
    """Nanoseconds."""
    found = _TIME.fullmatch(entry.pax_headers.get("mtime", ""))
    return int(found.group(1)) * 10**9 + int(found.group(2)) if found else int(entry.mtime) * 10**9
