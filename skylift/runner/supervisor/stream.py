"""One output stream of the program."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
from pathlib import Path

from skylift.runner.supervisor.console import say

READ = 1 << 18
F_SETPIPE_SZ = 1031


class Stream:
    """One output stream of the program: a pipe that this process empties into a file.

    The program's end is opened for reading too, so that it is never killed by SIGPIPE, whatever becomes of us.
    """

    def __init__(self, name: str, folder: Path, changed: threading.Condition, uid: int, gid: int) -> None:
        self.name, self.path = name, folder / name
        self.size = self.lost = 0
        self._changed = changed
        self._pipe = folder / (name + ".pipe")
        os.mkfifo(str(self._pipe), 0o600)
        os.chown(str(self._pipe), uid, -1)
        self._log = os.open(str(self.path), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o640)
        os.fchown(self._log, -1, gid)
        os.fchmod(self._log, 0o640)
        self._source = os.open(str(self._pipe), os.O_RDWR | os.O_NONBLOCK)
        with contextlib.suppress(OSError):  # a kernel may allow less, which is only slower
            fcntl.fcntl(self._source, F_SETPIPE_SZ, 1 << 20)
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._copy, name=name, daemon=True)
        self._thread.start()

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
        written = 0
        try:
            while written < len(data):
                written += os.write(self._log, memoryview(data)[written:])
        except OSError as error:
            if not self.lost:
                say("%s cannot be kept: %s" % (self.name, error))
            self.lost += len(data) - written
        with self._changed:
            self.size += written
            self._changed.notify_all()

    def finish(self) -> None:
        """Take what is still in the pipe; the program has ended."""
        os.close(self._stopper)
        self._thread.join()

    def read(self, offset: int, limit: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(limit)
