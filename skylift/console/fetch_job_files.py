"""The files of an earlier job, fetched from the bucket to be sent once more. What an archive says is checked: a bucket
may have other writers."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from skylift.client.errors import RunError
from skylift.client.job.repeat import MOST_BYTES
from skylift.client.remote.account import Account
from skylift.client.ship.blob_store import BLOBS

_MOST_ENTRIES = 50_000


def fetch_files(account: Account, digests: Sequence[str], folder: Path) -> None:
    """Into a folder that is empty. Raises SkyliftError."""
    files = _Unpacking(folder)
    for digest in digests:
        data = account.api.get(account.bucket, BLOBS + digest, MOST_BYTES)
        if data is None:
            raise RunError("The files of this job are no longer in the bucket.", "Run it from its own folder.")
        if hashlib.sha256(data).hexdigest() != digest:
            raise RunError("The files of this job are not what it was given.", "Run it from its own folder.")
        files.take(data)
    files.link()


class _Unpacking:
    """Links are made last, so that no file is written through one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._real_folder = os.path.realpath(folder)
        self._links: dict[str, str] = {}
        self._left, self._entries = MOST_BYTES, _MOST_ENTRIES

    def take(self, data: bytes) -> None:
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r|gz") as archive:
                for entry in archive:
                    self._take(archive, entry)
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise RunError(f"The files of this job cannot be unpacked: {error}.") from None

    def _take(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        self._left -= entry.size
        self._entries -= 1
        if self._left < 0 or self._entries < 0:
            raise RunError("The files of this job are too many to be fetched.", "Run it from its own folder.")
        place = _checked(entry.name)
        if entry.issym():
            _checked(os.path.normpath(PurePosixPath(place).parent / entry.linkname))
            self._links[place] = entry.linkname
            return
        content = archive.extractfile(entry) if entry.isreg() else None
        if content is None:
            raise RunError("The files of this job have one that is neither a file nor a link.")
        path = self._folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700 if entry.mode & 0o100 else 0o600
        )
        with os.fdopen(file, "wb") as target:
            target.write(content.read())

    def link(self) -> None:
        try:
            for place, target in self._links.items():
                path = self._folder / place
                self._check_real(path.parent)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(target)
        except OSError as error:
            raise RunError(f"The files of this job cannot be unpacked: {error}.") from None
        for place in self._links:
            self._check_real(self._folder / place)

    def _check_real(self, path: Path) -> None:
        """By way of another link, a path may lead further than its words say."""
        if not Path(os.path.realpath(path)).is_relative_to(self._real_folder):
            raise _leads_elsewhere()


def _checked(place: str) -> str:
    """A path below the folder, and nothing of git's own, which may have commands in it."""
    parts = place.split("/")
    if not place or place.startswith("/") or ".." in parts or "\0" in place or ".git" in place.casefold().split("/"):
        raise _leads_elsewhere()
    return place


def _leads_elsewhere() -> RunError:
    return RunError("The files of this job have one that leads elsewhere.", "Run it from its own folder.")
