"""Which HTTP server should carry the endpoint? aiohttp, uvicorn and granian on S3's traffic, in one run.

    python bench/http_servers.py [--large MIB] [--small REQUESTS]

Each server spools a PUT to a file and sends a GET from a file, as the endpoint does, and nothing else. The floor is a
bare asyncio server with a parser of twenty lines. Prints medians and, for each, the ratio to the floor.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVERS = {
    "floor": """
import asyncio, os, sys
async def client(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            lengths = [line for line in head.lower().split(b"\\r\\n") if line.startswith(b"content-length")]
            length = int(lengths[0].split(b":")[1]) if lengths else 0
            if head.startswith(b"PUT"):
                with open(FILE, "wb") as file:
                    while length:
                        chunk = await reader.read(min(length, 1 << 20)); file.write(chunk); length -= len(chunk)
                writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")
            else:
                size = os.path.getsize(FILE)
                writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % size)
                with open(FILE, "rb") as file:
                    await asyncio.get_running_loop().sendfile(writer.transport, file)
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()
async def main():
    server = await asyncio.start_server(client, "127.0.0.1", PORT, limit=1 << 20)
    await server.serve_forever()
asyncio.run(main())
""",
    "aiohttp": """
from aiohttp import web
async def put(request):
    with open(FILE, "wb") as file:
        async for chunk in request.content.iter_any(): file.write(chunk)
    return web.Response()
async def get(request): return web.FileResponse(FILE)
app = web.Application(client_max_size=1 << 40)
app.router.add_put("/", put); app.router.add_get("/", get)
web.run_app(app, host="127.0.0.1", port=PORT, print=None)
""",
    "uvicorn": """
import uvicorn
ASGI
uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="error", access_log=False)
""",
    "granian": """
from granian.server.embed import Server
import asyncio
ASGI
asyncio.run(Server(app, address="127.0.0.1", port=PORT, interface="asgi", log_enabled=False).serve())
""",
}

ASGI = """
async def app(scope, receive, send):
    if scope["type"] != "http": return
    if scope["method"] == "PUT":
        with open(FILE, "wb") as file:
            more = True
            while more:
                message = await receive(); file.write(message.get("body", b"")); more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
    else:
        import os
        size = os.path.getsize(FILE)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        with open(FILE, "rb") as file:
            while chunk := file.read(1 << 20):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", type=int, default=256, help="MiB of the large object")
    parser.add_argument("--small", type=int, default=500, help="requests of 1 KiB")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    rounds = [{name: measure(name, chosen.large, chosen.small) for name in SERVERS} for _ in range(chosen.rounds)]
    print(f"{'':10}{'PUT 1 KiB':>16}{'GET 1 KiB':>16}{f'PUT {chosen.large} MiB':>18}{f'GET {chosen.large} MiB':>18}")
    for name in SERVERS:
        cells = []
        for column in range(4):
            ratio = statistics.median(each[name][column] / each["floor"][column] for each in rounds)
            value = statistics.median(each[name][column] for each in rounds)
            cells.append(
                f"{value * 1000:8.2f} ms {ratio:4.1f}x"
                if column < 2
                else f"{chosen.large / value:7.0f} MiB/s {ratio:4.1f}x"
            )
        print(f"{name:10}" + "".join(f"{cell:>{16 if i < 2 else 18}}" for i, cell in enumerate(cells)))


def measure(name: str, large: int, small: int) -> list[float]:
    """Seconds: PUT and GET of 1 KiB (median of many), PUT and GET of the large object."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        code = SERVERS[name].replace("ASGI", ASGI, 1).replace("FILE", repr(f"{directory}/f")).replace("PORT", str(port))
        script = Path(directory, "server.py")
        script.write_text(code)
        process = subprocess.Popen([sys.executable, str(script)])
        try:
            connection = connect(port)
            body = os.urandom(1024)
            put = statistics.median(timed(connection, "PUT", body) for _ in range(small))
            get = statistics.median(timed(connection, "GET") for _ in range(small))
            big = os.urandom(1 << 20) * large
            return [put, get, timed(connection, "PUT", big), timed(connection, "GET")]
        finally:
            process.terminate()
            process.wait()


def connect(port: int) -> http.client.HTTPConnection:
    deadline = time.monotonic() + 10
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.connect()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
        else:
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection


def timed(connection: http.client.HTTPConnection, method: str, body: bytes | None = None) -> float:
    start = time.perf_counter()
    connection.request(method, "/", body)
    response = connection.getresponse()
    buffer = bytearray(1 << 20)
    while response.readinto(buffer):
        pass
    if response.status != 200:
        raise SystemExit(f"{method} answered {response.status}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
