"""Each protocol, as case files in and case files out."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.codec import Codec
from skylift.cloud.wire.codecs import codecs_for

CASES = Path(__file__).parent / "cases"


def cases(name: str) -> list[Any]:
    read = json.loads((CASES / f"{name}.json").read_text(), object_hook=_typed)
    return [pytest.param(case, id=f"{case['service']}: {case.get('about', case.get('code'))}") for case in read]


def _typed(value: dict[str, Any]) -> Any:
    """JSON has no dates and no bytes."""
    if "$timestamp" in value:
        return datetime.fromisoformat(value["$timestamp"])
    return base64.b64decode(value["$bytes"]) if "$bytes" in value else value


@cache
def codec(service: str) -> Codec:
    return codecs_for(service)[0]


def request_of(case: dict[str, Any]) -> tuple[Request, bytes]:
    headers = {"Host": "127.0.0.1:4520", **case.get("headers", {})}
    method, target = case.get("method", "POST"), case.get("target", "/")
    return Request(method, target, tuple(headers.items()), "127.0.0.1"), case.get("body", "").encode()


def headers_without_identity(response: Response) -> dict[str, str]:
    identity = ("x-amzn-requestid", "x-amz-request-id", "x-amz-id-2")
    assert response.headers.get("x-amzn-requestid", response.headers.get("x-amz-request-id")) == "ID"
    return {name: value for name, value in response.headers.items() if name not in identity}


@pytest.mark.parametrize("case", cases("requests"))
def test_requests(case: dict[str, Any]) -> None:
    request, body = request_of(case)
    ours = codec(case["service"])
    operation = ours.operation(request, body)
    assert operation.name == case["operation"]
    assert ours.decode(operation, request, body) == case["params"]


@pytest.mark.parametrize("case", cases("refusals"))
def test_refusals(case: dict[str, Any]) -> None:
    request, body = request_of(case)
    ours = codec(case["service"])
    with pytest.raises(ServiceError) as refused:
        ours.decode(ours.operation(request, body), request, body)
    assert refused.value.code == case["code"]
    assert case["says"] in refused.value.message
    if "detail" in case:
        assert refused.value.message == case["says"]
        assert case["detail"] in refused.value.detail["Detail"]
    assert ours.refuse(refused.value, request, "ID").status == case["status"]


@pytest.mark.parametrize("case", cases("results"))
def test_results(case: dict[str, Any]) -> None:
    ours = codec(case["service"])
    response = ours.encode(ours.service.operation(case["operation"]), case["result"], "ID")
    assert response.status == case.get("status", 200)
    assert response.body.decode() == case["body"]
    assert case.get("headers", {}).items() <= headers_without_identity(response).items()


@pytest.mark.parametrize("case", cases("errors"))
def test_errors(case: dict[str, Any]) -> None:
    request = Request(case.get("method", "GET"), "/abc/k", (), "127.0.0.1")
    error = ServiceError(case["code"], case["message"], **case.get("detail", {}))
    response = codec(case["service"]).refuse(error, request, "ID")
    assert response.status == case["status"]
    assert response.body.decode() == case["body"].replace("HOST", response.headers.get("x-amz-id-2", ""))
    assert case.get("headers", {}).items() <= headers_without_identity(response).items()


def test_a_header_cannot_be_smuggled_into_an_answer() -> None:
    ours = codec("s3")
    result = {"Body": b"", "ContentType": "text/html\r\nSet-Cookie: a=b"}
    with pytest.raises(ServiceError, match="InvalidArgument"):
        ours.encode(ours.service.operation("GetObject"), result, "ID")


def test_control_characters_become_references() -> None:
    ours = codec("s3")
    response = ours.encode(ours.service.operation("ListObjectsV2"), {"Contents": [{"Key": "a\x01\tb"}]}, "ID")
    assert b"<Key>a&#x1;\tb</Key>" in response.body
