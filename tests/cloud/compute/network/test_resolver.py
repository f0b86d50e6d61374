"""The VPC's DNS server against name servers of the test's own, on loopback."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ports import quiet_port

from skylift.cloud.compute.network import resolver as module
from skylift.cloud.compute.network.resolver import (
    HostNames,
    Resolver,
    Upstream,
    encode_name,
    read_hosts,
    read_name_servers,
    read_question,
    respond,
    serve,
)

A, PTR, AAAA, MX = 1, 12, 28, 15


def query(name: str, kind: int = A, *, identity: int = 77, flags: int = 0x0100, tail: bytes = b"") -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    return struct.pack("!6H", identity, flags, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1) + tail


def code(response: bytes | None) -> int:
    assert response is not None
    return response[3] & 0x0F


def records(response: bytes | None) -> list[str]:
    """The addresses in a response of ours."""
    assert response is not None
    count = struct.unpack_from("!H", response, 6)[0]
    return [socket.inet_ntoa(response[len(response) - 16 * left + 12 :][:4]) for left in range(count, 0, -1)]


class FakeHost(HostNames):
    def __init__(self, upstreams: list[Upstream], hosts: dict[str, list[str]] | None = None) -> None:
        super().__init__()
        self._fake = upstreams
        self._names = hosts or {}

    def upstreams(self) -> list[Upstream]:
        return self._fake

    def addresses(self, name: str) -> list[str]:
        return self._names.get(name, [])


class FakeNames:
    """One server, in the VPC vpc-1, which has 10.0.0.0/16."""

    def __init__(self, *, dns: bool = True) -> None:
        self._dns = dns

    def has_dns(self, vpc_id: str) -> bool:
        return self._dns and vpc_id == "vpc-1"

    def address_of(self, vpc_id: str, name: str) -> str | None:
        return {("vpc-1", "ip-10-0-1-5.ec2.internal"): "10.0.1.5"}.get((vpc_id, name))

    def name_of(self, vpc_id: str, address: str) -> str | None:
        if vpc_id != "vpc-1" or not address.startswith("10.0."):
            return None
        return "ip-10-0-1-5.ec2.internal" if address == "10.0.1.5" else ""


def resolver(*upstreams: Upstream, hosts: dict[str, list[str]] | None = None, dns: bool = True) -> Resolver:
    return Resolver("vpc-1", FakeNames(dns=dns), FakeHost(list(upstreams), hosts))


@asynccontextmanager
async def name_server(answer: Callable[[bytes], list[bytes]]) -> AsyncIterator[Upstream]:
    """A name server, by UDP and TCP on one port, that answers each query with these messages."""

    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.transport = transport

        def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
            for message in answer(data):
                self.transport.sendto(message, client)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2), "big")
        for message in answer(await reader.readexactly(length)):
            writer.write(len(message).to_bytes(2, "big") + message)
        writer.close()

    address: Upstream = ("127.0.0.1", quiet_port())
    stream = await asyncio.start_server(converse, *address)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Protocol, local_addr=address)
    try:
        yield address
    finally:
        transport.close()
        stream.close()


def answered(*addresses: str) -> Callable[[bytes], list[bytes]]:
    return lambda asked: [respond(asked, read_question(asked), 0, [socket.inet_aton(one) for one in addresses])]


@pytest.fixture
def nowhere() -> Upstream:
    """A loopback port that refuses."""
    return "127.0.0.1", quiet_port()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is only late here."""
    monkeypatch.setattr(module, "SERVER_PATIENCE", 120.0)


async def test_a_private_name_is_answered_here(nowhere: Upstream) -> None:
    response = await resolver(nowhere).answer(query("IP-10-0-1-5.ec2.internal"), stream=False)
    assert response is not None
    assert response[:2] == (77).to_bytes(2, "big")
    assert code(response) == 0
    assert records(response) == ["10.0.1.5"]
    # The name comes back as it was written, because clients mix its case to know the answer as theirs.
    assert b"IP-10-0-1-5" in response


async def test_a_private_name_has_no_other_records(nowhere: Upstream) -> None:
    response = await resolver(nowhere).answer(query("ip-10-0-1-5.ec2.internal", AAAA), stream=False)
    assert (code(response), records(response)) == (0, [])


@pytest.mark.parametrize("name", ["ip-10-0-1-6.ec2.internal", "ip-10-0-1-5.eu-west-1.compute.internal"])
async def test_an_unknown_private_name_is_not_asked_elsewhere(name: str) -> None:
    async with name_server(answered("192.0.2.1")) as upstream:
        response = await resolver(upstream).answer(query(name), stream=False)
    assert (code(response), records(response)) == (module.NXDOMAIN, [])


async def test_a_private_address_has_its_name(nowhere: Upstream) -> None:
    response = await resolver(nowhere).answer(query("5.1.0.10.in-addr.arpa", PTR), stream=False)
    assert response is not None
    assert code(response) == 0
    assert response.endswith(b"\x0bip-10-0-1-5\3ec2\x08internal\0")
    assert response.count(struct.pack("!HHI", PTR, 1, module.TTL)) == 1


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [("6.1.0.10.in-addr.arpa", PTR, module.NXDOMAIN), ("5.1.0.10.in-addr.arpa", A, module.NOERROR)],
)
async def test_addresses_of_the_vpc_are_not_asked_elsewhere(name: str, kind: int, expected: int) -> None:
    async with name_server(answered("192.0.2.1")) as upstream:
        response = await resolver(upstream).answer(query(name, kind), stream=False)
    assert (code(response), records(response)) == (expected, [])


@pytest.mark.parametrize("name", ["1.2.0.192.in-addr.arpa", "0.10.in-addr.arpa", "300.1.0.10.in-addr.arpa"])
async def test_other_addresses_are(name: str) -> None:
    async with name_server(answered("192.0.2.1")) as upstream:
        response = await resolver(upstream).answer(query(name, PTR), stream=False)
    assert records(response) == ["192.0.2.1"]


async def test_a_vpc_without_dns_refuses_every_question() -> None:
    async with name_server(answered("192.0.2.1")) as upstream:
        for name in ("example.com", "ip-10-0-1-5.ec2.internal"):
            assert code(await resolver(upstream, dns=False).answer(query(name), stream=False)) == module.REFUSED


@pytest.mark.parametrize("stream", [False, True])
async def test_everything_else_is_passed_on_byte_for_byte(stream: bool) -> None:
    asked = []

    def answer(data: bytes) -> list[bytes]:
        asked.append(data)
        return [respond(data, read_question(data), 0, [b"\xc0\0\2\1"]) + b"anything"]

    extended = query("example.com", MX, tail=b"\0\0\x29\x10\0\0\0\0\0\0\0")
    async with name_server(answer) as upstream:
        response = await resolver(upstream).answer(extended, stream=stream)
    assert asked == [extended]
    assert response is not None and response.endswith(b"anything")


async def test_the_next_name_server_is_asked_when_one_refuses(nowhere: Upstream) -> None:
    async with name_server(answered("192.0.2.1")) as upstream:
        for stream in (False, True):
            response = await resolver(nowhere, upstream).answer(query("example.com"), stream=stream)
            assert records(response) == ["192.0.2.1"]


async def test_nobody_answers(nowhere: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SERVER_PATIENCE", 0.01)
    async with name_server(lambda _: []) as silent:
        for upstreams in ([nowhere], [silent], [silent, nowhere]):
            response = await resolver(*upstreams).answer(query("example.com"), stream=False)
            assert (code(response), records(response)) == (module.SERVFAIL, [])


async def test_an_answer_to_another_question_is_not_taken() -> None:
    def answer(asked: bytes) -> list[bytes]:
        other = query("evil.example")
        return [
            respond(other, read_question(other), 0, [b"\xc0\0\2\x42"]),
            respond(query("example.com", identity=78), read_question(asked), 0, [b"\xc0\0\2\x42"]),
            asked,
            *answered("192.0.2.1")(asked),
        ]

    async with name_server(answer) as upstream:
        response = await resolver(upstream).answer(query("example.com"), stream=False)
    assert records(response) == ["192.0.2.1"]


async def test_names_in_the_hosts_file_come_first(nowhere: Upstream) -> None:
    names = resolver(nowhere, hosts={"mirror.example": ["192.0.2.9", "192.0.2.10"]})
    response = await names.answer(query("Mirror.example"), stream=False)
    assert records(response) == ["192.0.2.9", "192.0.2.10"]
    assert records(await names.answer(query("mirror.example", AAAA), stream=False)) == []


def test_hosts_file_without_loopback() -> None:
    text = "127.0.0.1 localhost\n127.0.1.1 box # me\n::1 six\n192.0.2.9 Mirror.Example. m # old\n192.0.2.10 m\nbad x\n"
    assert read_hosts(text) == {"mirror.example": ["192.0.2.9"], "m": ["192.0.2.9", "192.0.2.10"]}


def test_resolv_conf() -> None:
    text = "# by hand\nsearch a b\nnameserver 192.0.2.53\nnameserver\n nameserver fd00::53 \noptions timeout:1\n"
    assert read_name_servers(text) == [("192.0.2.53", 53), ("fd00::53", 53)]


def test_host_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    resolv_conf, hosts = tmp_path / "resolv.conf", tmp_path / "hosts"
    names = HostNames(resolv_conf, hosts)
    assert names.upstreams() == [("127.0.0.1", 53)]
    assert names.addresses("m") == []
    resolv_conf.write_text("nameserver 192.0.2.53\n")
    hosts.write_text("192.0.2.9 m\n")
    assert names.upstreams() == [("192.0.2.53", 53)]
    assert names.addresses("m") == ["192.0.2.9"]
    replacement = tmp_path / "new"
    replacement.write_text("nameserver 192.0.2.54\n")
    replacement.rename(resolv_conf)
    hosts.unlink()
    assert names.upstreams() == [("192.0.2.54", 53)]
    assert names.addresses("m") == []


async def test_what_is_no_query(nowhere: Upstream) -> None:
    names = resolver(nowhere)
    assert await names.answer(b"", stream=False) is None
    assert await names.answer(b"short", stream=False) is None
    assert await names.answer(respond(query("a"), read_question(query("a")), 0), stream=False) is None
    assert code(await names.answer(query("a")[:-3], stream=False)) == module.FORMERR
    assert code(await names.answer(query("a", flags=0x2800), stream=False)) == module.NOTIMP


@given(st.binary(max_size=80))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    question = read_question(data)
    assert question is None or question.raw == data[12 : 12 + len(question.raw)]


label = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=63)


@given(st.lists(label, min_size=1, max_size=4), st.integers(0, 65535), st.binary(max_size=20))
def test_a_question_is_read_as_it_was_written(labels: list[str], kind: int, tail: bytes) -> None:
    question = read_question(query(".".join(labels), kind, tail=tail))
    assert question is not None
    assert (question.name, question.kind, question.family) == (".".join(labels), kind, 1)


def read_by_dnspython(query: bytes) -> tuple[bytes, int, int] | None:
    """The question as the library reads it: the name's labels in lower case, the kind and the class."""
    try:
        (asked,) = dns.message.from_wire(query, question_only=True).question
    except (dns.exception.DNSException, ValueError):
        return None
    return b".".join(asked.name.labels[:-1]).lower(), asked.rdtype, asked.rdclass


@given(st.data())
def test_no_question_is_read_that_dnspython_reads_otherwise(data: st.DataObject) -> None:
    """A query with some of its bytes changed: most are none any more."""
    labels = data.draw(st.lists(st.text("abcXYZ-", min_size=1, max_size=63), min_size=1, max_size=6))
    bent = bytearray(query(".".join(labels), tail=b"\xc0\x0c"))
    for at in data.draw(st.lists(st.integers(4, len(bent) - 1), max_size=3)):
        bent[at] = data.draw(st.sampled_from([0, 1, 12, 63, 64, 0xC0, 0xFF]))
    question = read_question(bytes(bent))
    if question is not None:
        assert read_by_dnspython(bytes(bent)) == (question.name.encode("latin-1"), question.kind, question.family)


@given(
    st.lists(st.text("abcXYZ019-_", min_size=1, max_size=40), min_size=1, max_size=5),
    st.sampled_from([A, PTR]),
    st.integers(0, 5),
    st.lists(st.ip_addresses(v=4), max_size=8),
)
def test_dnspython_reads_what_is_answered(labels: list[str], kind: int, code: int, found: list[IPv4Address]) -> None:
    name = ".".join(labels)
    asked = query(name, kind)
    data = [one.packed if kind == A else encode_name(f"ip-{str(one).replace('.', '-')}.ec2.internal") for one in found]
    response = dns.message.from_wire(respond(asked, read_question(asked), code, data))
    assert dns.message.from_wire(asked).is_response(response)
    assert response.rcode() == code
    shown = [record.to_text() for answer in response.answer for record in answer]
    wanted = [str(one) if kind == A else f"ip-{str(one).replace('.', '-')}.ec2.internal." for one in found]
    assert sorted(set(shown)) == sorted(set(wanted))
    assert {answer.name.to_text() for answer in response.answer} <= {f"{name}."}


LONG = b"\x3f" + b"a" * 63


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\x0c",
        b"\x01a\xc0\x0c",
        b"\xc0\x0e\xc0\x0c",
        b"\x40" + b"a" * 64 + b"\0",
        LONG * 4 + b"\0",
        LONG * 1000 + b"\0",
        b"\x05abc",
        b"",
    ],
    ids=["to itself", "to before itself", "to and fro", "a long label", "256 octets", "64,000 octets", "cut", "none"],
)
async def test_a_name_that_is_none_is_asked_nobody(name: bytes, nowhere: Upstream) -> None:
    """With a pointer a name could go round in circles. Nobody abbreviates the first name of a message."""
    asked = struct.pack("!6H", 77, 0x0100, 1, 0, 0, 0) + name + (struct.pack("!HH", A, 1) if name[-1:] != b"c" else b"")
    for stream in (False, True):
        response = await resolver(nowhere, hosts={"a" * 63: ["10.0.0.1"]}).answer(asked, stream=stream)
        assert code(response) == module.FORMERR
        assert response is not None and response[4:] == bytes(8)


async def test_the_longest_name_there_is_is_read(nowhere: Upstream) -> None:
    name = ".".join(["a" * 63] * 3 + ["a" * 61])
    response = await resolver(nowhere, hosts={name: ["10.0.0.1"]}).answer(query(name), stream=False)
    assert (code(response), records(response)) == (0, ["10.0.0.1"])


async def test_what_is_too_much_for_a_datagram_is_asked_for_by_tcp(nowhere: Upstream) -> None:
    addresses = [f"10.0.0.{number}" for number in range(40)]
    asked, host = query("many.example"), {"many.example": addresses}
    short = await resolver(nowhere, hosts=host).answer(asked, stream=False)
    assert short is not None and len(short) <= 512
    assert dns.message.from_wire(short).flags & dns.flags.TC and records(short) == []
    assert records(await resolver(nowhere, hosts=host).answer(asked, stream=True)) == addresses


async def test_serving_by_datagram_and_stream() -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    datagrams.setblocking(False)
    stream = socket.create_server(("127.0.0.1", 0))
    stream.setblocking(False)
    datagram_address, stream_address = datagrams.getsockname(), stream.getsockname()
    async with name_server(answered("192.0.2.1")) as upstream:
        serving = await serve(resolver(upstream), [datagrams, stream])
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(datagram_address)
            await loop.sock_sendall(client, b"rubbish")
            await loop.sock_sendall(client, query("example.com"))
            assert records(await loop.sock_recv(client, 512)) == ["192.0.2.1"]
        reader, writer = await asyncio.open_connection(*stream_address)
        for name, expected in [("example.com", "192.0.2.1"), ("ip-10-0-1-5.ec2.internal", "10.0.1.5")]:
            asked = query(name)
            writer.write(len(asked).to_bytes(2, "big") + asked)
            length = int.from_bytes(await reader.readexactly(2), "big")
            assert records(await reader.readexactly(length)) == [expected]
        writer.close()
        serving.close()


async def test_one_server_cannot_take_all_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions that nobody answers: each holds a socket of the cloud's until it is given up."""
    monkeypatch.setattr(module, "CLIENT_LIMIT", 5)
    asked: list[bytes] = []

    def remember(request: bytes) -> list[bytes]:
        asked.append(request)
        return [] if b"mute" in request else answered("192.0.2.1")(request)

    async with name_server(remember) as upstream:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.setblocking(False)
        datagrams.bind(("127.0.0.1", 0))
        serving = await serve(resolver(upstream), [datagrams])
        loop = asyncio.get_running_loop()
        try:
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as greedy,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as modest,
            ):
                for client, address in ((greedy, "127.0.0.2"), (modest, "127.0.0.3")):
                    client.setblocking(False)
                    client.bind((address, 0))
                    client.connect(datagrams.getsockname())
                for number in range(50):
                    greedy.send(query(f"mute{number}.example"))
                modest.send(query("example.test"))
                response = await asyncio.wait_for(loop.sock_recv(modest, 512), 30)
                assert code(response) == 0
                assert len([one for one in asked if b"mute" in one]) == 5
        finally:
            serving.close()


def test_room_is_given_back() -> None:
    room = module.PendingRequests()
    assert all(room.take("10.0.0.1") for _ in range(module.CLIENT_LIMIT))
    assert not room.take("10.0.0.1")
    room.give_back("10.0.0.1")
    assert room.take("10.0.0.1")
    others = [f"10.0.1.{number}" for number in range(module.LIMIT - module.CLIENT_LIMIT)]
    assert all(map(room.take, others))
    assert not room.take("10.0.2.1")
