"""The command line of `skylift run`: what is ours and what is the program's, and what is shown of a run."""

from __future__ import annotations

import os
from typing import Any

import pytest

from skylift.cli.run import mark_program, read_program
from skylift.cli.screen import Outlet, Plain
from skylift.client.errors import UsageError
from skylift.client.job.job import Program
from skylift.client.text.tail import Tail

COMMAND = "--program-is-a-command"


@pytest.mark.parametrize(
    ("args", "marked"),
    [
        (["job.py"], ["--", "job.py"]),
        (["job.py", "--in", "x"], ["--", "job.py", "--in", "x"]),
        (["--in", "x", "job.py", "-q"], ["--in", "x", "--", "job.py", "-q"]),
        (["--in=x", "-q", "job.py", "--", "y"], ["--in=x", "-q", "--", "job.py", "--", "y"]),
        (["--in", "-m", "job.py"], ["--in", "-m", "--", "job.py"]),
        (["-m", "pkg.tool", "--flag"], ["-m", "pkg.tool", "--", "--flag"]),
        (["-q", "--module=pkg", "-x"], ["-q", "--module=pkg", "--", "-x"]),
        (["-mpkg", "-x"], ["-mpkg", "--", "-x"]),
        (["--", "ls", "-l"], [COMMAND, "--", "ls", "-l"]),
        (["--type", "t3.micro", "--", "sh", "-c", "x"], ["--type", "t3.micro", COMMAND, "--", "sh", "-c", "x"]),
        (["--max-time", "2s", "x.py"], ["--max-time", "2s", "--", "x.py"]),
        (["--max-time", "2s"], ["--max-time", "2s"]),
        ([], []),
        (["--help"], ["--help"]),
    ],
)
def test_where_the_program_begins(args: list[str], marked: list[str]) -> None:
    assert mark_program(args).marked == marked


@pytest.mark.parametrize(
    ("args", "script"),
    [
        (["--in", "-m", "job.py", "-m", "x"], "job.py"),
        (["--max-time", "2s", "x.py"], "x.py"),
        (["-m", "pkg.tool", "x.py"], None),
        (["-mpkg", "x.py"], None),
        (["--", "x.py"], None),
        (["-q"], None),
    ],
)
def test_which_script_is_named(args: list[str], script: str | None) -> None:
    assert mark_program(args).script == script


def test_every_option_with_a_value_is_known() -> None:
    """An option that is missing from the list would have its value taken for the script."""
    import typer

    from skylift.cli import run

    app = typer.Typer()
    run.register(app)
    app.command("other")(lambda: None)
    command: Any = typer.main.get_command(app)
    options = [each for each in command.commands["run"].params if each.param_type_name == "option"]
    with_values = {name for each in options if not each.is_flag for name in each.opts}
    assert with_values == run._VALUES


def test_what_is_run() -> None:
    assert read_program(["a.py", "-x"], None, is_command=False) == Program("script", "a.py", ("-x",))
    assert read_program(["-x"], "pkg", is_command=False) == Program("module", "pkg", ("-x",))
    assert read_program(["ls", "-l"], None, is_command=True) == Program("command", "ls", ("-l",))
    with pytest.raises(UsageError, match="nothing to run"):
        read_program([], None, is_command=False)


def test_outlet_gives_bytes_as_they_are_and_survives_a_reader_that_left() -> None:
    reading, writing = os.pipe()
    outlet = Outlet(writing, 2)
    outlet.write("stdout", b"\x00\xff\n")
    assert os.read(reading, 100) == b"\x00\xff\n"
    os.close(reading)
    outlet.write("stdout", b"more")
    outlet.write("stdout", b" and more")
    os.close(writing)
    assert outlet.tails["stdout"].text().endswith("more and more")


def test_tail_is_bounded() -> None:
    tail = Tail()
    for number in range(1000):
        tail.add(b"%09d\n" % number * 100)
    text = tail.text()
    assert len(text) == 64 * 1024
    assert text.endswith("000000999\n")


def test_quiet_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        screen = Plain(Outlet(1, 2), quiet=quiet)
        screen.done("server", "i-1", 1.5)
        screen.note("A note.")
        screen.warn("Files are removed.")
    last = "skylift: Files are removed.\n"
    assert capfd.readouterr().err == f"{last}skylift: Server: i-1 (1.50 s)\nskylift: A note.\n{last}"
