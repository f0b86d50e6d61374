"""What a server gets out of the forwarder: packages, and never the password."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from password_index import AUTHORIZATION, SECRET, Answer, Index, index, said
from support.own_certificate import make_certificate

from skylift.cloud.domain.upstream import Upstream
from skylift.cloud.wire import forwarder as module
from skylift.cloud.wire.forwarder import forward

SEEN = "http://192.0.0.8:20001"
"""The forwarder as servers write it."""


@dataclass
class Setting:
    index: Index
    port: int
    """Where the forwarder listens in the test."""

    def get(self, target: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, target, headers={name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            found = answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
        finally:
            connection.close()
        assert SECRET not in str(found) and AUTHORIZATION[6:] not in str(found)
        return found

    def raw(self, request: str) -> str:
        found = said(self.port, request.encode("latin-1")).decode("latin-1")
        assert SECRET not in found and AUTHORIZATION[6:] not in found
        return found

    def asked(self) -> list[str]:
        return [target for _, target, _ in self.index.asked]


@contextmanager
def forwarding(upstream: Upstream, authorities: str | None = None) -> Iterator[int]:
    """The port that takes the place of the one that servers know."""
    listener = socket.create_server(("127.0.0.1", 0))
    forward([upstream], lambda _port: listener, authorities)
    yield listener.getsockname()[1]


def to_index(there: Index, path: str = "/pypi/simple/", via: str = "") -> Upstream:
    return Upstream("index", "http", "127.0.0.1", there.port, f"me:{SECRET}", 20001, (path,), via)


@pytest.fixture
def setting() -> Iterator[Setting]:
    with index() as there, forwarding(to_index(there)) as port:
        yield Setting(there, port)


def test_a_package_comes_and_only_the_index_hears_the_password(setting: Setting) -> None:
    setting.index.page("/pypi/simple/thing/", "thing-1.0-py3-none-any.whl#sha256=00")
    status, headers, body = setting.get("/pypi/simple/thing/", Accept="text/html", X_Mine="1", Cookie="a=b")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"thing-1.0" in body
    ((method, target, got),) = setting.index.asked
    assert (method, target, got["authorization"], got["accept"]) == (
        "GET",
        "/pypi/simple/thing/",
        AUTHORIZATION,
        "text/html",
    )
    assert not {"x-mine", "cookie"} & set(got)
    assert got["host"] == f"127.0.0.1:{setting.index.port}"


def test_a_large_file_comes_in_pieces_and_in_parts(setting: Setting) -> None:
    content = bytes(range(256)) * 4096
    setting.index.answers["/pypi/simple/a-1.0-py3-none-any.whl"] = Answer(body=content)
    assert setting.get("/pypi/simple/a-1.0-py3-none-any.whl")[2] == content
    part = Answer(206, {"Content-Range": "bytes 0-3/9"}, b"abcd")
    setting.index.answers["/pypi/simple/b-1.0.tar.gz"] = part
    status, headers, body = setting.get("/pypi/simple/b-1.0.tar.gz", Range="bytes=0-3")
    assert (status, headers["content-range"], body) == (206, "bytes 0-3/9", b"abcd")
    assert setting.index.asked[-1][2]["range"] == "bytes=0-3"
    status, headers, body = setting.get("/pypi/simple/a-1.0-py3-none-any.whl", "HEAD")
    assert (status, headers["content-length"], body) == (200, str(len(content)), b"")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/admin",
        "/pypi",
        "/pypi/simplex/thing/",
        "/PYPI/simple/",
        "/pypi/simple/../../admin",
        "/pypi/simple/%2e%2e/%2e%2e/admin",
        "/pypi/simple/..%2f..%2fadmin",
        "/pypi/simple/%252e%252e/admin",
        "/pypi/simple/..;/..;/admin",
        "/pypi/simple/..\\..\\admin",
        "/pypi/simple/%5c..%5cadmin",
        "/pypi/simple//etc",
        "//pypi/simple//thing",
        "/pypi/simple/./thing",
        "/pypi/simple/a%00b",
        "/pypi/simple/a%0d%0aX:%20y",
        "/pypi/simple/%zz",
        "/pypi/simple/\xe9",
        "/pypi/simple/" + "a" * 5000,
        "http://127.0.0.1/pypi/simple/thing/",
        "http://other.example.test/pypi/simple/",
        "@other.example.test/",
        "*",
        "/packages/not-linked-1.0.tar.gz",
    ],
)
def test_nothing_else_is_fetched(setting: Setting, target: str) -> None:
    setting.index.answers |= {target: Answer(body=b"secret thing"), "/admin": Answer(body=b"secret thing")}
    answer = setting.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
    assert re.match(r"HTTP/1.1 40[04] ", answer), answer
    assert "secret thing" not in answer
    assert setting.asked() == []


@pytest.mark.parametrize("method", "POST PUT PATCH DELETE OPTIONS TRACE CONNECT PROPFIND".split())
def test_no_other_method(setting: Setting, method: str) -> None:
    target = "127.0.0.1:80" if method == "CONNECT" else "/pypi/simple/thing/"
    assert setting.raw(f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n").startswith("HTTP/1.1 501 ")
    assert setting.asked() == []


def test_one_request_on_a_connection_is_one(setting: Setting) -> None:
    smuggled = "GET /pypi/simple/two/ HTTP/1.1\r\nHost: x\r\n\r\n"
    for head in (f"Content-Length: {len(smuggled)}", "Transfer-Encoding: chunked", "Content-Length: 0", "A: b\r\n c"):
        setting.raw(f"GET /pypi/simple/one/ HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{smuggled}")
    assert set(setting.asked()) == {"/pypi/simple/one/"}
    assert not [got for *_, got in setting.index.asked if {"content-length", "transfer-encoding", "a"} & set(got)]


def test_headers_cannot_carry_others(setting: Setting) -> None:
    setting.raw("GET /pypi/simple/one/ HTTP/1.1\r\nHost: x\r\nAccept: a\r\n Authorization: mine\r\n\r\n")
    setting.raw("GET /pypi/simple/one/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\r\nAccept: text/html\r\n\r\n")
    assert [got["authorization"] for *_, got in setting.index.asked] == [AUTHORIZATION] * 2
    assert "accept" not in setting.index.asked[0][2]


def test_a_head_without_end_is_refused(setting: Setting) -> None:
    assert " 431 " in setting.raw(f"GET /pypi/simple/ HTTP/1.1\r\nA: {'b' * 70000}\r\n\r\n").splitlines()[0]
    many = "".join(f"A{number}: b\r\n" for number in range(500))
    assert " 431 " in setting.raw(f"GET /pypi/simple/ HTTP/1.1\r\n{many}\r\n").splitlines()[0]
    assert setting.asked() == []


def test_files_elsewhere_are_fetched_if_a_page_links_to_them(setting: Setting) -> None:
    there = setting.index
    links = [
        "../../../files/a/thing-1.0.tar.gz#sha256=0",
        f"{there.origin}/files/b/thing%2Bx-1.whl?v=1",
        "/files/c.whl",
    ]
    places = ["/files/a/thing-1.0.tar.gz", "/files/b/thing%2Bx-1.whl?v=1", "/files/c.whl", "/files/c.whl.metadata"]
    for place in (*places, "/files/b/thing%2Bx-1.whl?v=2", "/files/d.whl"):
        there.answers[place] = Answer(body=b"content")
    assert [setting.get(place)[0] for place in places] == [404] * 4
    for write in (there.page, there.json_page):
        write("/pypi/simple/thing/", *links, "https://elsewhere.example.test/files/d.whl")
        page = setting.get("/pypi/simple/thing/")[2].decode()
        assert f"{SEEN}/files/b/thing%2Bx-1.whl?v=1" in page
        assert there.origin not in page
        assert "https://elsewhere.example.test/files/d.whl" in page
        assert [setting.get(place)[2] for place in places] == [b"content"] * 4
        assert setting.get("/files/b/thing%2Bx-1.whl?v=2")[0] == 404
        assert setting.get("/files/d.whl")[0] == 404
    assert setting.get("/files/b/thing+x-1.whl?v=1")[0] == 404  # the same file, under a name that this index has not


def test_a_page_with_the_password_in_its_links_is_cleared_of_it(setting: Setting) -> None:
    with_password = setting.index.origin.replace("//", f"//me:{SECRET}@") + "/pypi/files/thing-1.0.tar.gz"
    setting.index.page("/pypi/simple/thing/", with_password)
    assert f"{SEEN}/pypi/files/thing-1.0.tar.gz" in setting.get("/pypi/simple/thing/")[2].decode()


def test_a_page_is_never_given_in_a_form_that_was_not_read(setting: Setting) -> None:
    kind = {"Content-Type": "text/html"}
    setting.index.answers["/pypi/simple/a/"] = Answer(206, kind, setting.index.origin.encode())
    setting.index.answers["/pypi/simple/b/"] = Answer(200, {**kind, "Content-Encoding": "br"}, b"x")
    assert setting.get("/pypi/simple/a/", Range="bytes=1-")[0] == 502
    assert setting.get("/pypi/simple/b/")[0] == 502


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/pypi/simple/thing/", f"{SEEN}/pypi/simple/thing/"),
        ("../thing/", f"{SEEN}/pypi/simple/thing/"),
        ("https://files.example.test/x?sig=1", "https://files.example.test/x?sig=1"),
        ("//me:pass@files.example.test/x", "http://files.example.test/x"),
        ("", f"{SEEN}/pypi/simple/old/"),
    ],
)
def test_redirects_are_told_and_not_followed(setting: Setting, location: str, told: str) -> None:
    setting.index.answers["/pypi/simple/old/"] = Answer(302, {"Location": location, "Set-Cookie": "session=1"})
    status, headers, _ = setting.get("/pypi/simple/old/")
    assert (status, headers["location"]) == (302, told)
    assert "set-cookie" not in headers
    assert setting.asked() == ["/pypi/simple/old/"]


def test_an_index_that_refuses_the_password_says_so_without_asking_for_another() -> None:
    with (
        index() as there,
        forwarding(Upstream("index", "http", "127.0.0.1", there.port, "me:old", 20001, ("/",))) as port,
    ):
        status, headers, body = Setting(there, port).get("/simple/")
    assert status == 401
    assert "www-authenticate" not in headers
    assert b"answers 401 to the password that this server's host has" in body


def test_an_index_that_is_away_is_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    upstream = Upstream("index", "http", "127.0.0.1", port, f"me:{SECRET}", 20001, ("/",))
    with forwarding(upstream) as port:
        status, _, body = Setting(Index(), port).get("/simple/")
    assert (status, b"cannot be reached" in body) == (502, True)


@pytest.mark.parametrize(
    ("authority", "verified", "status"), [("its own", True, 200), ("another", True, 502), ("another", False, 200)]
)
def test_an_index_over_tls_hears_the_password_if_it_is_the_one(
    tmp_path: Path, authority: str, verified: bool, status: int
) -> None:
    """Or if this machine is told not to look."""
    own, another = (make_certificate("127.0.0.1", tmp_path / name) for name in ("own", "another"))
    with index(tmp_path / "own") as there:
        there.page("/simple/thing/", "thing-1.0-py3-none-any.whl")
        upstream = Upstream(
            "index", "https", "127.0.0.1", there.port, f"me:{SECRET}", 20001, ("/simple/",), verified=verified
        )
        with forwarding(upstream, own if authority == "its own" else another) as port:
            found, _, body = Setting(there, port).get("/simple/thing/")
        assert found == status, body
        assert (b"thing-1.0" in body, b"certificate verify failed" in body) == (status == 200, status == 502)
        assert [headers["authorization"] for _, _, headers in there.asked] == [AUTHORIZATION] * (status == 200)


@contextmanager
def proxy() -> Iterator[tuple[int, list[str]]]:
    """A proxy that wants the password, tells each request's head, and echoes what follows."""
    heads: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rwb", 0) as stream:
            lines = []
            while (line := stream.readline()) not in (b"\r\n", b""):
                lines.append(line.decode("latin-1").rstrip())
            heads.append("\n".join(lines))
            stream.write(b"HTTP/1.1 200 OK\r\nX-Proxy: yes\r\n\r\n")
            while piece := stream.read(65536):
                stream.write(piece)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], heads
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def half(port: int, request: bytes) -> bytes:
    """What comes back for a request whose sender has nothing more to say."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while piece := connection.recv(65536):
            found += piece
    return found


@pytest.fixture
def tunnel() -> Iterator[tuple[int, list[str]]]:
    with (
        proxy() as (port, heads),
        forwarding(Upstream("proxy", "http", "127.0.0.1", port, f"me:{SECRET}", 20002)) as ours,
    ):
        yield ours, heads


def test_a_proxy_hears_the_password_and_the_client_does_not(tunnel: tuple[int, list[str]]) -> None:
    port, heads = tunnel
    answer = half(port, b"CONNECT a.example.test:443 HTTP/1.1\r\nHost: a\r\nProxy-Authorization: mine\r\n\r\nhello")
    assert answer == b"HTTP/1.1 200 OK\r\nX-Proxy: yes\r\n\r\nhello"
    assert heads == [f"CONNECT a.example.test:443 HTTP/1.1\nHost: a\nProxy-Authorization: {AUTHORIZATION}"]
    body = b"x" * 300_000
    head = f"POST http://a.example.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    head += "Connection: keep-alive\r\n\r\n"
    assert half(port, head.encode() + body).endswith(body)
    assert heads[1].splitlines()[2:] == [
        f"Content-Length: {len(body)}",
        "Connection: close",
        f"Proxy-Authorization: {AUTHORIZATION}",
    ]


@pytest.mark.parametrize(
    "request_line",
    [
        "TRACE http://a.example.test/ HTTP/1.1\r\nMax-Forwards: 0",
        "GET / HTTP/1.1",
        "GET //a.example.test/ HTTP/1.1",
        "CONNECT a.example.test HTTP/1.1",
        "CONNECT http://a.example.test:1/\x01 HTTP/1.1",
        "GET ftp://a.example.test/ HTTP/1.1",
        "GET http://a.example.test/ HTTP/1.1\r\nA: b\r\n Proxy-Connection: x",
        "GET http://a.example.test/ HTTP/1.1\r\nno colon\r\nTransfer-Encoding: chunked",
    ],
)
def test_what_is_no_request_to_a_proxy_never_gets_there(tunnel: tuple[int, list[str]], request_line: str) -> None:
    port, heads = tunnel
    assert re.match(rb"HTTP/1.1 (400|501) ", half(port, f"{request_line}\r\n\r\n".encode()))
    assert heads == []


def test_the_forwarder_fetches_through_this_machines_own_proxy() -> None:
    with proxy() as (port, heads), index() as there:
        upstream = to_index(there, via=f"http://me:{SECRET}@127.0.0.1:{port}")
        with forwarding(upstream) as ours:
            said(ours, b"HEAD /pypi/simple/thing/ HTTP/1.1\r\nHost: x\r\n\r\n")
    (head,) = heads
    assert head.startswith(f"HEAD {there.origin}/pypi/simple/thing/ HTTP/1.1")
    assert f"Proxy-Authorization: {AUTHORIZATION}" in head and f"\nAuthorization: {AUTHORIZATION}" in head


def test_a_crowd_of_one_server_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    with index() as there, forwarding(to_index(there)) as port:
        there.page("/pypi/simple/a/")
        setting = Setting(there, port)
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", port), timeout=30) as third:
            assert third.recv(10) == b""
        with socket.socket() as other:
            other.settimeout(30)
            other.bind(("127.0.0.2", 0))
            other.connect(("127.0.0.1", port))
            other.sendall(b"GET /pypi/simple/a/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert other.recv(12) == b"HTTP/1.1 200"
        for one in held:
            one.close()
        assert setting.index.asked
        # Who leaves, leaves a place.
        for _ in range(100):
            if b"HTTP/1.1 200" in said_or_refused(port):
                return
        raise AssertionError("the places of those who left are still taken")


def said_or_refused(port: int) -> bytes:
    try:
        return said(port, b"GET /pypi/simple/a/ HTTP/1.1\r\nHost: x\r\n\r\n")
    except ConnectionError:
        return b""


def test_json_with_anything_in_it_is_a_page_without_links(setting: Setting) -> None:
    kind = {"Content-Type": "application/vnd.pypi.simple.v1+json"}
    for body in (
        b"",
        b"[]",
        b"{}",
        b'{"files": 3}',
        b'{"files": [3, {"url": 4}]}',
        b"[" * 100_000,
        json.dumps([1]).encode(),
    ):
        setting.index.answers["/pypi/simple/odd/"] = Answer(200, kind, body)
        assert setting.get("/pypi/simple/odd/")[::2] == (200, body)


def test_a_page_of_any_size_takes_little_memory(setting: Setting) -> None:
    links = [f"{setting.index.origin}/files/thing-{number}.whl#sha256={'0' * 64}" for number in range(50_000)]
    setting.index.page("/pypi/simple/thing/", *links)
    setting.index.answers["/files/thing-49999.whl"] = Answer(body=b"content")
    with socket.create_connection(("127.0.0.1", setting.port), timeout=60) as connection:
        tracemalloc.start()
        try:
            connection.sendall(b"GET /pypi/simple/thing/ HTTP/1.1\r\nHost: x\r\n\r\n")
            before, read = tracemalloc.get_traced_memory()[0], 0
            while piece := connection.recv(65536):
                read += len(piece)
                assert setting.index.origin.encode() not in piece
            held = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
    assert read > 5_000_000
    # The links are kept: less than 200 bytes each.
    assert held < 12_000_000
    assert setting.get("/files/thing-49999.whl")[2] == b"content"


def test_an_element_without_end_is_not_kept(setting: Setting) -> None:
    setting.index.answers["/pypi/simple/a/"] = Answer(200, {"Content-Type": "text/html"}, b"<" + b"a" * 1_000_000)
    with pytest.raises(http.client.IncompleteRead):
        setting.get("/pypi/simple/a/")


def test_a_page_that_is_cut_short_is_no_whole_one(setting: Setting) -> None:
    kind = {"Content-Type": "text/html", "Content-Length": "100"}
    setting.index.answers["/pypi/simple/a/"] = Answer(200, kind, b"<a href='x'>x</a>")
    with pytest.raises(http.client.IncompleteRead):
        setting.get("/pypi/simple/a/")


def test_a_way_that_is_no_url_is_an_answer_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    with index() as there:
        for via in (f"http://me:{SECRET}/x@127.0.0.1:1", f"http:/me:{SECRET}@127.0.0.1", f"socks5://me:{SECRET}@a"):
            with forwarding(to_index(there, via=via)) as port:
                status, _, body = Setting(there, port).get("/pypi/simple/a/")
            assert (status, b"cannot be reached" in body) == (502, True)
        assert there.asked == []
    assert SECRET not in caplog.text and "Traceback" not in caplog.text
