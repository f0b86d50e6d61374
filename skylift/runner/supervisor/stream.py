"""One output stream of the program."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
from pathlib import Path
from typing import BinaryIO, Dict, List, Optional, Tuple

from skylift.runner.supervisor.console import say

READ = 1 << 18
SEGMENT = 8 << 20
"""Bytes in one file of a log, and so the grain in which a long log is cut."""
DEFAULT_CAP = 1 << 30
F_SETPIPE_SZ = 1031

Span = Tuple[int, int]


class Stream:
    """A pipe that this process empties into files, whatever reads them.

    The program's end is opened for reading too, so that it is never killed by SIGPIPE, whatever becomes of us.
    Of a log that is longer than `cap`, head and tail are kept; `cut` is the span between them.
    """

    def __init__(
        self, name: str, folder: Path, changed: threading.Condition, owner: Tuple[int, int], cap: int = DEFAULT_CAP
    ) -> None:
        self.name, self._folder, self._changed = name, folder / name, changed
        self.size = self.lost = 0
        self.cut: Optional[Span] = None
        self._half = max(SEGMENT, cap // 2 // SEGMENT * SEGMENT)
        self._uid, self._gid = owner
        self._log: Optional[BinaryIO] = None
        self._make_folder()
        self._pipe = folder / (name + ".pipe")
        os.mkfifo(str(self._pipe), 0o600)
        os.chown(str(self._pipe), self._uid, -1)
        self._source = os.open(str(self._pipe), os.O_RDWR | os.O_NONBLOCK)
        with contextlib.suppress(OSError):  # a kernel may allow less, which is only slower
            fcntl.fcntl(self._source, F_SETPIPE_SZ, 1 << 20)
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._copy, name=name, daemon=True)
        self._thread.start()

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o750)
        os.chown(str(self._folder), -1, self._gid)
        self._folder.chmod(0o750)

    def end_for_program(self) -> int:
        return os.open(str(self._pipe), os.O_RDWR)

    def _copy(self) -> None:
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while True:
            ready = [number for number, _ in poll.poll()]
            try:
                while True:
                    self.append(os.read(self._source, READ))
            except BlockingIOError:
                pass
            if self._stop in ready:
                return

    def append(self, data: bytes) -> None:
        """A full disk costs output, which is counted and told, but never blocks the program."""
        left = memoryview(data)
        try:
            while left:
                if self._log is None or self.size % SEGMENT == 0:
                    self._open_segment()
                assert self._log is not None
                written = self._log.write(left[: SEGMENT - self.size % SEGMENT])
                left = left[written:]
                with self._changed:
                    self.size += written
                    self._changed.notify_all()
        except OSError as error:
            if not self.lost:
                say("%s cannot be kept: %s" % (self.name, error))
            self.lost += len(left)

    def _open_segment(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
        path = self._segment(self.size)
        self._log = path.open("ab", buffering=0)
        os.fchown(self._log.fileno(), -1, self._gid)
        os.fchmod(self._log.fileno(), 0o640)
        tail = self.size - self._half
        if tail > self._half:
            before = self.cut[1] if self.cut else self._half
            with self._changed:
                self.cut = (self._half, tail)
            for start in range(before, tail, SEGMENT):
                self._segment(start).unlink()

    def _segment(self, offset: int) -> Path:
        return self._folder / ("%020d" % (offset - offset % SEGMENT))

    def finish(self) -> None:
        """Take what is still in the pipe; the program has ended."""
        os.close(self._stopper)
        self._thread.join()

    def read(self, offset: int, limit: int) -> Tuple[int, bytes]:
        """What there is from `offset` on, in one piece; where that was cut, from the tail's beginning on."""
        while True:
            with self._changed:
                start = self.cut[1] if self.cut and self.cut[0] <= offset < self.cut[1] else offset
                limit = min(limit, self.size - start, SEGMENT - start % SEGMENT)
            if limit <= 0:
                return start, b""
            try:
                with self._segment(start).open("rb") as file:
                    file.seek(start % SEGMENT)
                    return start, file.read(limit)
            except FileNotFoundError:
                # Cut in this very moment.
                continue


def cuts(streams: List[Stream]) -> Dict[str, List[int]]:
    """Of the streams that were cut, from where to where."""
    return {stream.name: list(stream.cut) for stream in streams if stream.cut}
