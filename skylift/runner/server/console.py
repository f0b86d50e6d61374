"""What is said to whoever looks at a server that went wrong."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """To the console log, for whoever looks at a server that went wrong."""
    sys.stdout.write("skylift: %s\n" % text)
    sys.stdout.flush()
