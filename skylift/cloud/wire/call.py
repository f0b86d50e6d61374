"""The types between wire and the rest: one parsed and authenticated request, one answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from skylift.cloud.domain.identity import Signature


@dataclass(frozen=True)
class Credential:
    """The credential that signed a request. `access_key_id` None: the request was not signed (anonymous)."""

    access_key_id: str | None
    session_token: str | None = None
    region: str = ""
    service: str = ""


@dataclass(frozen=True)
class ModelCall:
    """One request in the model's own terms.

    `params` has botocore's member names and Python types: datetime for timestamps, bytes for blobs, a
    `skylift.cloud.domain.bucket.Spool` for a streaming body. `service` is the model's name (`ec2`, `iam`, `sts`, `s3`).
    """

    service: str
    operation: str
    params: dict[str, Any]
    credential: Credential
    source_ip: str
    request_id: str
    user_agent: str = ""
    referer: str = ""
    secure: bool = False
    """Whether the request came over TLS."""
    tls_version: str = ""
    signature: Signature | None = None
    vpc_id: str = ""
    """The VPC of the server that sent the request; empty for a request from outside."""


SecretFor = Callable[[str, str | None], str]
"""(access_key_id, session_token) -> secret key; raises ServiceError (InvalidAccessKeyId, ExpiredToken, ...)."""


@dataclass(frozen=True)
class Request:
    """An HTTP request as the server hands it over, not interpreted yet.

    `target` is the raw request target with its percent-encoding as the client sent it: signatures need it. `place` is
    the VPC whose router accepted it, if one did. `sender` identifies the client that the request's threads count for.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    source_ip: str
    secure: bool = False
    tls_version: str = ""
    place: str = ""
    sender: str = ""

    def header(self, name: str, default: str = "") -> str:
        """The first header of that name (given in lower case)."""
        return self.headers_by_name.get(name, (default,))[0]

    @cached_property
    def headers_by_name(self) -> Mapping[str, tuple[str, ...]]:
        """All values of each header, in order, by lower-case name."""
        found: dict[str, tuple[str, ...]] = {}
        for name, value in self.headers:
            lower = name.lower()
            found[lower] = (*found.get(lower, ()), value)
        return found

    @cached_property
    def path(self) -> str:
        """The path as the client sent it, percent-encoding included."""
        return self._origin_form.partition("?")[0]

    @cached_property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The decoded pairs of the query string, in order. ValueError when they are not UTF-8."""
        text = self._origin_form.partition("?")[2]
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict"))

    @cached_property
    def _origin_form(self) -> str:
        """The target without `http://host` before it, which a client sends to what it takes for a proxy."""
        scheme, separator, rest = self.target.partition("://")
        if separator and scheme.lower() in ("http", "https"):
            return "/" + rest.partition("/")[2]
        return self.target


@dataclass(frozen=True)
class Response:
    """`body` is bytes, or a `skylift.cloud.domain.bucket.FileBody`, which wire reads, or opens as a
    `files.OpenBody` to stream it. `hops` bounds how many routers its packets may cross."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = b""
    hops: int | None = None


Encode = Callable[[Mapping[str, object]], Response]
"""Makes bytes of the answer to a call."""

Perform = Callable[[ModelCall, Encode], Response]
"""Carries a call out and encodes its answer. It blocks: wire runs it in a worker thread. Raises ServiceError."""
