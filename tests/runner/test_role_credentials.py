"""When a server asks the metadata service for its role's credentials anew, and when it does not."""

from __future__ import annotations

import json

import pytest

from skylift.runner.server import aws as supervisor_aws
from skylift.runner.server.aws import Aws, Http, Metadata, Unreachable
from skylift.runner.server.prefix import Prefix


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
