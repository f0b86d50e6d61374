"""Unpacking the archives with the user's files into the job's folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pwd
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import Any, Dict, Set

from skylift.runner.server.outcome import Ended
from skylift.runner.server.status import State

_BUFFER = 1 << 20


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def make_folder(path: Path, top: Path, user: pwd.struct_passwd) -> None:
    if path != top and not path.parent.exists():
        make_folder(path.parent, top, user)
    if not path.exists():
        path.mkdir(mode=0o755)
        path.chmod(0o755)
        os.chown(str(path), user.pw_uid, user.pw_gid)


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
    """Remove the files that an earlier job has left there, on a kept server."""
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(str(place))


class Unpacking:
    """Unpacks all packs of a job, one after the other, into `place`: regular files and links only, nothing outside of
    it, all of it the login user's. The job ends if a pack does not hold what the record says.
    """

    def __init__(self, place: Path, user: pwd.struct_passwd) -> None:
        self._place, self._user = place, user
        self._folders: Set[Path] = set()
        place.parent.mkdir(parents=True, exist_ok=True)
        make_folder(place, place, user)

    def unpack(self, archive: Path, expected: Dict[str, Any]) -> None:
        """`expected` is the pack's entry in the record: `files` and `size`. The archive is removed after that."""
        files = size = 0
        try:
            # tarfile seeks from entry to entry: in a buffer that costs nothing, in a gzip file each time much.
            with io.BufferedReader(gzip.open(str(archive)), _BUFFER) as packed, tarfile.open(None, "r:", packed) as tar:
                for entry in tar:
                    files, size = files + 1, size + (entry.size if entry.isreg() else 0)
                    if files > expected["files"] or size > expected["size"]:
                        raise Ended(State.BROKEN, "The bundle has more in it than its record says: %s" % entry.name)
                    self._take(tar, entry)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Ended(State.BROKEN, "The bundle cannot be read: %s" % error) from None
        if (files, size) != (expected["files"], expected["size"]):
            raise Ended(State.BROKEN, "The bundle has less in it than its record says.")
        archive.unlink()

    def _take(self, tar: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        if not (entry.isreg() or entry.issym()):
            raise Ended(State.BROKEN, "The bundle has an entry that is neither a file nor a link: %s" % entry.name)
        target = make_room(entry.name, self._place, self._user, self._folders)
        try:
            if entry.issym():
                os.symlink(entry.linkname, str(target))
                os.lchown(str(target), self._user.pw_uid, self._user.pw_gid)
            else:
                self._write(tar, entry, target)
        except FileExistsError:
            raise Ended(State.BROKEN, "The bundle has two entries of one name: %s" % entry.name) from None

    def _write(self, tar: tarfile.TarFile, entry: tarfile.TarInfo, target: Path) -> None:
        """With few system calls: there may be thousands."""
        source = tar.extractfile(entry)
        assert source is not None
        file = os.open(str(target), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for piece in iter(lambda: source.read(_BUFFER), b""):
                left = memoryview(piece)
                while left:
                    left = left[os.write(file, left) :]
            os.fchmod(file, entry.mode & 0o777)
            os.fchown(file, self._user.pw_uid, self._user.pw_gid)
        finally:
            os.close(file)
