"""Starts a server that runc has made, without starting runc once more."""

from __future__ import annotations

import os
import select
from contextlib import ExitStack
from pathlib import Path


def release_init(state: Path, pid_file: Path) -> bool:
    """Does what `runc start` does, which takes longer to begin than to do it: the server's init goes on once somebody
    has read from this pipe. `state` is runc's folder of the server. False where it is not runc's, or the init has
    ended: the runtime says why then.
    """
    if not (state / "state.json").exists():
        # crun's init reads from its pipe.
        return False
    try:
        init = os.pidfd_open(int(pid_file.read_text()))
    except ProcessLookupError:
        return False
    with ExitStack() as end:
        end.callback(os.close, init)
        try:
            pipe = os.open(state / "exec.fifo", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        end.callback(os.close, pipe)
        either = select.poll()
        either.register(pipe, select.POLLIN)
        either.register(init, select.POLLIN)
        either.poll()
        try:
            if not os.read(pipe, 1):
                return False
        except BlockingIOError:
            return False
    (state / "exec.fifo").unlink()
    return True
