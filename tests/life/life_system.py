"""Processes, descriptors, signals and files of the model. Files are real ones, in a folder of each server's own."""

from __future__ import annotations

import fcntl
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import PosixPath
from typing import Any

from life_stage import OWN_DESCRIPTORS, Module, Stage, me, world

# Processes, descriptors and files.


class Pipe:
    """A pipe between processes of the model."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ends: dict[int, str] = {}
        self.open = {"r": True, "w": True}


class _PipeWords:
    """os.fdopen of a pipe's reading end: its lines as they come."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        OS.close(self._number)

    def __iter__(self) -> Iterator[str]:
        pipe = me().server.descriptors[self._number]
        while True:
            while b"\n" in pipe.data:
                line, _, rest = bytes(pipe.data).partition(b"\n")
                pipe.data[:] = rest
                yield line.decode() + "\n"
            if not pipe.open["w"]:
                return
            me().server.activity.wait()


class _Os(Module):
    real = os
    refused = frozenset(
        "fork forkpty execv execve execvp execl spawnv spawnvp posix_spawn posix_spawnp system popen wait wait3 wait4 "
        "abort setsid setpgid login_tty pidfd_send_signal reboot".split()
    )

    @property
    def environ(self) -> dict[str, str]:
        found: dict[str, str] = me().server.environ
        return found

    def getpid(self) -> int:
        return int(me().pid)

    def getppid(self) -> int:
        return int(me().parent.pid if me().parent is not None else 1)

    def kill(self, pid: int, number: int) -> None:
        world().seam("kill")
        me().server.signal(pid, number)

    def killpg(self, pid: int, number: int) -> None:
        self.kill(pid, number)

    def waitid(self, kind: int, pid: int, options: int) -> Any:
        world().seam("wait")
        return me().server.wait_child(me(), None if kind == os.P_ALL else pid, options)

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        found = self.waitid(os.P_PID, pid, os.WEXITED)
        return found.si_pid, 0

    def waitstatus_to_exitcode(self, status: int) -> int:
        return os.waitstatus_to_exitcode(status)

    def pidfd_open(self, pid: int, flags: int = 0) -> int:
        process = me().server.processes.get(pid)
        if process is None:
            raise ProcessLookupError(pid)
        return self._number(process)

    def _number(self, what: Any) -> int:
        Stage.number += 1
        me().server.descriptors[Stage.number] = what
        me().own_descriptor(Stage.number)
        return Stage.number

    def pipe(self) -> tuple[int, int]:
        pipe = Pipe()
        reading, writing = self._number(pipe), self._number(pipe)
        pipe.ends = {reading: "r", writing: "w"}
        return reading, writing

    def open(self, path: Any, flags: int, mode: int = 0o777, **how: Any) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            world().seam(f"open {path}")
        number = os.open(path, flags, mode, **how)
        me().own_descriptor(number)
        return number

    def listdir(self, path: Any = ".") -> list[str]:
        return sorted(os.listdir(_here(os.fspath(path))))

    def scandir(self, path: Any = ".") -> Any:
        return os.scandir(path if isinstance(path, int) else _here(os.fspath(path)))

    def dup(self, number: int) -> int:
        copy = os.dup(number)
        me().own_descriptor(copy)
        return copy

    def close(self, number: int) -> None:
        world()._check(world().current)
        me().disown_descriptor(number)

    def fdopen(self, number: int, *how: Any, **more: Any) -> Any:
        if number >= OWN_DESCRIPTORS:
            return _PipeWords(number)
        me().forget_descriptor(number)
        return os.fdopen(number, *how, **more)

    def write(self, number: int, data: Any) -> int:
        world().seam("write")
        if number >= OWN_DESCRIPTORS:
            pipe = me().server.descriptors[number]
            if not pipe.open["r"]:
                raise BrokenPipeError(number)
            pipe.data += data
            me().server.activity.wake_all()
            return len(data)
        if len(data) > 2 and world().half_a_write(me()):
            os.write(number, bytes(data)[: len(data) // 2])
            world().seam("half a write")
        written = os.write(number, data)
        me().server.activity.wake_all()
        return written

    def pwrite(self, number: int, data: Any, offset: int) -> int:
        world().seam("write")
        return os.pwrite(number, data, offset)

    def fsync(self, number: int) -> None:
        world().seam("fsync")

    fdatasync = fsync

    def replace(self, old: Any, new: Any) -> None:
        world().seam("rename")
        os.replace(old, new)

    rename = replace

    def unlink(self, path: Any, **how: Any) -> None:
        world().seam("unlink")
        os.unlink(path, **how)

    remove = unlink

    def chown(self, path: Any, uid: int, gid: int, **how: Any) -> None:
        world()._check(world().current)

    def lchown(self, path: Any, uid: int, gid: int) -> None:
        world()._check(world().current)

    def fchown(self, number: int, uid: int, gid: int) -> None:
        world()._check(world().current)

    def openpty(self) -> tuple[int, int]:
        raise OSError(2, "no terminal in this model")

    def _exit(self, code: int) -> None:
        me().server.die(me(), code)
        world().seam("exit")


OS = _Os()


class _Poll:
    """Real descriptors are looked at without waiting; whatever happens on the server is a reason to look again."""

    def __init__(self) -> None:
        self._real = select.poll()
        self._made_up: list[int] = []

    def register(self, number: int, events: int = select.POLLIN) -> None:
        if number >= OWN_DESCRIPTORS:
            self._made_up.append(number)
        else:
            self._real.register(number, events)

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        until = None if timeout is None or timeout < 0 else world().now + timeout / 1000
        while True:
            world().seam("poll")
            found = self._real.poll(0) + [(each, select.POLLIN) for each in self._made_up if _is_readable(each)]
            if found or (until is not None and world().now >= until):
                return found
            me().server.activity.wait(None if until is None else until - world().now)


def _is_readable(number: int) -> bool:
    what = me().server.descriptors[number]
    if isinstance(what, Pipe):
        return bool(what.data) or not what.open["w"]
    return what.status is not None


class SelectModule(Module):
    real = select
    refused = frozenset({"epoll"})
    poll = staticmethod(_Poll)

    def select(self, reading: list[int], writing: list[int], odd: list[int], timeout: float | None = None) -> Any:
        poll = _Poll()
        for each in reading:
            poll.register(each)
        found = {number for number, _ in poll.poll(None if timeout is None else timeout * 1000)}
        return [each for each in reading if each in found], [], []


class FcntlModule(Module):
    real = fcntl

    def flock(self, number: int, operation: int) -> None:
        world().seam("flock")
        me().server.lock(me(), os.fstat(number).st_ino, operation)


class SignalModule(Module):
    real = signal
    refused = frozenset({"alarm", "pause", "sigwait", "pthread_kill", "setitimer"})

    def signal(self, number: int, handler: Any) -> Any:
        before = me().handlers.get(number, signal.SIG_DFL)
        me().handlers[number] = handler
        return before

    def getsignal(self, number: int) -> Any:
        return me().handlers.get(number, signal.SIG_DFL)


class _Console:
    def write(self, text: str) -> None:
        world()._check(world().current)
        if text.strip():
            me().server.console(text.rstrip())

    def flush(self) -> None:
        pass


class SysModule(Module):
    real = sys
    stdout = stderr = _Console()
    argv = ("boot.pyz", "boot")
    executable = "python3"

    @property
    def excepthook(self) -> Any:
        return me().excepthook

    @excepthook.setter
    def excepthook(self, hook: Any) -> None:
        me().excepthook = hook

    def exit(self, code: int = 0) -> None:
        raise SystemExit(code)


class _Popen:
    """Whatever is started: the user's program, a command that turns the server off, another keeper."""

    def __init__(self, argv: list[str], **how: Any) -> None:
        world().seam(f"start {argv[0]}")
        self.args = argv
        self._process = me().server.start(me(), argv, how)
        self.pid: int = self._process.pid
        self.returncode: int | None = None
        world().seam("started")

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            OS.waitid(os.P_PID, self.pid, os.WEXITED)
            self.returncode = self._process.status
        assert self.returncode is not None
        return self.returncode

    def poll(self) -> int | None:
        if self.returncode is None and self._process.status is not None:
            self.wait()
        return self.returncode


class SubprocessModule(Module):
    real = subprocess
    refused = frozenset({"call", "check_call", "check_output", "getoutput"})
    Popen = _Popen

    def run(self, argv: list[str], **how: Any) -> Any:
        how.pop("check", None)
        process = _Popen(argv, **how)
        return subprocess.CompletedProcess(argv, process.wait())


class ShutilModule(Module):
    real = shutil

    def which(self, name: str, mode: int = 0, path: str | None = None) -> str | None:
        return None if name == "uv" else f"/usr/sbin/{name}"

    def rmtree(self, path: Any, *args: Any, **how: Any) -> None:
        world().seam("rmtree")
        shutil.rmtree(path, *args, **how)


def _here(path: str) -> str:
    """The same place on the model's server: it has a /proc of its own. Descriptors are this process's."""
    if path == "/proc" or (path.startswith("/proc/") and not path.startswith("/proc/self/")):
        return str(me().server.proc) + path[5:]
    return path


class SimPath(PosixPath):
    """Below /proc, that of the model's server."""

    def __new__(cls, *args: Any, **how: Any) -> Any:
        return super().__new__(cls, *(_here(each) if isinstance(each, str) else each for each in args), **how)

    def open(self, mode: str = "r", buffering: int = -1, *args: Any, **how: Any) -> Any:
        return open_file(str(self), mode, buffering, *args, **how)

    def replace(self, target: Any) -> Any:
        world().seam(f"rename {self.name}")
        return super().replace(target)

    def unlink(self, missing_ok: bool = False) -> None:
        world().seam(f"unlink {self.name}")
        super().unlink(missing_ok)

    def mkdir(self, *args: Any, **how: Any) -> None:
        world().seam("mkdir")
        super().mkdir(*args, **how)


def open_file(path: Any, mode: str = "r", buffering: int = -1, *args: Any, **how: Any) -> Any:
    """A file for writing has no buffer: what a killed process has not written is not written by its clearing up."""
    if isinstance(path, int):
        # The file has it from here on, and closes it.
        me().forget_descriptor(path)
    elif set(mode) & set("wa+x"):
        world().seam(f"write {path}")
        if "b" in mode:
            buffering = 0
    return open(path, mode, buffering, *args, **how)


class PathlibModule(Module):
    real = pathlib
    Path = SimPath


class _Libc:
    """For prctl(PR_SET_CHILD_SUBREAPER), which the model's keepers have had from the first."""

    @staticmethod
    def prctl(*_: int) -> int:
        return 0


class CtypesModule(Module):
    import ctypes as real

    @staticmethod
    def CDLL(name: None) -> Any:
        return _Libc()
