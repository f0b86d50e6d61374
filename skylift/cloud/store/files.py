"""The larger S3 objects: files next to the database, durable before the row that names them commits.

The receiver of a file writes it in `objects`, under the name that it keeps: a body that had to be moved once it is
durable would wait for the disk twice. It is taken when a row is to name it, and unlinked when no row, no open snapshot
and no response needs it any more.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import weakref
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue

from skylift.cloud.domain.bucket import Extent, FileBody, Spool
from skylift.cloud.state.data import Data
from skylift.cloud.state.durable import leave_room, make_directory, sync_directory

log = logging.getLogger(__name__)

CHUNK = 1 << 20


class Files:
    """The files of one data directory. One instance per process and directory: it knows which are being read."""

    def __init__(self, directory: Path) -> None:
        data = Data(directory)
        self._objects = data.objects
        # Reentrant: a body may be collected, and so released, while its own thread is in here.
        self._lock = threading.RLock()
        self._held: Counter[str] = Counter()
        self._unwanted: set[str] = set()
        self._released: SimpleQueue[set[str] | None] = SimpleQueue()
        self._remover: threading.Thread | None = None
        """Removes what was deleted while it was sent. It begins with the first of these."""

    def take(self, spool: Spool) -> tuple[Extent, ...]:
        """Make a body that has arrived, and is durable, a file of an object."""
        spool.take()
        return (Extent(spool.file, 0, spool.size),)

    def share(self, extent: Extent) -> Extent:
        """The same bytes under another name: a hard link, so that neither object depends on the other."""
        name = secrets.token_hex(16)
        os.link(self._objects / extent.file, self._objects / name)
        sync_directory(self._objects)
        return Extent(name, extent.offset, extent.length)

    def join(self, chunks: Iterable[bytes]) -> Spool:
        """These bytes as a file, which is durable. It goes again with what is returned, unless somebody takes it."""
        name, size = secrets.token_hex(16), 0
        path = self._objects / name
        try:
            with path.open("xb") as file:
                for chunk in chunks:
                    leave_room(self._objects, len(chunk))
                    size += file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            sync_directory(self._objects)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        joined = Spool(name, size, "")
        joined.unless_taken(path.unlink)
        return joined

    def body(self, pieces: tuple[Extent | bytes, ...]) -> FileBody:
        """Keep the files of these pieces on disk until the body is no longer referenced.

        Called in the transaction that found the extents, so that they cannot have been unlinked yet.
        """
        body = FileBody(pieces)
        names = [piece.file for piece in pieces if isinstance(piece, Extent)]
        if names:
            with self._lock:
                self._held.update(names)
            weakref.finalize(body, self._release, names).atexit = False
        return body

    def read(self, extent: Extent) -> Iterator[bytes]:
        """The bytes, in chunks of at most 1 MiB."""
        with (self._objects / extent.file).open("rb") as file:
            file.seek(extent.offset)
            left = extent.length
            while left:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    raise OSError(f"{file.name} ends {left} bytes early")
                left -= len(chunk)
                yield chunk

    def unlink(self, names: Iterable[str]) -> None:
        """Remove files that no row names any more; those being sent go when they have been."""
        with self._lock:
            sent = {name for name in names if self._held[name] > 0}
            self._unwanted |= sent
            if sent and self._remover is None:
                self._remover = threading.Thread(target=self._remove_released, name="store-released", daemon=True)
                self._remover.start()
        self._remove(name for name in names if name not in sent)

    def finish(self) -> None:
        """Wait until what was released is removed."""
        with self._lock:
            remover, self._remover = self._remover, None
        if remover is not None:
            self._released.put(None)
            remover.join()

    def sweep(self, kept: Collection[str]) -> int:
        """Remove each file not in `kept`; returns how many. Only while nothing else runs."""
        make_directory(self._objects)
        orphans = [entry.name for entry in os.scandir(self._objects) if entry.name not in kept]
        self._remove(orphans)
        return len(orphans)

    def _release(self, names: list[str]) -> None:
        """Called in the thread that drops the body, mostly the event loop's. It must not wait for the disk, which
        takes its time for gigabytes; nor for a lock that it may have itself, as a collection may come anywhere."""
        with self._lock:
            self._held.subtract(names)
            free = {name for name in names if self._held[name] <= 0}
            for name in free:
                del self._held[name]
            free &= self._unwanted
            self._unwanted -= free
        if free:
            self._released.put(free)

    def _remove_released(self) -> None:
        while (names := self._released.get()) is not None:
            try:
                self._remove(names)
            except OSError as error:
                log.error("what has been deleted could not be removed from the disk: %s", error)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self._objects / name).unlink(missing_ok=True)
