"""Processes of a map's inputs: each below a helper that ends whatever it leaves.

The map's server forks the spawner while it has one thread. The spawner forks a helper for each input that runs at the
same time as others, and the helper starts the program; a helper that is idle gets the next input. The helper is a
subreaper: a process that has left the program's session, or has lost its parent, is the helper's child before long.
When the program has ended, or the process that asked for it is gone, the helper kills all that is left below it; only
then it answers. When the server is killed, its ends of all sockets are closed.

A request is one byte with four descriptors: a file with JSON ({"argv", "env", "cwd", "umask", "identity"}), standard
output, standard error, and the helper's end of a pair of sockets. The helper writes one line of JSON there: {"pid"}
once it has started, then {"code", "seconds", "started"}; or {"errno", "path"} if it could not be started. It ends the
program when the other end is closed."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from skylift.runner.server.guardian import PR_SET_CHILD_SUBREAPER, code_of

_PR_SET_PDEATHSIG = 1
_DESCRIPTORS = 4
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""The signals on which the map's server decides; its helpers ignore them."""


class Spawner:
    """To be made before the process has a second thread. `start` may be called from any thread."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A signal that comes meanwhile waits until it is ignored.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self.pid = os.fork()
        if self.pid == 0:
            self._socket.close()
            try:
                _serve(other)
            finally:
                os._exit(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        other.close()

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
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _serve(requests: socket.socket) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    helpers: Dict[int, socket.socket] = {}
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1, _DESCRIPTORS)
        _reap(helpers)
        if not message:
            break
        if not _pass_on(helpers, descriptors):
            _fork_helper(libc, requests, helpers, descriptors)
        for each in descriptors:
            os.close(each)
    end_children()


def _pass_on(helpers: Dict[int, socket.socket], descriptors: List[int]) -> bool:
    """Give a request to a helper that has said that it is idle. One that was killed says nothing more."""
    for link in helpers.values():
        try:
            if link.recv(1, socket.MSG_DONTWAIT):
                socket.send_fds(link, [b"s"], descriptors)
                return True
        except OSError:
            continue
    return False


def _fork_helper(libc: Any, requests: socket.socket, helpers: Dict[int, socket.socket], descriptors: List[int]) -> None:
    link, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    helper = os.fork()
    if helper == 0:
        try:
            for each in (requests, link, *helpers.values()):
                each.close()
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            while descriptors:
                _help(libc, other, *descriptors)
                _, descriptors, _, _ = socket.recv_fds(other, 1, _DESCRIPTORS)
        finally:
            os._exit(0)
    other.close()
    helpers[helper] = link


def _reap(helpers: Dict[int, socket.socket]) -> None:
    """When a helper is killed, the processes that it leaves become children of this process."""
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, _ = os.waitpid(-1, os.WNOHANG)
            if not ended:
                break
            if ended in helpers:
                helpers.pop(ended).close()
    for each in children():
        if each not in helpers:
            _kill(each)


def _help(libc: Any, link: socket.socket, request: int, out: int, err: int, control: int) -> None:
    """One input, from its start to its end."""
    with socket.socket(fileno=control) as answers:
        last = _run(libc, request, out, err, answers)
        # First: who gets the answer may ask for the next input at once.
        link.send(b"i")
        if last is not None:
            _tell(answers, last)


def _run(libc: Any, request: int, out: int, err: int, answers: socket.socket) -> Optional[Dict[str, Any]]:
    """The last answer. None when nobody waits for it any more."""
    with os.fdopen(request, "rb") as file:
        what = json.loads(file.read().decode("utf-8", "surrogateescape"))

    def become() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    began, clock = time.time(), time.monotonic()
    try:
        process = subprocess.Popen(
            what["argv"],
            cwd=what["cwd"],
            env=what["env"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            umask=what["umask"],
            start_new_session=True,
            preexec_fn=become,  # noqa: PLW1509 (there is one thread)
            **what["identity"],
        )
    except (OSError, subprocess.SubprocessError) as error:
        path = error.filename if isinstance(error, OSError) else None
        return {"errno": getattr(error, "errno", None) or 0, "path": str(path or what["argv"][0])}
    finally:
        os.close(out)
        os.close(err)
    with contextlib.suppress(OSError):
        # The kernel's OOM killer is to choose it before us.
        Path("/proc/%d/oom_score_adj" % process.pid).write_text("500")
    _tell(answers, {"pid": process.pid})
    ended = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(answers, select.POLLIN | select.POLLHUP)
    ready = [number for number, _ in poll.poll()]
    os.close(ended)
    # Nobody else waits for it: a number that is given out again is another process's.
    process.returncode = -signal.SIGKILL
    if ended not in ready:
        end_children()
        return None
    code = process.returncode = code_of(os.waitid(os.P_PID, process.pid, os.WEXITED))
    seconds = time.monotonic() - clock
    end_children()
    return {"code": code, "seconds": seconds, "started": began}


def _tell(answers: socket.socket, what: Dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        answers.sendall(json.dumps(what).encode() + b"\n")


def end_children() -> None:
    """Kill all children, and theirs, which come to be ours, until there are none."""
    while True:
        left = children()
        for each in left:
            _kill(each)
        try:
            while os.waitpid(-1, 0 if left else os.WNOHANG)[0] and left:
                left.pop()
        except ChildProcessError:
            return
        if not left and not children():
            return


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def children() -> List[int]:
    """The children of this process, which has one thread."""
    me = os.getpid()
    try:
        return [int(each) for each in Path("/proc/%d/task/%d/children" % (me, me)).read_text().split()]
    except FileNotFoundError:
        # A kernel without CONFIG_PROC_CHILDREN.
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent(entry) == me]


def _parent(process: Path) -> int:
    with contextlib.suppress(OSError, IndexError):
        return int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
    return 0
