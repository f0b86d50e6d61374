"""Requests to AWS with the instance's own role: metadata, signatures, and which answers to retry."""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import hmac
import html
import http.client
import json
import math
import os
import re
import ssl
import threading
import time
import urllib.parse
from typing import BinaryIO, Callable, ClassVar, Dict, Iterator, List, Optional, Tuple, TypeVar, Union

from skylift.agent.machine.console import say

T = TypeVar("T")
Until = Union[float, Callable[[], float]]
"""The wall-clock time until which a call is retried, or a function that returns it when the call begins."""

_ANSWERING = 5.0
"""Seconds in which the metadata service must answer a request."""
_RENEWABLE = 5.0
"""Seconds for which credentials are not read again: a call that is denied for a while is repeated often."""
_PIECE = 1 << 20
"""The bytes of one read."""
_IDLE = 4.0
"""Seconds that a connection is kept for the next request: S3 and EC2 keep it longer."""
_STALE = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "AuthFailure", "InvalidToken", "RequestTimeTooSkewed"}
)
"""Error codes for credentials that have expired, or that not all of AWS knows yet, and for a pause before sending."""
_NOT_NOW = re.compile(
    "BadDigest|IncompleteBody|OperationAborted|PriorRequestNotComplete|Request(LimitExceeded|Timeout|Throttled)"
    "|XAmzContentSHA256Mismatch|SlowDown|(EC2)?Thrott|TooManyRequests|ProvisionedThroughputExceeded"
)
"""The beginnings of error codes that are worth a retry with any status: throttling, and damaged bytes."""
NO_WAY = "NoWayToService"
"""What the embedded cloud answers in place of silence."""
_FOR_GOOD = re.compile("Insufficient|Unsupported|NotImplemented|501")
"""In 5xx answers, codes that are not worth a retry. EC2 answers 500 when it has no capacity."""


class Refused(Exception):
    """An error that a retry will not change."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__("HTTP %d: %s" % (status, error_text(text)))
        self.status, self.code = status, code_of(text)


class Unreachable(Exception):
    """No answer, or an error that a retry may change."""

    final = False


class NoAnswer(Unreachable):
    """Nothing came back: the service may be unreachable from this network."""


def is_not_now(status: int, code: str) -> bool:
    """Whether an answer says that the same request may be answered otherwise in a while: AWS throttles, or is out of
    order."""
    return (
        _NOT_NOW.match(code) is not None
        or status == 429
        or (status >= 500 and not _FOR_GOOD.match(code or str(status)))
    )


def code_of(text: str) -> str:
    """AWS's error code in an answer; empty without one."""
    return text.partition("<Code>")[2].partition("</Code>")[0]


def error_text(text: str) -> str:
    """What an answer says is wrong, without its XML."""
    message = text.partition("<Message>")[2].partition("</Message>")[0]
    return "%s: %s" % (code_of(text), html.unescape(message)[:300]) if message else text[:300]


def retry_until(what: str, call: Callable[[], T], until: Until, say: Callable[[str], None] = say) -> T:
    """Repeat a call while it raises Unreachable, at growing intervals, until `until`. How long that is, is measured
    when the call begins: a later step of the wall clock neither shortens nor lengthens it."""
    end = time.monotonic() + (until() if callable(until) else until) - time.time()
    pause = 0.05
    while True:
        try:
            return call()
        except Unreachable as error:
            if error.final or time.monotonic() + pause > end:
                raise
            if pause > 1:
                say("%s: %s; trying again" % (what, error))
            time.sleep(pause)
            pause = min(pause * 1.6, 10)


class Http:
    """HTTP with connections that are kept for the next request. TLS is verified with the machine's own certificate
    authorities."""

    _kept: ClassVar[Dict[Tuple[str, str], List[Tuple[float, http.client.HTTPConnection]]]] = {}
    _lock = threading.Lock()

    @classmethod
    def forget(cls) -> None:
        """Keep no connection: a fork of this process would use the same ones."""
        with cls._lock:
            for _, connection in (each for kept in cls._kept.values() for each in kept):
                connection.close()
            cls._kept.clear()

    @classmethod
    def send(
        cls,
        method: str,
        url: str,
        headers: Dict[str, str],
        body: bytes = b"",
        timeout: float = 30,
        sink: Optional[BinaryIO] = None,
    ) -> Tuple[int, Dict[str, str], bytes]:
        """Status, headers (lower case) and body; the body of a success goes to `sink` when there is one. Raises
        Unreachable, and OSError when `sink` cannot be written: then a retry would not help."""
        parts = urllib.parse.urlsplit(url)
        place, target = (parts.scheme, parts.netloc), parts.path + ("?" + parts.query if parts.query else "")
        while True:
            connection, kept = cls._take(place, timeout)
            try:
                connection.request(method, target, body or None, headers)
                answer = connection.getresponse()
                break
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # The other end closes an idle connection. It may have received our request all the same, as before
                # any retry.
                if not kept or not isinstance(error, (ConnectionError, ssl.SSLError)):
                    raise NoAnswer("%s %s: %r" % (method, parts.netloc, error)) from None
        what = "%s %s" % (method, parts.netloc)
        try:
            found = {name.lower(): value for name, value in answer.getheaders()}
            if sink is None or answer.status >= 300:
                content = _read(answer, what)
            else:
                content, come = b"", 0
                while piece := _read(answer, what, _PIECE):
                    sink.write(piece)
                    come += len(piece)
                if come != int(found.get("content-length", come)):
                    raise Unreachable("%s broke off after %d bytes" % (url, come))
        except BaseException:
            connection.close()
            raise
        with cls._lock:
            # http.client closes a connection that the answer says is not kept.
            if connection.sock is not None:
                cls._kept.setdefault(place, []).append((time.monotonic(), connection))
        return answer.status, found, content

    @classmethod
    def _take(cls, place: Tuple[str, str], timeout: float) -> Tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it has been used before."""
        with cls._lock:
            waiting = cls._kept.get(place, [])
            while waiting:
                since, connection = waiting.pop()
                if time.monotonic() - since < _IDLE and connection.sock is not None:
                    connection.sock.settimeout(timeout)
                    return connection, True
                connection.close()
        if place[0] != "https":
            return http.client.HTTPConnection(place[1], timeout=timeout), False
        bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
        return http.client.HTTPSConnection(place[1], timeout=timeout, context=_trust(bundle)), False


def _read(answer: http.client.HTTPResponse, what: str, most: Optional[int] = None) -> bytes:
    try:
        return answer.read(most)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable("%s: %r" % (what, error)) from None


@functools.lru_cache(maxsize=4)
def _trust(bundle: Optional[str]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=bundle)


class Metadata:
    """The instance metadata service, version 2: the instance's facts, and its role's credentials."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._token = ""
        self._lock = threading.Lock()
        self._credentials: Dict[str, str] = {}
        self._fresh_until = 0.0
        self._fetched = 0.0
        self._until = math.inf
        self.role = ""

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """All requests together wait no longer than this for answers. They raise Unreachable once it is over."""
        self._until = time.monotonic() + seconds
        try:
            yield
        finally:
            self._until = math.inf

    def _patience(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise Unreachable("metadata: no answer in time")
        return min(left, _ANSWERING)

    def get(self, path: str) -> str:
        for _ in range(2):
            if not self._token:
                headers = {"X-aws-ec2-metadata-token-ttl-seconds": "21600", "Content-Length": "0"}
                place = self._url + "/latest/api/token"
                status, _, body = Http.send("PUT", place, headers, timeout=self._patience())
                if status != 200:
                    raise Unreachable("metadata token: HTTP %d" % status)
                self._token = body.decode()
            headers = {"X-aws-ec2-metadata-token": self._token}
            status, _, body = Http.send("GET", self._url + path, headers, timeout=self._patience())
            if status == 200:
                return body.decode()
            if status != 401:
                break
            self._token = ""
        raise Unreachable("metadata %s: HTTP %d" % (path, status))

    def credentials(self, renew: bool = False) -> Dict[str, str]:
        """Access key, secret and token. They are read again five minutes before they expire, or with `renew` when AWS
        has refused them and they are some seconds old."""
        with self._lock:
            old = time.monotonic() - self._fetched > _RENEWABLE
            if (renew and old) or time.time() > self._fresh_until:
                base = "/latest/meta-data/iam/security-credentials/"
                self.role = self.get(base).split("\n")[0].strip()
                answer = json.loads(self.get(base + self.role))
                if answer.get("Code", "Success") != "Success":
                    raise Unreachable("role credentials: %s" % answer.get("Code"))
                expires = datetime.datetime.fromisoformat(answer["Expiration"].replace("Z", "+00:00"))
                self._credentials = answer
                self._fresh_until = expires.timestamp() - 300
                self._fetched = time.monotonic()
            return self._credentials


def sign(
    method: str,
    url: str,
    headers: Dict[str, str],
    digest: str,
    service: str,
    region: str,
    credentials: Dict[str, str],
    when: str,
) -> Dict[str, str]:
    """Signature version 4 in the Authorization header. `when` is like 20260131T120000Z, `digest` the body's SHA-256.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
    """
    parts = urllib.parse.urlsplit(url)
    signed = dict(headers, host=parts.netloc)
    signed.update({"x-amz-date": when, "x-amz-content-sha256": digest})
    if credentials.get("Token"):
        signed["x-amz-security-token"] = credentials["Token"]
    names = sorted(name.lower() for name in signed)
    lower = {name.lower(): " ".join(value.split()) for name, value in signed.items()}
    query = "&".join(sorted(piece if "=" in piece else piece + "=" for piece in parts.query.split("&") if piece))
    canonical = "\n".join(
        [
            method,
            parts.path or "/",
            query,
            *("%s:%s" % (name, lower[name]) for name in names),
            "",
            ";".join(names),
            digest,
        ]
    )
    scope = "/".join([when[:8], region, service, "aws4_request"])
    text = "\n".join(["AWS4-HMAC-SHA256", when, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + credentials["SecretAccessKey"]).encode()
    for piece in scope.split("/"):
        key = hmac.new(key, piece.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    signed["authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        credentials["AccessKeyId"],
        scope,
        ";".join(names),
        signature,
    )
    return signed


class Aws:
    """Signed requests. With an endpoint, all services are there. Without one, AWS's regional endpoints are used."""

    def __init__(self, region: str, endpoint: Optional[str], metadata: Metadata) -> None:
        self.region, self.endpoint, self._metadata = region, endpoint, metadata
        self._instance = ""

    @property
    def role(self) -> str:
        """The name of this server's role. On a kept server it may be named after an earlier job."""
        return self._metadata.role

    def instance(self) -> str:
        """The id of this server."""
        if not self._instance:
            self._instance = self._metadata.get("/latest/meta-data/instance-id")
        return self._instance

    def look_ahead(self, seconds: float) -> None:
        """Read what requests need, for forks of this process. That takes so long at most. Raises Unreachable,
        ValueError and LookupError."""
        try:
            with self._metadata.within(seconds):
                self.instance()
                self._metadata.credentials()
        finally:
            Http.forget()

    def in_region(self, region: str) -> Aws:
        return Aws(region, self.endpoint, self._metadata)

    def url(self, service: str, bucket: str = "") -> str:
        if self.endpoint:
            return self.endpoint.rstrip("/") + ("/" + bucket if bucket else "")
        name = "%s.%s.amazonaws.com" % (service, self.region)
        if "." in bucket:  # for which S3's certificates do not hold
            return "https://%s/%s" % (name, bucket)
        return "https://" + (bucket + "." if bucket else "") + name

    def send(
        self,
        service: str,
        method: str,
        url: str,
        headers: Dict[str, str],
        body: bytes = b"",
        sink: Optional[BinaryIO] = None,
    ) -> Tuple[int, Dict[str, str], bytes]:
        """Send a request. Returns answers below 300, and 304, 404, 409 and 412, which callers handle. Others are
        raised. The body is signed unless the headers say what is signed in its place.

        403 counts as Unreachable: a role that is a few seconds old is not known everywhere in AWS yet.
        """
        tried: Dict[str, str] = {}
        for renew in (False, True):
            credentials = self._metadata.credentials(renew)
            if credentials is tried:
                break
            tried = credentials
            when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
            digest = headers.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest()
            signed = sign(method, url, headers, digest, service, self.region, credentials, when)
            status, found, answer = Http.send(method, url, signed, body, 60, sink)
            text = "" if status < 400 else answer.decode(errors="replace")
            if status != 403 and code_of(text) not in _STALE:
                break
        if status < 300 or status in (304, 404, 409, 412):
            return status, found, answer
        if status == 403 or code_of(text) in _STALE or is_not_now(status, code_of(text)):
            raise Unreachable("%s %s: HTTP %d %s" % (method, url, status, error_text(text)))
        raise Refused(status, text)
