"""The program's standard input, where its client has one: a pipe, and who fills it from the job's record.

The client writes it there in pieces (`in/stdin/`), which no server's role can write. So it is the same from its first
byte on for whichever server starts the program, whoever else has gone meanwhile. What fills the pipe is a process of
its own (feed_stdin.py): like the program, it outlives a supervisor that is killed.
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
from typing import BinaryIO, Callable, Dict, Optional

FEED = """
import sys
sys.path.insert(0, sys.argv[1])
from skylift.runner.server.feed_stdin import main
main(sys.argv[2])
"""


_OVER = b"over"


class Stdin:
    """`bell` is a pipe by which whoever waits for the next piece hears that there is one. `state` is a file that the
    process which fills the pipe has locked as long as it lives. It begins with that process's pid; `over` stands at its
    end once the program has all that there is, or reads no more."""

    def __init__(self, folder: Path, archive: Path, where: Dict[str, str]) -> None:
        """`where` is what `feed` takes of the job's place in S3; `archive` has its module."""
        self._bell, self._state, self._archive = folder / "stdin.bell", folder / "stdin.state", archive
        self._where = dict(where, bell=str(self._bell))
        self._feed: Optional[subprocess.Popen[bytes]] = None
        self._over = threading.Event()
        if not self._bell.exists():
            os.mkfifo(str(self._bell), 0o600)

    def end_for_program(self, uid: int, broke_off: Callable[[], None]) -> int:
        """The reading end, which the program may open by its name as well. From its first byte on, each time.

        We hold the other end beside who fills it, until that has come to the end: one that is killed before does not
        look like the end to the program, which is ended instead (`broke_off`). So does whoever succeeds us (`take_up`).
        """
        self.close()
        state = self._begin_state()
        reading, writing = os.pipe()
        if os.geteuid() == 0:
            os.fchown(reading, uid, -1)
        try:
            feed = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    FEED,
                    str(self._archive),
                    json.dumps(dict(self._where, state=state)),
                ],
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
        """A new file: an earlier one may still be somebody's, who has not seen yet that nobody reads."""
        with contextlib.suppress(FileNotFoundError):
            self._state.unlink()
        state = os.open(str(self._state), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(state, fcntl.LOCK_EX)
        return state

    def take_up(self, broke_off: Callable[[], None]) -> bool:
        """Hold the other end as an earlier supervisor did, of a program that it has started. False where whoever filled
        the pipe was killed as well, so that the program has met an end that is none."""
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
        """Somebody says that a piece is there. Whoever has no bell looks by itself."""
        with contextlib.suppress(OSError):  # nobody waits, or it has been rung often enough
            bell = os.open(str(self._bell), os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(bell, b"x")
            finally:
                os.close(bell)

    def close(self) -> None:
        """The program has ended; what it has not read, nobody will."""
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
    """Until who fills the pipe has ended: the lock is free then."""
    with state:
        fcntl.flock(state, fcntl.LOCK_SH)
        state.seek(0)
        if not state.read().endswith(_OVER) and not over.is_set():
            broke_off()
            over.wait()
    if writing is not None:
        os.close(writing)


def _other_end(pid: bytes) -> Optional[int]:
    """The end that this process writes to. None where it has just ended, or nobody has written down which one it is."""
    with contextlib.suppress(OSError, ValueError):
        return os.open("/proc/%d/fd/1" % int(pid), os.O_WRONLY)
    return None
