"""OpenID Connect providers: made, changed, tagged, deleted, and what IAM refuses."""

from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import ACCOUNT, START, Account, allow, policy, refused

URL = "https://issuer.example.com/realm"
ARN = f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer.example.com/realm"
THUMBPRINT = "CF23DF2207D99A74FBE169E3EBA035E633B65D94"


def made(account: Account, url: str = URL, **params: Any) -> str:
    arn: str = account.iam("CreateOpenIDConnectProvider", Url=url, **params)["OpenIDConnectProviderArn"]
    return arn


def get(account: Account, arn: str = ARN) -> dict[str, Any]:
    return account.iam("GetOpenIDConnectProvider", OpenIDConnectProviderArn=arn)


def test_a_provider_as_aws_shows_it(account: Account) -> None:
    """https://github.com/cloud-custodian/cloud-custodian/tree/main/tests/data/placebo/iam_delete_provider_oidc"""
    tags = [{"Key": "team", "Value": "web"}]
    answer = account.iam(
        "CreateOpenIDConnectProvider", Url=URL, ClientIDList=["a", "b", "a"], ThumbprintList=[THUMBPRINT], Tags=tags
    )
    assert answer == {"OpenIDConnectProviderArn": ARN, "Tags": tags}
    assert get(account) == {
        "Url": "issuer.example.com/realm",
        "ClientIDList": ["a", "b"],
        "ThumbprintList": [THUMBPRINT.lower()],
        "CreateDate": START,
        "Tags": tags,
    }
    assert account.iam("ListOpenIDConnectProviders") == {"OpenIDConnectProviderList": [{"Arn": ARN}]}
    assert account.iam("GetAccountSummary")["SummaryMap"]["Providers"] == 1
    account.iam("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=ARN)
    with refused("NoSuchEntity", f"OpenIDConnect Provider not found for arn {ARN}", status=404):
        get(account)
    assert account.iam("ListOpenIDConnectProviders") == {"OpenIDConnectProviderList": []}


def test_without_a_thumbprint_nobody_is_asked_for_one(account: Account) -> None:
    made(account, "https://nowhere.invalid")
    assert get(account, f"arn:aws:iam::{ACCOUNT}:oidc-provider/nowhere.invalid")["ThumbprintList"] == []


def test_client_ids_come_and_go(account: Account) -> None:
    made(account, ClientIDList=["a"])
    change = {"OpenIDConnectProviderArn": ARN}
    for client_id in ("b", "b", "a"):
        account.iam("AddClientIDToOpenIDConnectProvider", ClientID=client_id, **change)
    assert get(account)["ClientIDList"] == ["a", "b"]
    for client_id in ("a", "a", "none"):
        account.iam("RemoveClientIDFromOpenIDConnectProvider", ClientID=client_id, **change)
    assert get(account)["ClientIDList"] == ["b"]
    account.iam("UpdateOpenIDConnectProviderThumbprint", ThumbprintList=["a" * 40, "B" * 40], **change)
    assert get(account)["ThumbprintList"] == ["a" * 40, "b" * 40]


def test_tags(account: Account) -> None:
    made(account)
    named = {"OpenIDConnectProviderArn": ARN}
    account.iam("TagOpenIDConnectProvider", Tags=[{"Key": "k", "Value": "1"}, {"Key": "l", "Value": "2"}], **named)
    account.iam("UntagOpenIDConnectProvider", TagKeys=["K"], **named)
    assert account.iam("ListOpenIDConnectProviderTags", **named)["Tags"] == [{"Key": "l", "Value": "2"}]


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"Url": "example.com"}, "ValidationError", "Invalid Open ID Connect Provider URL"),
        ({"Url": "http://example.com"}, "InvalidInput", "The URL must begin with https://."),
        ({"Url": "https://example.com?a=b"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://example.com:8443"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://ann:secret@example.com"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://example.com/a b"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://keycloak/realms/x"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://s3"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://a..example.com"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://-a.example.com"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://a-.example.com"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://example.com."}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://127.0.0.1/realm"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://example.1"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"Url": "https://example.com\n"}, "InvalidInput", "Invalid Open ID Connect Provider URL."),
        ({"ThumbprintList": [digit * 40 for digit in "123456"]}, "InvalidInput", "fewer than 5 entries"),
        ({"ThumbprintList": ["x" * 40]}, "InvalidInput", "40 hexadecimal digits"),
        (
            {"ClientIDList": [str(number) for number in range(101)]},
            "LimitExceeded",
            "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100",
        ),
        (
            {"Tags": [{"Key": "k", "Value": "1"}, {"Key": "K", "Value": "2"}]},
            "InvalidInput",
            "Duplicate tag keys found",
        ),
    ],
)
def test_what_iam_refuses(account: Account, params: dict[str, Any], code: str, words: str) -> None:
    """https://github.com/versity/versitygw/pull/2259 has the words, as AWS gave them."""
    with refused(code, words):
        account.iam("CreateOpenIDConnectProvider", **{"Url": URL, **params})
    assert account.iam("ListOpenIDConnectProviders")["OpenIDConnectProviderList"] == []


def test_one_of_each_url_to_the_letter(account: Account) -> None:
    """https://github.com/unfunco/terraform-aws-oidc-github/issues/23"""
    made(account)
    with refused("EntityAlreadyExists", f"Provider with url {URL} already exists", status=409):
        made(account)
    assert made(account, f"{URL}/") == f"{ARN}/"


def test_none_of_this_name(account: Account) -> None:
    with refused("NoSuchEntity", f"OpenId connect Provider {ARN} cannot be found.", status=404):
        account.iam("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=ARN)
    with refused("NoSuchEntity", status=404):
        account.iam("AddClientIDToOpenIDConnectProvider", OpenIDConnectProviderArn=ARN, ClientID="a")


def test_permission_is_asked_on_the_provider(account: Account) -> None:
    mine = {"StringEquals": {"aws:ResourceTag/team": "web"}}
    ann = account.user(
        "ann",
        allow("iam:CreateOpenIDConnectProvider", f"{ARN}*"),
        allow("iam:DeleteOpenIDConnectProvider", "*", Condition=mine),
    )
    with refused("AccessDenied", "iam:TagOpenIDConnectProvider"):
        made(account, caller=ann, Tags=[{"Key": "team", "Value": "web"}])
    with refused("AccessDenied", "iam:CreateOpenIDConnectProvider"):
        made(account, "https://other.example.com", caller=ann)
    made(account, caller=ann)
    with refused("AccessDenied", "iam:DeleteOpenIDConnectProvider"):
        account.iam("DeleteOpenIDConnectProvider", caller=ann, OpenIDConnectProviderArn=ARN)
    account.iam("TagOpenIDConnectProvider", OpenIDConnectProviderArn=ARN, Tags=[{"Key": "team", "Value": "web"}])
    account.iam("DeleteOpenIDConnectProvider", caller=ann, OpenIDConnectProviderArn=ARN)


@pytest.mark.parametrize(
    "name", ["arn:aws:iam:123456789012:oidc-provider/a.example.com", "not a domain", "https://a.b"]
)
def test_a_trust_policy_names_domains_or_arns(account: Account, name: str) -> None:
    with refused("MalformedPolicyDocument", "Federated principals must be valid domain names or SAML metadata ARNs"):
        account.iam("CreateRole", RoleName="web", AssumeRolePolicyDocument=trusting(name))


def test_a_trust_policy_may_name_a_provider_that_comes_later(account: Account) -> None:
    for number, name in enumerate((ARN, "accounts.google.com", f"arn:aws:iam::{ACCOUNT}:saml-provider/corp")):
        account.iam("CreateRole", RoleName=f"web{number}", AssumeRolePolicyDocument=trusting(name))


@pytest.mark.parametrize(
    "name",
    [
        "issuer.example.com",
        "Issuer.Example.com/Realm/x-1_2.3~a@b",
        "oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF",
        "a.xn--p1ai/",
        "1.a.b-c.example",
        "issuer.example.com/a(b)*c;d=e,f!g'h%20$&+",
    ],
)
def test_whatever_can_be_a_provider_can_be_asked_for(account: Account, name: str) -> None:
    """A trust policy has to be able to limit it."""
    arn = made(account, f"https://{name}")
    account.iam(
        "CreateRole",
        RoleName="web",
        AssumeRolePolicyDocument=trusting(arn, Condition={"StringEquals": {f"{name}:sub": "ann", f"{name}:aud": "a"}}),
    )


GITHUB = "token.actions.githubusercontent.com"
SUBJECT = f"{GITHUB}:sub"
UNSCOPED = (
    f"Trust policy with trusted principal arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB} must evaluate, "
    f"using StringEquals, StringLike or StringEqualsIgnoreCase, {SUBJECT} or {GITHUB}:job_workflow_ref "
    "which is not scoped to all."
)


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"StringEquals": {f"{GITHUB}:aud": "sts.amazonaws.com"}},
        {"StringEquals": {f"{GITHUB}:repository": "shop/web", f"{GITHUB}:ref": "refs/heads/main"}},
        {"StringLike": {SUBJECT: "*"}},
        {"StringLike": {SUBJECT: ["*", "repo:shop/web"]}},
        {"StringEqualsIfExists": {SUBJECT: "repo:shop/web"}},
        {"StringNotEquals": {SUBJECT: "repo:shop/web"}},
        {"Null": {SUBJECT: "false"}},
    ],
)
def test_a_role_for_github_names_a_subject(account: Account, condition: dict[str, Any]) -> None:
    """Everybody's tokens are of this issuer. The words, and which are refused, as AWS answered on 2026-08-31:
    https://github.com/Dashtid/subvectors/tree/main/observations"""
    github = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"
    with refused("MalformedPolicyDocument", UNSCOPED):
        account.iam("CreateRole", RoleName="web", AssumeRolePolicyDocument=trusting(github, Condition=condition))
    account.iam("CreateRole", RoleName="web", AssumeRolePolicyDocument=trusting(ARN, Condition=condition))
    with refused("MalformedPolicyDocument", UNSCOPED):
        both = trusting([ARN, github], Condition=condition, Action="sts:*")
        account.iam("UpdateAssumeRolePolicy", RoleName="web", PolicyDocument=both)
    denied = trusting(github, Condition=condition, Effect="Deny")
    account.iam("UpdateAssumeRolePolicy", RoleName="web", PolicyDocument=denied)


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {SUBJECT.upper(): "repo:shop/web:ref:refs/heads/main"}},
        {"StringEqualsIgnoreCase": {SUBJECT: "repo:shop/web"}},
        {"StringLike": {SUBJECT: ["repo:shop/web", "*"]}},
        {"StringLike": {SUBJECT: "repo:*"}},
        {
            "StringLike": {SUBJECT: "*"},
            "StringEquals": {f"{GITHUB}:job_workflow_ref": "shop/web/w.yml@refs/heads/main"},
        },
    ],
)
def test_a_subject_that_aws_takes_for_one(account: Account, condition: dict[str, Any]) -> None:
    github = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"
    account.iam("CreateRole", RoleName="web", AssumeRolePolicyDocument=trusting(github, Condition=condition))


def trusting(name: Any, **more: Any) -> str:
    usual = {"Effect": "Allow", "Principal": {"Federated": name}, "Action": "sts:AssumeRoleWithWebIdentity"}
    return policy({**usual, **more})
