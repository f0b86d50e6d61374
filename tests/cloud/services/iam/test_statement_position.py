"""Positions of statements, held against what AWS was recorded with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.cloud.services.api.policy_document import parse_policy
from skylift.cloud.services.iam.statement_position import Position, Span, statement_spans

ADMINISTRATOR = """{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": "*",
      "Resource": "*"
    }
  ]
}"""


def test_one_of_a_list() -> None:
    """https://github.com/cloud-custodian/cloud-custodian/tree/main/tests/data/placebo/test_ec2_permissions"""
    assert statement_spans(ADMINISTRATOR) == [Span(Position(3, 17), Position(8, 6))]


def test_one_without_a_list() -> None:
    """https://docs.aws.amazon.com/cli/latest/reference/iam/simulate-custom-policy.html"""
    text = (
        '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":'
        '{"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}'
    )
    assert statement_spans(text) == [Span(Position(1, 38), Position(1, 167))]


def test_one_that_follows_others() -> None:
    """https://github.com/cloud-custodian/cloud-custodian/tree/main/tests/data/placebo/test_iam_policy_check_permission"""

    def statement(*actions: str, **more: str) -> dict[str, Any]:
        return {**more, "Effect": "Allow", "Action": [*actions], "Resource": ["*"]}

    ecr = "BatchCheckLayerAvailability CompleteLayerUpload GetAuthorizationToken InitiateLayerUpload PutImage"
    last = [f"ecr:{name}" for name in (*ecr.split(), "UploadLayerPart")]
    statements = [
        statement("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"),
        statement("codecommit:GitPull", Sid="CodeCommitPolicy"),
        statement("s3:GetObject", "s3:GetObjectVersion", Sid="S3GetObjectPolicy"),
        statement("s3:PutObject", Sid="S3PutObjectPolicy"),
        {"Action": last, "Resource": "*", "Effect": "Allow"},
    ]
    spans = statement_spans(json.dumps({"Version": "2012-10-17", "Statement": statements}))
    assert spans[-1] == Span(Position(1, 475), Position(1, 682))
    assert [one.start for one in spans[1:]] == [one.end for one in spans[:-1]]
    assert spans[0].start == Position(1, 41)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_each_kind_of_line(end: str) -> None:
    assert statement_spans(ADMINISTRATOR.replace("\n", end)) == [Span(Position(3, 17), Position(8, 6))]


def test_names_and_braces_within_text_are_none() -> None:
    """`Statement` may be spelled with an escape, and stand elsewhere."""
    text = (
        '{"Id": "Statement", "\\u0053tatement": [{"Sid": "Statement", "Effect": "Allow", "Action": "s3:*", "Resource": '
        '"arn:aws:s3:::a}]{\\"Statement\\": [{"}], "Version": "2012-10-17"}'
    )
    (span,) = statement_spans(text)
    assert text[span.start.column - 1 : span.end.column - 1].startswith('{"Sid"')
    assert text[span.start.column - 1 : span.end.column - 1].endswith('[{"}')


TEXT = st.text(st.sampled_from('{}[]",:\\ab'), max_size=6)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_as_many_as_there_are_statements(texts: list[tuple[str, str]], indent: Any, alone: bool) -> None:
    statements = [
        {
            "Effect": "Allow",
            "Action": "s3:*",
            "Resource": f"arn:aws:s3:::{resource}",
            "Condition": {"StringLike": {"aws:Referer": [value, value]}},
        }
        for resource, value in texts
    ]
    text = json.dumps({"Statement": statements[0] if alone else statements, "Id": "Statement"}, indent=indent)
    spans = statement_spans(text)
    assert len(spans) == len(parse_policy(text).statements)
    assert all(one.start < one.end for one in spans)
