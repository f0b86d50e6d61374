"""The user's own terminal before an interactive job: the program has all keys, and it is as it was at every end."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import termios
import tty
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from skylift.runner.text.visible import visible_lines

if TYPE_CHECKING:
    from skylift.cli.screen import Screen
    from skylift.runner.job.job import Terminal

_KEYS = 0
_ENDS = (signal.SIGTERM, signal.SIGHUP)


def this_terminal() -> Terminal:
    """As the program shall find it. Without one, a usual one: somebody may sit down before it later."""
    from skylift.runner.job.job import Terminal

    term = os.environ.get("TERM") or "xterm-256color"
    if not os.isatty(_KEYS):
        return Terminal(term)
    rows, columns = size_of(_KEYS)
    return Terminal(term, rows, columns)


def size_of(terminal: int) -> tuple[int, int]:
    """Rows and columns; the usual ones where a terminal does not know its own."""
    size = os.get_terminal_size(terminal)
    return size.lines or 24, size.columns or 80


class Escape:
    """What of the keys goes to the program: all but `~.` at the beginning of a line, as with ssh. `~~` is one `~`."""

    def __init__(self) -> None:
        self._fresh, self._tilde = True, False

    def sift(self, keys: bytes) -> tuple[bytes, bool]:
        """What is to be sent, and whether the user wants to leave."""
        sent = bytearray()
        for key in keys:
            letter = bytes([key])
            if self._tilde:
                self._tilde = False
                if letter == b".":
                    return bytes(sent), True
                sent += letter if letter == b"~" else b"~" + letter
                self._fresh = letter in b"\r\n"
            elif self._fresh and letter == b"~":
                self._tilde = True
            else:
                sent += letter
                self._fresh = letter in b"\r\n"
        return bytes(sent), False


class Seat:
    """Both a screen and a keyboard (see runner/watcher.py) while the program has the terminal."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._before: list[Any] | None = None
        self._escape = Escape()

    # The keyboard.

    def take(self, order: Callable[..., object], leave: Callable[[], None]) -> None:
        if self._before is not None:
            return
        self._before = termios.tcgetattr(_KEYS)
        # What was typed already is for the program, too.
        tty.setraw(_KEYS, termios.TCSADRAIN)
        loop = asyncio.get_running_loop()

        def tell_size() -> None:
            order(resize=size_of(_KEYS))

        def read() -> None:
            keys = os.read(_KEYS, 65536)
            if not keys:
                loop.remove_reader(_KEYS)
                return
            sent, enough = self._escape.sift(keys)
            if sent:
                order(input=base64.b64encode(sent).decode())
            if enough:
                leave()

        loop.add_reader(_KEYS, read)
        loop.add_signal_handler(signal.SIGWINCH, tell_size)
        for number in _ENDS:
            loop.add_signal_handler(number, self._end, number)
        tell_size()

    def give_back(self) -> None:
        if self._before is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(_KEYS)
        for number in (signal.SIGWINCH, *_ENDS):
            loop.remove_signal_handler(number)
        termios.tcsetattr(_KEYS, termios.TCSADRAIN, self._before)
        self._before = None

    def _end(self, number: signal.Signals) -> None:
        """As the signal would have ended us, but for the terminal."""
        self.give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    # The screen.

    def begin(self, step: str) -> None:
        self._screen.begin(step)

    def done(self, step: str, detail: str, seconds: float) -> None:
        self._screen.done(step, detail, seconds)

    def progress(self, step: str, done: int, total: int) -> None:
        self._screen.progress(step, done, total)

    def note(self, text: str) -> None:
        if self._before is None:
            self._screen.note(text)
        else:
            # A raw terminal does not go to a line's beginning by itself.
            shown = "\r\n".join(visible_lines(text))
            os.write(2, f"\r\n{shown}\r\n".encode())

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self._screen.output(stream, data)

    def finish(self) -> None:
        self._screen.finish()
