"""AssumeRoleWithWebIdentity: whose token opens which role, and what a hostile one does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_fixtures import ACCOUNT, OPERATIONS, START, Account, allow, policy, refused
from support.oidc_issuer import AUDIENCE, HOST, SUBJECT, URL, Signer, claims, encoded, key_set

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, IssuerKeys
from skylift.cloud.services.api.authorize import caller_context
from skylift.cloud.services.iam.web_key import parse_key_set
from skylift.cloud.services.sts.id_token import parse_id_token

ROLE = f"arn:aws:iam::{ACCOUNT}:role/web"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{HOST}"
DENIED = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
NO_JWT = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
NOT_VALID = "The web identity token provided could not be validated."


@cache
def signer(algorithm: str = "RS256", key_id: str = "key-1") -> Signer:
    return Signer(algorithm, key_id)


def trusting(*actions: str, principal: Any = PROVIDER, **condition: Any) -> dict[str, Any]:
    asked = {"Condition": condition} if condition else {}
    allowed = ["sts:AssumeRoleWithWebIdentity", *actions]
    return {"Effect": "Allow", "Principal": {"Federated": principal}, "Action": allowed, **asked}


@dataclass
class Web:
    """An account that knows the issuer, with a role that trusts it."""

    account: Account

    def trust(self, *statements: dict[str, Any]) -> None:
        self.account.iam("UpdateAssumeRolePolicy", RoleName="web", PolicyDocument=policy(*statements))

    def keys(self, text: str) -> None:
        """As `skylift cloud issuer` gives them."""
        with self.account.database.write() as tx:
            known = tx.get(IssuerKeys, url=HOST)
            (tx.save if known else tx.add)(IssuerKeys(HOST, text, tx.now))

    def token(self, **more: Any) -> str:
        return signer().token(claims(self.account.now, **more))

    def ask(self, token: str | None = None, *, caller: Caller | None = None, **params: Any) -> dict[str, Any]:
        """Without a signature, unless a caller is named."""
        asked = {"RoleArn": ROLE, "RoleSessionName": "ann", **params}
        given = self.token() if token is None else token
        who = caller or self.account.anonymous
        return self.account.call("sts", "AssumeRoleWithWebIdentity", caller=who, WebIdentityToken=given, **asked)

    def session(self, token: str | None = None, **params: Any) -> Caller:
        made = self.ask(token, **params)["Credentials"]
        return self.account.caller(made["AccessKeyId"], made["SessionToken"])


@pytest.fixture(name="web")
def web_fixture(account: Account) -> Iterator[Web]:
    account.iam("CreateOpenIDConnectProvider", Url=URL, ClientIDList=[AUDIENCE])
    account.iam("CreateRole", RoleName="web", AssumeRolePolicyDocument=policy(trusting()))
    web = Web(account)
    web.keys(key_set(signer()))
    yield web


def test_a_token_is_a_role(web: Web) -> None:
    """https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html"""
    answer = web.ask()
    made = answer.pop("Credentials")
    role = web.account.iam("GetRole", RoleName="web")["Role"]
    assert answer == {
        "SubjectFromWebIdentityToken": SUBJECT,
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role['RoleId']}:ann",
            "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/web/ann",
        },
        "Provider": PROVIDER,
        "Audience": AUDIENCE,
    }
    assert made["Expiration"] == START.replace(microsecond=0) + timedelta(hours=1)
    session = web.account.caller(made["AccessKeyId"], made["SessionToken"])
    who = web.account.call("sts", "GetCallerIdentity", caller=session)
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/web/ann"


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"])
def test_each_algorithm(web: Web, algorithm: str) -> None:
    mine = signer(algorithm, "mine")
    web.keys(key_set(signer(), mine))
    assert web.ask(mine.token(claims(web.account.now)))["Provider"] == PROVIDER
    parts = mine.token(claims(web.account.now)).split(".")
    other = mine.token(claims(web.account.now, sub="somebody-else")).split(".")
    with refused("InvalidIdentityToken", NOT_VALID):
        web.ask(".".join([*other[:2], parts[2]]))


def test_conditions_ask_for_subject_and_audience(web: Web) -> None:
    web.trust(trusting(StringEquals={f"{HOST}:aud": AUDIENCE}, StringLike={f"{HOST}:sub": "repo:shop/*"}))
    web.ask()
    with refused("AccessDenied", DENIED, status=403):
        web.ask(web.token(sub="repo:other/web"))
    web.trust(trusting(StringEquals={f"{HOST}:aud": "other"}))
    with refused("AccessDenied", DENIED):
        web.ask()
    web.trust(trusting(StringEquals={f"{HOST}:email": "ann@example.com", "aws:FederatedProvider": PROVIDER}))
    with refused("AccessDenied", DENIED):
        web.ask()
    web.ask(web.token(email="ann@example.com"))
    web.trust(trusting(**{"ForAnyValue:StringEquals": {f"{HOST}:amr": "mfa"}}))
    web.ask(web.token(amr=["pwd", "mfa"]))
    with refused("AccessDenied", DENIED):
        web.ask(web.token(amr="pwd"))
    web.trust(trusting(StringEquals={"sts:RoleSessionName": "ann"}))
    web.ask()
    with refused("AccessDenied", DENIED):
        web.ask(RoleSessionName="bob")


def test_a_claim_of_another_name_is_no_condition_key(web: Web) -> None:
    """What AWS does not map is absent; and no claim may stand for one that AWS makes itself."""
    web.trust(trusting(StringEquals={f"{HOST}:groups": "admins"}))
    with refused("AccessDenied", DENIED):
        web.ask(web.token(groups="admins"))
    web.trust(trusting(StringEquals={f"{HOST}:oaud": "forged"}))
    with refused("AccessDenied", DENIED):
        web.ask(web.token(oaud="forged"))


@pytest.mark.parametrize(
    "value", [[["evil@example.com"]], {"a": "evil@example.com"}, ["evil@example.com"] * 101, ["a", None], ["a", {}]]
)
def test_a_claim_that_no_condition_can_see_is_refused(web: Web, value: Any) -> None:
    """Left out, it would fulfil a negated condition."""
    web.trust(trusting(StringNotEquals={f"{HOST}:email": "evil@example.com"}))
    web.ask(web.token(email="ann@example.com"))
    for name in ("email", "amr"):
        with refused("InvalidIdentityToken", NOT_VALID, status=400):
            web.ask(web.token(**{name: value}))
    # Nobody can ask for a claim of any other name.
    web.ask(web.token(address=value, repository=value))
    web.ask(web.token(amr=[]))


def test_githubs_claims(web: Web) -> None:
    """https://aws.amazon.com/about-aws/whats-new/2026/01/aws-sts-supports-validation-identity-provider-claims/"""
    host = "token.actions.githubusercontent.com"
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}"
    web.account.iam("CreateOpenIDConnectProvider", Url=f"https://{host}", ClientIDList=[AUDIENCE])
    with web.account.database.write() as tx:
        tx.add(IssuerKeys(host, key_set(signer()), tx.now))
    branch = {f"{host}:repository": "shop/web", f"{host}:ref": "refs/heads/main"}
    web.trust(trusting(principal=arn, StringLike={f"{host}:sub": "repo:shop/*"}, StringEquals=branch))
    web.ask(web.token(iss=f"https://{host}", repository="shop/web", ref="refs/heads/main"))
    with refused("AccessDenied", DENIED):
        web.ask(web.token(iss=f"https://{host}", repository="shop/web", ref="refs/heads/other"))
    with refused("InvalidIdentityToken", NOT_VALID):
        web.ask(web.token(iss=f"https://{host}", repository="shop/web", ref={"a": 1}))


@pytest.mark.parametrize(
    "statements",
    [
        [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:*"}],
        [{"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:*"}],
        [trusting(principal=f"{PROVIDER}/")],
        [trusting(principal="accounts.google.com")],
        [{**trusting(), "Action": "sts:AssumeRole"}],
        [{"Effect": "Allow", "NotPrincipal": {"Federated": f"{PROVIDER}/"}, "Action": "sts:*"}],
        [trusting(), {**trusting(), "Effect": "Deny"}],
        [trusting(), {"Effect": "Deny", "Principal": "*", "Action": "sts:*"}],
        [trusting(), {"Effect": "Deny", "NotPrincipal": {"Federated": f"{PROVIDER}/"}, "Action": "sts:*"}],
    ],
)
def test_only_a_policy_that_names_the_provider_lets_its_tokens_in(web: Web, statements: list[dict[str, Any]]) -> None:
    web.trust(*statements)
    with refused("AccessDenied", DENIED, status=403):
        web.ask()


def test_who_may_not_assume_a_role_does_not_learn_whether_it_is_there(web: Web) -> None:
    for name in ("none", "path/web"):
        with refused("AccessDenied", DENIED, status=403):
            web.ask(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{name}")
    with refused("ValidationError", "Request ARN is invalid"):
        web.ask(RoleArn=f"arn:aws:iam::{ACCOUNT}:user/web")


def test_length_and_policies_of_the_session(web: Web) -> None:
    with refused("ValidationError", "exceeds the MaxSessionDuration set for this role"):
        web.ask(DurationSeconds=7200)
    web.account.iam("UpdateRole", RoleName="web", MaxSessionDuration=7200)
    made = web.ask(DurationSeconds=7200, Policy=policy(allow("s3:GetObject")))
    assert made["Credentials"]["Expiration"] == START.replace(microsecond=0) + timedelta(hours=2)
    assert 0 < made["PackedPolicySize"] < 100
    web.account.iam("PutRolePolicy", RoleName="web", PolicyName="own", PolicyDocument=policy(allow("s3:*")))
    narrow = web.session(Policy=policy(allow("s3:GetObject")))
    assert web.account.may(narrow) and not web.account.may(narrow, "s3:PutObject")


def test_what_the_session_keeps_of_the_token(web: Web) -> None:
    """`email` may be asked for by the trust policy alone."""
    session = web.session(web.token(amr=["pwd", "mfa"], email="ann@example.com", azp=AUDIENCE, aud=["backend", "x"]))
    with web.account.database.read() as tx:
        context = caller_context(tx, session, tx.now)
    assert {key: value for key, value in context.items() if key.startswith((HOST, "aws:Federated"))} == {
        "aws:FederatedProvider": (PROVIDER,),
        f"{HOST}:amr": ("pwd", "mfa"),
        f"{HOST}:aud": (AUDIENCE,),
        f"{HOST}:sub": (SUBJECT,),
    }
    own = allow("s3:GetObject", f"arn:aws:s3:::home/${{{HOST}:sub}}/*")
    web.account.iam("PutRolePolicy", RoleName="web", PolicyName="own", PolicyDocument=policy(own))
    assert web.account.may(session, resource=f"arn:aws:s3:::home/{SUBJECT}/k")
    assert not web.account.may(session, resource="arn:aws:s3:::home/bob/k")


def test_who_signs_does_not_count(web: Web) -> None:
    """A token is weighed by itself: it gets nothing of the session, user or tags that the request is signed with."""
    ann = web.session(web.token(amr=["mfa"]))
    tagged = web.account.user("tagged", Tags=[{"Key": "team", "Value": "admins"}])
    for wanted in (
        {"ForAnyValue:StringEquals": {f"{HOST}:amr": "mfa"}},
        {"StringEquals": {"aws:PrincipalTag/team": "admins"}},
        {"StringEquals": {"aws:username": "tagged"}},
        {"StringLike": {"aws:PrincipalArn": "*"}},
        {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}},
        {"Null": {"aws:TokenIssueTime": "false"}},
        {"StringNotEquals": {"aws:PrincipalType": "Anonymous"}},
    ):
        web.trust(trusting(**wanted))
        for caller in (None, ann, tagged, web.account.root):
            with refused("AccessDenied", DENIED, status=403):
                web.ask(caller=caller)
    web.trust(trusting(IpAddress={"aws:SourceIp": "127.0.0.0/8"}, StringEquals={f"{HOST}:sub": SUBJECT}))
    for caller in (None, ann, tagged, web.account.root):
        web.ask(caller=caller)


def test_session_tags_and_source_identity(web: Web) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html"""
    nested = {"https://aws.amazon.com/tags": {"principal_tags": {"team": ["web"]}, "transitive_tag_keys": ["team"]}}
    flat = {
        "https://aws.amazon.com/tags/principal_tags/team": "web",
        "https://aws.amazon.com/tags/transitive_tag_keys": ["team"],
    }
    source = {"https://aws.amazon.com/source_identity": "ann"}
    with refused("AccessDenied", "Not authorized to perform sts:TagSession"):
        web.ask(web.token(**nested))
    with refused("AccessDenied", "Not authorized to perform sts:SetSourceIdentity"):
        web.ask(web.token(**source))
    web.trust(trusting("sts:TagSession", "sts:SetSourceIdentity", StringEquals={"aws:RequestTag/team": "web"}))
    for tags in (nested, flat):
        token = web.token(**tags, **source)
        assert web.ask(token)["SourceIdentity"] == "ann"
        session = web.session(token)
        assert (session.session_tags, session.transitive) == ({"team": "web"}, ("team",))
        assert session.source_identity == "ann"
    with refused("InvalidParameterValue", "must be included in the requested tags"):
        web.ask(web.token(**{**flat, "https://aws.amazon.com/tags/transitive_tag_keys": ["other"]}))
    for wrong in ("web", {"principal_tags": ["team"]}, {"principal_tags": {"team": ["a", "b"]}}):
        with refused("InvalidIdentityToken", NOT_VALID):
            web.ask(web.token(**{"https://aws.amazon.com/tags": wrong}))


def test_which_audience_counts(web: Web) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html"""
    with refused("InvalidIdentityToken", "Incorrect token audience"):
        web.ask(web.token(aud="other"))
    with refused("InvalidIdentityToken", "more than one audience while authorized party is not present"):
        web.ask(web.token(aud=[AUDIENCE, "other"]))
    with refused("InvalidIdentityToken", "Incorrect token audience"):
        web.ask(web.token(azp="other"))
    web.trust(trusting(StringEquals={f"{HOST}:aud": AUDIENCE, f"{HOST}:oaud": "backend"}))
    assert web.ask(web.token(aud="backend", azp=AUDIENCE))["Audience"] == AUDIENCE
    with refused("AccessDenied", DENIED):
        web.ask(web.token(azp=AUDIENCE))
    provider = {"OpenIDConnectProviderArn": PROVIDER}
    web.account.iam("RemoveClientIDFromOpenIDConnectProvider", ClientID=AUDIENCE, **provider)
    with refused("InvalidIdentityToken", "Incorrect token audience"):
        web.ask()


def test_time_with_five_minutes_of_leeway(web: Web) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_oidc.html, and for the words
    https://github.com/aws/aws-sdk-java-v2/issues/5709"""
    now = int(START.timestamp())
    web.ask(web.token(exp=now - 299))
    said = f"Token expired: current date/time {now} must be before the expiration date/time {now - 301}"
    with refused("ExpiredTokenException", said, status=400):
        web.ask(web.token(exp=now - 301))
    web.ask(web.token(nbf=now + 299))
    for claim in ("nbf", "iat"):
        with refused("InvalidIdentityToken", NOT_VALID):
            web.ask(web.token(**{claim: now + 301}))


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "exp", "iat"])
def test_claims_that_must_be_there(web: Web, claim: str) -> None:
    """https://github.com/aws/aws-sdk-ruby/issues/2698"""
    with refused("InvalidIdentityToken", f"Missing a required claim: {claim}", status=400):
        web.ask(web.token(**{claim: None}))


def test_an_issuer_that_the_account_does_not_know(web: Web) -> None:
    """https://github.com/mozilla-iam/mozilla-aws-cli/issues/127"""
    for url in (f"{URL}/", "https://evil.example.com", f"http://{HOST}"):
        with refused("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {url}", status=400):
            web.ask(web.token(iss=url))
    with refused("InvalidIdentityToken", "No OpenIDConnect provider found in your account for"):
        web.ask(RoleArn="arn:aws:iam::999999999999:role/web")
    web.account.iam("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=PROVIDER)
    with refused("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {URL}"):
        web.ask()


def test_keys_that_are_not_there(web: Web) -> None:
    """https://github.com/aws/aws-cli/issues/7194"""
    no_key = "Couldn't retrieve verification key from your identity provider,  please reference"
    other = signer(key_id="key-2")
    with refused("InvalidIdentityToken", no_key, "have none of the token's kid", status=400):
        web.ask(other.token(claims(web.account.now)))
    with web.account.database.write() as tx:
        found = tx.get(IssuerKeys, url=HOST)
        assert found is not None
        tx.remove(found)
    with refused("InvalidIdentityToken", no_key, f"skylift cloud issuer {URL}"):
        web.ask()


def between(web: Web, change: Callable[[], object], **params: Any) -> dict[str, Any]:
    """Asks, with a change that is committed after the token was verified and before the session is written."""
    asked = {"RoleArn": ROLE, "RoleSessionName": "ann", "WebIdentityToken": web.token(), **params}
    operation, caller = OPERATIONS["sts", "AssumeRoleWithWebIdentity"], web.account.anonymous
    with web.account.database.read() as tx:
        (handler,) = operation.prepared(tx, caller, asked)
    change()
    with web.account.database.write() as tx:
        return dict(handler(tx, caller, asked))


def test_what_changes_while_a_token_is_verified_counts(web: Web) -> None:
    provider = {"OpenIDConnectProviderArn": PROVIDER}

    def forget_keys() -> None:
        with web.account.database.write() as tx:
            found = tx.get(IssuerKeys, url=HOST)
            assert found is not None
            tx.remove(found)

    with refused("InvalidIdentityToken", "Couldn't retrieve verification key"):
        between(web, forget_keys)
    web.keys(key_set(signer()))
    with refused("InvalidIdentityToken", NOT_VALID):
        between(web, lambda: web.keys(key_set(Signer(key_id="key-1"))))
    web.keys(key_set(signer()))
    assert between(web, lambda: web.keys(key_set(signer("ES256", "new"), signer())))["Provider"] == PROVIDER
    with refused("InvalidIdentityToken", "Incorrect token audience"):
        between(web, lambda: web.account.iam("RemoveClientIDFromOpenIDConnectProvider", ClientID=AUDIENCE, **provider))
    web.account.iam("AddClientIDToOpenIDConnectProvider", ClientID=AUDIENCE, **provider)
    with refused("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {URL}"):
        between(web, lambda: web.account.iam("DeleteOpenIDConnectProvider", **provider))


def test_a_token_without_a_key_id_is_tried_with_each_key(web: Web) -> None:
    web.keys(key_set(signer(key_id="key-2"), signer()))
    web.ask(signer().token(claims(web.account.now), kid=None))


def test_a_key_is_for_its_own_algorithm(web: Web) -> None:
    with refused("InvalidIdentityToken", "Couldn't retrieve verification key"):
        web.ask(signer("RS512").token(claims(web.account.now)))


def unsigned(account: Account, **header: Any) -> str:
    head = encoded(json.dumps({"kid": "key-1", **header}).encode())
    return f"{head}.{encoded(json.dumps(claims(account.now)).encode())}"


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "HS256", "PS256", "EdDSA", "RS1", 1, None, ["RS256"]]
)
def test_no_other_algorithm(web: Web, algorithm: Any) -> None:
    """Not the algorithm `none`, and no digest with the public key as its secret."""
    content = unsigned(web.account, alg=algorithm)
    (key,) = parse_key_set(key_set(signer()))
    secrets = [b"", key_set(signer()).encode(), str(key.public).encode()]
    digests = [hmac.digest(secret, content.encode(), hashlib.sha256) for secret in secrets]
    for signature in ("", *map(encoded, digests)):
        with refused("InvalidIdentityToken", NO_JWT, status=400):
            web.ask(f"{content}.{signature}")


def test_keys_and_addresses_in_the_token_are_not_used(web: Web) -> None:
    evil = Signer(key_id="key-1")
    for header in ({"jwk": evil.web_key}, {"jku": "https://evil.example.com/keys"}, {"x5u": "file:///etc/passwd"}):
        with refused("InvalidIdentityToken", NOT_VALID):
            web.ask(evil.token(claims(web.account.now), **header))
    for kid in ("../../../../etc/passwd", "' OR 1=1", "key-1\x00", "k" * 5000):
        with refused("InvalidIdentityToken", "Couldn't retrieve verification key"):
            web.ask(evil.token(claims(web.account.now), kid=kid))
    with refused("InvalidIdentityToken", NO_JWT):
        web.ask(signer().token(claims(web.account.now), crit=["b64"], b64=False))


def _hostile(account: Account) -> Iterator[str]:
    text = json.dumps(claims(account.now))
    yield from ("aa.bb", "a.b.c.d", "....", "!!!!.????.****", "e30.e30.e30", f"{encoded(b'[]')}.{encoded(b'[]')}.AAAA")
    # Twice the same name: whoever reads the first sees another subject than who reads the last.
    yield signer().token('{"sub": "somebody-else", ' + text[1:])
    yield signer().token('{"a": ' + "[" * 5000 + ", " + text[1:])
    yield signer().token('{"a": NaN, ' + text[1:])
    yield signer().token('{"a": 1e999, ' + text[1:])
    yield signer().token('{"a": ' + "9" * 5000 + ", " + text[1:])
    yield signer().token('{"a": "\\ud800", ' + text[1:])
    yield signer().token(f"[{text}]")
    yield signer().token(text + text)
    yield signer().token(claims(account.now), kid=["key-1"])
    yield "\ud83d".encode("utf-8", "replace").decode() + signer().token(text)
    head, body, signature = signer().token(text).split(".")
    yield f"{head}={'.'}{body}.{signature}"
    yield f"{head}.{base64.urlsafe_b64encode(text.encode('utf-16')).decode().rstrip('=')}.{signature}"


def test_what_is_no_token(web: Web) -> None:
    for token in _hostile(web.account):
        with refused("InvalidIdentityToken", NO_JWT, status=400):
            web.ask(token)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sub": 7},
        {"sub": ["a"]},
        {"sub": "x" * 256},
        {"sub": "a\nb"},
        {"sub": "a\u202eb"},
        {"iss": {"a": 1}},
        {"aud": 7},
        {"aud": {}},
        {"aud": [AUDIENCE, 7]},
        {"aud": [["a"]]},
        {"azp": 7},
        {"exp": "soon"},
        {"exp": True},
        {"exp": -1},
        {"exp": 1e300},
        {"iat": {}},
        {"nbf": "now"},
    ],
)
def test_claims_of_the_wrong_type(web: Web, wrong: dict[str, Any]) -> None:
    with refused("InvalidIdentityToken", status=400):
        web.ask(web.token(**wrong))


def test_no_message_repeats_a_token(web: Web) -> None:
    for token in _hostile(web.account):
        with pytest.raises(ServiceError) as raised:
            web.ask(token)
        assert token not in raised.value.message


def test_a_token_is_no_longer_than_twenty_thousand_characters(web: Web) -> None:
    web.ask(web.token(padding="x" * 14_000))
    with refused("ValidationError", "webIdentityToken"):
        web.ask(web.token(padding="x" * 15_000))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["iss", "aud", "azp", "sub", "exp", "iat", "nbf", "amr", "https://aws.amazon.com/tags", "alg", "kid", "crit"]
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, ANY_JSON), st.dictionaries(NAMES, ANY_JSON), st.binary(max_size=40))
def test_any_token_is_parsed_or_refused(header: dict[str, Any], body: dict[str, Any], signature: bytes) -> None:
    usual = {**claims(START), **body}
    parts = (json.dumps({"alg": "RS256", **header}).encode(), json.dumps(usual).encode(), signature)
    try:
        parse_id_token(".".join(map(encoded, parts)))
    except ServiceError as error:
        assert error.code == "InvalidIdentityToken"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with pytest.raises(ServiceError):
        parse_id_token(text)
