"""The user's own terminal: for an interactive job, whose program gets all keys, and for a user who only watches. Its
modes are restored at every end."""

from __future__ import annotations

import asyncio
import base64
import codecs
import fcntl
import os
import signal
import stat
import termios
import threading
import tty
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skylift.cli.bottom_line import in_foreground
from skylift.client.text.visible import visible_lines
from skylift.client.watcher import Keyboard

if TYPE_CHECKING:
    from skylift.cli.screen import Live, Screen
    from skylift.client.watch.monitor import Monitor
    from skylift.contract.record import Terminal

_KEYS = 0
_ENDS = (signal.SIGTERM, signal.SIGHUP)
_CHECK_PAUSE = 0.5
"""Seconds between two checks whether this process is in the foreground: no signal reports that."""
_TYPED_AHEAD = 4095
"""Bytes of input that a terminal keeps for its next reader."""


def this_terminal() -> Terminal:
    """The terminal that an interactive program gets. Without one here, a usual one, for a user who attaches later."""
    from skylift.contract.record import Terminal

    term = os.environ.get("TERM") or "xterm-256color"
    if not os.isatty(_KEYS):
        return Terminal(term)
    rows, columns = size_of(_KEYS)
    return Terminal(term, rows, columns)


def size_of(terminal: int) -> tuple[int, int]:
    """Rows and columns; 24 and 80 when the terminal does not know its own."""
    size = os.get_terminal_size(terminal)
    return size.lines or 24, size.columns or 80


class Escape:
    """Filters keys as ssh does: all go to the program, except `~.` at the beginning of a line. `~~` sends one `~`."""

    def __init__(self) -> None:
        self._fresh, self._tilde = True, False

    def read_keys(self, keys: bytes) -> tuple[bytes, bool]:
        """The keys to send, and whether the user wants to leave."""
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


class RawTerminal(Keyboard):
    """Screen and keyboard (see client/watcher.py) of an interactive program, which has the terminal in raw mode."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.begin, self.done, self.progress, self.info = screen.begin, screen.done, screen.progress, screen.info
        self.output, self.take_back, self.finish = screen.output, screen.take_back, screen.finish
        self.warn = screen.warn
        self._before: list[Any] | None = None
        self._escape = Escape()

    # The keyboard.

    def take(self, order: Callable[..., object], leave: Callable[[], None]) -> None:
        if self._before is not None:
            return
        self._before = termios.tcgetattr(_KEYS)
        # TCSADRAIN: keys that were typed already go to the program too.
        tty.setraw(_KEYS, termios.TCSADRAIN)
        loop = asyncio.get_running_loop()

        def tell_size() -> None:
            order(resize=size_of(_KEYS))

        def read() -> None:
            keys = os.read(_KEYS, 65536)
            if not keys:
                loop.remove_reader(_KEYS)
                return
            sent, enough = self._escape.read_keys(keys)
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

    def close(self) -> None:
        self.give_back()

    def _end(self, number: signal.Signals) -> None:
        """Restore the terminal, and end as the signal would have ended this process."""
        self.give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    # The screen.

    def note(self, text: str) -> None:
        if self._before is None:
            self._screen.note(text)
        else:
            # In raw mode, a line feed does not return to the first column.
            shown = "\r\n".join(visible_lines(text))
            os.write(2, f"\r\n{shown}\r\n".encode())


def may_read_keys(stdin: int = 0, stdout: int = 1) -> bool:
    """Whether this process may read keys: stdin is a terminal, and no pager (`| less`) reads keys from it."""
    mode = os.fstat(stdout).st_mode
    return os.isatty(stdin) and not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


@dataclass(frozen=True)
class Display:
    """What a run uses of the user's terminal."""

    screen: Screen
    keyboard: Keyboard | None
    monitor: Monitor | None


def open_display(screen: Screen, *, interactive: bool, hint: str) -> Display:
    """`hint` says how to leave, in a word or two."""
    from skylift.cli.screen import Live

    live = screen if isinstance(screen, Live) else None
    if interactive:
        terminal = RawTerminal(screen)
        return Display(terminal, terminal, live)
    return Display(screen, LeaveKeys(live, hint=hint) if may_read_keys() else None, live)


class LeaveKeys(Keyboard):
    """A keyboard (see client/watcher.py) of which only `~.` counts. Nothing goes to the program.

    Other keys are echoed as usual, and are put back for the next reader of the terminal when this process ends, if the
    kernel allows that. While a shell has the terminal, because this process is stopped or in the background, the
    terminal is not touched: the kernel would stop this process. `live` shows lines on the same terminal, if there are
    any.
    """

    def __init__(self, live: Live | None, *, hint: str) -> None:
        self._live, self._hint = live, hint
        self._escape, self._letters = Escape(), codecs.getincrementaldecoder("utf-8")("replace")
        self._leave: Callable[[], None] | None = None
        self._before: list[Any] | None = None
        self._spare = b""
        self._timer: asyncio.TimerHandle | None = None
        self._signals: dict[int, Callable[..., object]] = {}

    def look(self, leave: Callable[[], None]) -> None:
        if self._leave is not None:
            return
        self._leave = leave
        loop = asyncio.get_running_loop()
        handlers = dict.fromkeys((*_ENDS, signal.SIGQUIT), self._end) | {
            signal.SIGTSTP: self._stop,
            signal.SIGCONT: self._go_on,
        }
        # Signals that are ignored (nohup) stay ignored.
        self._signals = {each: call for each, call in handlers.items() if signal.getsignal(each) != signal.SIG_IGN}
        for number, call in self._signals.items():
            loop.add_signal_handler(number, call, number)
        self._look()

    def close(self) -> None:
        if self._leave is None:
            return
        self._leave = None
        loop = asyncio.get_running_loop()
        for number in self._signals:
            loop.remove_signal_handler(number)
        if self._timer is not None:
            self._timer.cancel()
        self._restore()

    # The terminal.

    def _look(self) -> None:
        ours = in_foreground(_KEYS)
        if ours and self._before is None:
            self._acquire()
        elif not ours and self._before is not None:
            self._forget()
        self._timer = asyncio.get_running_loop().call_later(_CHECK_PAUSE, self._look)

    def _acquire(self) -> None:
        before = termios.tcgetattr(_KEYS)
        if not before[3] & termios.ICANON:
            # Another process on this terminal reads each key.
            return
        self._before = before
        termios.tcsetattr(_KEYS, termios.TCSANOW, self._by_key(before))
        asyncio.get_running_loop().add_reader(_KEYS, self._read)
        self._tell_hint(self._hint)

    def _by_key(self, before: list[Any]) -> list[Any]:
        """Modes in which each key is read at once. Keys that are signals stay signals. With a live line, the line
        echoes the keys."""
        modes = [*before[:6], [*before[6]]]
        modes[3] &= ~(termios.ICANON | (termios.ECHO if self._live is not None else 0))
        modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
        return modes

    def _read(self) -> None:
        if not in_foreground(_KEYS):
            return self._forget()
        try:
            keys = os.read(_KEYS, 4096)
        except OSError:
            # Another process got the terminal at this moment, or it was closed.
            keys = b""
        if not keys:
            return self._forget()
        sent, enough = self._escape.read_keys(keys)
        self._spare = (self._spare + sent)[:_TYPED_AHEAD]
        if self._live is not None and sent:
            self._live.typed(self._letters.decode(sent))
        if enough and self._leave is not None:
            self._leave()
        return None

    def _restore(self) -> None:
        """Restore the modes, and put back the keys that were typed for others."""
        before, spare = self._before, self._spare
        self._forget()
        self._spare = b""
        if before is None or not in_foreground(_KEYS):
            return
        silent = [*before]
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(_KEYS, termios.TCSANOW, silent)
        try:
            for number in range(len(spare)):
                fcntl.ioctl(_KEYS, termios.TIOCSTI, spare[number : number + 1])
        except OSError:
            # The kernel forbids TIOCSTI: these keys are lost.
            pass
        termios.tcsetattr(_KEYS, termios.TCSANOW, before)

    def _forget(self) -> None:
        if self._before is not None:
            asyncio.get_running_loop().remove_reader(_KEYS)
            self._before = None
            self._tell_hint("")

    def _tell_hint(self, hint: str) -> None:
        if self._live is not None:
            self._live.leave = hint

    # Signals.

    def _stop(self, number: int) -> None:
        """Ctrl-Z: restore the terminal, and stop as the signal would have stopped this process."""
        loop = asyncio.get_running_loop()
        self._restore()
        loop.remove_signal_handler(number)
        if self._live is not None:
            with self._live.hidden():
                signal.pthread_kill(threading.get_ident(), number)
        else:
            signal.pthread_kill(threading.get_ident(), number)
        loop.add_signal_handler(number, self._stop, number)
        self._go_on(number)

    def _go_on(self, number: int) -> None:
        """Set the modes again: a shell may have changed them meanwhile."""
        if self._before is not None and in_foreground(_KEYS):
            termios.tcsetattr(_KEYS, termios.TCSANOW, self._by_key(self._before))
        elif self._before is None and in_foreground(_KEYS):
            self._acquire()

    def _end(self, number: int) -> None:
        """Restore the terminal, and end as the signal would have ended this process."""
        self._restore()
        if self._live is not None:
            self._live.finish()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
