"""Unpacking the archives with the user's files into the job's folder."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import pwd
import re
import tarfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Set

from skylift.agent.job.outcome import Ended
from skylift.agent.machine.remove_tree import remove_below
from skylift.contract.record import Pack
from skylift.contract.states import State

_BUFFER = 1 << 20
_OCTAL = re.compile(b"[0-7]+").fullmatch


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return digest_of(file)


def digest_of(file: BinaryIO) -> str:
    """The SHA-256 of what an open file has from here on."""
    digest = hashlib.sha256()
    for piece in iter(lambda: file.read(1 << 20), b""):
        digest.update(piece)
    return digest.hexdigest()


def make_folder(path: Path, top: Path, user: pwd.struct_passwd) -> None:
    missing = [path]
    while missing[-1] != top and not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for each in reversed(missing):
        if not each.exists():
            each.mkdir(mode=0o755)
            each.chmod(0o755)
            os.chown(str(each), user.pw_uid, user.pw_gid)


def make_room(name: str, place: Path, user: pwd.struct_passwd, folders: Set[Path]) -> Path:
    """Make the folders for an input and return its path. `folders` caches the folders that were made or checked."""
    inner = os.path.normpath(name)
    target = place / inner
    if os.path.isabs(inner) or inner.split("/")[0] in ("..", "."):
        raise Ended(State.BROKEN, "An input has no place in the job's folder: %s" % name)
    if target.parent not in folders:
        make_folder(target.parent, place, user)
        if os.path.realpath(str(target.parent)) != os.path.join(
            os.path.realpath(str(place)), os.path.dirname(inner)
        ).rstrip("/"):
            raise Ended(State.BROKEN, "An input's place is behind a link: %s" % name)
        folders.add(target.parent)
    return target


def clear_away(place: Path) -> None:
    """Remove what an earlier job has left there, on a kept server, or an earlier attempt."""
    try:
        remove_below(place.parent, place)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        words = "An earlier job has left something mounted in its folder on this server (%s)." % error.filename
        raise Ended(State.BROKEN, words + " Unmount it there, or start a new server with --fresh.") from None


class Unpacking:
    """Unpacks all packs of a job, one after the other, into `place`: regular files and links only, nothing outside of
    it, all of it the login user's. The job ends if a pack does not hold what the record says.
    """

    def __init__(self, place: Path, user: pwd.struct_passwd) -> None:
        self._place, self._user = place, user
        self._folders: Set[Path] = set()
        self._folder, self._path = ".", ""
        place.parent.mkdir(parents=True, exist_ok=True)
        make_folder(place, place, user)

    def unpack(self, archive: Path, expected: Pack) -> None:
        """`expected` is the pack's entry in the record. The archive is removed after that."""
        files = size = 0
        try:
            # tarfile seeks from entry to entry: in a buffer that costs nothing, in a gzip file each time much.
            with (
                io.BufferedReader(gzip.open(str(archive)), _BUFFER) as packed,
                tarfile.open(None, "r:", packed, tarinfo=_Entry) as tar,
            ):
                for entry in tar:
                    files, size = files + 1, size + (entry.size if entry.isreg() else 0)
                    if files > expected.files or size > expected.size or entry.size < 0:
                        raise Ended(State.BROKEN, "The bundle has more in it than its record says: %s" % entry.name)
                    self._take(packed, entry)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Ended(State.BROKEN, "The bundle cannot be read: %s" % error) from None
        if (files, size) != (expected.files, expected.size):
            raise Ended(State.BROKEN, "The bundle has less in it than its record says.")
        archive.unlink()

    def _take(self, packed: BinaryIO, entry: tarfile.TarInfo) -> None:
        if not (entry.isreg() or entry.issym()) or entry.issparse():
            raise Ended(State.BROKEN, "The bundle has an entry that is neither a file nor a link: %s" % entry.name)
        target = self._target(entry.name)
        try:
            if entry.issym():
                os.symlink(entry.linkname, target)
                os.lchown(target, self._user.pw_uid, self._user.pw_gid)
            else:
                packed.seek(entry.offset_data)
                self._write(packed, entry, target)
        except FileExistsError:
            raise Ended(State.BROKEN, "The bundle has two entries of one name: %s" % entry.name) from None

    def _target(self, name: str) -> str:
        """The path for an entry in an existing folder. Most entries are in the previous entry's folder."""
        folder, _, last = name.rpartition("/")
        if folder != self._folder or name.startswith("/") or last in ("", ".", ".."):
            target = make_room(name, self._place, self._user, self._folders)
            self._folder, self._path = folder, str(target.parent)
            return str(target)
        return self._path + "/" + last

    def _write(self, packed: BinaryIO, entry: tarfile.TarInfo, target: str) -> None:
        """With few system calls: there may be thousands."""
        file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            missing = entry.size
            while missing:
                piece = packed.read(min(missing, _BUFFER))
                if not piece:
                    raise tarfile.ReadError("%s is cut short" % entry.name)
                missing -= len(piece)
                left = memoryview(piece)
                while left:
                    left = left[os.write(file, left) :]
            os.fchmod(file, entry.mode & 0o777)
            os.fchown(file, self._user.pw_uid, self._user.pw_gid)
        finally:
            os.close(file)


class _Entry(tarfile.TarInfo):
    """An entry of a pack. Nearly all headers are of regular files with short names, and three of their fields are
    needed: tarfile takes as long for the others as for writing a small file. The pack's digest has shown that its
    bytes are as sent, so the header's own checksum says nothing new."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _Entry:
        plain = (
            len(buf) == tarfile.BLOCKSIZE and buf[156:157] == tarfile.REGTYPE and buf[257:265] == tarfile.POSIX_MAGIC
        )
        name = bytes(buf[:100]).rstrip(b"\0") if plain and buf[345:346] == b"\0" else b""
        if not name.isascii() or not name or b"\0" in name:
            return super().frombuf(buf, encoding, errors)
        entry = cls(name.decode())
        mode, size = buf[100:107], buf[124:135]
        if not _OCTAL(mode) or not _OCTAL(size):
            return super().frombuf(buf, encoding, errors)
        entry.mode, entry.size = int(mode, 8), int(size, 8)
        return entry
