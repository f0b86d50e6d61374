"""HTTP itself, byte for byte, on a socket."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import os
import select
import socket
import threading
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from support.still_known import still_known
from wire_endpoint import ACCESS_KEY, REGION, SECRET, DictService, Running, running

from skylift.cloud.domain.bucket import Extent, FileBody
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire import pipeline
from skylift.cloud.wire.call import ModelCall, Request, Response
from skylift.cloud.wire.endpoint import OF_SENDER, WORKERS
from skylift.cloud.wire.files import IN_ONE_WRITE, MOST_OPEN
from skylift.cloud.wire.server import LONGEST_LINE, HttpServer, blocking, gathered

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def connection(cloud: Running) -> Iterator[socket.socket]:
    where = urlsplit(cloud.url)
    with socket.create_connection((where.hostname, where.port)) as opened:
        yield opened


def answer_on(connection: socket.socket, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


class Declaring(S3SigV4Auth):
    """Signs with a given x-amz-content-sha256 instead of a hash."""

    declared = ""

    def payload(self, request: Any) -> str:
        return self.declared


def signed_put(cloud: Running, declared: str, headers: dict[str, str], *, secret: str = SECRET) -> bytes:
    """The head of a PutObject of abc/k."""
    asked = AWSRequest("PUT", f"{cloud.url}/abc/k", headers=headers)
    signer = Declaring(Credentials(ACCESS_KEY, secret), "s3", REGION)
    signer.declared = declared
    signer.add_auth(asked)
    lines = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
    return f"PUT /abc/k HTTP/1.1\r\nHost: {urlsplit(cloud.url).netloc}\r\n{lines}\r\n".encode()


def test_a_person_is_told_what_this_is(cloud: Running) -> None:
    with urllib.request.urlopen(f"{cloud.url}/") as page:
        assert page.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert "skylift" in page.read().decode()
    with urllib.request.urlopen(f"{cloud.url}/_skylift/ip") as page:
        assert page.read() == b"127.0.0.1\n"
    assert cloud.service.calls == []


def test_a_bad_signature_is_refused_before_the_body_is_sent(cloud: Running, connection: socket.socket) -> None:
    headers = {"Content-Length": "100000", "Expect": "100-continue"}
    connection.sendall(signed_put(cloud, "UNSIGNED-PAYLOAD", headers, secret="wrong"))
    status, answered, _ = answer_on(connection)
    assert (status, answered["connection"]) == (403, "close")
    assert cloud.service.calls == []


def test_a_good_one_is_told_to_go_ahead(cloud: Running, connection: socket.socket) -> None:
    headers = {"Content-Length": "5", "Expect": "100-continue"}
    connection.sendall(signed_put(cloud, "UNSIGNED-PAYLOAD", headers))
    go_ahead = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert connection.recv(len(go_ahead), socket.MSG_WAITALL) == go_ahead
    connection.sendall(b"hello")
    status, answered, _ = answer_on(connection)
    assert (status, answered["etag"]) == (200, f'"{hashlib.md5(b"hello").hexdigest()}"')


def test_signed_chunks_over_http(cloud: Running, connection: socket.socket) -> None:
    content = [b"a" * 70_000, b"b" * 10]
    size = sum(map(len, content))
    coded_size = sum(len(b"%x" % len(chunk)) + 83 + len(chunk) + 2 for chunk in [*content, b""])
    head = signed_put(
        cloud,
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        {
            "Content-Length": str(coded_size),
            "Content-Encoding": "aws-chunked,gzip",
            "x-amz-decoded-content-length": str(size),
        },
    )
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
    stamp, previous = fields["X-Amz-Date"], fields["Authorization"].rpartition("Signature=")[2]
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    connection.sendall(head)
    sent = 0
    for chunk in [*content, b""]:
        empty, data = hashlib.sha256(b"").hexdigest(), hashlib.sha256(chunk).hexdigest()
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{scope}\n{previous}\n{empty}\n{data}"
        previous = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        coded = b"%x;chunk-signature=%s\r\n%s\r\n" % (len(chunk), previous.encode(), chunk)
        connection.sendall(coded)
        sent += len(coded)
    assert sent == coded_size
    status, _, _ = answer_on(connection)
    assert status == 200
    stored = cloud.service.objects["abc", "k"]
    assert (stored.size, stored.md5) == (size, hashlib.md5(b"".join(content)).hexdigest())
    assert (stored.params["ContentEncoding"], stored.params["ContentLength"]) == ("gzip", size)


def test_an_upload_that_breaks_off_leaves_nothing(cloud: Running, connection: socket.socket) -> None:
    connection.sendall(signed_put(cloud, "UNSIGNED-PAYLOAD", {"Content-Length": "10000000", "Expect": "100-continue"}))
    assert connection.recv(100).startswith(b"HTTP/1.1 100")
    connection.sendall(bytes(3_000_000))
    connection.close()
    cloud.run(cloud.endpoint.stop())  # waits for the request to end
    assert cloud.spooled == []
    assert cloud.service.calls == []


def test_an_upload_of_unknown_length_is_refused(cloud: Running, connection: socket.socket) -> None:
    connection.sendall(signed_put(cloud, "UNSIGNED-PAYLOAD", {"Transfer-Encoding": "chunked"}) + b"0\r\n\r\n")
    status, _, body = answer_on(connection)
    assert status == 411
    assert b"<Code>MissingContentLength</Code>" in body


@pytest.mark.parametrize(
    "start", [b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (2 * LONGEST_LINE) + b"\r\n\r\n"]
)
def test_what_is_not_http_is_refused(connection: socket.socket, start: bytes) -> None:
    connection.sendall(start)
    assert answer_on(connection)[0] == 400


def test_a_connection_serves_many_requests(cloud: Running) -> None:
    where = urlsplit(cloud.url)
    client = http.client.HTTPConnection(where.hostname or "", where.port)
    sockets = set()
    cloud.service.answers["HeadObject"] = {"ContentLength": 7, "ETag": '"e"'}
    for method, target in [("GET", "/"), ("HEAD", "/abc/k"), ("GET", "/abc/none"), ("HEAD", "/"), ("GET", "/")]:
        client.request(method, target)
        response = client.getresponse()
        response.read()
        sockets.add(id(client.sock))
        assert response.status == (404 if target == "/abc/none" else 200)
        if target == "/abc/k":
            assert response.getheader("Content-Length") == "7"
    assert len(sockets) == 1
    client.close()


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls(cloud: Running, version: str) -> None:
    s3 = cloud.client("s3", signature_version=version)
    url = s3.generate_presigned_url("put_object", {"Bucket": "abc", "Key": "a b"}, ExpiresIn=60)
    put = urllib.request.Request(url, data=b"hello", method="PUT", headers={"Content-Type": ""})
    with urllib.request.urlopen(put) as answer:
        assert answer.status == 200
    url = s3.generate_presigned_url("get_object", {"Bucket": "abc", "Key": "a b", "ResponseContentType": "text/x"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"
    assert cloud.service.calls[-1].params["ResponseContentType"] == "text/x"
    assert cloud.service.calls[-1].credential.access_key_id == ACCESS_KEY
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url.replace("/a%20b", "/other"))
    assert refused.value.code == 403


def test_presigned_urls_of_query_services(cloud: Running) -> None:
    sts = cloud.client("sts").generate_presigned_url("get_caller_identity", HttpMethod="GET")
    with urllib.request.urlopen(sts) as answer:
        assert b"<Account>123456789012</Account>" in answer.read()


@pytest.mark.parametrize("size", [10, IN_ONE_WRITE])
def test_an_object_of_many_files(cloud: Running, size: int) -> None:
    extents, expected = [], b""
    for number in range(MOST_OPEN + 3):
        content = bytes([number]) * size
        (cloud.service.objects_dir / f"part{number}").write_bytes(b"--" + content + b"--")
        extents.append(Extent(f"part{number}", 2, size))
        expected += content
    cloud.service.answers["GetObject"] = {"Body": FileBody(tuple(extents))}
    got = cloud.client("s3").get_object(Bucket="abc", Key="k")
    assert got["ContentLength"] == len(expected)
    assert got["Body"].read() == expected


@pytest.mark.parametrize("size", [10, IN_ONE_WRITE])
def test_an_object_of_a_file_and_a_row(cloud: Running, size: int) -> None:
    """As uploads in parts leave it whose last part is small."""
    content = os.urandom(size)
    (cloud.service.objects_dir / "file").write_bytes(content)
    pieces = (b"before", Extent("file", 0, size), b"after")
    cloud.service.answers["GetObject"] = {"Body": FileBody(pieces)}
    got = cloud.client("s3").get_object(Bucket="abc", Key="k")
    assert got["ContentLength"] == size + 11
    assert got["Body"].read() == b"before" + content + b"after"


def test_an_object_that_is_replaced_meanwhile_is_read_anew(cloud: Running) -> None:
    (cloud.service.objects_dir / "new").write_bytes(b"hello")
    bodies = iter([FileBody((Extent("old", 0, 5),)), FileBody((Extent("new", 0, 5),))])
    cloud.service._GetObject = lambda params, call: {"Body": next(bodies)}  # type: ignore[method-assign]
    assert cloud.client("s3").get_object(Bucket="abc", Key="k")["Body"].read() == b"hello"


def test_a_file_that_is_missing_for_good_is_an_internal_error(cloud: Running, connection: socket.socket) -> None:
    cloud.service.answers["GetObject"] = {"Body": FileBody((Extent("gone", 0, 5),))}
    connection.sendall(b"GET /abc/k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    status, _, body = answer_on(connection)
    assert (status, b"<Code>InternalError</Code>" in body) == (500, True)


def test_stopping_lets_a_request_finish(cloud: Running) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(params: Any, call: Any) -> dict[str, Any]:
        begun.set()
        assert go_on.wait(60)
        return {"Vpcs": []}

    cloud.service._DescribeVpcs = slow  # type: ignore[attr-defined]
    answers: list[Any] = []
    client = cloud.client("ec2")
    asking = threading.Thread(target=lambda: answers.append(client.describe_vpcs()["Vpcs"]))
    asking.start()
    assert begun.wait(60)
    stopping = asyncio.run_coroutine_threadsafe(cloud.endpoint.stop(60), cloud.loop)
    go_on.set()
    stopping.result()
    asking.join()
    assert answers == [[]]


def test_a_plain_server_for_other_answers() -> None:
    async def ask() -> bytes:
        server = HttpServer(blocking(lambda request: Response(200, {}, f"{request.method} {request.path}".encode())))
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        await server.add_socket(sock)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PUT /latest?x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await server.stop()
        return answer

    assert asyncio.run(ask()).endswith(b"\r\n\r\nPUT /latest")


def test_a_body_of_tiny_packets_takes_little_more_than_its_size() -> None:
    packets, size = 50_000, 2

    async def receive() -> int:
        left = packets

        async def read() -> bytes:
            nonlocal left
            left -= 1
            return bytes(size) if left >= 0 else b""

        tracemalloc.start()
        try:
            received = [piece async for piece in gathered(read)]
            assert b"".join(received) == bytes(packets * size)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert asyncio.run(receive()) < 5 * packets * size


def test_a_target_as_a_proxy_gets_it() -> None:
    request = Request("GET", "http://127.0.0.1:4520/abc/k?versionId=1", (), "127.0.0.1")
    assert (request.path, request.query) == ("/abc/k", (("versionId", "1"),))


def test_places_that_are_gone_are_forgotten() -> None:
    """A VPC's router has a place of its own; its connections may outlive it."""

    async def serve() -> None:
        server = HttpServer(blocking(lambda request: Response(200, {}, request.place.encode())))
        listening = socket.create_server(("127.0.0.1", 0))
        await server.add_socket(listening, place="vpc-1")
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        await server.remove_socket(listening)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"vpc-1")).startswith(b"HTTP/1.1 200")
        assert still_known(server, "vpc-1")
        writer.close()
        async with asyncio.timeout(60):
            while still_known(server, "vpc-1"):
                await asyncio.sleep(0.01)
        await server.stop(0)

    asyncio.run(serve())


def test_whoever_asks_a_lot_keeps_nobody_else_waiting() -> None:
    """One request of each sender has a thread: a hundred of one are no more in the way of another than one is."""
    let_go = threading.Event()
    held: list[str] = []

    def handler(request: Request) -> Response:
        held.append(request.source_ip)
        if request.source_ip == "10.0.0.1":
            let_go.wait()
        return Response(200, {}, b"")

    async def ask() -> list[str]:
        answer = blocking(handler)
        addresses = ["10.0.0.1"] * 100 + ["10.0.0.2"]
        requests = [Request("GET", "/", (), address, sender=address) for address in addresses]
        *many, one = [asyncio.ensure_future(answer(request, None)) for request in requests]  # type: ignore[arg-type]
        await one
        seen = list(held)
        let_go.set()
        await asyncio.gather(*many)
        return seen

    assert sorted(asyncio.run(ask())) == ["10.0.0.1", "10.0.0.2"]
    assert len(held) == 101


class Held(DictService):
    """Whoever asks from 127.0.0.1 gets no answer before it is let go."""

    let_go: threading.Event
    begun: threading.Semaphore

    def _GetObject(self, params: Any, call: ModelCall) -> dict[str, Any]:
        if call.source_ip == "127.0.0.1":
            self.begun.release()
            self.let_go.wait()
        raise ServiceError("NoSuchKey", "The specified key does not exist.", Key=params["Key"])


def test_slow_requests_of_one_sender_leave_workers_to_others(cloud: Running) -> None:
    where = urlsplit(cloud.url)
    cloud.service.__class__ = Held
    held: Any = cloud.service
    held.let_go, held.begun = threading.Event(), threading.Semaphore(0)

    def ask(source: str) -> socket.socket:
        opened = socket.create_connection((where.hostname, where.port), timeout=10, source_address=(source, 0))
        opened.sendall(f"GET /abc/k HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
        return opened

    slow = [ask("127.0.0.1") for _ in range(2 * WORKERS)]
    try:
        for _ in range(OF_SENDER):
            assert held.begun.acquire(timeout=10)
        with ask("127.0.0.2") as other:
            assert answer_on(other)[0] == 404
        assert not held.begun.acquire(blocking=False)
    finally:
        held.let_go.set()
    for one in slow:
        with one:
            assert answer_on(one)[0] == 404


def place(cloud: Running) -> tuple[str, int]:
    where = urlsplit(cloud.url)
    assert where.hostname is not None and where.port is not None
    return where.hostname, where.port


def begin(where: tuple[str, int], source: str, size: int) -> socket.socket:
    """A connection that has sent all of a form's body but its last byte."""
    opened = socket.create_connection(where, timeout=10, source_address=(source, 0))
    opened.sendall(f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\nContent-Type: {FORM}\r\n\r\n".encode())
    opened.sendall(b"a" * (size - 1))
    return opened


def held(begun: Iterable[socket.socket], most: int) -> set[socket.socket]:
    """Those whose bodies are held, when the others have been told to come again."""
    waiting = set(begun)
    while len(waiting) > most:
        refused, _, _ = select.select(list(waiting), [], [], 10)
        assert refused, "more than there may be are held"
        for one in refused:
            assert answer_on(one)[0] == 503
            waiting.remove(one)
    return waiting


def end(one: socket.socket) -> int:
    """The status, when the last byte of the body has come."""
    one.sendall(b"a")
    return answer_on(one)[0]


def test_a_server_with_many_addresses_has_the_share_of_one_sender(
    cloud: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is held in memory."""
    monkeypatch.setattr(pipeline, "MOST_HELD", 1 << 20)
    listening, senders = cloud.listen(), cloud.endpoint.senders
    cloud.run(cloud.endpoint.add_socket(listening, vpc_id="vpc-1"))
    where, size = listening.getsockname(), 300_000
    addresses = [f"127.0.1.{number}" for number in range(1, 7)]
    senders.servers = {**{("vpc-1", one): "i-1" for one in addresses}, ("vpc-1", "127.0.0.2"): "i-2"}
    with ExitStack() as stack:
        waiting = held([stack.enter_context(begin(where, one, size)) for one in addresses], most=3)
        other = stack.enter_context(begin(where, "127.0.0.2", size))
        assert [end(one) for one in (other, *waiting)] == [400] * 4


def test_a_list_of_more_ids_than_ec2_takes_is_refused(cloud: Running) -> None:
    ids = [f"i-{number:017x}" for number in range(1001)]
    with pytest.raises(ClientError, match=r"ResourceCountExceeded.*1001 items"):
        cloud.client("ec2").terminate_instances(InstanceIds=ids)
    assert cloud.service.calls == []


def test_the_bodies_of_one_sender_have_a_bound_together(cloud: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has signed them: a form is verified with its body."""
    monkeypatch.setattr(pipeline, "MOST_HELD", 1 << 20)
    where, size = place(cloud), 300_000
    with ExitStack() as stack:
        waiting = held([stack.enter_context(begin(where, "127.0.0.1", size)) for _ in range(6)], most=3)
        other = stack.enter_context(begin(where, "127.0.0.2", size))
        assert [end(one) for one in (other, *waiting)] == [400] * 4
        assert end(stack.enter_context(begin(where, "127.0.0.1", size))) == 400


def test_the_bodies_of_all_senders_have_a_bound_together_and_leave_room_for_one_more(
    cloud: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "MOST_OF_ALL", 2 << 20, raising=False)
    where = place(cloud)
    with ExitStack() as stack:
        held([stack.enter_context(begin(where, f"127.0.1.{number}", 600_000)) for number in range(1, 9)], most=2)
        assert end(stack.enter_context(begin(where, "127.0.2.1", 100_000))) == 400
