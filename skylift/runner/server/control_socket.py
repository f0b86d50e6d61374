"""The socket on the server through which clients watch, signal and cancel."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any, Dict, List

from skylift.runner.server.console import say
from skylift.runner.server.control import Control
from skylift.runner.server.status import Status
from skylift.runner.server.stream import READ, Stream


class ControlSocket:
    """Who may open it (root, and the login user's group) may watch, type, signal and cancel."""

    def __init__(self, path: Path, gid: int, control: Control, streams: List[Stream], status: Status) -> None:
        self._control, self._streams, self._status = control, streams, status
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.parent.chmod(0o755)
        if path.exists():
            path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        os.chown(str(path), -1, gid)
        path.chmod(0o660)
        self._socket.listen(64)
        self._watching: List[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """Give those who watch a few seconds to take the last frame; each hangs up when it has it."""
        until = time.monotonic() + 5
        for thread in list(self._watching):
            thread.join(timeout=max(0.0, until - time.monotonic()))

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                for line in lines:
                    self._obey(connection, json.loads(line))
            except (OSError, ValueError, KeyError, TypeError) as error:
                say("a client of the socket went away: %r" % error)

    def _obey(self, connection: socket.socket, order: Dict[str, Any]) -> None:
        if "stream" in order and threading.current_thread() not in self._watching:
            self._watching.append(threading.current_thread())
            threading.Thread(target=self._watch, args=(connection, order), daemon=True).start()
        if "signal" in order:
            self._control.signal(getattr(signal, "SIG" + order["signal"]))
        if "next" in order:
            self._control.look_for_next()
        terminal = self._control.terminal
        if "input" in order and terminal is not None:
            terminal.type(base64.b64decode(order["input"]))
        if "resize" in order and terminal is not None:
            rows, columns = order["resize"]
            terminal.resize(int(rows), int(columns))
        if "cancel" in order:
            self._control.cancel()

    def _watch(self, connection: socket.socket, order: Dict[str, Any]) -> None:
        offsets = {name: int(order["stream"][name]) for name in ("stdout", "stderr")}
        try:
            if "since" in order:
                self._skip(offsets, float(order["since"]))
            if any(offsets[each.name] < each.base for each in self._streams):
                # Another server's; who hears no more from us looks in the prefix, and comes back from there.
                return connection.shutdown(socket.SHUT_RDWR)
            if "since" in order:
                _send(connection, b"b", json.dumps(offsets).encode())
            if order.get("once"):
                self._send_what_there_is(connection, offsets)
            else:
                self._send_all(connection, offsets)
            return connection.shutdown(socket.SHUT_WR)
        except OSError:
            return None

    def _skip(self, offsets: Dict[str, int], when: float) -> None:
        for stream in self._streams:
            since = stream.offset_at(when)
            if since is not None:
                offsets[stream.name] = max(offsets[stream.name], since)

    def _send_what_there_is(self, connection: socket.socket, offsets: Dict[str, int]) -> None:
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

    def _send_all(self, connection: socket.socket, offsets: Dict[str, int]) -> None:
        status, told = self._status, -1
        while True:
            with status.changed:
                while status.version == told and all(offsets[each.name] >= each.size for each in self._streams):
                    status.changed.wait()
                final, version = status.fields["final"], status.version
            moved = False
            for stream in self._streams:
                if offsets[stream.name] < stream.size:
                    self._send_some(connection, stream, offsets)
                    moved = True
            if moved and final:
                continue
            if version != told:
                data = status.encoded()
                _send(connection, b"s", data)
                told = version
                if final:
                    return


def _send(connection: socket.socket, letter: bytes, data: bytes) -> None:
    connection.sendall(struct.pack(">cI", letter, len(data)) + data)
