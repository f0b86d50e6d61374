"""The floor of every request: a server that looks at nothing and answers what it was told to.

    python bench/stub_server.py DIRECTORY

Writes the port it took to standard output. A POST is answered with DIRECTORY/answer, a PUT is written to
DIRECTORY/object, a GET is answered with that file by sendfile. Nothing is verified, parsed or made durable.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
LIMIT = 1 << 20


class Stub:
    def __init__(self, directory: Path) -> None:
        self._answer = directory / "answer"
        self._object = directory / "object"

    async def serve(self) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=LIMIT)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = LENGTH.search(head)
                length = int(found[1]) if found else 0
                if b"100-continue" in head:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if head.startswith(b"PUT"):
                    await self._take(reader, length)
                    writer.write(_head(0))
                elif head.startswith(b"POST"):
                    await reader.readexactly(length)
                    body = self._answer.read_bytes()
                    writer.write(_head(len(body)) + body)
                else:
                    await self._give(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    async def _take(self, reader: asyncio.StreamReader, length: int) -> None:
        with self._object.open("wb") as file:
            while length:
                piece = await reader.read(min(length, LIMIT))
                file.write(piece)
                length -= len(piece)

    async def _give(self, writer: asyncio.StreamWriter) -> None:
        with self._object.open("rb") as file:
            writer.write(_head(self._object.stat().st_size))
            await asyncio.get_running_loop().sendfile(writer.transport, file)


def _head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/xml;charset=UTF-8\r\ncontent-length: %d\r\n\r\n" % length


if __name__ == "__main__":
    asyncio.run(Stub(Path(sys.argv[1])).serve())
