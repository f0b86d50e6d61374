"""Policies of POST uploads; what is said of them was recorded on AWS in `TestS3PresignedPost` of LocalStack's
tests/aws/services/s3/test_s3.snapshot.json."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.post_policy import parse_policy

NOW = datetime(2026, 11, 28, 20, 0, tzinfo=UTC)
FIELDS = {"bucket": "b", "key": "user/a.txt", "policy": "...", "x-amz-signature": "..."}


def policy(*conditions: Any, expiration: Any = "2026-11-28T20:00:00.000Z") -> str:
    return coded({"expiration": expiration, "conditions": list(conditions)})


def coded(document: Any) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("conditions", "more"),
    [
        ([{"key": "user/a.txt"}], {}),
        ([{"bucket": "b"}, {"Key": "user/a.txt"}], {}),
        ([["eq", "$key", "user/a.txt"]], {}),
        ([["starts-with", "$key", "user/"]], {}),
        ([["starts-with", "$key", ""]], {}),
        (
            [["starts-with", "$key", ""], ["starts-with", "$Content-Type", "image/"]],
            {"content-type": "image/a,image/b"},
        ),
        ([["starts-with", "$key", ""]], {"x-ignore-this": "1"}),
        ([{"key": "user/a.txt"}, ["eq", "$x-amz-meta-Job", "1"]], {"x-amz-meta-job": "1"}),
    ],
)
def test_what_is_allowed(conditions: list[Any], more: dict[str, str]) -> None:
    parse_policy(policy(*conditions)).check({**FIELDS, **more}, NOW)


KEY = {"key": "user/a.txt"}


@pytest.mark.parametrize(
    ("conditions", "more", "said"),
    [
        ([{"key": "b"}], {}, 'Policy Condition failed: ["eq", "$key", "b"]'),
        ([KEY, {"bucket": "c"}], {}, 'Policy Condition failed: ["eq", "$bucket", "c"]'),
        ([KEY, ["eq", "key", "user/a.txt"]], {}, 'Policy Condition failed: ["eq", "key", "user/a.txt"]'),
        ([["eq", "$key", "USER/a.txt"]], {}, 'Policy Condition failed: ["eq", "$key", "USER/a.txt"]'),
        ([["starts-with", "$key", "User/"]], {}, 'Policy Condition failed: ["starts-with", "$key", "User/"]'),
        ([KEY, ["starts-with", "$acl", ""]], {}, 'Policy Condition failed: ["starts-with", "$acl", ""]'),
        (
            [KEY, ["starts-with", "$Content-Type", "image/"]],
            {"content-type": "text/html,image/a"},
            'Policy Condition failed: ["starts-with", "$Content-Type", "image/"]',
        ),
        (
            [KEY, ["starts-with", "$Content-Type", "image/"]],
            {"content-type": "image/a,text/html"},
            'Policy Condition failed: ["starts-with", "$Content-Type", "image/"]',
        ),
        ([KEY], {"acl": "private", "tagging": "x"}, "Extra input fields: acl, tagging"),
        ([["eq", "", ""]], {}, 'Policy Condition failed: ["eq", "", ""]'),
    ],
)
def test_what_a_form_may_not_contain(conditions: list[Any], more: dict[str, str], said: str) -> None:
    with pytest.raises(ServiceError) as refused:
        parse_policy(policy(*conditions)).check({**FIELDS, **more}, NOW)
    assert (refused.value.code, refused.value.status) == ("AccessDenied", 403)
    assert refused.value.message == f"Invalid according to Policy: {said}"


def test_a_policy_ends() -> None:
    with pytest.raises(ServiceError, match=r"AccessDenied: Invalid according to Policy: Policy expired\."):
        parse_policy(policy(KEY, expiration="2026-11-28T19:59:59Z")).check(FIELDS, NOW)


def test_the_narrowest_of_several_ranges_holds() -> None:
    found = parse_policy(policy(["content-length-range", 1, "9"], ["content-length-range", "5", 12]))
    found.check_least(5)
    found.check_most(9)
    with pytest.raises(ServiceError) as small:
        found.check_least(4)
    with pytest.raises(ServiceError) as large:
        found.check_most(10)
    assert (small.value.code, small.value.detail) == ("EntityTooSmall", {"ProposedSize": "4", "MinSizeAllowed": "5"})
    assert (large.value.code, large.value.detail) == ("EntityTooLarge", {"ProposedSize": "10", "MaxSizeAllowed": "9"})


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("no base64!", "InvalidPolicyDocument", "Invalid Policy: Invalid JSON."),
        ("é", "InvalidPolicyDocument", "Invalid Policy: Invalid JSON."),
        (coded("{"), "InvalidPolicyDocument", "Invalid Policy: Invalid JSON."),
        (coded("[" * 14000), "InvalidPolicyDocument", "Invalid Policy: Invalid JSON."),
        (coded([]), "InvalidPolicyDocument", "Invalid Policy: Invalid JSON."),
        (coded({"expiration": "2026-11-28T20:00:00Z"}), "InvalidPolicyDocument", "Policy missing conditions."),
        (coded({"conditions": []}), "InvalidPolicyDocument", "Policy missing expiration."),
        (policy(expiration="tomorrow"), "InvalidPolicyDocument", "Invalid 'expiration' value: \"tomorrow\""),
        (policy(expiration="2026-02-30T20:00:00Z"), "InvalidPolicyDocument", "Invalid 'expiration' value"),
        (policy(expiration=7), "InvalidPolicyDocument", "Invalid 'expiration' value: 7"),
        (policy({"a": "1", "b": "2"}), "InvalidPolicyDocument", "must have exactly one property specified."),
        (policy({}), "InvalidPolicyDocument", "must have exactly one property specified."),
        (policy({"key": 7}), "InvalidPolicyDocument", "value must be a string."),
        (policy(["like", "$key", "a"]), "InvalidPolicyDocument", 'Invalid Condition: ["like", "$key", "a"]'),
        (policy(["eq", "$key"]), "InvalidPolicyDocument", 'Invalid Condition: ["eq", "$key"]'),
        (policy("key"), "InvalidPolicyDocument", 'Invalid Condition: "key"'),
        (
            policy(["content-length-range", "test", "10"]),
            "AccessDenied",
            'Policy Condition failed: ["content-length-range", "test", "10"]',
        ),
        (policy(["content-length-range", -1, 10]), "AccessDenied", "Policy Condition failed"),
        (policy(["content-length-range", True, 10]), "AccessDenied", "Policy Condition failed"),
    ],
)
def test_what_is_no_policy(text: str, code: str, said: str) -> None:
    with pytest.raises(ServiceError) as refused:
        parse_policy(text)
    assert refused.value.code == code
    assert said in refused.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["key", "a"]), inner, max_size=2),
    max_leaves=8,
)


@given(JSON, JSON, st.text(max_size=20))
def test_any_document_is_a_policy_or_is_refused(conditions: Any, expiration: Any, text: str) -> None:
    for given_text in (text, coded(text), coded({"conditions": conditions, "expiration": expiration})):
        try:
            parse_policy(given_text).check(FIELDS, NOW)
        except ServiceError as error:
            assert error.code in ("AccessDenied", "InvalidPolicyDocument")
