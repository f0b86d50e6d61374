"""Files of a server whose answers are not those that were asked for. Whole copies are in jobs/test_copy.py."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from skylift.client.errors import ConnectionLost, RemoteFileError
from skylift.client.remote.sftp import Sftp

VERSION = b"\0\0\0\5\2\0\0\0\3"
ATTRS, STATUS, DATA, HANDLE = 105, 101, 103, 102


def packet(kind: int, *fields: bytes) -> bytes:
    body = bytes((kind,)) + b"".join(fields)
    return struct.pack(">I", len(body)) + body


def text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def asked(answer: Callable[[int, bytes], bytes], act: Callable[[Sftp], Any], first: bytes = VERSION) -> Any:
    """What `act` returns. `answer` gets a request's kind and number; what is empty closes the connection."""

    async def main() -> Any:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_unix_connection(sock=theirs)

        async def serve() -> None:
            await reader.readexactly(9)
            writer.write(first)
            while first == VERSION:
                try:
                    length = struct.unpack(">I", await reader.readexactly(4))[0]
                    request = await reader.readexactly(length)
                except asyncio.IncompleteReadError:
                    break
                said = answer(request[0], request[1:5])
                if not said:
                    break
                writer.write(said)
            writer.close()

        serving = asyncio.ensure_future(serve())
        try:
            async with Sftp(*await asyncio.open_unix_connection(sock=ours)) as files:
                return await asyncio.wait_for(act(files), 30)
        finally:
            await serving

    return asyncio.run(main())


@pytest.mark.parametrize("first", [b"", b"Welcome!\n", b"\0\0\0\5\2\0\0\0\2", b"\0\0\0\1\2", b"\0\0\0\0"])
def test_a_server_that_does_not_begin_as_sftp_does(first: bytes) -> None:
    with pytest.raises(ConnectionLost):
        asked(lambda *_: b"", lambda files: files.look(b"x"), first)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _, number: b"",
        lambda _, number: packet(ATTRS, b"\xff\xff\xff\xff", bytes(4)),
        lambda _, number: packet(ATTRS, number, b"\0\0\0\1", b"short"),
        lambda _, number: packet(ATTRS, number, b"\x80\0\0\0\xff\xff\xff\xff"),
        lambda _, number: packet(STATUS, number, bytes(4), text(b"fine"), text(b"")),
        lambda _, number: packet(DATA, number, text(b"x")),
        lambda _, number: packet(250, number),
        lambda _, number: b"\xff\xff\xff\xff" + b"x" * 100,
    ],
    ids=["nothing", "unasked", "short", "endless", "a status", "of another kind", "unknown", "too long"],
)
def test_an_answer_that_is_none_ends_the_connection(answer: Callable[[int, bytes], bytes]) -> None:
    with pytest.raises(ConnectionLost, match="SSH: "):
        asked(answer, lambda files: files.look(b"x"))


def test_words_of_a_server_are_made_visible() -> None:
    def refuse(_: int, number: bytes) -> bytes:
        return packet(STATUS, number, b"\0\0\0\4", text(b"\xff\x1b[2J"), text(b""))

    with pytest.raises(RemoteFileError) as trouble:
        asked(refuse, lambda files: files.look(b"x"))
    assert trouble.value.message.isprintable()
    assert trouble.value.kind == "other"


def test_a_file_that_comes_in_crumbs_and_with_too_much_is_what_was_asked_for() -> None:
    """As files of /proc come, and as no honest server answers."""

    def answer(kind: int, number: bytes) -> bytes:
        if kind == 3:
            return packet(HANDLE, number, text(b"h"))
        if kind == 5:
            sizes.append(1)
            return packet(DATA, number, text(b"abc" if len(sizes) < 3 else b"z" * 100))
        return packet(STATUS, number, bytes(4), text(b""), text(b""))

    sizes: list[int] = []

    async def read(files: Sftp) -> bytes:
        return b"".join([piece async for piece in files.read(b"x", 10)])

    assert asked(answer, read) == b"abcabczzzz"
