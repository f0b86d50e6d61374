"""The supervisor's requests: on connections that are kept, and answers that are worth asking again for."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skylift.agent.remote import aws
from skylift.agent.remote.aws import Aws, Http, Metadata, Refused, Unreachable, retry_until


class Place:
    """A server that counts its connections. `answers` are (status, body) in turn, then 200; `hang_up` ends each
    connection a moment after its first answer, without a word."""

    def __init__(self) -> None:
        place, self.connections, self.requests = self, 0, list[str]()
        self.answers: list[tuple[int, bytes]] = []
        self.hang_up = False
        self.hung_up = threading.Semaphore(0)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                place.connections += 1

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                place.requests.append(f"{self.command} {self.path}")
                status, body = place.answers.pop(0) if place.answers else (200, b"body")
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                if place.hang_up:
                    self.wfile.flush()
                    self.close_connection = True

            def finish(self) -> None:
                super().finish()
                self.connection.shutdown(socket.SHUT_RDWR)
                place.hung_up.release()

            do_GET = do_PUT = do_POST = _answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def place() -> Iterator[Place]:
    found = Place()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_one_connection_for_many_requests(place: Place) -> None:
    for number in range(5):
        assert Http.send("PUT", f"{place.url}/{number}", {}, b"x" * 1000)[0] == 200
    assert (place.connections, len(place.requests)) == (1, 5)


def test_a_connection_that_was_hung_up_meanwhile_costs_nothing(place: Place) -> None:
    place.hang_up = True
    for number in range(3):
        assert Http.send("PUT", f"{place.url}/{number}", {}, b"x")[2] == b"body"
        assert place.hung_up.acquire(timeout=30)
    assert place.requests == ["PUT /0", "PUT /1", "PUT /2"]


def test_a_new_connection_that_is_refused_is_told(place: Place) -> None:
    place.server.shutdown()
    place.server.server_close()
    with pytest.raises(Unreachable):
        Http.send("GET", place.url, {})


class Keys(Metadata):
    """New ones each time that they are asked for."""

    def __init__(self) -> None:
        super().__init__("http://unused.invalid")
        self.handed_out = 0

    def credentials(self, renew: bool = False) -> dict[str, str]:
        self.handed_out += 1
        return {"AccessKeyId": f"A{self.handed_out}", "SecretAccessKey": "s"}


def error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()


@pytest.mark.parametrize(
    "code", ["RequestTimeout", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "SlowDown", "Throttling"]
)
def test_a_400_that_passes_is_worth_asking_again(place: Place, code: str) -> None:
    place.answers = [(400, error(code))]
    with pytest.raises(Unreachable, match=code):
        Aws("us-east-1", place.url, Keys()).send("s3", "PUT", f"{place.url}/b/k", {}, b"x")


def test_a_400_that_does_not_is_refused(place: Place) -> None:
    place.answers = [(400, error("KeyTooLongError"))]
    with pytest.raises(Refused) as caught:
        Aws("us-east-1", place.url, Keys()).send("s3", "PUT", f"{place.url}/b/k", {}, b"x")
    assert caught.value.code == "KeyTooLongError"


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestExpired"])
def test_credentials_that_have_run_out_are_asked_for_anew(place: Place, code: str) -> None:
    """S3 and EC2 say it with a 400."""
    place.answers = [(400, error(code))]
    keys = Keys()
    status, _, _ = Aws("us-east-1", place.url, keys).send("s3", "PUT", f"{place.url}/b/k", {}, b"x")
    assert (status, keys.handed_out) == (200, 2)


def test_an_answer_that_breaks_off_is_no_answer(place: Place) -> None:
    def cut() -> None:
        connection, _ = listening.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=cut)
        thread.start()
        began = time.monotonic()
        with pytest.raises(Unreachable):
            Http.send("GET", f"http://127.0.0.1:{listening.getsockname()[1]}/", {})
        thread.join()
    assert time.monotonic() - began < 30


def test_a_full_disk_is_not_a_server_that_cannot_be_reached(place: Place) -> None:
    """Nobody is to try again until the deadline."""
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError) as caught:
        Http.send("GET", place.url, {}, sink=full)
    assert caught.value.errno == errno.ENOSPC
    assert Http.send("GET", place.url, {})[2] == b"body"


@pytest.mark.parametrize("step", [-86400.0, 86400.0])
def test_a_step_of_the_wall_clock_does_not_change_how_long_a_call_is_repeated(
    monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """The clock of the server is set while S3 does not answer, by a day in either direction."""
    now, calls = [1000.0, 5.0], list[float]()

    def sleep(seconds: float) -> None:
        now[0], now[1] = now[0] + seconds, now[1] + seconds

    clocks = SimpleNamespace(time=lambda: now[0], monotonic=lambda: now[1], sleep=sleep)
    monkeypatch.setattr(aws, "time", clocks)

    def call() -> None:
        calls.append(now[1])
        if len(calls) == 3:
            now[0] += step
        if len(calls) < 100:
            raise Unreachable("no answer")

    with pytest.raises(Unreachable):
        retry_until("thing", call, 1060.0)
    assert 45 < calls[-1] - calls[0] <= 60


def test_what_aws_refuses_is_told_without_its_xml() -> None:
    text = (
        "<Response><Error><Code>AccessDenied</Code><Message>You may not &lt;do&gt; that.</Message></Error></Response>"
    )
    error = Refused(400, text)
    assert (str(error), error.code) == ("HTTP 400: AccessDenied: You may not <do> that.", "AccessDenied")
    assert str(Refused(400, "no XML")) == "HTTP 400: no XML"
