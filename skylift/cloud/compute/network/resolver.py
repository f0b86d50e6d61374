"""The DNS server of a VPC: private names answered here, everything else as the host would be answered.

Queries to the host's name servers leave from the host's own namespace, so a stub resolver on the host's loopback
(systemd-resolved, dnsmasq, a VPN's) works for servers that cannot reach it themselves. They are passed on byte for
byte, and so are the answers: this file reads no more of DNS (RFC 1035) than the question.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Generic, Protocol, TypeVar

A, PTR = 1, 12
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
TTL = 60
PORT = 53
LONGEST_NAME = 255
LARGEST_DATAGRAM = 512
"""RFC 1035, section 2.3.4, in octets. A client asks for a larger answer again by TCP."""
# Two rounds end before a client's own five seconds (resolv.conf(5)) do.
SERVER_PATIENCE = 2.0
ROUNDS = 2
IDLE = 10.0
LIMIT = 256
CLIENT_LIMIT = 64
"""The most queries and connections under way at once, for a VPC and for one server in it. Each may hold a socket of the
whole cloud. Further ones are dropped, and the client asks again.
"""

_HEADER = struct.Struct("!6H")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800

T = TypeVar("T")
Upstream = tuple[str, int]


class Names(Protocol):
    """The names and addresses that the cloud knows of a VPC."""

    def has_dns(self, vpc_id: str) -> bool:
        """Whether the VPC has a DNS server at all."""
        ...

    def address_of(self, vpc_id: str, name: str) -> str | None:
        """The address of a name such as `ip-10-0-1-5.ec2.internal`."""
        ...

    def name_of(self, vpc_id: str, address: str) -> str | None:
        """The name of a private address; empty where it has none, None where the address is not the VPC's."""
        ...


@dataclass(frozen=True)
class DnsQuestion:
    """`name` is in lower case without a final dot; `raw` is the question section as it came."""

    name: str
    kind: int
    family: int
    raw: bytes


def read_question(query: bytes) -> DnsQuestion | None:
    """The one question of a query; None for anything else."""
    if len(query) < _HEADER.size:
        return None
    _, flags, questions, *_ = _HEADER.unpack_from(query)
    if flags & _RESPONSE or questions != 1:
        return None
    labels = []
    offset = _HEADER.size
    while True:
        if offset >= len(query) or query[offset] > 63:
            return None
        length = query[offset]
        offset += 1
        if length == 0:
            break
        labels.append(query[offset : offset + length])
        offset += length
    if offset + 4 > len(query) or offset - _HEADER.size > LONGEST_NAME:
        return None
    kind, family = struct.unpack_from("!HH", query, offset)
    name = b".".join(labels).lower().decode("latin-1")
    return DnsQuestion(name, kind, family, query[_HEADER.size : offset + 4])


def respond(query: bytes, question: DnsQuestion | None, code: int, found: Sequence[bytes] = ()) -> bytes:
    """A response of our own; `found` is what a record of the kind that was asked for says, for each record."""
    identity, flags, *_ = _HEADER.unpack_from(query)
    authority = _AUTHORITATIVE if code in (NOERROR, NXDOMAIN) else 0
    kept = flags & (_OPCODE | _RECURSION_DESIRED)
    head = _HEADER.pack(
        identity, _RESPONSE | kept | authority | _RECURSION_AVAILABLE | code, 1 if question else 0, len(found), 0, 0
    )
    # Each record's name is a pointer to the question's, right behind the header.
    kind = question.kind if question else 0
    records = [struct.pack("!HHHIH", 0xC000 | _HEADER.size, kind, IN, TTL, len(data)) + data for data in found]
    return b"".join([head, question.raw if question else b"", *records])


def truncated(query: bytes, question: DnsQuestion) -> bytes:
    """A response without records, and with the bit that marks it as too large for a datagram."""
    response = respond(query, question, NOERROR)
    flags = int.from_bytes(response[2:4], "big") | _TRUNCATED
    return response[:2] + flags.to_bytes(2, "big") + response[4:]


class _Watched(Generic[T]):
    """The content of a file, read again if the file was replaced or has changed; empty if there is none."""

    def __init__(self, path: Path, read: Callable[[str], T]) -> None:
        self._path = path
        self._read = read
        self._seen: tuple[int, int, int] | None = None
        self._value = read("")

    def value(self) -> T:
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._value = self._read(self._path.read_text(errors="replace"))
                self._seen = seen
        except FileNotFoundError:
            self._value, self._seen = self._read(""), None
        return self._value


class HostNames:
    """The host's name servers and its hosts file, read again when they change."""

    def __init__(self, resolv_conf: Path = Path("/etc/resolv.conf"), hosts: Path = Path("/etc/hosts")) -> None:
        self._resolv_conf = _Watched(resolv_conf, read_name_servers)
        self._hosts = _Watched(hosts, read_hosts)

    def upstreams(self) -> list[Upstream]:
        """resolv.conf(5): without a nameserver line, the one on this machine."""
        return self._resolv_conf.value() or [("127.0.0.1", PORT)]

    def addresses(self, name: str) -> list[str]:
        return self._hosts.value().get(name, [])


def read_name_servers(text: str) -> list[Upstream]:
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 1 and fields[0] == "nameserver":
            found.append((fields[1], PORT))
    return found


def read_hosts(text: str) -> dict[str, list[str]]:
    """IPv4 addresses by name, but for loopback ones: in a server they would mean the server."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) < 2:
            continue
        try:
            address = ip_address(fields[0])
        except ValueError:
            continue
        if isinstance(address, IPv4Address) and not address.is_loopback:
            for name in fields[1:]:
                found.setdefault(name.lower().rstrip("."), []).append(str(address))
    return found


class Resolver:
    """Answers the queries of one VPC's servers."""

    def __init__(self, vpc_id: str, names: Names, host: HostNames) -> None:
        self._vpc_id = vpc_id
        self._names = names
        self._host = host

    async def answer(self, query: bytes, *, stream: bool) -> bytes | None:
        """The response to a query that came by UDP or (`stream`) TCP; None for a message that is not a query."""
        question = read_question(query)
        if question is None:
            return respond(query, None, FORMERR) if _is_query(query) else None
        if _HEADER.unpack_from(query)[1] & _OPCODE:
            return respond(query, question, NOTIMP)
        if not self._names.has_dns(self._vpc_id):
            return respond(query, question, REFUSED)
        own = self._own(query, question)
        if own is None:
            return await self._forward(query, question, stream)
        return own if stream or len(own) <= LARGEST_DATAGRAM else truncated(query, question)

    def _own(self, query: bytes, question: DnsQuestion) -> bytes | None:
        address = reversed_address(question.name)
        if address is not None:
            return self._reverse(query, question, address)
        addresses = self._host.addresses(question.name)
        if is_private(question.name):
            found = self._names.address_of(self._vpc_id, question.name)
            if found is None:
                return respond(query, question, NXDOMAIN)
            addresses = [found]
        if not addresses:
            return None
        wanted = question.kind == A and question.family == IN
        return respond(query, question, NOERROR, [IPv4Address(ip).packed for ip in addresses] if wanted else ())

    def _reverse(self, query: bytes, question: DnsQuestion, address: str) -> bytes | None:
        name = self._names.name_of(self._vpc_id, address)
        if name is None:
            return None
        if not name:
            return respond(query, question, NXDOMAIN)
        wanted = question.kind == PTR and question.family == IN
        return respond(query, question, NOERROR, [encode_name(name)] if wanted else ())

    async def _forward(self, query: bytes, question: DnsQuestion, stream: bool) -> bytes:
        ask = _ask_by_tcp if stream else _ask_by_udp
        for _ in range(ROUNDS):
            for upstream in self._host.upstreams():
                try:
                    async with asyncio.timeout(SERVER_PATIENCE):
                        return await ask(query, question, upstream)
                except (OSError, asyncio.IncompleteReadError):
                    # No answer from this one (a timeout is an OSError too): the next may know.
                    continue
        return respond(query, question, SERVFAIL)


def reversed_address(name: str) -> str | None:
    """The IPv4 address that a name such as `5.1.0.10.in-addr.arpa` encodes."""
    labels = name.removesuffix(".in-addr.arpa").split(".") if name.endswith(".in-addr.arpa") else []
    if len(labels) != 4:
        return None
    try:
        return str(IPv4Address(".".join(reversed(labels))))
    except ValueError:
        return None


def encode_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def is_private(name: str) -> bool:
    """Whether a name is in the zones that AWS gives instances names in."""
    return name.endswith((".ec2.internal", ".compute.internal"))


class PendingRequests:
    """The requests of one VPC's clients that are under way, by address: no client takes the others' share."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def take(self, client: str) -> bool:
        """Whether there is room for one more; it has to be given back."""
        if self._taken.total() >= LIMIT or self._taken[client] >= CLIENT_LIMIT:
            return False
        self._taken[client] += 1
        return True

    def give_back(self, client: str) -> None:
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]


class Serving:
    """A resolver at work on its sockets."""

    def __init__(self, transports: list[asyncio.DatagramTransport], servers: list[asyncio.Server]) -> None:
        self._transports = transports
        self._servers = servers

    def close(self) -> None:
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()


async def serve(resolver: Resolver, sockets: Sequence[socket.socket]) -> Serving:
    """Answer on sockets from `Network.listen`, datagram and stream, until closed."""
    loop = asyncio.get_running_loop()
    transports: list[asyncio.DatagramTransport] = []
    servers = []
    queries, connections = PendingRequests(), PendingRequests()
    for one in sockets:
        if one.type == socket.SOCK_DGRAM:
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(resolver, queries), sock=one)
            transports.append(transport)
        else:
            servers.append(await asyncio.start_server(_Streams(resolver, connections).converse, sock=one))
    return Serving(transports, servers)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver, room: PendingRequests) -> None:
        self._resolver = resolver
        self._room = room
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, client: Upstream) -> None:
        if not self._room.take(client[0]):
            return
        task = asyncio.get_running_loop().create_task(self._answer(data, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, query: bytes, client: Upstream) -> None:
        try:
            response = await self._resolver.answer(query, stream=False)
        finally:
            self._room.give_back(client[0])
        if response is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(response, client)


class _Streams:
    def __init__(self, resolver: Resolver, room: PendingRequests) -> None:
        self._resolver = resolver
        self._room = room

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Query after query on one connection, each with its length before it, until the client is silent."""
        client = str(writer.get_extra_info("peername")[0])
        if not self._room.take(client):
            writer.close()
            return
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    query = await _read_message(reader)
                response = await self._resolver.answer(query, stream=True)
                if response is None:
                    return
                writer.write(len(response).to_bytes(2, "big") + response)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            # The client has left, or has had nothing to ask for a while.
            return
        finally:
            self._room.give_back(client)
            writer.close()


class _Ask(asyncio.DatagramProtocol):
    def __init__(self, query: bytes, question: DnsQuestion) -> None:
        self._query = query
        self._question = question
        self.response: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _: Upstream) -> None:
        if _answers(data, self._query, self._question) and not self.response.done():
            self.response.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self.response.done():
            self.response.set_exception(error)


async def _ask_by_udp(query: bytes, question: DnsQuestion, upstream: Upstream) -> bytes:
    """A socket, and with it a source port, for every query: an answer cannot be guessed by its number alone."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Ask(query, question), remote_addr=upstream)
    try:
        transport.sendto(query)
        return await protocol.response
    finally:
        transport.close()


async def _ask_by_tcp(query: bytes, question: DnsQuestion, upstream: Upstream) -> bytes:
    reader, writer = await asyncio.open_connection(*upstream)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        response = await _read_message(reader)
    finally:
        writer.close()
    if not _answers(response, query, question):
        raise ConnectionError(f"name server {upstream[0]} answered another question")
    return response


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


def _answers(response: bytes, query: bytes, question: DnsQuestion) -> bool:
    if len(response) < _HEADER.size or response[:2] != query[:2] or not response[2] & 0x80:
        return False
    # Some servers leave the question out of an error.
    repeated = response[_HEADER.size : _HEADER.size + len(question.raw)]
    return repeated.lower() == question.raw.lower() or (len(response) == _HEADER.size and bool(response[3] & 0x0F))


def _is_query(data: bytes) -> bool:
    return len(data) >= _HEADER.size and not data[2] & 0x80
