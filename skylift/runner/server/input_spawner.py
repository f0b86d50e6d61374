"""Starts the processes of a map's inputs: each below a helper that ends whatever it leaves.

The spawner is an interpreter of its own (input_helper.py), which imports little: each start of a program is a fork, and
a fork takes longer the more memory a process has.

A request is one byte with four descriptors: a file with JSON ({"argv", "env", "cwd", "umask", "identity"}), standard
output, standard error, and the helper's end of a pair of sockets. The helper writes one line of JSON there: {"pid"}
once it has started, then {"code", "seconds", "started"}; or {"errno", "path"} if it could not be started. It ends the
program when the other end is closed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

from skylift.runner.server.input_helper import SIGNALS

_START = "import sys; sys.path.insert(0, %r); from skylift.runner.server.input_helper import main; main(%d)"


class Spawner:
    """`start` may be called from any thread."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, "-I", "-S", "-c", _START % (str(Path(__file__).parents[3]), other.fileno())]
        # A signal that comes meanwhile waits until the helper can bear it.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[other.fileno()]
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            other.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, what: Dict[str, Any], out: int, err: int) -> socket.socket:
        """The pair's end on which the helper answers. Closing it ends the program and all that it has started."""
        ours, theirs = socket.socketpair()
        request = os.memfd_create("input")
        try:
            os.write(request, json.dumps(what).encode("utf-8", "surrogateescape"))
            os.lseek(request, 0, os.SEEK_SET)
            socket.send_fds(self._socket, [b"s"], [request, out, err, theirs.fileno()])
        finally:
            os.close(request)
            theirs.close()
        return ours

    def close(self) -> None:
        self._socket.close()
        self._process.wait()
