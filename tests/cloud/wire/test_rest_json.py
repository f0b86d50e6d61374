"""The `rest-json` protocol: what is in path, query string and body, also where nobody's client would put it there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request
from skylift.cloud.wire.codecs import codecs_for

(CODEC,) = codecs_for("scheduler")
TARGET = {"Arn": "arn", "RoleArn": "arn:aws:iam::123456789012:role/r"}
WINDOW = {"Mode": "OFF"}
BODY = {"ScheduleExpression": "rate(1 hour)", "Target": TARGET, "FlexibleTimeWindow": WINDOW}


def decoded(method: str, target: str, body: bytes = b"") -> tuple[str, dict[str, Any]]:
    request = Request(method, target, (("Host", "127.0.0.1"),), "127.0.0.1")
    operation = CODEC.operation(request, b"")
    return operation.name, CODEC.decode(operation, request, body)


def refused(method: str, target: str, body: bytes = b"") -> tuple[int, str, str]:
    """Status, the error's code and its message, as a client reads them."""
    request = Request(method, target, (("Host", "127.0.0.1"),), "127.0.0.1")
    with pytest.raises(ServiceError) as caught:
        decoded(method, target, body)
    answer = CODEC.refuse(caught.value, request, "id")
    return answer.status, answer.headers["x-amzn-errortype"], json.loads(answer.body)["Message"]


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/schedules/a.b?groupName=g", ("GetSchedule", {"Name": "a.b", "GroupName": "g"})),
        ("GET", "/schedules/%61", ("GetSchedule", {"Name": "a"})),
        ("GET", "/schedules?ScheduleGroup=g&MaxResults=7", ("ListSchedules", {"GroupName": "g", "MaxResults": 7})),
        ("GET", "/schedules?X-Amz-Date=1", ("ListSchedules", {})),
        ("DELETE", "/schedule-groups/g?clientToken=t", ("DeleteScheduleGroup", {"Name": "g", "ClientToken": "t"})),
        (
            "DELETE",
            "/tags/arn%3Aaws%3Ascheduler%3Aus-east-1%3A123456789012%3Aschedule-group%2Fg?TagKeys=a&TagKeys=b%20c",
            (
                "UntagResource",
                {"ResourceArn": "arn:aws:scheduler:us-east-1:123456789012:schedule-group/g", "TagKeys": ["a", "b c"]},
            ),
        ),
    ],
)
def test_a_request_is_read(method: str, target: str, expected: tuple[str, dict[str, Any]]) -> None:
    assert decoded(method, target) == expected


@pytest.mark.parametrize(
    ("method", "target", "body", "expected"),
    [
        ("GET", "/", b"", (404, "UnknownOperationException", "no operation GET /")),
        ("PATCH", "/schedules/a", b"", (404, "UnknownOperationException", "no operation PATCH")),
        ("GET", "/schedules/a/b", b"", (404, "UnknownOperationException", "no operation")),
        ("GET", "/schedules/", b"", (404, "UnknownOperationException", "no operation")),
        ("GET", "/schedules/%ff", b"", (400, "SerializationException", "not UTF-8")),
        ("GET", "/schedules/a%00", b"", (400, "ValidationException", "regular expression pattern")),
        ("GET", "/schedules/a%2Fb", b"", (400, "ValidationException", "regular expression pattern")),
        ("GET", f"/schedules/{'a' * 65}", b"", (400, "ValidationException", "less than or equal to 64")),
        ("GET", "/schedules/a?groupName=%ff", b"", (400, "SerializationException", "not UTF-8")),
        ("GET", "/schedules/a?group=g", b"", (400, "ValidationException", "group is not recognized")),
        ("GET", "/schedules?MaxResults=many", b"", (400, "SerializationException", "MaxResults")),
        ("GET", "/schedules?MaxResults=101", b"", (400, "ValidationException", "less than or equal to 100")),
        ("GET", "/schedules?MaxResults=1&MaxResults=2", b"", (400, "SerializationException", "more than once")),
        ("POST", "/schedules/a", b"", (400, "ValidationException", "scheduleExpression")),
        ("POST", "/schedules/a", b"[]", (400, "SerializationException", "not an object")),
        ("POST", "/schedules/a", b"\xff", (400, "SerializationException", "not a JSON object")),
        ("POST", "/schedules/a", b'{"a":' * 100_000, (400, "SerializationException", "not a JSON object")),
        ("POST", "/schedules/a", b'{"State":"ON"}', (400, "ValidationException", "enum value set")),
        ("POST", "/schedules/a", b'{"Colour":"red"}', (400, "ValidationException", "Colour is not recognized")),
        ("POST", "/schedules/a", b'{"StartDate":1e300}', (400, "SerializationException", "StartDate")),
        (
            "POST",
            "/schedules/a",
            json.dumps({**BODY, "Name": "b"}).encode(),
            (400, "ValidationException", "Name is not recognized"),
        ),
    ],
)
def test_what_is_no_request_is_refused(method: str, target: str, body: bytes, expected: tuple[int, str, str]) -> None:
    status, code, words = expected
    found = refused(method, target, body)
    assert found[:2] == (status, code)
    assert words in found[2]


def test_a_refusal_to_a_caller_is_403() -> None:
    request = Request("GET", "/schedules/a", (("Host", "127.0.0.1"),), "127.0.0.1")
    answer = CODEC.refuse(ServiceError("AccessDenied", "No: \udcff", status=403), request, "id")
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert b"No: \\udcff" in answer.body
