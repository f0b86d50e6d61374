"""The end of the command line's process: all that waits for it has run."""

from __future__ import annotations

import subprocess
import sys

COMMAND = """
import atexit, sys, tempfile, threading, weakref
from skylift.cli import main

class Connection:
    pass

kept = Connection()

def perform(arguments):
    def work():
        threading.main_thread().join()
        print("a thread that outlives the command")
    def at_the_end():
        print("whatever waits for the end")
        print("trouble at the end", file=sys.stderr)
    atexit.register(at_the_end)
    weakref.finalize(kept, print, "a connection that nobody has closed")
    threading.Thread(target=work).start()
    print("the command's output")
    return 7

main.perform = perform
"""


def run(program: str) -> tuple[int, list[str], str]:
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


SAID = [
    "the command's output",
    "a thread that outlives the command",
    "a connection that nobody has closed",
    "whatever waits for the end",
]


def test_what_waits_for_the_end_runs_and_is_heard() -> None:
    assert run(f"{COMMAND}\nmain.main()") == (7, SAID, "trouble at the end\n")


def test_what_was_registered_before_the_command_runs_too() -> None:
    """As a measurement of coverage does, for one."""
    program = f"{COMMAND}\natexit.register(print, 'registered before')\nmain.main()"
    assert run(program) == (7, [*SAID, "registered before"], "trouble at the end\n")


def test_a_mistake_outside_of_a_command_is_shown() -> None:
    program = f"{COMMAND}\ndef fail(arguments):\n    raise ValueError('no command')\nmain.perform = fail\nmain.main()"
    code, said, trouble = run(program)
    assert (code, said) == (1, [])
    assert "ValueError: no command" in trouble
