"""What is said about a policy before AWS is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skylift.console.identity import trust_of
from skylift.console.policy_check import check_policy

GOOD: dict[str, Any] = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}


def policy(*statements: Any, **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **more})


@pytest.mark.parametrize(
    "text",
    [
        policy(GOOD),
        json.dumps({"Statement": GOOD}),
        policy({**GOOD, "Action": ["s3:*", "*"], "Resource": "*"}),
        policy({"Effect": "Deny", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::b"}),
        policy({**GOOD, "Resource": "arn:aws:s3:::b/${aws:username}/*"}, {**GOOD, "Sid": "B"}, Id="x"),
        policy({**GOOD, "Condition": {"StringEquals": {"aws:RequestedRegion": ["us-east-1"]}}}),
    ],
)
def test_a_good_one_has_no_complaints(text: str) -> None:
    assert check_policy(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Line 1, column 1: this is not JSON"),
        ('{\n  "Version": "2012-10-17"\n"Id"}', "Line 3, column 1"),
        ("[" * 100_000, "This is not JSON that can be read."),
        ("1" * 5000, "This is not JSON that can be read."),
        (" " * (1 << 20) + "{}", "longer than any policy"),
        ("[]", "A policy is an object"),
        ("{}", "Statement is missing"),
        ('{"Statement": []}', "Statement is missing"),
        ('{"Statement": [], "Statement": []}', '"Statement" is there twice'),
        (policy("x"), "Statement 1: it is not an object."),
        (policy(GOOD, Versions="1"), '"Versions" is not a part of a policy.'),
        (policy(GOOD, Version="2024-01-01"), 'Version is "2012-10-17".'),
        (policy(GOOD, {**GOOD, "Effect": "allow"}), 'Statement 2: Effect is "Allow" or "Deny".'),
        (policy({**GOOD, "Actions": "x"}), '"Actions" is not a part of it'),
        (policy({**GOOD, "NotAction": "s3:*"}), "it has Action and NotAction"),
        (policy({"Effect": "Allow", "Resource": "*"}), "Action is missing"),
        (policy({"Effect": "Allow", "Action": "s3:*"}), "Resource is missing"),
        (policy({**GOOD, "Action": "GetObject"}), 'Action "GetObject" is not of the form s3:GetObject'),
        (policy({**GOOD, "Action": 1}), 'Action is a text like "s3:GetObject"'),
        (policy({**GOOD, "Resource": ["b"]}), 'Resource "b" is not of the form arn:aws:s3:::bucket/*'),
        (policy({**GOOD, "Principal": "*"}), "it has no Principal"),
        (policy({**GOOD, "Condition": {"StringEquals": "x"}}), "Condition is like"),
        (policy({**GOOD, "Sid": "A"}, {**GOOD, "Sid": "A"}), 'The Sid "A" is there twice.'),
    ],
)
def test_what_is_wrong_is_said_in_words(text: str, said: str) -> None:
    complaints = check_policy(text)
    assert len(complaints) == 1
    assert said in complaints[0]


def test_a_trust_policy_has_principals_and_no_resources() -> None:
    assert check_policy(trust_of("ec2.amazonaws.com"), trust=True) == []
    (missing,) = check_policy(policy({"Effect": "Allow", "Action": "sts:AssumeRole"}), trust=True)
    assert "Principal is missing" in missing
    named = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}, "Resource": "*"}
    assert "no Resource" in check_policy(policy(named), trust=True)[0]
