"""Messages in the server's console log."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write a line into the console log, for somebody who examines a server that has failed."""
    sys.stdout.write("skylift: %s\n" % text)
    sys.stdout.flush()
