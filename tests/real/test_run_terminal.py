"""`skylift run` on a terminal: a line a step, the program's own lines as they are, Ctrl-C from the keyboard."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.running_job import WAITS

pytestmark = pytest.mark.real

CONTROL = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\r")
ERASED = re.compile(rb".*\x1b\[2K")


class Terminal:
    """A run with a terminal of its own, from which it takes its keys and where all it writes goes."""

    def __init__(
        self,
        cloud: RealCloud,
        folder: Path,
        *options: str,
        source: str = WAITS,
        words: tuple[str, ...] = (),
        stdin: int | None = None,
    ) -> None:
        """`words` is another command line than that of a run; `stdin` is read instead of the terminal."""
        (folder / "job.py").write_text(source)
        self.shown = b""
        pid, self._master = pty.fork()
        if pid == 0:
            os.chdir(folder)
            if stdin is not None:
                os.dup2(stdin, 0)
            # COLUMNS, so that no line is folded.
            environment = {**cloud.environment, "TERM": "xterm", "COLUMNS": "200"}
            command = cloud.command(*(words or ("run", *options, "job.py")))
            os.execve(command[0], command, environment)
        self._pid = pid
        cloud.watch(pid)

    def read_until(self, words: bytes) -> None:
        while words not in self.shown:
            try:
                self.shown += os.read(self._master, 65536)
            except OSError as error:
                raise AssertionError(f"{words!r} never came: {self.shown.decode(errors='replace')}") from error

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def finish(self) -> int:
        """The exit code; everything that was shown is then in `shown`."""
        try:
            while data := os.read(self._master, 65536):
                self.shown += data
        except OSError:
            # EIO: nobody has the terminal open any more.
            pass
        _, status = os.waitpid(self._pid, 0)
        os.close(self._master)
        return os.waitstatus_to_exitcode(status)

    @property
    def lines(self) -> list[str]:
        """What a person sees in the end: what stands after a line was last erased, without colours and the like."""
        return [CONTROL.sub(b"", ERASED.sub(b"", line)).decode() for line in self.shown.split(b"\n")]


@pytest.fixture
def folder(cloud: RealCloud, request: pytest.FixtureRequest) -> Iterator[Path]:
    found = cloud.work / request.node.name
    found.mkdir()
    yield found


def test_steps_and_the_programs_own_lines(cloud: RealCloud, folder: Path) -> None:
    source = "print('one')\nprint('two', end='')\nopen('r', 'w').write('x')\n"
    terminal = Terminal(cloud, folder, "--out", "r", source=source)
    assert terminal.finish() == 0, terminal.lines
    ticks = [line.split()[1] for line in terminal.lines if line.startswith("✓") and " s " in line]
    # Side by side, those before the server end in any order.
    assert sorted(ticks[:5]) == ["Check", "Key", "Network", "Role", "Upload"]
    assert ticks[5:8] == ["Server", "Program", "Results"]
    # Whole lines, the last one too: ours never continue one of the program's.
    assert [line for line in terminal.lines if line in ("one", "two")] == ["one", "two"]
    assert (folder / "r").read_text() == "x"


def test_ctrl_c_on_the_keyboard(cloud: RealCloud, folder: Path) -> None:
    terminal = Terminal(cloud, folder)
    terminal.read_until(b"ready")
    terminal.press(b"\x03")
    assert terminal.finish() == 130, terminal.lines
    assert any("KeyboardInterrupt" in line for line in terminal.lines)
    assert not any("skylift/" in line for line in terminal.lines)


def test_ctrl_c_before_there_is_a_server(cloud: RealCloud, folder: Path) -> None:
    for number in range(5):
        terminal = Terminal(cloud, folder, "--name", f"early-{number}")
        terminal.read_until(b"at most")
        terminal.press(b"\x03")
        assert terminal.finish() == 130, terminal.lines
        if "ready" not in terminal.lines:
            break
    # The program never began; but for a key that was pressed too late.
    assert "ready" not in terminal.lines
    assert not any("Traceback" in line for line in terminal.lines)
    filters = [
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
        {"Name": "tag:skylift:job", "Values": ["early-*"]},
    ]
    assert cloud.ec2.describe_instances(Filters=filters)["Reservations"] == []


def test_a_pipe_gets_the_programs_output_and_nothing_else(cloud: RealCloud, folder: Path) -> None:
    """Also when the reader goes away before the end: the job does not mind."""
    (folder / "job.py").write_text("import sys\nfor n in range(100_000):\n    print(n)\nsys.exit(5)\n")
    with cloud.popen("run", "job.py", cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stdout is not None and client.stderr is not None
        assert client.stdout.read(6) == b"0\n1\n2\n"
        client.stdout.close()
        words = client.stderr.read().decode()
        assert client.wait() == 5, words
    assert "Traceback" not in words
