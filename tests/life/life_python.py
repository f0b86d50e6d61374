"""The supervisor's own source, in a Python whose clock, threads, processes and network are the model's.

Nothing of the supervisor is changed or left out for this: each of its modules is executed as it stands, and what it
imports from the standard library is the real thing but for what must be the model's. A call that would reach this
machine's processes is refused by name. Files are real ones, in a folder of each server's own.
"""

from __future__ import annotations

import builtins
import datetime
import fcntl
import importlib
import os
import pathlib
import secrets
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PosixPath
from typing import Any
from weakref import WeakKeyDictionary

from life_clock import Queue, World

PACKAGE = "skylift.runner.server"
SOURCE = Path(__file__).parents[2] / "skylift/runner/server"
_MADE_UP = 1_000_000
"""Descriptors from here on are the model's own: pipes, and what stands for a process."""


class Stage:
    """Which world the loaded modules are in at the moment."""

    world: World
    number = _MADE_UP


def world() -> World:
    return Stage.world


def me() -> Any:
    """The process whose turn it is."""
    task = Stage.world.current
    assert task is not None, "outside of any process"
    return task.process


class _Module:
    """The real module, but for what is overridden; `refused` is what the model does not know."""

    real: Any
    refused: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> Any:
        if name in self.refused:
            raise NotImplementedError(f"the model does not know {self.real.__name__}.{name}")
        return getattr(self.real, name)


# Time.


class _Time(_Module):
    real = time

    def time(self) -> float:
        return world().now

    def time_ns(self) -> int:
        return int(world().now * 1e9)

    def monotonic(self) -> float:
        return world().now

    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        world().seam("sleep")
        world().sleep(max(0.0, seconds))


class _Now(datetime.datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.fromtimestamp(world().now, tz)


class _Datetime(_Module):
    real = datetime
    datetime = _Now


class _Secrets(_Module):
    real = secrets

    def token_hex(self, size: int = 16) -> str:
        return f"{world().random.getrandbits(8 * size):0{2 * size}x}"


# Threads. What is made when a module is loaded is shared by all that run it, and each process has its own state of it.


class _Own:
    """A part of the state per world and process."""

    def _state(self) -> dict[str, Any]:
        states: WeakKeyDictionary[Any, dict[str, Any]] = self.__dict__.setdefault("_states", WeakKeyDictionary())
        process = me()
        if process not in states:
            states[process] = self._fresh()
        return states[process]

    def _fresh(self) -> dict[str, Any]:
        raise NotImplementedError


class Semaphore(_Own):
    def __init__(self, value: int = 1) -> None:
        self._value = value

    def _fresh(self) -> dict[str, Any]:
        return {"value": self._value, "queue": Queue(world()), "holder": None}

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        world().seam("lock")
        state = self._state()
        until = None if timeout is None or timeout < 0 else world().now + timeout
        while state["value"] <= 0:
            if not blocking or (until is not None and world().now >= until):
                return False
            state["queue"].wait(None if until is None else until - world().now)
        state["value"] -= 1
        return True

    def release(self) -> None:
        state = self._state()
        state["value"] += 1
        state["queue"].wake()

    def locked(self) -> bool:
        return self._state()["value"] <= 0

    def __enter__(self) -> Any:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Lock(Semaphore):
    def __init__(self) -> None:
        super().__init__(1)


class RLock(_Own):
    def _fresh(self) -> dict[str, Any]:
        return {"holder": None, "depth": 0, "queue": Queue(world())}

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        world().seam("lock")
        state, task = self._state(), world().current
        while state["holder"] not in (None, task):
            state["queue"].wait()
        state["holder"], state["depth"] = task, state["depth"] + 1
        return True

    def release(self) -> None:
        state = self._state()
        state["depth"] -= 1
        if not state["depth"]:
            state["holder"] = None
            state["queue"].wake()

    def __enter__(self) -> Any:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Condition:
    def __init__(self, lock: Any = None) -> None:
        self._lock = lock or RLock()
        self._queue: Queue | None = None

    def _waiting(self) -> Queue:
        if self._queue is None:
            self._queue = Queue(world())
        return self._queue

    def __enter__(self) -> Any:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        self._lock.release()
        came = self._waiting().wait(timeout)
        self._lock.acquire()
        return came

    def wait_for(self, look: Callable[[], Any], timeout: float | None = None) -> Any:
        until = None if timeout is None else world().now + timeout
        while not (found := look()):
            if until is not None and world().now >= until:
                break
            self.wait(None if until is None else until - world().now)
        return found

    def notify(self, number: int = 1) -> None:
        self._waiting().wake(number)

    def notify_all(self) -> None:
        self._waiting().wake_all()


class Event:
    def __init__(self) -> None:
        self._set, self._queue = False, Queue(world())

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        world().seam("event")
        self._set = True
        self._queue.wake_all()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        world().seam("event")
        if not self._set:
            self._queue.wait(timeout)
        return self._set


class Thread:
    def __init__(
        self,
        group: None = None,
        target: Callable[..., Any] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self._target, self._args, self._kwargs = target, tuple(args), kwargs or {}
        self.name = name or (target.__name__ if target else type(self).__name__)
        self.daemon = daemon
        self._task: Any = None

    def run(self) -> None:
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def start(self) -> None:
        world().seam("thread")
        self._task = world().spawn(me(), self.name, self.run)
        self._task.thread = self

    def join(self, timeout: float | None = None) -> None:
        world().seam("join")
        if not self._task.over:
            self._task.joiners.wait(timeout)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.over


class Timer(Thread):
    def __init__(self, interval: float, function: Callable[..., Any], args: Any = None, kwargs: Any = None) -> None:
        super().__init__(name="timer")
        self.interval, self.function, self.args, self.kwargs = interval, function, args or [], kwargs or {}
        self._finished = Event()

    def cancel(self) -> None:
        self._finished.set()

    def run(self) -> None:
        if not self._finished.wait(self.interval):
            self.function(*self.args, **self.kwargs)


class _Threading(_Module):
    real = threading
    refused = frozenset({"Barrier", "local", "main_thread", "enumerate", "stack_size"})
    Semaphore = BoundedSemaphore = Semaphore
    Lock, RLock, Condition, Event, Thread, Timer = Lock, RLock, Condition, Event, Thread, Timer

    def current_thread(self) -> Any:
        task = world().current
        assert task is not None
        return task.thread

    def get_ident(self) -> int:
        return id(world().current)


class SimpleQueue:
    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._queue = Queue(world())

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._queue.wake()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        world().seam("queue")
        while not self._items:
            if not self._queue.wait(timeout) and timeout is not None:
                import queue

                raise queue.Empty
        return self._items.popleft()

    def empty(self) -> bool:
        return not self._items


class _Queue(_Module):
    import queue as real

    SimpleQueue = Queue = SimpleQueue


class _Future:
    def __init__(self) -> None:
        self._over, self._value, self._error = Event(), None, None

    def _do(self, call: Callable[[], Any]) -> None:
        try:
            self._value = call()
        except Exception as error:  # noqa: BLE001 (raised to whoever asks)
            self._error = error
        self._over.set()

    def done(self) -> bool:
        return self._over.is_set()

    def exception(self) -> Any:
        self._over.wait()
        return self._error

    def result(self, timeout: float | None = None) -> Any:
        self._over.wait(timeout)
        if self._error is not None:
            raise self._error
        return self._value

    def cancel(self) -> bool:
        return False


class _Pool:
    def __init__(self, max_workers: int = 4, **_: Any) -> None:
        self._free = Semaphore(max_workers)
        self._threads: list[Thread] = []

    def submit(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> _Future:
        future = _Future()

        def work() -> None:
            with self._free:
                future._do(lambda: call(*args, **kwargs))

        thread = Thread(target=work, name="pool")
        self._threads.append(thread)
        thread.start()
        return future

    def map(self, call: Callable[..., Any], *lists: Iterable[Any]) -> Iterator[Any]:
        futures = [self.submit(call, *args) for args in zip(*lists, strict=False)]
        return (future.result() for future in futures)

    def shutdown(self, wait: bool = True, **_: Any) -> None:
        for thread in self._threads if wait else ():
            thread.join()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


class _Futures(_Module):
    import concurrent.futures as real

    ThreadPoolExecutor = _Pool

    @staticmethod
    def as_completed(futures: Iterable[_Future]) -> Iterator[_Future]:
        for each in futures:
            each.exception()
            yield each

    @staticmethod
    def wait(futures: Iterable[_Future], **_: Any) -> None:
        for each in futures:
            each.exception()


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


class _Os(_Module):
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
        return os.scandir(_here(os.fspath(path)))

    def dup(self, number: int) -> int:
        copy = os.dup(number)
        me().own_descriptor(copy)
        return copy

    def close(self, number: int) -> None:
        world()._check(world().current)
        me().disown_descriptor(number)

    def fdopen(self, number: int, *how: Any, **more: Any) -> Any:
        if number >= _MADE_UP:
            return _PipeWords(number)
        me().forget_descriptor(number)
        return os.fdopen(number, *how, **more)

    def write(self, number: int, data: Any) -> int:
        world().seam("write")
        if number >= _MADE_UP:
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
        if number >= _MADE_UP:
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


class _Select(_Module):
    real = select
    refused = frozenset({"epoll"})
    poll = staticmethod(_Poll)

    def select(self, reading: list[int], writing: list[int], odd: list[int], timeout: float | None = None) -> Any:
        poll = _Poll()
        for each in reading:
            poll.register(each)
        found = {number for number, _ in poll.poll(None if timeout is None else timeout * 1000)}
        return [each for each in reading if each in found], [], []


class _Fcntl(_Module):
    real = fcntl

    def flock(self, number: int, operation: int) -> None:
        world().seam("flock")
        me().server.lock(me(), os.fstat(number).st_ino, operation)


class _Signal(_Module):
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


class _Sys(_Module):
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


class _Subprocess(_Module):
    real = subprocess
    refused = frozenset({"call", "check_call", "check_output", "getoutput"})
    Popen = _Popen

    def run(self, argv: list[str], **how: Any) -> Any:
        how.pop("check", None)
        process = _Popen(argv, **how)
        return subprocess.CompletedProcess(argv, process.wait())


class _Shutil(_Module):
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
        return _open(str(self), mode, buffering, *args, **how)

    def replace(self, target: Any) -> Any:
        world().seam(f"rename {self.name}")
        return super().replace(target)

    def unlink(self, missing_ok: bool = False) -> None:
        world().seam(f"unlink {self.name}")
        super().unlink(missing_ok)

    def mkdir(self, *args: Any, **how: Any) -> None:
        world().seam("mkdir")
        super().mkdir(*args, **how)


def _open(path: Any, mode: str = "r", buffering: int = -1, *args: Any, **how: Any) -> Any:
    """A file for writing has no buffer: what a killed process has not written is not written by its clearing up."""
    if isinstance(path, int):
        # The file has it from here on, and closes it.
        me().forget_descriptor(path)
    elif set(mode) & set("wa+x"):
        world().seam(f"write {path}")
        if "b" in mode:
            buffering = 0
    return open(path, mode, buffering, *args, **how)


class _Pathlib(_Module):
    real = pathlib
    Path = SimPath


class _Libc:
    """For prctl(PR_SET_CHILD_SUBREAPER), which the model's keepers have had from the first."""

    @staticmethod
    def prctl(*_: int) -> int:
        return 0


class _Ctypes(_Module):
    import ctypes as real

    @staticmethod
    def CDLL(name: None) -> Any:
        return _Libc()


MADE_UP: dict[str, Any] = {
    "ctypes": _Ctypes(),
    "time": _Time(),
    "datetime": _Datetime(),
    "secrets": _Secrets(),
    "threading": _Threading(),
    "queue": _Queue(),
    "concurrent.futures": _Futures(),
    "os": OS,
    "select": _Select(),
    "fcntl": _Fcntl(),
    "signal": _Signal(),
    "sys": _Sys(),
    "subprocess": _Subprocess(),
    "shutil": _Shutil(),
    "pathlib": _Pathlib(),
}
REFUSED = {"asyncio", "multiprocessing", "random", "sched", "selectors", "uuid"}
"""What would need a part of its own here."""


class Python:
    """The supervisor's modules by their short names. `edit` changes a module's source before it is executed."""

    def __init__(self, source: Path = SOURCE, edit: dict[str, list[tuple[str, str]]] | None = None) -> None:
        self._source, self._edit = source, edit or {}
        self._modules: dict[str, types.ModuleType] = {}
        self._builtins = dict(builtins.__dict__, __import__=self._import, open=_open)
        top, runner = types.ModuleType("skylift"), types.ModuleType("skylift.runner")
        self._top: Any = top
        self._top.runner = runner
        runner.server = self._load("__init__")  # type: ignore[attr-defined]

    def __getitem__(self, name: str) -> Any:
        return self._load(name)

    def _load(self, name: str) -> types.ModuleType:
        if name not in self._modules:
            path = self._source / f"{name}.py"
            text = path.read_text()
            for old, new in self._edit.get(name, ()):
                assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
                text = text.replace(old, new)
            full = PACKAGE if name == "__init__" else f"{PACKAGE}.{name}"
            module = self._modules[name] = types.ModuleType(full)
            module.__dict__.update(__builtins__=self._builtins, __file__=str(path), __path__=[])
            exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
            if name != "__init__":
                setattr(self._modules["__init__"], name, module)
        return self._modules[name]

    def _import(self, name: str, globals_: Any = None, locals_: Any = None, names: Any = (), level: int = 0) -> Any:
        if name in REFUSED:
            raise NotImplementedError(f"the model does not know {name}")
        if name == PACKAGE or name.startswith(PACKAGE + "."):
            module = self._load(name[len(PACKAGE) + 1 :] or "__init__")
            return module if names else self._top
        if name in MADE_UP:
            return MADE_UP[name]
        found = importlib.__import__(name, globals_, locals_, names, level)
        assert name.split(".", maxsplit=1)[0] not in {each.split(".")[0] for each in MADE_UP} - {"concurrent"}, name
        return found
