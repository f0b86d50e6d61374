"""Messages in the server's console log."""

from __future__ import annotations

import contextlib
import os
import sys

CONSOLE = "/dev/console"


def say(text: str) -> None:
    """Writes a line into the console log, for people who examine a failed server."""
    sys.stdout.write("skylift: %s\n" % text)
    sys.stdout.flush()


def write_to_console(text: str) -> None:
    """The same, for a root process with the job's standard output, which belongs to the user alone."""
    with contextlib.suppress(OSError):
        console = os.open(CONSOLE, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            os.write(console, ("skylift: %s\n" % text).encode(errors="backslashreplace"))
        finally:
            os.close(console)
