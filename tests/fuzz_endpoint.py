"""The endpoint under fire: requests made from AWS's models, signed, and then bent in one place.

    PYTHONPATH=tests:tests/cloud/clients python tests/fuzz_endpoint.py --seconds 600 [--seed 1]

What holds for each of them: the endpoint answers or hangs up, soon; no answer is an internal error; no traceback is
logged; what somebody changed after it was signed is refused, and nothing is carried out. The same seed sends the same.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Self
from unittest import mock
from urllib.parse import quote, urlencode, urlsplit

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.compat import get_current_datetime
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator
from serverless_cloud import ACCOUNT, REGION, Cloud, serverless_cloud

from skylift.cloud.services.table import TABLE
from skylift.cloud.wire.models import OWN_MODELS

PATIENCE = 20.0
"""Seconds until an answer counts as a hang."""

TRUST = '{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}]}'
WORDS = [
    *("", "x", "a" * 300, "é", "*", "*?" * 50, "\0", "\n", "\x1b[2J", "\ufffe", "$Latest", "9" * 20, "-1", "true", "/"),
    *("null", "{}", TRUST, "${" * 50, "10.0.0.0/16", "::/0", "us-east-1a", "t3.micro", "vpc-12345678", "i-12345678"),
    *("name", "bucket", "bucket/key", "/bucket/key?versionId=x", "key", "..", "%00", "https://127.0.0.1", "1" * 5000),
    *("arn:aws:iam::123456789012:role/name", "arn:aws:s3:::bucket/*", "a" * 70_000, "\u202e", "=cmd|' /C calc'!A0"),
]
NUMBERS = [-(2**63), -(2**31), -1, 0, 1, 2, 22, 1000, 65536, 2**31 - 1, 2**63 - 1]
JUNK = [
    *(
        b"",
        b"\0",
        b"\xff\xfe",
        b"<",
        b"<a/>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"{",
        b"[]",
        b"null",
        b"NaN",
    ),
    *(
        b"[" * 5000,
        b'{"a":' * 5000,
        b"<a>" * 5000,
        b"\xbf" * 50,
        b"\x9f" * 5000,
        b"\xfb\x7f\xf8\0\0\0\0\0\0",
        b"\x1f\x8b",
    ),
    *(b"a=%ff", b"a=%", b"&" * 5000, b"a.1.2.3" + b".1" * 3000 + b"=1", b"Action=", b"a" * 100_000),
    *(gzip.compress(b"{}", mtime=0), b'<?xml version="1.0" encoding="utf-7"?><a/>', b"\xef\xbb\xbf{}", b"1e999", b"-"),
]
IGNORED_BESIDE_URLS = "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD"
HEADERS = [
    *("X-Amz-Acl: public-read", "X-Amz-Copy-Source: /a/b", "X-Amz-Meta-A: b", "X-Amz-Security-Token: t"),
    *("X-Amz-Target: AmazonSSM.DeleteParameter", "X-Amz-Date: 20200101T000000Z", IGNORED_BESIDE_URLS),
]
HARMLESS = [
    *(
        "Origin: https://page",
        "Origin: \xff",
        "Range: bytes=5-1,0-",
        'If-None-Match: "',
        "If-Modified-Since: yesterday",
    ),
    *("Expect: 100-continue", "Content-Encoding: gzip", "Accept-Encoding: zip", "Cookie: " + "a" * 5000, "Via: \t"),
    *(
        "User-Agent: a\\nb",
        "Referer: \xff\xfe",
        "Content-Type: application/cbor",
        "Content-Type: text/xml; charset=utf-7",
    ),
]


@cache
def model(service: str) -> ServiceModel:
    return ServiceModel(Loader(extra_search_paths=[str(OWN_MODELS)]).load_service_model(service, "service-2"), service)


@dataclass(frozen=True)
class Sent:
    """One HTTP request. `performs` is whether it may be carried out."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    performs: bool = True

    def raw(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + self.body

    def without(self, *names: str) -> Sent:
        return replace(self, headers=tuple(each for each in self.headers if each[0].lower() not in names))

    def plus(self, *lines: str) -> Sent:
        more = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        return replace(self, headers=(*self.headers, *more))

    def with_body(self, body: bytes) -> Sent:
        return replace(self.without("content-length"), body=body).plus(f"Content-Length: {len(body)}")


class Requests:
    """Requests by the models, as a client of ours would make and sign them."""

    def __init__(self, cloud: Cloud, chance: random.Random) -> None:
        self._cloud = cloud
        self._chance = chance
        self._operations = sorted(TABLE)

    def unsigned(self) -> tuple[str, Sent]:
        """The service to sign for, and the request."""
        while True:
            service, name = self._chance.choice(self._operations)
            source = model(service)
            operation = source.operation_model(name)
            params = self._value(operation.input_shape, "") if operation.input_shape else {}
            if operation.input_shape and ParamValidator().validate(params, operation.input_shape).has_errors():
                continue
            protocol = self._chance.choice(source.metadata.get("protocols", [source.protocol]))
            made = create_serializer(protocol, include_validation=False).serialize_to_request(params, operation)
            body = made["body"]
            body = urlencode(body).encode() if isinstance(body, dict) else body
            body = body.encode() if isinstance(body, str) else bytes(body)
            target = quote(made["url_path"].encode("utf-8", "replace"), safe="/?&=%-_.~") or "/"
            if made["query_string"]:
                target += ("&" if "?" in target else "?") + urlencode(made["query_string"], doseq=True)
            headers = tuple((each, str(value)) for each, value in made["headers"].items())
            if any(ord(letter) < 32 for _, value in headers for letter in value):
                continue
            return source.signing_name, Sent(made["method"], target, headers, body)

    def signed(self, service: str, asked: Sent, *, age: timedelta = timedelta(0)) -> Sent:
        made = AWSRequest(asked.method, f"{self._cloud.url}{asked.target}", dict(asked.headers), asked.body)
        signer = auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth
        credentials = Credentials(self._cloud.key, self._cloud.secret)
        with mock.patch("botocore.auth.get_current_datetime", partial(_moment, age)):
            signer(credentials, service, REGION).add_auth(made)
        headers = tuple((name, value) for name, value in made.headers.items() if name.lower() != "content-length")
        host = ("Host", urlsplit(self._cloud.url).netloc)
        return replace(asked, headers=(host, *headers)).with_body(asked.body)

    def presigned(self, asked: Sent) -> Sent:
        made = AWSRequest(asked.method, f"{self._cloud.url}{asked.target}", dict(asked.headers))
        signer = self._chance.choice([auth.S3SigV4QueryAuth, auth.HmacV1QueryAuth])
        credentials = Credentials(self._cloud.key, self._cloud.secret)
        if signer is auth.HmacV1QueryAuth:
            signer(credentials).add_auth(made)
        else:
            signer(credentials, "s3", REGION, expires=60).add_auth(made)
        where = urlsplit(made.url)
        host = ("Host", where.netloc)
        headers = tuple(each for each in asked.headers if each[0].lower().startswith("x-amz-"))
        return replace(asked, target=f"{where.path}?{where.query}", headers=(host, *headers)).with_body(asked.body)

    def _value(self, shape: Any, name: str, depth: int = 0) -> Any:
        kind = shape.type_name
        if kind == "structure":
            often = self._chance.choice((0.05, 0.2, 0.5)) / (1 + depth)
            return {
                each: self._value(inner, each, depth + 1)
                for each, inner in shape.members.items()
                if each in shape.required_members or self._chance.random() < often
            }
        if kind == "list":
            return [self._value(shape.member, name, depth + 1) for _ in range(self._chance.choice((0, 1, 1, 2)))]
        if kind == "map":
            return {self._chance.choice(("x", "é", "y")): self._value(shape.value, name, depth + 1)}
        if kind == "string":
            if shape.serialization.get("hostLabel"):
                # The client itself refuses what no host can be called.
                return self._chance.choice((ACCOUNT, "x"))
            known = {"Bucket": "bucket", "AssumeRolePolicyDocument": TRUST}.get(name)
            if known and self._chance.random() < 0.8:
                return known
            return self._chance.choice([*(getattr(shape, "enum", None) or []), *WORDS])
        if kind in ("integer", "long"):
            return self._chance.choice(NUMBERS)
        if kind in ("double", "float"):
            return self._chance.choice((0.0, -1.5, 1e300, float("inf"), float("nan")))
        if kind == "boolean":
            return self._chance.random() < 0.5
        if kind == "timestamp":
            return datetime(self._chance.choice((1970, 2026, 9999)), 1, 1, tzinfo=UTC)
        return self._chance.choice(JUNK[:10])


def _moment(age: timedelta, **how: Any) -> datetime:
    moment: datetime = get_current_datetime(**how)
    return moment - age


# One change each, after the signature, that AWS refuses.

Change = Callable[[random.Random, Sent], Sent | None]
"""None where there is nothing to change."""


def another_body(chance: random.Random, sent: Sent) -> Sent:
    if not sent.body or chance.random() < 0.3:
        return sent.with_body(sent.body + b"x")
    at = chance.randrange(len(sent.body))
    return sent.with_body(sent.body[:at] + bytes([sent.body[at] ^ 1]) + sent.body[at + 1 :])


def another_coding(chance: random.Random, sent: Sent) -> Sent:
    body = another_body(chance, sent).body
    coded = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return sent.with_body(coded).plus("Content-Encoding: aws-chunked", f"x-amz-decoded-content-length: {len(body)}")


def another_coding_quietly(chance: random.Random, sent: Sent) -> Sent | None:
    if any(name.lower() == "content-encoding" for name, _ in sent.headers):
        return None
    body = another_body(chance, sent).body
    return sent.with_body(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)).plus("Content-Encoding: aws-chunked")


def another_method(chance: random.Random, sent: Sent) -> Sent:
    others = [each for each in ("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH") if each != sent.method]
    return replace(sent, method=chance.choice(others))


def another_path(chance: random.Random, sent: Sent) -> Sent:
    path, question, query = sent.target.partition("?")
    return replace(sent, target=f"{path.rstrip('/')}/{chance.choice('xyz')}{question}{query}")


def another_query(chance: random.Random, sent: Sent) -> Sent:
    pair = chance.choice(("Action=DeleteVpc", "acl", "versionId=1", "x=1", "X-Amz-Expires=1", "prefix=a"))
    return replace(sent, target=f"{sent.target}{'&' if '?' in sent.target else '?'}{pair}")


def another_header(chance: random.Random, sent: Sent) -> Sent:
    return sent.plus(chance.choice(HEADERS))


def another_header_than_a_url_ignores(chance: random.Random, sent: Sent) -> Sent:
    return sent.plus(chance.choice([each for each in HEADERS if each != IGNORED_BESIDE_URLS]))


def another_value(chance: random.Random, sent: Sent) -> Sent | None:
    """Of a header that is signed."""
    authorization = dict(sent.headers).get("Authorization", "")
    names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    signed = [number for number, (name, _) in enumerate(sent.headers) if name.lower() in names]
    if not signed:
        return None
    chosen = chance.choice(signed)
    changed = [(name, f"{value}x" if number == chosen else value) for number, (name, value) in enumerate(sent.headers)]
    return replace(sent, headers=tuple(changed))


def another_signature(chance: random.Random, sent: Sent) -> Sent | None:
    authorization = dict(sent.headers).get("Authorization")
    if authorization is None:
        return None
    start, _, signature = authorization.rpartition("Signature=")
    changes = [
        f"{start}Signature={signature[::-1]}x",
        f"{start}Signature=",
        f"{start}Signature={signature[:-1]}",
        authorization.replace(REGION, "eu-west-1"),
        authorization.replace("SignedHeaders=host;", "SignedHeaders="),
        authorization.replace("Credential=", "Credential=X"),
        authorization.replace("/aws4_request", "/aws4"),
        authorization.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
        f"{authorization}, Signature={'0' * 64}",
    ]
    changed = chance.choice([each for each in changes if each != authorization])
    return sent.without("authorization").plus(f"Authorization: {changed}")


TAMPERING: tuple[Change, ...] = (
    another_body,
    another_coding,
    another_coding_quietly,
    another_method,
    another_path,
    another_query,
    another_header,
    another_value,
    another_signature,
)
OF_URLS: tuple[Change, ...] = (another_method, another_path, another_header_than_a_url_ignores)
"""The changes that presigned URLs do not allow either: a body is not signed, and a query may say it is harmless."""


@dataclass
class Fuzzer:
    """`performed` counts what the endpoint carries out."""

    cloud: Cloud
    seed: int
    performed: list[str]
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._requests = Requests(self.cloud, self._chance)

    def shoot(self) -> None:
        """One request. AssertionError where something does not hold that has to."""
        kind, raw, performs = self._chance.choice(
            (self._whole, self._tampered, self._tampered, self._odd, self._bytes)
        )()
        self.kinds[kind] += 1
        before = len(self.performed)
        try:
            answer = self._exchange(raw)
            status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0
            self.statuses[status] += 1
            assert answer == b"" or 200 <= status < 600, f"not HTTP: {answer[:200]!r}"
            assert not (status == 500 and b"nternal" in answer), f"an internal error: {answer[-500:]!r}"
            assert performs or not 200 <= status < 400, f"accepted: {status}"
            assert performs or len(self.performed) == before, f"carried out: {self.performed[before:]}"
        except Exception as error:
            error.add_note(f"seed {self.seed}, request {sum(self.kinds.values())}, {kind}: {raw[:3000]!r}")
            raise

    def _whole(self) -> tuple[str, bytes, bool]:
        service, asked = self._requests.unsigned()
        if self._chance.random() < 0.3:
            asked = asked.plus(self._chance.choice(HARMLESS))
        if service == "s3" and self._chance.random() < 0.3:
            return "presigned", self._requests.presigned(asked).raw(), True
        return "whole", self._requests.signed(service, asked).raw(), True

    def _tampered(self) -> tuple[str, bytes, bool]:
        service, asked = self._requests.unsigned()
        if service == "s3" and self._chance.random() < 0.2:
            sent, changes = self._requests.presigned(asked), OF_URLS
        elif self._chance.random() < 0.1:
            old = self._requests.signed(service, asked, age=timedelta(minutes=self._chance.choice((-20, 16, 10_000))))
            return "stale", old.raw(), False
        else:
            sent, changes = self._requests.signed(service, asked), TAMPERING
        while True:
            change = self._chance.choice(changes)
            changed = change(self._chance, sent)
            if changed is not None and changed != sent:
                return change.__name__, changed.raw(), False

    def _odd(self) -> tuple[str, bytes, bool]:
        """Signed by who means it: a body that no client makes, or headers that do not go together."""
        service, asked = self._requests.unsigned()
        choice = self._chance.random()
        if choice < 0.5:
            asked = replace(asked, body=self._chance.choice(JUNK))
        elif asked.body:
            asked = replace(asked, body=self._bent(asked.body))
        if choice > 0.8:
            other = self._chance.choice(("application/json", "application/cbor", "text/plain", ""))
            asked = asked.without("content-type").plus(f"Content-Type: {other}")
        return "odd", self._requests.signed(service, asked).plus(self._chance.choice(HARMLESS)).raw(), True

    def _bytes(self) -> tuple[str, bytes, bool]:
        """HTTP that is hardly any."""
        service, asked = self._requests.unsigned()
        raw = self._requests.signed(service, asked).raw()
        chunked = asked.plus("Host: a", "Transfer-Encoding: chunked", "Content-Length: 5").raw()
        ends = (raw[: self._chance.randrange(len(raw))], self._bent(raw), raw + raw[:50], chunked, chunked + b"zz\r\n")
        return "bytes", self._chance.choice(ends), True

    def _bent(self, data: bytes) -> bytes:
        bent = bytearray(data)
        for _ in range(self._chance.choice((1, 1, 2, 10))):
            at = self._chance.randrange(len(bent) + 1)
            piece = self._chance.choice(
                (b"", b"\0", b"\r\n", b"\n", b"\xff", b"%", b":", b" ", b"\x80" * 3, b"A" * 9000)
            )
            bent[at : at + self._chance.choice((0, 1, 1, 4))] = piece
        return bytes(bent)

    def _exchange(self, raw: bytes) -> bytes:
        where = urlsplit(self.cloud.url)
        with socket.create_connection((where.hostname or "", where.port or 0), timeout=PATIENCE) as connection:
            try:
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: connection.recv(1 << 20), b""))
            except (ConnectionResetError, BrokenPipeError):
                # It was not let finish: an answer may have been lost on the way, which is HTTP's.
                return b""
        while answer.startswith(b"HTTP/1.1 100 "):
            answer = answer.partition(b"\r\n\r\n")[2]
        return answer


class Faults(logging.Handler):
    """What is logged as an error meanwhile."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(logging.Formatter().format(record))


@contextmanager
def fuzzing(directory: Path, seed: int) -> Iterator[tuple[Fuzzer, Faults]]:
    """A fuzzer in front of a cloud of its own, which has a bucket and an object."""
    performed: list[str] = []
    with Faults() as faults, serverless_cloud(directory, performed.append) as cloud:
        s3 = cloud.client("s3")
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="key", Body=json.dumps({"a": 1}))
        yield Fuzzer(cloud, seed, performed), faults


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, fuzzing(Path(directory), chosen.seed) as (fuzzer, faults):
        begun = told = time.monotonic()
        print(f"seed {chosen.seed}")
        while time.monotonic() - begun < chosen.seconds:
            try:
                fuzzer.shoot()
            finally:
                print(*faults.found, sep="\n", end="", file=sys.stderr)
            if faults.found:
                return 1
            if time.monotonic() - told > 10:
                told = time.monotonic()
                print(f"{sum(fuzzer.kinds.values())} requests, {resident_mib():.0f} MiB", flush=True)
        print(f"{sum(fuzzer.kinds.values())} requests, {resident_mib():.0f} MiB; {dict(fuzzer.kinds)}")
        print(f"answers (0: hung up): {dict(sorted(fuzzer.statuses.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
