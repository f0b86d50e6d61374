"""The program's standard input, where its client has one: a pipe, and who fills it from the job's record.

The client writes it there in pieces (`in/stdin/`), which no server's role can write. So it is the same from its first
byte on for whichever server starts the program, whoever else has gone meanwhile. What fills the pipe is a process of
its own (feed_stdin.py): like the program, it outlives a supervisor that is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Callable, Dict, Optional

FEED = """
import sys
sys.path.insert(0, sys.argv[1])
from skylift.runner.server.feed_stdin import main
main(sys.argv[2])
"""


class Stdin:
    """`bell` is a pipe by which whoever waits for the next piece hears that there is one."""

    def __init__(self, folder: Path, archive: Path, where: Dict[str, str]) -> None:
        """`where` is what `feed` takes of the job's place in S3; `archive` has its module."""
        self._bell, self._archive = folder / "stdin.bell", archive
        self._where = dict(where, bell=str(self._bell))
        self._feed: Optional[subprocess.Popen[bytes]] = None
        self._ours = -1
        self._over = threading.Event()
        if not self._bell.exists():
            os.mkfifo(str(self._bell), 0o600)

    def end_for_program(self, uid: int, broke_off: Callable[[], None]) -> int:
        """The reading end, which the program may open by its name as well. From its first byte on, each time.

        We hold the other end beside who fills it, until that has come to the end: one that is killed before does not
        look like the end to the program, which is ended instead (`broke_off`).
        """
        self.close()
        reading, writing = os.pipe()
        if os.geteuid() == 0:
            os.fchown(reading, uid, -1)
        try:
            feed = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", FEED, str(self._archive), json.dumps(self._where)],
                stdin=subprocess.DEVNULL,
                stdout=writing,
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        self._feed, self._ours, self._over = feed, writing, threading.Event()
        threading.Thread(target=_attend, args=(feed, writing, self._over, broke_off), daemon=True).start()
        return reading

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
