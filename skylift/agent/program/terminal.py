"""The terminal of an interactive program: its output goes to the log, its input comes from clients."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import select
import struct
import termios
import threading
from typing import Optional

from skylift.agent.job.guardian import Handles
from skylift.agent.job.outcome import Ended
from skylift.agent.program.stream import READ, Stream
from skylift.contract.states import State

_TYPED_AHEAD = 1 << 20
"""The most bytes of input that wait for a program which does not read. A real terminal has such a limit too."""
_FULL = 20
"""Milliseconds until writing to a full terminal is tried again: poll() reports it as writable all the time."""


class ProgramTerminal:
    """The terminal, with both streams of the program in one. The guardian has it open too, so it outlives this
    process."""

    def __init__(self, kept: Handles, stream: Stream) -> None:
        if kept.master < 0:
            raise Ended(State.BROKEN, "This server has no terminal for an interactive program.")
        self._master, self._slave, self._stream = kept.master, kept.slave, stream
        os.set_blocking(self._master, False)
        self._typed = bytearray()
        self._typing = threading.Lock()
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._over = False
        self._thread: Optional[threading.Thread] = None

    def for_program(self, user: pwd.struct_passwd, rows: int, columns: int) -> int:
        """The program's end of the terminal, which the program's user may also open by its name."""
        # Drop the output so far: systems announce a shutdown timer on every terminal.
        termios.tcflush(self._master, termios.TCIFLUSH)
        self.go_on()
        self.resize(rows, columns)
        if os.geteuid() == 0:
            os.fchown(self._slave, user.pw_uid, -1)
            os.fchmod(self._slave, 0o620)
        return self._slave

    def go_on(self) -> None:
        self._thread = threading.Thread(target=self._copy, name="terminal", daemon=True)
        self._thread.start()

    def resize(self, rows: int, columns: int) -> None:
        """Change the terminal's size. The kernel sends SIGWINCH to the program."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data: bytes) -> None:
        with self._typing:
            self._typed += data[: _TYPED_AHEAD - len(self._typed)]
        self._wake_up()

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):  # as many have been as go into a pipe
            os.write(self._waker, b"x")

    def _copy(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._master, select.POLLIN)
        while not self._over:
            ready = dict(poll.poll(_FULL if self._typed else None))
            if self._wake in ready:
                os.read(self._wake, READ)
            self._pass_on()
            if self._master in ready and not self._take():
                # The program's end is closed, and everything has been read.
                return

    def _pass_on(self) -> None:
        with self._typing, contextlib.suppress(OSError):  # it is full, or hung up
            while self._typed:
                del self._typed[: os.write(self._master, self._typed)]

    def _take(self) -> bool:
        """Read output. False when there will be none any more."""
        try:
            self._stream.append(os.read(self._master, READ))
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def finish(self) -> None:
        """Read the rest of the output after the program has ended."""
        self._over = True
        self._wake_up()
        if self._thread is None:
            return
        self._thread.join()
        waiting = select.poll()
        waiting.register(self._master, select.POLLIN)
        while any(event & select.POLLIN for _, event in waiting.poll(0)) and self._take():
            continue
