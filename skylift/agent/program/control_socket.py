"""The socket on the server through which clients watch, signal and cancel."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set

from skylift.agent.job.status import Status
from skylift.agent.machine.console import say
from skylift.agent.machine.gauge import ServerGauge
from skylift.agent.machine.usage import UsageMeter
from skylift.agent.program.control import JobControl
from skylift.agent.program.stream import READ, Stream

_CONNECTIONS = 64
"""The most connections at a time. One more closes the oldest one; its client connects again by itself."""
_LINE = 2 << 20
"""The most bytes of one command, which may have a megabyte of typed input."""
_PAUSE = 0.2
"""Seconds until accepting is tried again, after all file descriptors were in use."""
_OFTEN, _SELDOM = 0.5, 3600.0
"""The least and the most seconds between two measurements of the server."""


class _UsageRequest(NamedTuple):
    """A client wants a measurement each `every` seconds, `times` of them; 0 means until the job ends."""

    every: float
    times: int


class _WatchRequest(NamedTuple):
    """A client wants the streams from these offsets on: it has this `attempt`'s streams up to there (0: it does not
    know the attempt). With `since`, only what was written from that time on. With `once`, only what has been written by
    now. `gauge` is the number of seconds between two measurements of the server, 0 for none."""

    offsets: Dict[str, int]
    since: Optional[float]
    once: bool
    gauge: float
    attempt: int


class ControlSocket:
    """The socket. A user who may open it (root, and the login user's group) may watch, type, signal and cancel."""

    def __init__(
        self,
        path: Path,
        gid: int,
        control: JobControl,
        streams: List[Stream],
        status: Status,
        under_way: Callable[[], Dict[str, Any]] = dict,
        usage: Optional[Callable[[], UsageMeter]] = None,
    ) -> None:
        """`under_way` returns the progress of a slow step, `usage` begins to measure the server."""
        self._control, self._streams, self._status, self._under_way = control, streams, status, under_way
        self._usage = usage
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.parent.chmod(0o755)
        if path.exists():
            path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        os.chown(str(path), -1, gid)
        path.chmod(0o660)
        self._socket.listen(64)
        self._open: Dict[socket.socket, threading.Thread] = {}
        self._watched: Set[socket.socket] = set()
        self._changing = threading.Lock()
        threading.Thread(target=self._accept, name="socket", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                say("a connection to the socket cannot be taken yet: %s" % error)
                time.sleep(_PAUSE)
                continue
            try:
                self._start_thread(connection)
            except RuntimeError as error:  # no thread to be had
                say("a connection to the socket cannot be served: %s" % error)
                self._forget(connection)
                connection.close()

    def _start_thread(self, connection: socket.socket) -> None:
        thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
        with self._changing:
            self._open[connection] = thread
            oldest = next(iter(self._open)) if len(self._open) > _CONNECTIONS else None
            if oldest is not None:
                del self._open[oldest]
                self._watched.discard(oldest)
        if oldest is not None:
            with contextlib.suppress(OSError):  # it has hung up itself
                oldest.shutdown(socket.SHUT_RDWR)
        thread.start()

    def _forget(self, connection: socket.socket) -> None:
        with self._changing:
            self._open.pop(connection, None)
            self._watched.discard(connection)

    def close(self) -> None:
        """Wait a few seconds for clients to read the last frame. Each disconnects when it has it."""
        until = time.monotonic() + 5
        with self._changing:
            threads = [self._open[each] for each in self._watched]
        for thread in threads:
            thread.join(timeout=max(0.0, until - time.monotonic()))

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                for line in iter(lambda: lines.readline(_LINE), b""):
                    self._execute(connection, json.loads(line))
            except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError, struct.error) as error:
                say("a client of the socket went away: %r" % error)
            finally:
                self._forget(connection)

    def _execute(self, connection: socket.socket, command: Dict[str, Any]) -> None:
        if not isinstance(command, dict):
            raise TypeError("a command must be an object")
        if "stream" in command:
            watch = _parse_watch(command)
            self._begin_to_watch(connection, lambda: self._watch(connection, watch))
        if "usage" in command:
            usage = _UsageRequest(_bounded_pause(float(command["usage"])), max(0, int(command.get("times") or 0)))
            self._begin_to_watch(connection, lambda: self._send_usage(connection, usage))
        if "signal" in command:
            self._control.signal(signal.Signals["SIG" + command["signal"]])
        if "next" in command:
            # Before the process can end because of it.
            _send(connection, b"n", b"")
            self._control.look_for_next()
        terminal = self._control.terminal
        if "input" in command and terminal is not None:
            terminal.type(base64.b64decode(command["input"]))
        if "resize" in command and terminal is not None:
            rows, columns = command["resize"]
            terminal.resize(int(rows), int(columns))
        if "stdin" in command and self._control.stdin is not None:
            self._control.stdin.ring()
        if "cancel" in command:
            self._control.cancel()

    def _begin_to_watch(self, connection: socket.socket, work: Callable[[], None]) -> None:
        with self._changing:
            if connection in self._watched or connection not in self._open:
                return
            self._watched.add(connection)
        try:
            threading.Thread(target=self._attend, args=(connection, work), daemon=True).start()
        except RuntimeError as error:
            raise OSError(str(error)) from None

    def _attend(self, connection: socket.socket, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            # It may be an error of this machine. The client notices, and connects again.
            say("a client of the socket is not served any further: %s" % error)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _watch(self, connection: socket.socket, watch: _WatchRequest) -> None:
        offsets = watch.offsets
        if watch.since is not None:
            self._skip(offsets, watch.since)
        is_behind = 0 < watch.attempt < self._status.fields.attempt
        if is_behind or any(offsets[each.name] < each.base for each in self._streams):
            # Another server had the job. The client reads in the prefix where this one's output begins.
            return connection.shutdown(socket.SHUT_RDWR)
        if watch.since is not None:
            _send(connection, b"b", json.dumps(offsets).encode())
        if watch.once:
            self._send_present(connection, offsets)
        else:
            self._send_all(connection, offsets, watch.gauge)
        return connection.shutdown(socket.SHUT_WR)

    def _send_usage(self, connection: socket.socket, request: _UsageRequest) -> None:
        """Send measurements, and each status up to the final one."""
        status, sent_version, times = self._status, -1, 0
        usage = self._usage() if self._usage is not None else None
        due = time.monotonic() + request.every
        while usage is not None and not (request.times and times >= request.times):
            with status.changed:
                final, version, words = status.fields.final, status.version, status.encoded()
            if version != sent_version:
                _send(connection, b"s", words)
                sent_version = version
                if final:
                    break
            with status.changed:
                status.changed.wait_for(lambda: status.version != sent_version, max(0.0, due - time.monotonic()))  # noqa: B023
            if time.monotonic() >= due:
                _send(connection, b"u", json.dumps(usage.measure()).encode())
                times += 1
                due = time.monotonic() + request.every
        connection.shutdown(socket.SHUT_WR)

    def _skip(self, offsets: Dict[str, int], when: float) -> None:
        for stream in self._streams:
            since = stream.offset_at(when)
            if since is not None:
                offsets[stream.name] = max(offsets[stream.name], since)

    def _send_present(self, connection: socket.socket, offsets: Dict[str, int]) -> None:
        for stream in self._streams:
            size = stream.size
            while offsets[stream.name] < size:
                self._send_some(connection, stream, offsets)

    def _send_some(self, connection: socket.socket, stream: Stream, offsets: Dict[str, int]) -> None:
        start, data = stream.read(offsets[stream.name], READ)
        if start != offsets[stream.name]:
            cut = {"stream": stream.name, "from": offsets[stream.name], "to": start}
            _send(connection, b"c", json.dumps(cut).encode())
        offsets[stream.name] = start + len(data)
        _send(connection, stream.name[3:4].encode(), data)

    def _send_all(self, connection: socket.socket, offsets: Dict[str, int], every: float) -> None:
        """Send streams and statuses as they come, and every `every` seconds a measurement of the server."""
        status, sent_version = self._status, -1
        gauge = ServerGauge() if every else None
        due = time.monotonic() + every
        while True:
            with status.changed:
                while status.version == sent_version and all(offsets[each.name] >= each.size for each in self._streams):
                    if not status.changed.wait(max(0.0, due - time.monotonic()) if every else None):
                        break
                # What becomes final while output is sent is not sent before the rest of the output.
                final, version, words = status.fields.final, status.version, status.encoded()
            if gauge is not None and time.monotonic() >= due:
                _send(connection, b"g", json.dumps(dict(gauge.measure(), **self._under_way())).encode())
                due = time.monotonic() + every
            moved = False
            for stream in self._streams:
                if offsets[stream.name] < stream.size:
                    self._send_some(connection, stream, offsets)
                    moved = True
            if moved and final:
                continue
            if version != sent_version:
                _send(connection, b"s", words)
                sent_version = version
                if final:
                    return


def _parse_watch(command: Dict[str, Any]) -> _WatchRequest:
    """Raises an error that ends the connection."""
    offsets = {name: int(command["stream"][name]) for name in ("stdout", "stderr")}
    if min(offsets.values()) < 0:
        raise ValueError("a stream begins at 0")
    since, gauge = command.get("since"), float(command.get("gauge") or 0)
    gauge = _bounded_pause(gauge) if gauge else 0.0
    since = None if since is None else float(since)
    return _WatchRequest(offsets, since, bool(command.get("once")), gauge, int(command.get("attempt") or 0))


def _bounded_pause(seconds: float) -> float:
    """With the arguments in this order, NaN becomes the least value."""
    return min(max(_OFTEN, seconds), _SELDOM)


def _send(connection: socket.socket, letter: bytes, data: bytes) -> None:
    connection.sendall(struct.pack(">cI", letter, len(data)) + data)
