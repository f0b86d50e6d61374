"""One output stream of the program."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import shutil
import termios
import threading
import time
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from skylift.agent.machine.console import say
from skylift.agent.program.timestamps import StreamTimes
from skylift.contract.record import LOG_CAP

READ = 1 << 18
SEGMENT = 8 << 20
"""Bytes in one file of a log. A long log is cut in units of this size."""
F_SETPIPE_SZ = 1031

Span = Tuple[int, int]


class Stream:
    """A pipe from the program that this process empties into files, whether or not anybody reads them.

    The program's end is opened for reading too, so the program never gets SIGPIPE, even if this process dies. When a
    log becomes longer than `cap`, its head and tail are kept, and `cut` is the span between them. Bytes before `base`
    were written on another server and are in the prefix.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        changed: threading.Condition,
        owner: Tuple[int, int],
        cap: int = LOG_CAP,
        base: int = 0,
        cut: Optional[Span] = None,
    ) -> None:
        self.name, self._folder, self._changed = name, folder / name, changed
        self.lost = 0
        self.size = self.base = base
        self._times = StreamTimes()
        self.cut = cut
        self._half = max(SEGMENT, cap // 2 // SEGMENT * SEGMENT)
        self._uid, self._gid = owner
        self._log: Optional[int] = None
        self._log_start = -1
        self._make_folder()
        self._find_what_is_there()
        self._pipe = folder / (name + ".pipe")
        if not self._pipe.exists():
            os.mkfifo(str(self._pipe), 0o600)
        os.chown(str(self._pipe), self._uid, -1)
        self._source = os.open(str(self._pipe), os.O_RDWR | os.O_NONBLOCK)
        with contextlib.suppress(OSError):  # a kernel may allow less, which is only slower
            fcntl.fcntl(self._source, F_SETPIPE_SZ, 1 << 20)
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._copy, name=name, daemon=True)
        self._thread.start()

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o750, exist_ok=True)
        os.chown(str(self._folder), -1, self._gid)
        self._folder.chmod(0o750)

    def _find_what_is_there(self) -> None:
        """Find the log of an earlier supervisor: its size from the last segment, the cut from the missing ones."""
        segments = sorted(int(path.name) for path in self._folder.iterdir())
        if segments:
            self.size = segments[-1] + self._segment(segments[-1]).stat().st_size
        for before in segments[:-1]:
            if before + SEGMENT not in segments:
                self.cut = (before + SEGMENT, min(each for each in segments if each > before))

    def end_for_program(self) -> int:
        return os.open(str(self._pipe), os.O_RDWR)

    def _copy(self) -> None:
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while True:
            ready = [number for number, _ in poll.poll()]
            while self._take():
                continue
            if self._stop in ready:
                return

    def _take(self) -> bool:
        """Move bytes from the pipe to the log with splice, where the kernel can: bytes in this process would be lost
        when it is killed. False when the pipe is empty."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._source, termios.FIONREAD, waiting)
        if waiting[0] and hasattr(os, "splice") and not self.lost:
            with contextlib.suppress(OSError):  # such as a full disk: `append` knows what to do
                moved = os.splice(self._source, self._segment_at_end(), min(waiting[0], self._room()))
                self._grow(moved)
                return True
        try:
            self.append(os.read(self._source, READ))
        except BlockingIOError:
            return False
        return True

    def append(self, data: bytes) -> None:
        """Write to the log. When the disk is full, output is lost and counted, but the program is never blocked."""
        left = memoryview(data)
        try:
            while left:
                written = os.write(self._segment_at_end(), left[: self._room()])
                left = left[written:]
                self._grow(written)
        except OSError as error:
            if not self.lost:
                say("%s cannot be kept: %s" % (self.name, error))
            self.lost += len(left)

    def _room(self) -> int:
        return SEGMENT - self.size % SEGMENT

    def _grow(self, size: int) -> None:
        with self._changed:
            self._times.note(time.time(), self.size)
            self.size += size
            self._changed.notify_all()

    def offset_at(self, when: float) -> Optional[int]:
        """The offset of the first byte written since that time; None when the time is before the oldest mark."""
        with self._changed:
            return self._times.offset_at(when, self.size)

    def times(self, start: int, end: int) -> str:
        """When the bytes of a piece were written, as its S3 metadata has it."""
        with self._changed:
            return self._times.encoded(start, end)

    def forget_times(self, offset: int) -> None:
        """Forget the times of bytes before `offset`, which are in S3."""
        with self._changed:
            self._times.forget(offset, time.time())

    def _segment_at_end(self) -> int:
        """A descriptor of the segment that is written now."""
        if self._log is None or (self.size % SEGMENT == 0 and self._log_start != self.size):
            self._open_segment()
        assert self._log is not None
        return self._log

    def _open_segment(self) -> None:
        if self._log is not None:
            os.close(self._log)
            self._log = None
        self._log_start = self.size - self.size % SEGMENT
        # Without O_APPEND, which splice refuses. No other process writes here.
        self._log = os.open(str(self._segment(self.size)), os.O_WRONLY | os.O_CREAT, 0o640)
        os.lseek(self._log, self.size - self._log_start, os.SEEK_SET)
        os.fchown(self._log, -1, self._gid)
        os.fchmod(self._log, 0o640)
        tail = self.size - self._half
        if tail > self._half:
            before = self.cut[1] if self.cut else self._half
            with self._changed:
                self.cut = (self._half, tail)
            for start in range(before, tail, SEGMENT):
                self._segment(start).unlink(missing_ok=True)

    def _segment(self, offset: int) -> Path:
        return self._folder / ("%020d" % (offset - offset % SEGMENT))

    def finish(self) -> None:
        """Empty the pipe after the program has ended."""
        os.close(self._stopper)
        self._thread.join()

    def forget(self) -> None:
        """Delete the log's files, once everything is in the prefix."""
        shutil.rmtree(str(self._folder))

    def read(self, offset: int, limit: int) -> Tuple[int, bytes]:
        """Bytes from `offset` on, from one segment, and their offset. In the cut, from the beginning of the tail on."""
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
                # The segment may have been cut at this moment.
                if self.cut is None or not self.cut[0] <= start < self.cut[1]:
                    raise


def cuts(streams: List[Stream]) -> Dict[str, List[int]]:
    """The cut spans of the streams that have one."""
    return {stream.name: list(stream.cut) for stream in streams if stream.cut}
