"""A program that has not found a file: its user is told how the file gets to the server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.agent_bench import Machine
from support.shipped_job import Shipped

from skylift.agent.program.missing_file import how_to_have_file


def told(name: str, cwd: Path) -> str:
    """As Python writes the name."""
    line = f"FileNotFoundError: [Errno 2] No such file or directory: {name!r}\n"
    return how_to_have_file(b"Traceback (most recent call last):\n" + line.encode(errors="surrogateescape"), str(cwd))


def test_an_input_that_was_not_sent(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    own = "A file of yours goes along with --in"
    assert told("data.csv", tmp_path) == f"The server has no file data.csv. {own} data.csv"
    assert told("data/größe.csv", tmp_path) == f"The server has no file data/größe.csv. {own} 'data/größe.csv'"
    assert told("./data/../a b.csv", tmp_path) == f"The server has no file a b.csv. {own} 'a b.csv'"
    assert told("it's.csv", tmp_path).endswith("--in 'it'\"'\"'s.csv'")
    # However the program spells it.
    assert told(str(tmp_path / "data.csv"), tmp_path) == told("data.csv", tmp_path)


def test_a_folder_may_have_inputs_or_outputs(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert told("out/a/plot.png", tmp_path) == (
        "The server has no folder out. One with inputs goes along with --in out; one for outputs is made by the program"
        " itself."
    )
    assert told("there/deep/plot.png", tmp_path).startswith("The server has no folder there/deep. ")


@pytest.mark.parametrize("name", ["/home/ann/data.csv", "../data.csv"])
def test_a_path_of_another_machine(name: str, tmp_path: Path) -> None:
    assert told(name, tmp_path) == (
        f"The server has no {name}. It has what goes along with --in, at the same paths relative to where you are."
    )


def test_a_file_that_is_there_is_not_named(tmp_path: Path) -> None:
    """The program was somewhere else when it looked, or the file has come since."""
    (tmp_path / "data.csv").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert told("data.csv", tmp_path) == told("link", tmp_path) == ""


def test_only_the_last_line_counts(tmp_path: Path) -> None:
    line = b"FileNotFoundError: [Errno 2] No such file or directory: 'a.csv'\n"
    assert how_to_have_file(line + b"\r\n \n", str(tmp_path))
    assert how_to_have_file(line + b"ValueError: 3\n", str(tmp_path)) == ""
    assert how_to_have_file(b"\xff" * 4096, str(tmp_path)) == how_to_have_file(b"", str(tmp_path)) == ""


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\nb", "x" * 301, "\u202egpj.exe", "", "a\\"])
def test_what_is_no_name_that_a_person_gave_is_not_repeated(name: str, tmp_path: Path) -> None:
    line = f"FileNotFoundError: [Errno 2] No such file or directory: '{name}'\n"
    assert how_to_have_file(line.encode(), str(tmp_path)) == ""


def told_of(source: str, cwd: Path) -> str:
    """What is said when this program ends."""
    done = subprocess.run([sys.executable, "-c", source], cwd=cwd, capture_output=True, check=False)
    assert b"FileNotFoundError" in done.stderr
    return how_to_have_file(done.stderr, str(cwd))


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run(['no-such-command', '-i', 'a.mp4'])",
        "subprocess.Popen('/no/such/command')",
        "subprocess.Popen('/no/such/command', close_fds=False)",
        "import asyncio\nasyncio.run(asyncio.create_subprocess_exec('no-such-command'))",
        "try:\n    open('data.csv')\nexcept OSError:\n    subprocess.check_output('no-such-command')",
    ],
)
def test_a_command_is_no_file_that_goes_along(source: str, tmp_path: Path) -> None:
    assert told_of(f"import subprocess\n{source}\n", tmp_path) == ""


def test_neither_is_one_that_a_notebook_starts(tmp_path: Path) -> None:
    """As IPython writes a traceback."""
    lines = (
        "File /usr/lib/python3.13/subprocess.py:1972, in Popen._execute_child(self, args, executable, preexec_fn)",
        "   1970         err_filename = orig_executable",
        "-> 1972     raise child_exception_type(errno_num, err_msg, err_filename)",
        "FileNotFoundError: [Errno 2] No such file or directory: 'ffmpeg'",
    )
    assert how_to_have_file("\n".join(lines).encode(), str(tmp_path)) == ""


def test_a_program_of_the_users_own_is_a_file_like_any_other(tmp_path: Path) -> None:
    own = "The server has no file convert.sh. A file of yours goes along with --in convert.sh"
    assert told_of("import subprocess\nsubprocess.run(['./convert.sh'])\n", tmp_path) == own
    assert told_of(f"import subprocess\nsubprocess.run([{str(tmp_path / 'convert.sh')!r}])\n", tmp_path) == own
    assert told_of("import subprocess\nopen('convert.sh')\nsubprocess.run('x')\n", tmp_path) == own


def test_the_server_says_so(shipped: Shipped, machine: Machine) -> None:
    status = shipped.run("open('measured.csv')\n")
    assert (status["state"], status["exit_code"], status["reason"]) == ("failed", 1, "The program exited with 1.")
    assert status["detail"] == "The server has no file measured.csv. A file of yours goes along with --in measured.csv"
