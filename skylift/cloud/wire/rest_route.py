"""Which operation of a REST service is meant: by method, path and query string, from the model's `requestUri`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl, unquote

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request
from skylift.cloud.wire.models import OperationModel

BUCKET = "/{Bucket}"
KEY = "/{Bucket}/{Key+}"


@dataclass(frozen=True)
class RestSubject:
    """The subject of a path and host: nothing, a bucket, or a key in a bucket."""

    bucket: str = ""
    key: str = ""

    @property
    def template(self) -> str:
        if self.key:
            return KEY
        return BUCKET if self.bucket else "/"


@dataclass(frozen=True)
class _Candidate:
    operation: OperationModel
    fixed: tuple[tuple[str, str], ...]
    """The template's own query string: `?uploads`, `?list-type=2`."""
    query: frozenset[str]
    headers: frozenset[str]

    @property
    def specific(self) -> int:
        return len(self.fixed) + len(self.query) + len(self.headers)

    def matches(self, query: Mapping[str, str], headers: Mapping[str, object]) -> bool:
        # Most ask for something in the query string, and most requests have none.
        for name, value in self.fixed:
            if name not in query or (value and query[name] != value):
                return False
        return self.query <= query.keys() and self.headers <= headers.keys()


class RestRouter:
    """The routes of one service.

    Among the operations of a path, the one wins that asks for most and gets it: GetObject asks for nothing, ListParts
    for `uploadId`, CopyObject for the header `x-amz-copy-source`.
    """

    def __init__(self, operations: Iterable[OperationModel], hosts: Iterable[str]) -> None:
        self._hosts = tuple(hosts)
        self._routes: dict[tuple[str, str], list[_Candidate]] = {}
        self._labels: dict[str, tuple[str, ...]] = {}
        for operation in operations:
            self._labels[operation.name] = _in_path(operation)
            template, _, fixed = operation.uri.partition("?")
            route = self._routes.setdefault((operation.method, template), [])
            route.append(_candidate(operation, fixed))
        for route in self._routes.values():
            route.sort(key=lambda candidate: (-candidate.specific, candidate.operation.deprecated))

    def operation(self, request: Request) -> OperationModel:
        place = self.place(request)
        query = dict(decoded_query(request))
        routes = self._routes.get((request.method, place.template))
        if self.bucket_in_host(request) is None:
            # Else `/` is the bucket's own.
            routes = self._routes.get((request.method, request.path)) or routes
        for candidate in routes or ():
            if candidate.matches(query, request.headers_by_name):
                return candidate.operation
        resource = {KEY: "OBJECT", BUCKET: "BUCKET", "/": "SERVICE"}[place.template]
        raise ServiceError(
            "MethodNotAllowed", "The specified method is not allowed against this resource.", ResourceType=resource
        )

    def place(self, request: Request) -> RestSubject:
        """The bucket and key, path-style or, on a host like `bucket.localhost`, virtual-host style."""
        path = request.path.removeprefix("/")
        bucket = self.bucket_in_host(request)
        key = path
        if bucket is None:
            bucket, _, key = path.partition("/")
        try:
            return RestSubject(unquote(bucket, errors="strict"), unquote(key, errors="strict"))
        except UnicodeDecodeError:
            raise ServiceError("InvalidURI", "Couldn't parse the specified URI.") from None

    def is_of_bucket(self, request: Request) -> bool:
        """Whether a path and host name a bucket, and nothing in it."""
        try:
            return self.place(request).template == BUCKET
        except ServiceError:
            return False

    def labels(self, operation: OperationModel, request: Request) -> dict[str, str]:
        """The members that the path and host have."""
        place = self.place(request)
        found = {"Bucket": place.bucket, "Key": place.key}
        return {name: found[name] for name in self._labels[operation.name]}

    def bucket_in_host(self, request: Request) -> str | None:
        """The bucket of a virtual-host style address; None for a path-style one."""
        return _bucket_in(request.header("host"), self._hosts)


def decoded_query(request: Request) -> tuple[tuple[str, str], ...]:
    try:
        return request.query
    except ValueError:
        raise ServiceError("InvalidURI", "Couldn't parse the specified URI.") from None


def _in_path(operation: OperationModel) -> tuple[str, ...]:
    members = operation.input.members if operation.input else {}
    return tuple(name for name, shape in members.items() if shape.serialization.get("location") == "uri")


def _candidate(operation: OperationModel, fixed: str) -> _Candidate:
    required = operation.input.metadata.get("required", []) if operation.input else []
    members = operation.input.members if operation.input else {}

    def names(location: str) -> frozenset[str]:
        found = (members[name].serialization for name in required)
        return frozenset(each["name"] for each in found if each.get("location") == location)

    return _Candidate(
        operation,
        tuple(parse_qsl(fixed, keep_blank_values=True)),
        names("querystring"),
        frozenset(name.lower() for name in names("header")),
    )


@lru_cache(maxsize=64)
def _bucket_in(host: str, bases: tuple[str, ...]) -> str | None:
    """Asked for several times in a request, and the same in all requests of a client."""
    name = host.rpartition("]")[2].partition(":")[0].lower()
    if not name or _is_address(name):
        return None
    for base in bases:
        if name == base:
            return None
        if name.endswith(f".{base}"):
            return name.removesuffix(f".{base}")
    return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
