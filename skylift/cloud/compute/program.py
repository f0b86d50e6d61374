"""Programs that work on what servers have made. Such a program may have a line to say for each of a million files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from skylift.cloud.state.program import own_environment

_WORDS = 4096


def begin(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A program that reads nothing. Its output and its errors are one stream. Raises OSError."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=own_environment()
    )


def last_words(program: subprocess.Popen[bytes]) -> str:
    """The end of the last line that it says, once it has ended."""
    assert program.stdout is not None
    said = b""
    with program:
        while piece := os.read(program.stdout.fileno(), _WORDS):
            said = (said + piece)[-_WORDS:]
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1][-300:] if lines else f"exit code {program.returncode}"
