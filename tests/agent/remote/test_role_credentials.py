"""When a server asks the metadata service for its role's credentials anew, and when it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from skylift.agent.remote import aws as supervisor_aws
from skylift.agent.remote.aws import Aws, Http, Metadata, Unreachable
from skylift.agent.remote.prefix import Prefix


class Endpoint:
    """A metadata service whose credentials have numbers, and an S3 that takes only those of one number."""

    def __init__(self, taken: int) -> None:
        self.taken, self.given, self.asked = taken, 0, 0

    def send(self, method: str, url: str, headers: dict[str, str], *_: object, **__: object) -> object:
        if url.startswith("http://s3/"):
            self.asked += 1
            return (200 if f"Credential=KEY{self.taken}/" in headers["authorization"] else 403), {}, b"found"
        if url.endswith("/role"):
            self.given += 1
            answer = {"AccessKeyId": f"KEY{self.given}", "SecretAccessKey": "secret", "Token": "token"}
            return 200, {}, json.dumps({**answer, "Expiration": "2999-01-01T00:00:00Z"}).encode()
        return 200, {}, b"role"


@contextmanager
def serving() -> Iterator[tuple[str, list[object]]]:
    """A metadata service: its address, and the connections that it has had."""
    connections: list[object] = []
    role = {"AccessKeyId": "KEY", "SecretAccessKey": "secret", "Expiration": "2999-01-01T00:00:00Z"}
    answers = {"/latest/api/token": "token", "/latest/meta-data/instance-id": "i-1"}
    answers["/latest/meta-data/iam/security-credentials/"] = "role"
    answers["/latest/meta-data/iam/security-credentials/role"] = json.dumps(role)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            connections.append(self.connection)

        def do_GET(self) -> None:
            body = answers[self.path].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", connections
        finally:
            server.shutdown()
            thread.join()
            Http.forget()


def prefix(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Prefix:
    monkeypatch.setattr(Http, "send", staticmethod(endpoint.send))
    return Prefix(Aws("us-east-1", "http://s3", Metadata("http://metadata")), "bucket")


def test_credentials_that_are_not_taken_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(taken=2)
    monkeypatch.setattr(supervisor_aws, "_RENEWABLE", -1.0)
    assert prefix(endpoint, monkeypatch).get("key") == b"found"
    assert (endpoint.given, endpoint.asked) == (2, 2)


def test_those_of_a_moment_ago_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for an object that may not be seen yet asks often; the same would be given again."""
    endpoint = Endpoint(taken=0)
    monkeypatch.setattr(supervisor_aws, "_RENEWABLE", 3600.0)
    place = prefix(endpoint, monkeypatch)
    for _ in range(3):
        with pytest.raises(Unreachable):
            place.get("key")
    assert (endpoint.given, endpoint.asked) == (1, 3)


def test_what_is_read_ahead_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(taken=1)
    place = prefix(endpoint, monkeypatch)
    place._aws.look_ahead(60)
    assert endpoint.given == 1
    monkeypatch.setattr(Metadata, "get", lambda *_: pytest.fail("the metadata service is asked"))
    assert place._aws.instance() == "role"
    assert place.get("key") == b"found"


def test_all_that_is_read_ahead_has_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guardian does nothing else meanwhile."""
    endpoint, waits = Endpoint(taken=1), list[float]()

    def send(*arguments: str, timeout: float, **_: object) -> object:
        waits.append(timeout)
        return endpoint.send(arguments[0], arguments[1], {})

    monkeypatch.setattr(Http, "send", staticmethod(send))
    metadata = Metadata("http://metadata")
    with suppress(Unreachable):  # where this process itself has had no processor for so long
        Aws("us-east-1", None, metadata).look_ahead(4.0)
    assert waits == sorted((each for each in waits if each <= 4.0), reverse=True)
    waits.clear()
    with pytest.raises(Unreachable):
        Aws("us-east-1", None, Metadata("http://metadata")).look_ahead(0.0)
    assert waits == []
    metadata.get("/latest/meta-data/instance-id")
    assert waits[-1] > 4.0, "nothing else is in a hurry"


def test_no_connection_is_kept_of_what_is_read_ahead() -> None:
    """The next supervisor is a fork: it would use the same one as the one after it."""
    with serving() as (address, connections):
        aws = Aws("us-east-1", None, Metadata(address))
        aws.look_ahead(60)
        assert (aws.instance(), len(connections)) == ("i-1", 1)
        Metadata(address).get("/latest/meta-data/instance-id")
        assert len(connections) == 2
