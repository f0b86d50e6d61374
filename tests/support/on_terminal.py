"""What a terminal of some width is sent, by way of a real one."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
import traceback
from collections.abc import Callable


def shown_on_terminal(width: int, show: Callable[[], object]) -> str:
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for number in (0, 1, 2):
                os.dup2(terminal, number)
            sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", 1)
            show()
            sys.stdout.flush()
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(code)
    os.close(terminal)
    shown = b""
    while chunk := _read(control):
        shown += chunk
    os.close(control)
    text = shown.decode().replace("\r\n", "\n")
    assert os.waitpid(child, 0)[1] == 0, text
    return text


def _read(control: int) -> bytes:
    try:
        return os.read(control, 65536)
    except OSError:  # the other side has been closed
        return b""
