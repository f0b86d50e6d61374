"""The spawner's own process, and the helpers that it forks: see input_spawner.py.

The spawner forks a helper for each input that runs at the same time as others, and the helper starts the program; a
helper that is idle gets the next input. The helper is a subreaper: a process that has left the program's session, or
has lost its parent, is the helper's child before long. When the program has ended, or the process that asked for it is
gone, the helper kills all that is left below it; only then it answers. When a helper is killed, the spawner kills what
it has left. When the server is killed, its ends of all sockets are closed."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import signal
import socket
import subprocess
import time
from typing import Any, Dict, List, Optional

_PR_SET_CHILD_SUBREAPER = 36
_DESCRIPTORS = 4
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""The map's server handles these signals; its helpers ignore them."""

NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN)
"""The server, or this process, has no descriptors, memory or processes left. The end of an input frees some."""


def raise_descriptors() -> int:
    """Each input that runs takes some descriptors, and the usual limit is 1024. The limit before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The kernel's own limit may be lower by now.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def main(requests: int, descriptors: int) -> None:
    """`requests` is the descriptor of a socket, `descriptors` how many a program may have open. SIGNALS
    are blocked when this process begins."""
    for number in SIGNALS:
        # Not SIG_IGN, which programs would inherit: a handler is reset when a program is executed.
        signal.signal(number, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    raise_descriptors()
    Helpers(socket.socket(fileno=requests), descriptors).serve()
    end_children()


class Helpers:
    """The helpers' links, by their pids. `idle` are those that have said so."""

    def __init__(self, requests: socket.socket, descriptors: int) -> None:
        self._requests, self._libc = requests, ctypes.CDLL(None)
        self._limit = descriptors, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._links: Dict[int, socket.socket] = {}
        self._idle: List[int] = []
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)

    def serve(self) -> None:
        """Until the server's end of the socket is closed."""
        while True:
            ready = [number for number, _ in self._poll.poll()]
            # Helpers first: an idle helper gets the next request.
            for pid in [each for each, link in self._links.items() if link.fileno() in ready]:
                self._hear(pid)
            if self._requests.fileno() not in ready:
                continue
            message, descriptors, _, _ = socket.recv_fds(self._requests, 1, _DESCRIPTORS)
            if not message:
                return
            # The kernel drops descriptors that this process has no room for: then there is no way to answer.
            if len(descriptors) == _DESCRIPTORS and not self._pass_on(descriptors):
                try:
                    self._fork(descriptors)
                except OSError as error:
                    _refuse(descriptors[-1], error)
            for each in descriptors:
                os.close(each)

    def _hear(self, pid: int) -> None:
        """A helper is idle, or gone."""
        try:
            if self._links[pid].recv(1):
                self._idle.append(pid)
                return
        except OSError:
            pass
        self._bury(pid)

    def _bury(self, pid: int) -> None:
        """A helper was killed: the processes that it leaves become children of this process before it is reaped."""
        link = self._links.pop(pid)
        self._poll.unregister(link)
        link.close()
        if pid in self._idle:
            self._idle.remove(pid)
        os.waitpid(pid, 0)
        while True:
            left = [each for each in children() if each not in self._links]
            for each in left:
                _kill(each)
            for each in left:
                os.waitpid(each, 0)
            if not left:
                return

    def _pass_on(self, descriptors: List[int]) -> bool:
        """Give a request to a helper that is idle, if there is one."""
        while self._idle:
            try:
                socket.send_fds(self._links[self._idle.pop()], [b"s"], descriptors)
                return True
            except OSError:
                # It was killed just now; the poll tells of it.
                continue
        return False

    def _fork(self, descriptors: List[int]) -> None:
        link, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = os.fork()
        except OSError:
            link.close()
            other.close()
            raise
        if pid == 0:
            try:
                for each in (self._requests, link, *self._links.values()):
                    each.close()
                resource.setrlimit(resource.RLIMIT_NOFILE, self._limit)
                self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
                while descriptors:
                    _help(other, *descriptors)
                    _, descriptors, _, _ = socket.recv_fds(other, 1, _DESCRIPTORS)
            finally:
                os._exit(0)
        other.close()
        self._links[pid] = link
        self._poll.register(link, select.POLLIN)


def _help(link: socket.socket, request: int, out: int, err: int, control: int) -> None:
    """One input, from its start to its end."""
    with socket.socket(fileno=control) as answers:
        last = _run(request, out, err, answers)
        # Before the answer: its receiver may ask for the next input at once. The spawner may be gone.
        with contextlib.suppress(OSError):
            link.send(b"i")
        if last is not None:
            _tell(answers, last)


def _refuse(control: int, error: OSError) -> None:
    answers = socket.socket(fileno=control)
    _tell(answers, {"errno": error.errno or 0, "path": "a process for it"})
    answers.detach()


def _run(request: int, out: int, err: int, answers: socket.socket) -> Optional[Dict[str, Any]]:
    """The last answer. None if no client waits for it any more."""
    with os.fdopen(request, "rb") as file:
        what = json.loads(file.read().decode("utf-8", "surrogateescape"))
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
            **what["identity"],
        )
    except (OSError, subprocess.SubprocessError) as error:
        path = error.filename if isinstance(error, OSError) else None
        return {"errno": getattr(error, "errno", None) or 0, "path": str(path or what["argv"][0])}
    finally:
        os.close(out)
        os.close(err)
    _prefer(process.pid)
    _tell(answers, {"pid": process.pid})
    ended = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(answers, select.POLLIN | select.POLLHUP)
    ready = [number for number, _ in poll.poll()]
    os.close(ended)
    # So that nothing waits for this pid later: it may be another process's by then.
    process.returncode = -signal.SIGKILL
    if ended not in ready:
        end_children()
        return None
    _, status = os.waitpid(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - clock
    end_children()
    return {"code": code, "seconds": seconds, "started": began}


def _prefer(pid: int) -> None:
    """The kernel's OOM killer is to choose the program before us."""
    with contextlib.suppress(OSError), open("/proc/%d/oom_score_adj" % pid, "wb", buffering=0) as file:
        file.write(b"500")


def _tell(answers: socket.socket, what: Dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        answers.sendall(json.dumps(what).encode() + b"\n")


def end_children() -> None:
    """Kills all children, and their children, which are reparented to us, until there are none."""
    try:
        while True:
            # Mostly there are none.
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            left = children()
            for each in left:
                _kill(each)
            for _ in left:
                os.waitpid(-1, 0)
    except ChildProcessError:
        return


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def children() -> List[int]:
    """The children of this process, which has one thread."""
    me = os.getpid()
    try:
        with open("/proc/%d/task/%d/children" % (me, me)) as file:
            return [int(each) for each in file.read().split()]
    except FileNotFoundError:
        # A kernel without CONFIG_PROC_CHILDREN.
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == me]


def _parent(process: str) -> int:
    try:
        with open("/proc/%s/stat" % process) as file:
            return int(file.read().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError):
        return 0
