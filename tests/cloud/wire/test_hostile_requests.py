"""Requests that nobody's client sends: each is refused in AWS's words, and never a fault of the endpoint's own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from wire_endpoint import ACCESS_KEY, REGION, SECRET, Running, running

from skylift.cloud.domain.bucket import Extent, FileBody
from skylift.cloud.wire import server
from skylift.cloud.wire.files import IN_ONE_WRITE


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def faults(cloud: Running, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """There are none at the end: whatever a client sends or leaves out is no fault of ours."""
    with caplog.at_level(logging.WARNING):
        yield
        cloud.run(cloud.endpoint.stop())
        records = caplog.get_records("call") + caplog.get_records("teardown")
        assert [record.getMessage() for record in records] == []


def connected(cloud: Running) -> socket.socket:
    where = urlsplit(cloud.url)
    return socket.create_connection((where.hostname, where.port), timeout=60)


def exchanged(cloud: Running, request: bytes) -> tuple[int, bytes]:
    """Status and all that follows the headers, of a server that closes after it has answered."""
    with connected(cloud) as connection:
        connection.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def head(method: str, target: str, *lines: bytes) -> bytes:
    return b"\r\n".join([f"{method} {target} HTTP/1.1".encode(), b"Host: 127.0.0.1", *lines, b"", b""])


def signed(
    cloud: Running, service: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[dict[str, str], bytes]:
    """The headers of a signed request, and its body."""
    asked = AWSRequest(method, f"{cloud.url}{path}", headers=headers or {}, data=body)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(Credentials(ACCESS_KEY, SECRET), service, REGION).add_auth(asked)
    return {"Host": urlsplit(cloud.url).netloc, **dict(asked.headers.items())}, body


def sent(
    cloud: Running, method: str, path: str, headers: dict[str, str], body: bytes, *more: bytes
) -> tuple[int, bytes]:
    lines = [f"{name}: {value}".encode() for name, value in headers.items() if name.lower() != "content-length"]
    start = f"{method} {path} HTTP/1.1".encode()
    length = b"Content-Length: %d" % len(body)
    return exchanged(cloud, b"\r\n".join([start, *lines, length, *more, b"", body]))


# What nobody signed.


@pytest.mark.parametrize("path", ["/abc/%ff", "/%ff/k", "/abc/k?versionId=%ff", "/?Action=%ff"])
@pytest.mark.parametrize("more", [[], [b"Origin: https://page"]])
@pytest.mark.usefixtures("faults")
def test_what_is_not_utf_8_is_refused(cloud: Running, path: str, more: list[bytes]) -> None:
    status, body = exchanged(cloud, head("GET", path, *more))
    assert (status // 100, b"<Code>" in body) == (4, True)


@pytest.mark.parametrize(
    "date",
    [
        "Fri, 31 Dec 9999 23:59:59 -1200",
        "Mon, 01 Jan 0001 00:00:00 +1200",
        "Mon, 01 Jan 0099 00:00:00 GMT",
        "Mon, 01 Jan 2026 00:00:00 +9999",
    ],
)
@pytest.mark.usefixtures("faults")
def test_dates_that_no_clock_has(cloud: Running, date: str) -> None:
    authorization = (
        f"Authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{date[12:16]}0101/{REGION}/s3/aws4_request, "
        f"SignedHeaders=date;host, Signature={'0' * 64}"
    )
    status, body = exchanged(cloud, head("GET", "/abc/k", authorization.encode(), f"Date: {date}".encode()))
    assert (status // 100, b"<Code>" in body) == (4, True)


@pytest.mark.parametrize("service", ["s3", "ec2", "iam"])
@pytest.mark.usefixtures("faults")
def test_keys_and_tokens_that_no_key_or_token_can_be(cloud: Running, service: str) -> None:
    today = datetime.now(UTC).strftime("%Y%m%d")

    def asked(key: bytes, token: bytes) -> int:
        credential = b"Credential=%s/%s/%s/%s/aws4_request" % (key, today.encode(), REGION.encode(), service.encode())
        status, body = exchanged(
            cloud,
            head(
                "POST",
                "/?Action=DescribeVpcs&Version=2016-11-15",
                b"Authorization: AWS4-HMAC-SHA256 %s, SignedHeaders=host, Signature=00" % credential,
                f"X-Amz-Date: {today}T000000Z".encode(),
                b"X-Amz-Security-Token: " + token,
                b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD",
                b"Content-Length: 0",
            ),
        )
        assert b"<Code>" in body
        return status

    assert asked(b"AKIA\xff", b"") in (401, 403)
    assert asked(ACCESS_KEY.encode(), b"token\xff") in (400, 401, 403)


@pytest.mark.usefixtures("faults")
def test_a_presigned_url_of_version_2_with_such_a_key(cloud: Running) -> None:
    query = urlencode({"AWSAccessKeyId": b"AKIA\xc3\xbf", "Signature": "x", "Expires": "99999999999"})
    assert exchanged(cloud, head("GET", f"/abc/k?{query}"))[0] == 403


# What somebody signed, and another one changes.


def test_a_body_cannot_be_exchanged_under_its_signature(cloud: Running) -> None:
    """The header that speaks of chunks need not be signed: it must not be a reason to look at another body."""
    body = b"Action=DescribeRegions&Version=2016-11-15"
    hashed = {"X-Amz-Content-Sha256": hashlib.sha256(body).hexdigest()}
    form = {"Content-Type": "application/x-www-form-urlencoded", **hashed}
    cloud.service.answers |= {"DescribeRegions": {"Regions": []}, "CreateKeyPair": {"KeyName": "mine"}}
    headers, _ = signed(cloud, "ec2", "POST", "/", body, form)
    assert sent(cloud, "POST", "/", headers, body)[0] == 200
    other = b"Action=CreateKeyPair&Version=2016-11-15&KeyName=mine"
    coded = b"%x\r\n%s\r\n0\r\n\r\n" % (len(other), other)
    status, _ = sent(cloud, "POST", "/", headers, coded, b"Content-Encoding: aws-chunked")
    assert (status // 100, [call.operation for call in cloud.service.calls]) == (4, ["DescribeRegions"])


def test_nor_that_of_an_object(cloud: Running) -> None:
    headers, _ = signed(cloud, "s3", "PUT", "/abc/k", b"right")
    coded = b"5\r\nwrong\r\n0\r\n\r\n"
    more = (b"Content-Encoding: aws-chunked",)
    status, answer = sent(cloud, "PUT", "/abc/k", headers, coded, *more)
    assert (status, b"XAmzContentSHA256Mismatch" in answer) == (400, True)
    assert cloud.service.objects == {}


def test_a_url_of_version_2_says_each_thing_once(cloud: Running) -> None:
    s3 = cloud.client("s3", signature_version="s3")
    url = s3.generate_presigned_url("put_object", {"Bucket": "abc", "Key": "k", "ACL": "private"}, ExpiresIn=60)
    for more in ({"x-amz-acl": "public-read"}, {"X-Amz-Acl": "private"}):
        put = urllib.request.Request(url, data=b"", method="PUT", headers={"Content-Type": "", **more})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(put)
        assert refused.value.code == 400
    assert cloud.service.calls == []


# What cannot be read.


@pytest.mark.parametrize("encoding", ["utf-7", "shift_jis", "nonsense", "utf-16", "ucs-4", "idna"])
@pytest.mark.usefixtures("faults")
def test_xml_in_other_encodings(cloud: Running, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><Tagging><TagSet/></Tagging>'.encode()
    md5 = {"Content-MD5": base64.b64encode(hashlib.md5(text).digest()).decode()}
    headers, _ = signed(cloud, "s3", "PUT", "/abc?tagging", text, md5)
    status, body = sent(cloud, "PUT", "/abc?tagging", headers, text)
    assert (status, b"<Code>MalformedXML</Code>" in body) == (400, True)


@pytest.mark.parametrize("text", ["a\x01b", "\x00", "\x0b", "\ufffe", "a\x1f"])
def test_text_that_no_answer_could_show_is_refused(cloud: Running, text: str) -> None:
    calls = [
        ("ec2", lambda ec2: ec2.create_tags(Resources=["i-1"], Tags=[{"Key": "Name", "Value": text}])),
        ("ec2", lambda ec2: ec2.create_tags(Resources=["i-1"], Tags=[{"Key": text, "Value": ""}])),
        ("iam", lambda iam: iam.create_role(RoleName="r", AssumeRolePolicyDocument="{}", Description=text)),
        ("cloudwatch", lambda cloudwatch: cloudwatch.delete_alarms(AlarmNames=[text])),
    ]
    for service, call in calls:
        client = cloud.client(service)
        with pytest.raises(client.exceptions.ClientError) as refused:
            call(client)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert text not in str(refused.value)
    assert cloud.service.calls == []


# Who goes away.


@pytest.mark.usefixtures("faults")
def test_a_client_that_leaves_while_it_is_told_to_go_ahead(cloud: Running) -> None:
    headers, _ = signed(cloud, "s3", "PUT", "/abc/k", b"", {"Expect": "100-continue", "Content-Length": "100000"})
    lines = [f"{name}: {value}".encode() for name, value in headers.items() if name != "Host"]
    asked, gone = threading.Event(), threading.Event()

    def look_up() -> None:
        asked.set()
        assert gone.wait(60)

    cloud.service.before_secret = look_up
    with connected(cloud) as connection:
        connection.sendall(
            b"\r\n".join([b"PUT /abc/k HTTP/1.1", f"Host: {headers['Host']}".encode(), *lines, b"", b""])
        )
        assert asked.wait(60)
    # The endpoint's loop has seen the end once it has taken and answered another client.
    assert exchanged(cloud, head("GET", "/"))[0] == 200
    gone.set()


@pytest.mark.parametrize("read", [0, 1000])
@pytest.mark.usefixtures("faults")
def test_a_download_that_is_closed_early(cloud: Running, read: int) -> None:
    (cloud.service.objects_dir / "large").write_bytes(bytes(8 << 20))
    cloud.service.answers["GetObject"] = {"Body": FileBody((Extent("large", 0, 8 << 20),))}
    for _ in range(5):
        with connected(cloud) as connection:
            connection.sendall(head("GET", "/abc/k"))
            if read:
                assert connection.recv(read)


@pytest.mark.usefixtures("faults")
def test_a_client_that_closes_its_half_is_answered(cloud: Running) -> None:
    cloud.service.answers["GetObject"] = {"Body": b"hello"}
    for request, status in (
        (head("GET", "/abc/k"), 200),
        (head("PUT", "/abc/k", b"Content-Length: 5") + b"hello", 200),
    ):
        with connected(cloud) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            assert int(connection.recv(1000).split()[1]) == status


@pytest.mark.usefixtures("faults")
def test_half_a_request_is_none(cloud: Running) -> None:
    for request in (b"", b"GET / HT", head("PUT", "/abc/k", b"Content-Length: 5") + b"hel"):
        with connected(cloud) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1000) == b""
    assert cloud.service.calls == []


@pytest.mark.usefixtures("faults")
def test_a_slow_reader_gets_all_and_one_that_stops_reading_is_let_go(
    cloud: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 3 * (IN_ONE_WRITE + (4 << 20))
    (cloud.service.objects_dir / "large").write_bytes(bytes(size))
    cloud.service.answers["GetObject"] = {"Body": FileBody((Extent("large", 0, size),))}
    monkeypatch.setattr(server, "STALLED", 0.25)

    async def read(pause: float, until_let_go: bool = False) -> int:
        where = urlsplit(cloud.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=4096)
        writer.write(head("GET", "/abc/k", b"Connection: close"))
        got = len((await reader.readuntil(b"\r\n\r\n")) and b"")
        while until_let_go and is_established(where.port, writer.get_extra_info("sockname")[1]):
            await asyncio.sleep(0.02)
        try:
            while piece := await reader.read(1 << 20 if got else 4096):
                got += len(piece)
                await asyncio.sleep(pause)
        except ConnectionResetError:
            pass
        writer.close()
        return got

    # Some of it every hundredth of a second: the whole takes longer than anybody may stand still.
    assert asyncio.run(read(0.01)) == size
    # Nothing. What the kernel has of it already comes all the same, and no more than that.
    assert asyncio.run(asyncio.wait_for(read(0, until_let_go=True), 120)) < size


@pytest.mark.parametrize("gone", [False, True], ids=["reads nothing", "is cancelled"])
async def test_nothing_is_sent_any_more_once_an_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    """The file that it comes from is closed then."""
    sends: list[str] = []

    async def send() -> int:
        sends.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            sends.append("ended")
        return 0

    monkeypatch.setattr(server, "STALLED", 3600.0 if gone else 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        http: Any = SimpleNamespace(transport=SimpleNamespace(get_extra_info=lambda _: sock))
        sending = asyncio.ensure_future(server._while_it_moves(http, send()))
        while gone and not sends:
            await asyncio.sleep(0)
        if gone:
            sending.cancel()
        with pytest.raises((ConnectionResetError, asyncio.CancelledError)):
            await sending
        assert sends == ["begun", "ended"]


def is_established(endpoint: int | None, client: int) -> bool:
    """Whether the endpoint has a connection from this port still. A client that reads nothing is not told."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = (f":{endpoint:04X}", f":{client:04X}")
    return any((line[1][-5:], line[2][-5:]) == ends and line[3] == "01" for line in lines)
