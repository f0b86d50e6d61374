"""Requests to AWS with the instance's own role: metadata, signatures, and which answers are worth asking again for."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import json
import os
import shutil
import ssl
import threading
import time
import urllib.parse
from typing import Any, BinaryIO, Callable, Dict, Optional, Tuple, TypeVar

from skylift.runner.supervisor.console import say

T = TypeVar("T")

_RENEWABLE = 5.0
"""Seconds for which credentials are not asked for again: who waits for what it may not see yet asks often."""


class Refused(Exception):
    """An answer of AWS that asking again will not change."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__("HTTP %d: %s" % (status, text[:500]))
        self.status = status


class Unreachable(Exception):
    """No answer, or one that asks for patience."""


def patiently(what: str, call: Callable[[], T], until: float, wait: Callable[[float], Any] = time.sleep) -> T:
    """Repeat a call that must succeed while it is Unreachable, at growing intervals, until a wall-clock time."""
    pause = 0.05
    while True:
        try:
            return call()
        except Unreachable as error:
            if time.time() + pause > until:
                raise
            if pause > 1:
                say("%s: %s; trying again" % (what, error))
            wait(pause)
            pause = min(pause * 1.6, 10)


class Http:
    """One request, one connection. TLS is verified against the machine's own certificate authorities."""

    @staticmethod
    def send(
        method: str,
        url: str,
        headers: Dict[str, str],
        body: bytes = b"",
        timeout: float = 30,
        sink: Optional[BinaryIO] = None,
    ) -> Tuple[int, Dict[str, str], bytes]:
        """Status, headers (lower case) and body; the body of a success goes to `sink` when there is one."""
        parts = urllib.parse.urlsplit(url)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
            context = ssl.create_default_context(cafile=bundle)
            connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
        try:
            connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body or None, headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            if sink is None or answer.status >= 300:
                return answer.status, found, answer.read()
            began = sink.tell()
            shutil.copyfileobj(answer, sink, 1 << 20)
            come = sink.tell() - began
            if come != int(found.get("content-length", come)):
                raise Unreachable("%s broke off after %d bytes" % (url, come))
            return answer.status, found, b""
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable("%s %s: %r" % (method, parts.netloc, error)) from None
        finally:
            connection.close()


class Metadata:
    """The instance metadata service, version 2: who this server is, and its role's credentials."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._token = ""
        self._lock = threading.Lock()
        self._credentials: Dict[str, str] = {}
        self._fresh_until = 0.0
        self._fetched = 0.0
        self.role = ""

    def get(self, path: str) -> str:
        for _ in range(2):
            if not self._token:
                headers = {"X-aws-ec2-metadata-token-ttl-seconds": "21600", "Content-Length": "0"}
                status, _, body = Http.send("PUT", self._url + "/latest/api/token", headers, timeout=5)
                if status != 200:
                    raise Unreachable("metadata token: HTTP %d" % status)
                self._token = body.decode()
            status, _, body = Http.send("GET", self._url + path, {"X-aws-ec2-metadata-token": self._token}, timeout=5)
            if status == 200:
                return body.decode()
            if status != 401:
                break
            self._token = ""
        raise Unreachable("metadata %s: HTTP %d" % (path, status))

    def credentials(self, renew: bool = False) -> Dict[str, str]:
        """Access key, secret and token; asked again five minutes before they expire, or when AWS did not take them and
        they are some seconds old."""
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
    """Signed requests. An endpoint of its own stands for all services; without one, AWS's regional ones are used."""

    def __init__(self, region: str, endpoint: Optional[str], metadata: Metadata) -> None:
        self.region, self.endpoint, self._metadata = region, endpoint, metadata
        self._instance = ""
        self._suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"

    @property
    def role(self) -> str:
        """That of this server; of an earlier job, where the server is."""
        return self._metadata.role

    def instance(self) -> str:
        """The id of this server."""
        if not self._instance:
            self._instance = self._metadata.get("/latest/meta-data/instance-id")
        return self._instance

    def in_region(self, region: str) -> Aws:
        return Aws(region, self.endpoint, self._metadata)

    def url(self, service: str, bucket: str = "") -> str:
        if self.endpoint:
            return self.endpoint.rstrip("/") + ("/" + bucket if bucket else "")
        name = "%s.%s.%s" % (service, self.region, self._suffix)
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
        """Answers below 300, and 304, 404, 409 and 412, which callers know. The rest is an exception.

        403 counts as Unreachable: a role that is a few seconds old is not known everywhere in AWS yet.
        """
        tried: Dict[str, str] = {}
        for renew in (False, True):
            credentials = self._metadata.credentials(renew)
            if credentials is tried:
                break
            tried = credentials
            when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
            digest = hashlib.sha256(body).hexdigest()
            signed = sign(method, url, headers, digest, service, self.region, credentials, when)
            status, found, answer = Http.send(method, url, signed, body, 60, sink)
            if status != 403:
                break
        if status < 300 or status in (304, 404, 409, 412):
            return status, found, answer
        text = answer.decode(errors="replace")
        if status in (403, 429) or status >= 500:
            raise Unreachable("%s %s: HTTP %d %s" % (method, url, status, text[:300]))
        raise Refused(status, text)
