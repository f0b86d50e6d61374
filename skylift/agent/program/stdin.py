"""The program's standard input, if its client has one: a pipe, and the process that fills it from the job's record.

The client writes it there in pieces (`in/stdin/`), which no server's role can write. So each server that starts the
program has the same input from the first byte on, however many servers there were before. A separate process fills the
pipe (feed_stdin.py): like the program, it outlives a supervisor that is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Optional

from skylift.agent.machine.our_process import argv_of

_OVER = b"over"


class ProgramStdin:
    """`bell` is a pipe that wakes the reader of pieces when there is a next one. `state` is a file that the process
    which fills the pipe has locked as long as it lives. It begins with that process's pid; `over` is at its end once
    the program has all input, or reads no more.
    """

    def __init__(self, folder: Path, where: Dict[str, Any]) -> None:
        """`where` is what `feed` takes of the job's place in S3, and the archive that has its module."""
        self._bell, self._state = folder / "stdin.bell", folder / "stdin.state"
        self._where = dict(where, bell=str(self._bell))
        self._feed: Optional[subprocess.Popen[bytes]] = None
        self._over = threading.Event()
        if not self._bell.exists():
            os.mkfifo(str(self._bell), 0o600)

    def end_for_program(self, uid: int, broke_off: Callable[[], None]) -> int:
        """The reading end, which the program may open by its name as well. Each program reads from the first byte on.

        This process holds the other end too, until the process that fills the pipe has ended: if that one is killed
        before, the program does not take this for the end of its input, but is ended (`broke_off`). The next
        supervisor holds it as well (`take_up`).
        """
        self.close()
        state = self._begin_state()
        told = json.dumps(dict(self._where, state=state))
        reading, writing = os.pipe()
        if os.geteuid() == 0:
            os.fchown(reading, uid, -1)
        try:
            feed = subprocess.Popen(
                argv_of(sys.executable, self._where["archive"], "skylift.agent.program.feed_stdin", told),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                cwd="/",
                start_new_session=True,
                pass_fds=[state],
            )
            os.write(state, b"%d\n" % feed.pid)
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        finally:
            os.close(state)
        self._feed, self._over = feed, threading.Event()
        threading.Thread(target=_attend, args=(feed, writing, self._over, broke_off), daemon=True).start()
        return reading

    def _begin_state(self) -> int:
        """A new file: an earlier process may still use the old one, and not know yet that no program reads."""
        self._state.unlink(missing_ok=True)
        state = os.open(str(self._state), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(state, fcntl.LOCK_EX)
        return state

    def take_up(self, broke_off: Callable[[], None]) -> bool:
        """Hold the other end, as an earlier supervisor did, for a program that it has started. False if the process
        that filled the pipe was killed as well: the program has then met a false end of its input.
        """
        try:
            state = self._state.open("rb")
        except FileNotFoundError:
            return True
        with contextlib.ExitStack() as end:
            end.enter_context(state)
            try:
                fcntl.flock(state, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                self._over = threading.Event()
                writing = _other_end(state.readline())
                end.pop_all()
                threading.Thread(target=_go_on, args=(state, writing, self._over, broke_off), daemon=True).start()
                return True
            return state.read().endswith(_OVER)

    def ring(self) -> None:
        """Say that a piece is there. A process without the bell looks at intervals."""
        with contextlib.suppress(OSError):  # no reader waits, or it has been rung often enough
            bell = os.open(str(self._bell), os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(bell, b"x")
            finally:
                os.close(bell)

    def close(self) -> None:
        """The program has ended; the input that it has not read is dropped."""
        self._over.set()
        with contextlib.suppress(FileNotFoundError), self._state.open("r+b") as state:
            state.seek(0, os.SEEK_END)
            state.write(_OVER)
        if self._feed is not None:
            self._feed.kill()
            self._feed = None


def _attend(
    feed: "subprocess.Popen[bytes]", writing: int, over: threading.Event, broke_off: Callable[[], None]
) -> None:
    code = feed.wait()
    if code and not over.is_set():
        broke_off()
        over.wait()
    os.close(writing)


def _go_on(state: BinaryIO, writing: Optional[int], over: threading.Event, broke_off: Callable[[], None]) -> None:
    """Waits until the process that fills the pipe has ended: it then frees the lock."""
    with state:
        fcntl.flock(state, fcntl.LOCK_SH)
        state.seek(0)
        if not state.read().endswith(_OVER) and not over.is_set():
            broke_off()
            over.wait()
    if writing is not None:
        os.close(writing)


def _other_end(pid: bytes) -> Optional[int]:
    """The end that this process writes to. None if the process has just ended, or if its pid is not noted."""
    with contextlib.suppress(OSError, ValueError):
        return os.open("/proc/%d/fd/1" % int(pid), os.O_WRONLY)
    return None
