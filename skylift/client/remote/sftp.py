"""Files of a server, by version 3 of SFTP, which OpenSSH's server speaks. Many requests are on their way at a time."""

from __future__ import annotations

import asyncio
import secrets
import stat
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Literal

from skylift.client.errors import ConnectionLost, RemoteFileError, RunError
from skylift.client.remote.connection import RemoteFile
from skylift.client.text.visible import shown

PART = ".skylift-part"
"""The end of the name of an incomplete file. No file with such a name comes home as a result."""
_PIECE = 32 << 10
"""Bytes of a file in one request: what every server takes."""
_AHEAD = 64
"""Requests for one file that are on their way at a time."""
_LONGEST = 1 << 20
"""Bytes of one answer. OpenSSH's server sends a quarter of that at the most."""
_SMALLEST_ROOM = 2 << 20
"""A disk with less room than this counts as full."""

_INIT, _VERSION, _OPEN, _CLOSE, _READ, _WRITE = 1, 2, 3, 4, 5, 6
_OPENDIR, _READDIR, _REMOVE, _MKDIR, _STAT, _EXTENDED = 11, 12, 13, 14, 17, 200
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED_REPLY = 101, 102, 103, 104, 105, 201
_OK, _EOF, _NO_SUCH_FILE, _PERMISSION_DENIED, _NO_CONNECTION, _CONNECTION_LOST = 0, 1, 2, 3, 6, 7
_FOR_READING, _NEW_FOR_WRITING = 1, 0x02 | 0x08 | 0x20
_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES, _HAS_MORE = 1, 2, 4, 8, 1 << 31
_KINDS: dict[int, Literal["file", "folder", "link"]] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
}
_NONSENSE = "SSH: the server's answer is not SFTP."


class _Fields:
    """What is left to read of an answer."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        begin, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise ConnectionLost(_NONSENSE)
        return self._data[begin : self._at]

    def number(self, size: int = 4) -> int:
        return int.from_bytes(self.take(size))

    def text(self) -> bytes:
        return self.take(self.number())

    def file(self) -> RemoteFile:
        flags = self.number()
        size = self.number(8) if flags & _HAS_SIZE else 0
        self.take(8 if flags & _HAS_OWNER else 0)
        mode = self.number() if flags & _HAS_MODE else 0
        self.take(8 if flags & _HAS_TIMES else 0)
        for _ in range(2 * self.number() if flags & _HAS_MORE else 0):
            self.text()
        return RemoteFile(_KINDS.get(stat.S_IFMT(mode), "other"), size, bool(mode & 0o100))


Answer = tuple[int, _Fields]


class Sftp:
    """RemoteFiles, while it is entered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    async def __aenter__(self) -> Sftp:
        self._writer.write(_packet(_INIT, _number(3)))
        try:
            kind, fields = await self._receive()
            if kind != _VERSION or fields.number() < 3:
                raise ConnectionLost(_NONSENSE)
        except BaseException:
            self._writer.close()
            raise
        self._listening = asyncio.ensure_future(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        self._writer.close()

    async def _receive(self) -> Answer:
        try:
            length = int.from_bytes(await self._reader.readexactly(4))
            if not 0 < length <= _LONGEST:
                raise ConnectionLost(_NONSENSE)
            data = await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            raise ConnectionLost("SSH: the server sends no files, or the connection to it has ended.") from None
        return data[0], _Fields(data[1:])

    async def _listen(self) -> None:
        try:
            while True:
                kind, fields = await self._receive()
                asked = self._waiting.pop(fields.number(), None)
                if asked is None:
                    raise ConnectionLost(_NONSENSE)
                if not asked.done():
                    asked.set_result((kind, fields))
        except ConnectionLost as error:
            lost = (_STATUS, _Fields(_number(_CONNECTION_LOST) + _text(error.message.encode())))
            for each in self._waiting.values():
                if not each.done():
                    each.set_result(lost)

    def _ask(self, kind: int, *fields: bytes) -> asyncio.Future[Answer]:
        if self._listening.done():
            raise ConnectionLost("SSH: the connection to the server has ended.")
        self._number = (self._number + 1) % (1 << 32)
        answer = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        self._writer.write(_packet(kind, _number(self._number), *fields))
        return answer

    async def _answer(self, path: bytes, wanted: int, asked: asyncio.Future[Answer]) -> _Fields | None:
        """None at the end of a file or of a list. Raises ConnectionLost and RemoteFileError."""
        kind, fields = await asked
        if kind == _STATUS:
            code = fields.number()
            if code == _EOF:
                return None
            if code != _OK:
                raise _trouble(path, code, fields.text())
        if kind != wanted:
            raise ConnectionLost(_NONSENSE)
        return fields

    async def _fields(self, path: bytes, wanted: int, kind: int, *fields: bytes) -> _Fields:
        found = await self._answer(path, wanted, self._ask(kind, *fields))
        if found is None:
            raise ConnectionLost(_NONSENSE)
        return found

    async def _do(self, path: bytes, kind: int, *fields: bytes) -> None:
        await self._fields(path, _STATUS, kind, *fields)

    async def _drop(self, handle: bytes) -> None:
        with suppress(RunError):
            await self._do(b"", _CLOSE, handle)

    async def look(self, path: bytes) -> RemoteFile:
        """Of a link, what it leads to."""
        return (await self._fields(path, _ATTRS, _STAT, _text(path))).file()

    async def entries(self, folder: bytes, most: int) -> list[tuple[bytes, RemoteFile]]:
        """What is in a folder, by name; names are the server's own words. Those after the first `most` are left out."""
        handle = _text((await self._fields(folder, _HANDLE, _OPENDIR, _text(folder))).text())
        found: list[tuple[bytes, RemoteFile]] = []
        try:
            while len(found) < most:
                fields = await self._answer(folder, _NAME, self._ask(_READDIR, handle))
                if fields is None:
                    break
                for _ in range(fields.number()):
                    name, _, file = fields.text(), fields.text(), fields.file()
                    if name not in (b".", b".."):
                        found.append((name, file))
        finally:
            await self._drop(handle)
        return found[:most]

    async def read(self, path: bytes, size: int) -> AsyncGenerator[bytes, None]:
        """The first `size` bytes of a file, or all that it has."""
        opening = (_text(path), _number(_FOR_READING), _number(0))
        handle = _text((await self._fields(path, _HANDLE, _OPEN, *opening)).text())

        def ask(begin: int, end: int) -> asyncio.Future[Answer]:
            return self._ask(_READ, handle, _number(begin, 8), _number(end - begin))

        asked: deque[tuple[int, int, asyncio.Future[Answer]]] = deque()
        come = 0
        try:
            while True:
                while come < size and len(asked) < _AHEAD:
                    end = min(come + _PIECE, size)
                    asked.append((come, end, ask(come, end)))
                    come = end
                if not asked:
                    return
                begin, end, answer = asked.popleft()
                while begin < end:
                    fields = await self._answer(path, _DATA, answer)
                    data = fields.text()[: end - begin] if fields is not None else b""
                    if not data:
                        return
                    yield data
                    begin += len(data)
                    if begin < end:
                        answer = ask(begin, end)
        finally:
            await self._drop(handle)

    async def write(self, path: bytes, pieces: AsyncGenerator[bytes, None], *, executable: bool = False) -> None:
        """A whole file in the place of the one that may be there: at no moment is there a part of it."""
        folder, slash, _ = path.rpartition(b"/")
        part = folder + slash + f".{secrets.token_hex(8)}{PART}".encode()
        mode = _number(_HAS_MODE) + _number(0o755 if executable else 0o644)
        opened = await self._fields(path, _HANDLE, _OPEN, _text(part), _number(_NEW_FOR_WRITING), mode)
        handle = _text(opened.text())
        try:
            await self._write_all(path, handle, pieces)
            await self._do(path, _CLOSE, handle)
            await self._do(path, _EXTENDED, _text(b"posix-rename@openssh.com"), _text(part), _text(path))
        except BaseException as error:
            await self._drop(handle)
            if isinstance(error, RemoteFileError) and error.kind == "other" and await self._is_full(part):
                name = shown(_shown(path))
                error = RemoteFileError("full", f"The server's disk is full: there is no room for {name}.")
            with suppress(RunError):
                await self._do(part, _REMOVE, _text(part))
            raise error from None

    async def _write_all(self, path: bytes, handle: bytes, pieces: AsyncGenerator[bytes, None]) -> None:
        asked: deque[asyncio.Future[Answer]] = deque()
        written = 0
        async with aclosing(pieces):
            async for piece in pieces:
                for begin in range(0, len(piece), _PIECE):
                    data = piece[begin : begin + _PIECE]
                    asked.append(self._ask(_WRITE, handle, _number(written, 8), _text(data)))
                    written += len(data)
                    try:
                        await self._writer.drain()
                    except OSError as error:
                        raise ConnectionLost(f"SSH: {error}") from None
                    if len(asked) >= _AHEAD:
                        await self._answer(path, _STATUS, asked.popleft())
        for each in asked:
            await self._answer(path, _STATUS, each)

    async def _is_full(self, path: bytes) -> bool:
        """SFTP has no word for it that OpenSSH's server would say."""
        with suppress(RunError):
            found = await self._fields(path, _EXTENDED_REPLY, _EXTENDED, _text(b"statvfs@openssh.com"), _text(path))
            # As statvfs(3) has them.
            _, unit, _, _, room, _, _, files = [found.number(8) for _ in range(8)]
            return room * unit < _SMALLEST_ROOM or files == 0
        return False

    async def make_folder(self, path: bytes) -> None:
        """Unless there is one."""
        try:
            await self._do(path, _MKDIR, _text(path), _number(0))
        except RemoteFileError:
            if (await self.look(path)).kind != "folder":
                raise


def _trouble(path: bytes, code: int, why: bytes) -> RunError:
    """A connection that broke off is no fault of a file's."""
    name = shown(_shown(path))
    if code in (_NO_CONNECTION, _CONNECTION_LOST):
        return ConnectionLost(shown(_shown(why)))
    if code == _NO_SUCH_FILE:
        return RemoteFileError("missing", f"There is no {name} on the server.")
    if code == _PERMISSION_DENIED:
        return RemoteFileError("denied", f"The server's login user may not use {name}.")
    return RemoteFileError("other", f"{name} on the server: {shown(_shown(why))}.")


def _shown(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _number(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size)


def _text(value: bytes) -> bytes:
    return _number(len(value)) + value


def _packet(kind: int, *fields: bytes) -> bytes:
    return _text(b"".join((bytes((kind,)), *fields)))
