"""Another user of this machine, who listens, connects and relays. For tests that are root."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - for names of hosts; the stranger may not read where it is
import os
import selectors
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

UID = 65534
GREETING = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Heard = Callable[[], bytes]


def ask(end: tuple[str, int], words: bytes = GREETING) -> bytes:
    """Say this to whoever listens there, and read to the end."""
    with closing(socket.create_connection(end, 10)) as line:
        line.sendall(words)
        found = b""
        while more := line.recv(1 << 16):
            found += more
        return found


def as_stranger(act: Callable[[], bytes]) -> bytes:
    """What `act` gives in a process of theirs."""
    with _process(lambda told: _tell(told, act() + b".")) as (_, told):
        found = _read_all(told)
    assert found, "they could not do it: the reason stands in what the test has written"
    return found[:-1]


@contextmanager
def squatter(
    *ends: tuple[str, int], answer: Callable[[bytes], bytes] = lambda heard: b""
) -> Iterator[tuple[list[tuple[str, int]], Heard]]:
    """They listen at these addresses; port 0 is any. Gives where that is, and what ends it and gives all that they were
    told."""

    def serve(told: int) -> None:
        with selectors.DefaultSelector() as waiting:
            for each in ends:
                family = socket.AF_INET6 if ":" in each[0] else socket.AF_INET
                listener = socket.create_server(each, family=family)
                waiting.register(listener, selectors.EVENT_READ)
                _tell(told, "{} {}\n".format(*listener.getsockname()[:2]).encode())
            while True:
                for key, _ in waiting.select():
                    assert isinstance(key.fileobj, socket.socket)
                    line, _ = key.fileobj.accept()
                    line.settimeout(5)
                    with line, suppress(OSError):
                        heard = line.recv(1 << 16)
                        _tell(told, heard)
                        line.sendall(answer(heard))

    with _process(serve) as (pid, told):
        places = [_read_line(told).split() for _ in ends]

        def heard() -> bytes:
            os.kill(pid, signal.SIGKILL)
            return _read_all(told)

        yield [(address, int(port)) for address, port in places], heard


@contextmanager
def _process(run: Callable[[int], None]) -> Iterator[tuple[int, int]]:
    told, telling = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(UID, UID, UID)
            os.setresuid(UID, UID, UID)
            run(telling)
        except (OSError, LookupError):
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(telling)
    try:
        yield pid, told
    finally:
        os.close(told)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _tell(told: int, words: bytes) -> None:
    while words:
        words = words[os.write(told, words) :]


def _read_line(told: int) -> str:
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(told, 1)
        assert more, "they could not listen there"
        line += more
    return line.decode()


def _read_all(told: int) -> bytes:
    found = b""
    while more := os.read(told, 1 << 16):
        found += more
    return found
