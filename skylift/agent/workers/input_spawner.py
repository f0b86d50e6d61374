"""Starts the processes of a map's inputs, each below a helper that ends all processes that it leaves.

The spawner is a separate interpreter (input_helper.py), which imports little: each start of a program is a fork, and a
fork takes longer the more memory a process has.

A request is one byte with four descriptors: a file with JSON ({"argv", "env", "cwd", "umask", "identity"}), standard
output, standard error, and the helper's end of a pair of sockets. The helper writes one line of JSON there: {"pid"}
once it has started, then {"code", "seconds", "started"}; or {"errno", "path"} if it could not be started. It ends the
program when the other end is closed. A spawner that is gone has a successor with the next request; what runs below its
helpers runs on."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, Tuple

from skylift.agent.workers.input_helper import SIGNALS

_START = "import sys; sys.path.insert(0, %r); from skylift.agent.workers.input_helper import main; main(%d, %d)"

_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EBADF)


class Spawner:
    """`start` may be called from any thread."""

    def __init__(self) -> None:
        self._beginning, self._is_closed = threading.Lock(), False
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._socket, self._process = _begin(self._descriptors)

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, what: Dict[str, Any], out: int, err: int) -> socket.socket:
        """The pair's end on which the helper answers. Closing it ends the program and all that it has started."""
        request = os.memfd_create("input")
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            os.close(request)
            raise
        try:
            os.write(request, json.dumps(what).encode("utf-8", "surrogateescape"))
            os.lseek(request, 0, os.SEEK_SET)
            self._send([request, out, err, theirs.fileno()])
        except OSError:
            ours.close()
            raise
        finally:
            os.close(request)
            theirs.close()
        return ours

    def _send(self, descriptors: List[int]) -> None:
        asked = self._socket
        try:
            socket.send_fds(asked, [b"s"], descriptors)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            with self._beginning:
                if self._is_closed:
                    raise
                if self._socket is asked:
                    self._replace()
            socket.send_fds(self._socket, [b"s"], descriptors)

    def _replace(self) -> None:
        """Only root can have killed it, or a server without memory."""
        before, gone = self._socket, self._process
        self._socket, self._process = _begin(self._descriptors)
        before.close()
        gone.wait()

    def close(self) -> None:
        with self._beginning:
            self._is_closed = True
        self._socket.close()
        self._process.wait()


def _begin(descriptors: int) -> Tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    start = _START % (str(Path(__file__).parents[3]), other.fileno(), descriptors)
    argv = [sys.executable, "-I", "-S", "-c", start]
    # Signals wait until the helper has set its handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[other.fileno()])
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        other.close()
    return ours, process
