"""Somebody who only looks, at a terminal of a real shell: `~.`, job control, and a terminal that is as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.picture import Picture

CHILD = [sys.executable, str(Path(__file__).with_name("onlooking.py"))]
WATCH = " ".join(CHILD)


class Shell:
    """bash with job control, before a terminal of 80 columns."""

    def __init__(self) -> None:
        pid, self.master = pty.fork()
        if pid == 0:
            environment = {**os.environ, "TERM": "xterm", "PS1": "shell> ", "HISTFILE": "/dev/null"}
            for name in ("NO_COLOR", "COLUMNS", "LINES"):
                environment.pop(name, None)
            # Lines are edited by the terminal, so that its modes are those that programs find.
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"], environment)
        self.pid = pid
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.set_blocking(self.master, False)
        self.raw = b""
        self.until("shell>")
        self.modes = termios.tcgetattr(self.master)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def look(self) -> str:
        try:
            while data := os.read(self.master, 65536):
                self.raw += data
        except (BlockingIOError, OSError):
            pass
        return "\n".join(Picture(80).feed(self.raw).lines)

    def until(self, words: str, times: int = 1) -> str:
        return self.wait(lambda: self.look() if self.look().count(words) >= times else "", words)

    def wait(self, done: Callable[[], str], what: str) -> str:
        end = time.monotonic() + 30
        while not (found := done()):
            assert time.monotonic() < end, f"{what!r} never came:\n{self.look()}"
            time.sleep(0.02)
        return found

    def watch(self, *, typed: str = WATCH) -> int:
        """The pid of somebody who looks, once the line at the bottom is there."""
        self.type(f"{typed}\n")
        self.until("~. leaves")
        found = re.search(r"pid (\d+)", self.look())
        assert found is not None
        return int(found.group(1))

    @property
    def by_line(self) -> bool:
        return bool(termios.tcgetattr(self.master)[3] & termios.ICANON)

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def as_before(self) -> bool:
        return termios.tcgetattr(self.master) == self.modes

    def close(self) -> None:
        os.kill(self.pid, signal.SIGHUP)
        os.close(self.master)
        os.waitpid(self.pid, 0)


@pytest.fixture
def shell() -> Iterator[Shell]:
    found = Shell()
    yield found
    found.close()


def test_a_tilde_and_a_point_leave(shell: Shell) -> None:
    shell.watch()
    assert not shell.by_line
    shell.type("~.")
    shell.until("ended")
    shell.until("shell>", 2)
    assert shell.as_before()
    shell.type("echo code $?\n")
    shown = shell.until("code 7")
    assert "leaves" not in shown, "the line is gone"


def test_what_is_typed_otherwise_is_shown_and_goes_to_the_shell(shell: Shell) -> None:
    pid = shell.watch()
    shell.type("\n\nx~.\x7f\x7f\x7f")
    shell.type("echo typed ahead\n")
    shell.until("echo typed ahead")
    shell.until("~. leaves")
    # Written once, by us, and not by the terminal besides.
    assert shell.look().count("typed ahead") == 1
    os.kill(pid, signal.SIGUSR1)
    shell.until("ended")
    shown = shell.until("shell>", 5 if may_type_for_the_user() else 2)
    assert shell.as_before()
    if may_type_for_the_user():
        # What was rubbed out is no command.
        assert shown.count("typed ahead") == 2
        assert "not found" not in shown


def may_type_for_the_user() -> bool:
    """Whether the kernel lets a program put back what was typed."""
    legacy = Path("/proc/sys/dev/tty/legacy_tiocsti")
    return os.geteuid() == 0 or not legacy.exists() or legacy.read_text().strip() == "1"


def test_ctrl_c_is_a_signal_as_ever(shell: Shell) -> None:
    shell.watch()
    shell.type("\x03")
    shell.until("interrupted")
    shell.type("~.")
    shell.until("ended")


def test_ctrl_z_and_back(shell: Shell) -> None:
    shell.watch()
    shell.type("\x1a")
    shown = shell.until("Stopped")
    assert shell.as_before()
    assert "leaves" not in shown
    shell.type("fg\n")
    shell.until("~. leaves")
    assert not shell.by_line
    shell.type("\x1a")
    shell.until("Stopped", 2)
    shell.type("bg\n")
    shell.until("shell>", 4)
    # In the background nothing is read, and no line stands in the shell's way.
    shell.type("echo still $((40 + 2))\n")
    shell.until("still 42")
    time.sleep(1.5)
    assert "leaves" not in shell.look()
    assert shell.by_line and shell.echoes
    shell.type("fg\n")
    shell.until("~. leaves")
    shell.type("~.")
    shell.until("ended")


def test_started_in_the_background(shell: Shell) -> None:
    shell.type(f"{WATCH} &\n")
    shell.until("pid ")
    shell.type("echo still $((40 + 2))\n")
    shell.until("still 42")
    assert "leaves" not in shell.look()
    shell.type("jobs\n")
    shell.until("Running")
    shell.type("fg\n")
    shell.until("~. leaves")
    shell.type("~.")
    shell.until("ended")
    shell.until("shell>", 4)
    assert shell.as_before()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_the_terminal_is_as_it_was_when_it_is_killed(shell: Shell, number: signal.Signals, tmp_path: Path) -> None:
    # A script looks at the terminal before the shell does, which would put it right.
    script = tmp_path / "script"
    script.write_text(f"trap : HUP QUIT TERM\n{WATCH}\necho ended with $?\nstty -a\n")
    pid = shell.watch(typed=f"cd {tmp_path}; ulimit -c 0; sh {script}")
    os.kill(pid, number)
    shown = shell.until(f"ended with {128 + number}")
    shown = shell.until("icanon")
    assert re.search(r"(?<!-)icanon", shown)
    assert re.search(r"(?<!-)\becho\b", shown.partition("speed")[2])
    assert "leaves" not in shown


def test_a_reader_in_the_pipe_has_the_keys(shell: Shell) -> None:
    """Such as `less`, which reads them from the terminal."""
    shell.type(f"{WATCH} | cat\n")
    shell.until("of 1h")
    assert shell.by_line and shell.echoes
    assert "leaves" not in shell.look()
    shell.type("\x1c")


def test_a_terminal_that_cannot_have_a_line_still_leaves(shell: Shell) -> None:
    shell.type(f"TERM=dumb {WATCH}\n")
    shell.until("pid ")
    shell.wait(lambda: "" if shell.by_line else "yes", "keys to be read")
    assert shell.echoes, "nobody else would show them"
    shell.type("~.")
    shell.until("ended")
    assert b"leaves" not in shell.raw


def test_no_colours(shell: Shell) -> None:
    shell.watch(typed=f"NO_COLOR=1 {WATCH}")
    assert b"m of 1h" not in shell.raw
    assert not re.search(rb"\x1b\[[0-9;]*m", shell.raw)


def test_nothing_is_read_from_what_is_no_terminal() -> None:
    """Standard input may be the program's."""
    reading, writing = os.pipe()
    os.write(writing, b"~.")
    with subprocess.Popen(CHILD, stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        pid = int(child.stdout.readline().split()[1])
        os.kill(pid, signal.SIGUSR1)
        assert child.stdout.read() == b"ended\n"
        assert child.stderr.read() == b""
        assert child.wait() == 0
    os.close(writing)
    assert os.read(reading, 10) == b"~."
    os.close(reading)
