from __future__ import annotations

import json
from typing import Any

import pytest
from identity_fixtures import allow, policy, refused, trust

from skylift.cloud.services.api.aws_policy import AWS_POLICIES
from skylift.cloud.services.api.policy_document import Kind, document_size, parse_policy


def test_one_statement_may_stand_without_a_list() -> None:
    document = parse_policy(json.dumps({"Statement": allow("s3:GetObject")}))
    assert document.version == "2008-10-17"
    assert len(document.statements) == 1


@pytest.mark.parametrize(
    ("count", "length"), [(10 + 10 * 10, 6144), (10 * 5120 // 60, 60)], ids=["managed policies", "inline policies"]
)
def test_the_policies_of_a_user_in_ten_groups_are_parsed_once(count: int, length: int) -> None:
    texts = [policy(allow("s3:*", f"arn:aws:s3:::{number}")).ljust(length) for number in range(count)]
    first = [parse_policy(text) for text in texts]
    assert [one for one, text in zip(first, texts, strict=True) if parse_policy(text) is not one] == []


@pytest.mark.parametrize("document", [one.versions[one.default_version].document for one in AWS_POLICIES.values()])
def test_the_policies_of_aws_are_valid(document: str) -> None:
    assert parse_policy(document).version == "2012-10-17"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one"),
        ("{", "invalid Json: Expecting property name enclosed in double quotes at line 1, column 2"),
        ("[]", "must be a JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"Statement": [], "Version": "2012-10-17"}', "not empty"),
        ('{"Version": "2012-10-17"}', "Statement must be"),
        ('{"Version": "2012-10-18", "Statement": []}', "Version is '2012-10-18'"),
        ('{"Version": NaN}', "NaN is not JSON"),
        ('{"Statement": [], "Statement": []}', "'Statement' occurs twice in one object"),
        ('{"Statements": []}', "Unknown element 'Statements'"),
        (policy(allow("s3:*", Effect="allow")), "Statement 1 has the Effect 'allow'"),
        (policy(allow("s3:*"), {**allow("s3:*"), "Efect": 1}), "Statement 2 has the unknown element 'Efect'"),
        (policy({"Effect": "Allow", "Resource": "*"}), "must contain actions"),
        (policy({"Effect": "Allow", "Action": "s3:*"}), "must contain resources"),
        (policy(allow([])), "must contain actions"),
        (policy(allow("s3:*", NotAction="ec2:*")), "both Action and NotAction"),
        (policy(allow("GetObject")), "prefaced by a vendor"),
        (policy(allow("s3:Get Object")), "prefaced by a vendor"),
        (policy(allow(7)), "prefaced by a vendor"),
        (policy(allow({"a": 1})), "neither a string nor a list of strings"),
        (policy(allow("s3:*", "bucket/*")), 'Resource bucket/* must be in ARN format or "*"'),
        (policy(allow("s3:*", Principal="*")), "should not specify a principal"),
        (policy(allow("s3:*", Sid="a b")), "must be alpha-numeric"),
        (policy(allow("s3:*", Sid="a"), allow("s3:*", Sid="a")), "must be unique; 'a' is not"),
        (policy(allow("s3:*", Condition=[])), "Condition that is not an object"),
        (policy(allow("s3:*", Condition={"StringIs": {"aws:a": "b"}})), "unknown condition operator 'StringIs'"),
        (policy(allow("s3:*", Condition={"Some:StringEquals": {"aws:a": "b"}})), "unknown condition operator"),
        (policy(allow("s3:*", Condition={"StringEquals": "x"})), "not an object of keys"),
        (policy(allow("s3:*", Condition={"StringEquals": {"key": "x"}})), "condition key 'key'"),
        (policy(allow("s3:*", Condition={"StringEquals": {"aws:a": []}})), "empty list"),
        (policy(allow("s3:*", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}})), "10.0.0.0/33 is neither"),
        (policy(allow("s3:*", Condition={"NumericEquals": {"aws:a": "ten"}})), "ten is not a number"),
        (policy(allow("s3:*", Condition={"DateLessThan": {"aws:a": "soon"}})), "soon is neither"),
        (policy(allow("s3:*", Condition={"Bool": {"aws:a": "yes"}})), "yes is neither true nor false"),
        ('{"Statement": "\u20ac"}', "printable characters"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with refused("MalformedPolicyDocument", words, status=400):
        parse_policy(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (policy({"Effect": "Allow", "Action": "sts:AssumeRole"}), "Missing required field Principal"),
        (trust({"Service": "ec2.amazonaws.com"}, Resource="*"), "Has prohibited field Resource"),
        (trust({"Service": "ec2.amazonaws.com"}, Action="s3:GetObject"), "may only specify STS AssumeRole actions"),
        (trust({"Service": "ec2"}), 'Invalid principal in policy: "SERVICE":"ec2"'),
        (trust({"AWS": "ann"}), 'Invalid principal in policy: "AWS":"ann"'),
        (trust({"Servce": "ec2.amazonaws.com"}), "unknown kind of Principal 'Servce'"),
        (trust("ec2.amazonaws.com"), 'neither "*" nor an object'),
    ],
)
def test_what_is_wrong_with_a_trust_policy_is_said(text: str, words: str) -> None:
    with refused("MalformedPolicyDocument", words, status=400):
        parse_policy(text, "trust")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("identity", policy(allow("s3:*", Condition={"Bool": {"aws:SecureTransport": True}}))),
        ("identity", policy(allow("s3:*", Condition={"NumericLessThan": {"s3:max-keys": 10}}))),
        ("identity", policy(allow("s3:*", Condition={"IpAddress": {"aws:SourceIp": "${aws:x}"}}))),
        ("identity", policy(allow("s3:*", "arn:aws:s3:::b", Sid=""))),
        ("trust", trust("*")),
        ("trust", trust({"AWS": ["*", "123456789012", "arn:aws:iam::123456789012:root"]})),
        ("trust", trust({"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]})),
        ("trust", trust({"Federated": "accounts.google.com"}, Action="sts:AssumeRoleWithWebIdentity")),
    ],
)
def test_valid_documents(kind: Kind, text: str) -> None:
    assert parse_policy(text, kind).statements


def test_white_space_does_not_count() -> None:
    assert document_size(' {\n "a": 1\t}\r\n') == len('{"a":1}')


def test_messages_name_the_first_of_several_statements() -> None:
    statements: list[dict[str, Any]] = [allow("s3:*"), allow("s3:*"), allow("s3:*", Effect="Maybe")]
    with refused("MalformedPolicyDocument", "Statement 3 has the Effect 'Maybe'"):
        parse_policy(policy(*statements))
