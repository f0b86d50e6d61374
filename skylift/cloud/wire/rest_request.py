"""A REST request's path, query string, headers and body to parameters, by where the model places each member."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl

from skylift.cloud.domain.bucket import Spool
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request
from skylift.cloud.wire.codec import Payload
from skylift.cloud.wire.decode_xml import XmlDecoder, document
from skylift.cloud.wire.models import OperationModel
from skylift.cloud.wire.query_headers import CONDITIONS
from skylift.cloud.wire.rest_route import decoded_query
from skylift.cloud.wire.scalar import READERS
from skylift.cloud.wire.shape import ListShape, Shape, Structure
from skylift.cloud.wire.unreadable import Unreadable

Read = Callable[[str], Any]

# What a presigned URL has in its query string besides the request's own parameters, in both versions of signatures.
_VERSION_2 = frozenset(("AWSAccessKeyId", "Signature", "Expires", "content-md5", "content-type"))

_SPOKEN = ("Version", "2006-03-01")
"""libcloud sends the API's version with every request. Only this one exists."""
_FOR_OTHERS = frozenset(("withUpdatedAt",))
"""What MinIO's client sends to every server, for MinIO's own."""
_ALLOWED = _VERSION_2 | _FOR_OTHERS


def _is_a_header(name: str) -> bool:
    return name.startswith("x-") or name in CONDITIONS


@dataclass
class _Plan:
    """The places of one operation's members, with their readers."""

    query: dict[str, tuple[str, Read]] = field(default_factory=dict)
    lists: dict[str, tuple[str, Read]] = field(default_factory=dict)
    """Of the query string as well: each item is a parameter of the list's name."""
    headers: dict[str, tuple[str, Read]] = field(default_factory=dict)
    prefixes: list[tuple[str, str]] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)
    """Names in the query string: S3 takes an empty number for none (`test_list_parts_empty_part_number_marker` in
    LocalStack's test_s3_list_operations.snapshot.json)."""
    fixed: frozenset[str] = frozenset()
    payload: Callable[[Payload], dict[str, Any]] = lambda payload: {}


class Labels(Protocol):
    """A router, as far as the reader knows it."""

    def labels(self, operation: OperationModel, request: Request) -> Mapping[str, str]: ...


class RestReader:
    def __init__(self, router: Labels) -> None:
        self._router = router
        self._documents = XmlDecoder()
        self._plans: dict[str, _Plan] = {}

    def read(self, operation: OperationModel, request: Request, payload: Payload) -> dict[str, Any]:
        plan = self._plans.get(operation.name)
        if plan is None:
            plan = self._plans[operation.name] = self._plan(operation)
        params: dict[str, Any] = {**self._router.labels(operation, request)}
        params.update(_query(plan, request))
        params.update(_headers(plan, request))
        if isinstance(payload, Spool):
            _as_decoded(params, payload)
        params.update(plan.payload(payload))
        return params

    def _plan(self, operation: OperationModel) -> _Plan:
        fixed = parse_qsl(operation.uri.partition("?")[2], keep_blank_values=True)
        plan = _Plan(fixed=frozenset(name for name, _ in fixed))
        if operation.input is None:
            return plan
        for name, shape in operation.input.members.items():
            wire_name = shape.serialization.get("name", name)
            match shape.serialization.get("location"):
                case "querystring" if shape.type_name == "list":
                    plan.lists[wire_name] = (name, READERS[cast(ListShape, shape).member.type_name])
                case "querystring":
                    plan.query[wire_name] = (name, READERS[shape.type_name])
                    if shape.type_name in ("integer", "long"):
                        plan.numbers.add(wire_name)
                case "header":
                    plan.headers[wire_name.lower()] = (name, _header_reader(shape))
                case "headers":
                    plan.prefixes.append((wire_name.lower(), name))
        plan.payload = self._payload(operation, operation.input)
        return plan

    def _payload(self, operation: OperationModel, shape: Structure) -> Callable[[Payload], dict[str, Any]]:
        member = shape.serialization.get("payload")
        if member is not None:
            inner = shape.members[member]
            if operation.streamed_input:
                return lambda payload: {member: payload}
            if inner.type_name == "blob":
                return lambda payload: {member: payload} if payload else {}
            if inner.type_name == "string":
                # An empty policy is wrong, not missing.
                return lambda payload: {member: _utf8(payload) if payload else ""}
            read = self._document(cast(Structure, inner), inner.serialization.get("name", member))
            return lambda payload: {member: read(payload)} if payload else {}
        if any(not inner.serialization.get("location") for inner in shape.members.values()):
            read = self._document(shape, shape.serialization["name"])
            return lambda payload: read(payload) if payload else {}
        return lambda payload: {}

    def _document(self, shape: Structure, root_name: str) -> Callable[[Payload], dict[str, Any]]:
        read = self._documents.structure(shape)

        def parse(payload: Payload) -> dict[str, Any]:
            try:
                root = document(cast(bytes, payload))
                found = root.tag.rpartition("}")[2]
                if found != root_name:
                    raise Unreadable(f"the root element must be {root_name}", found)
                return read(root)
            except Unreadable as problem:
                raise malformed(problem) from None

        return parse


def malformed(problem: Unreadable) -> ServiceError:
    """S3's error for a document that does not follow the schema. Its sentence is always the same; `Detail` has the
    fault, which botocore's clients show as `error.response["Error"]["Detail"]`."""
    where = f"{problem.path}: " if problem.path else ""
    return ServiceError(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
        Detail=f"{where}{problem.message}",
    )


def _query(plan: _Plan, request: Request) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, text in decoded_query(request):
        member, items = plan.query.get(name), plan.lists.get(name)
        if member is not None:
            if text or name not in plan.numbers:
                params[member[0]] = _argument(name, text, member[1])
        elif items is not None:
            params.setdefault(items[0], []).append(_argument(name, text, items[1]))
        elif (name, text) == _SPOKEN or name in plan.fixed or name in _ALLOWED or _is_a_header(name.lower()):
            continue
        else:
            # S3 itself ignores what it does not know; here a parameter that would be ignored is an error. Names in
            # `x-` stay allowed: S3 documents them as the caller's own, and signatures and SDKs put theirs there.
            raise ServiceError("InvalidArgument", f"The query parameter {name} is not recognized", ArgumentName=name)
    return params


def _headers(plan: _Plan, request: Request) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, values in request.headers_by_name.items():
        member = plan.headers.get(name)
        if member is not None:
            params[member[0]] = _argument(name, ",".join(values), member[1])
            continue
        for prefix, owner in plan.prefixes:
            if name.startswith(prefix):
                params.setdefault(owner, {})[name.removeprefix(prefix)] = ",".join(values)
    return params


def _as_decoded(params: dict[str, Any], spool: Spool) -> None:
    """Undo the aws-chunked coding in what describes the body: it was a matter of the transfer."""
    if "ContentLength" in params:
        params["ContentLength"] = spool.size
    codings = [each.strip() for each in params.pop("ContentEncoding", "").split(",")]
    kept = [each for each in codings if each and each.lower() != "aws-chunked"]
    if kept:
        params["ContentEncoding"] = ",".join(kept)


def _argument(name: str, text: str, read: Read) -> Any:
    try:
        return read(text)
    except Unreadable as problem:
        raise ServiceError(
            "InvalidArgument", f"{name}: {problem.message}", ArgumentName=name, ArgumentValue=text
        ) from None


def _header_reader(shape: Shape) -> Read:
    if shape.type_name != "list":
        return READERS[shape.type_name]
    item = READERS[cast(ListShape, shape).member.type_name]
    return lambda text: [item(each.strip()) for each in text.split(",") if each.strip()]


def _utf8(payload: Payload) -> str:
    try:
        return cast(bytes, payload).decode("utf-8")
    except UnicodeDecodeError:
        raise ServiceError("InvalidRequest", "The request body is not UTF-8") from None
