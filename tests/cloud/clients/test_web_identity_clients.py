"""boto3's own provider of credentials from a token's file, and who calls without a signature."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore import UNSIGNED
from botocore.exceptions import ClientError
from serverless_cloud import ACCOUNT, Cloud
from support.oidc_issuer import AUDIENCE, HOST, SUBJECT, URL, Signer, claims, key_set
from test_control import control

ROLE = f"arn:aws:iam::{ACCOUNT}:role/web"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{HOST}"


@pytest.fixture(name="signer")
def signer_fixture(cloud: Cloud) -> Signer:
    """An issuer whose tokens for one subject open the role `web`."""
    signer = Signer()
    iam = cloud.client("iam")
    made = iam.create_open_id_connect_provider(Url=URL, ClientIDList=[AUDIENCE])
    assert made["OpenIDConnectProviderArn"] == PROVIDER
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{HOST}:aud": AUDIENCE, f"{HOST}:sub": SUBJECT}},
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_role(RoleName="web", AssumeRolePolicyDocument=trust)
    iam.attach_role_policy(RoleName="web", PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    control(cloud, cloud.key, cloud.secret).put_issuer_keys(Issuer=URL, KeySet=key_set(signer))
    return signer


def test_boto3_reads_the_token_out_of_its_file(cloud: Cloud, signer: Signer, tmp_path: Path) -> None:
    """https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html"""
    file = tmp_path / "token"
    file.write_text(signer.token(claims(datetime.now(UTC))))
    program = (
        "import boto3\n"
        "print(boto3.client('sts').get_caller_identity()['Arn'])\n"
        "print(boto3.client('s3').list_buckets()['Buckets'])\n"
    )
    usual = cloud.environment(tmp_path)
    environment = {name: value for name, value in usual.items() if "KEY" not in name} | {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        "AWS_ROLE_ARN": ROLE,
        "AWS_ROLE_SESSION_NAME": "pod",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"arn:aws:sts::{ACCOUNT}:assumed-role/web/pod", "[]"], done.stderr


def test_a_client_without_credentials(cloud: Cloud, signer: Signer) -> None:
    sts: Any = cloud.client("sts", signature_version=UNSIGNED)
    asked = {"RoleArn": ROLE, "RoleSessionName": "ann"}
    now = datetime.now(UTC)
    made = sts.assume_role_with_web_identity(WebIdentityToken=signer.token(claims(now)), **asked)
    assert (made["Provider"], made["Audience"], made["SubjectFromWebIdentityToken"]) == (PROVIDER, AUDIENCE, SUBJECT)
    key = made["Credentials"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"])
    assert cloud.client_of(session, "s3").list_buckets()["Buckets"] == []
    with pytest.raises(ClientError, match="not authorized to perform: s3:CreateBucket"):
        cloud.client_of(session, "s3").create_bucket(Bucket="bucket")
    with pytest.raises(sts.exceptions.ExpiredTokenException, match="must be before the expiration date/time"):
        old = signer.token(claims(now, exp=int(now.timestamp()) - 3600))
        sts.assume_role_with_web_identity(WebIdentityToken=old, **asked)
    with pytest.raises(sts.exceptions.InvalidIdentityTokenException, match="not a valid JWT"):
        sts.assume_role_with_web_identity(WebIdentityToken="a.b.c", **asked)
    with pytest.raises(ClientError, match=r"AccessDenied.*Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        other = signer.token(claims(now, sub="somebody-else"))
        sts.assume_role_with_web_identity(WebIdentityToken=other, **asked)
    with pytest.raises(ClientError, match="MissingAuthenticationToken"):
        sts.get_caller_identity()


def test_the_keys_of_an_issuer_are_a_matter_of_iam(cloud: Cloud, signer: Signer) -> None:
    """Whoever gives them can sign a token for any subject, and take each role that trusts the issuer."""
    iam = cloud.client("iam")
    iam.create_user(UserName="eve")
    iam.attach_user_policy(UserName="eve", PolicyArn="arn:aws:iam::aws:policy/PowerUserAccess")
    made = iam.create_access_key(UserName="eve")["AccessKey"]
    eve = control(cloud, made["AccessKeyId"], made["SecretAccessKey"])
    own = key_set(Signer())
    on_provider = f"iam:UpdateOpenIDConnectProviderThumbprint on resource: {PROVIDER}"
    with pytest.raises(ClientError, match=f"not authorized to perform: {on_provider}"):
        eve.put_issuer_keys(Issuer=URL, KeySet=own)
    with pytest.raises(ClientError, match=f"not authorized to perform: {on_provider}"):
        eve.reset_issuer_keys(Issuer=URL)
    sts: Any = cloud.client("sts", signature_version=UNSIGNED)
    asked = {"RoleArn": ROLE, "RoleSessionName": "ann"}
    sts.assume_role_with_web_identity(WebIdentityToken=signer.token(claims(datetime.now(UTC))), **asked)
    allowed = {"Effect": "Allow", "Action": "iam:UpdateOpenIDConnectProviderThumbprint", "Resource": PROVIDER}
    iam.put_user_policy(
        UserName="eve", PolicyName="keys", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": allowed})
    )
    eve.put_issuer_keys(Issuer=URL, KeySet=own)
    with pytest.raises(ClientError, match="not authorized to perform: iam:UpdateOpenIDConnectProviderThumbprint"):
        eve.put_issuer_keys(Issuer="https://other.example.com", KeySet=own)
    iam.detach_user_policy(UserName="eve", PolicyArn="arn:aws:iam::aws:policy/PowerUserAccess")
    with pytest.raises(ClientError, match="not authorized to perform: skylift:PutIssuerKeys"):
        eve.put_issuer_keys(Issuer=URL, KeySet=own)


def test_a_form_by_hand(cloud: Cloud, signer: Signer) -> None:
    """As programs without an SDK call it: GET with everything in the query, or POST; nothing is signed."""
    asked = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "ann",
        "WebIdentityToken": signer.token(claims(datetime.now(UTC))),
    }
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for request in (f"{cloud.url}/?{urlencode(asked)}", urllib.request.Request(cloud.url, urlencode(asked).encode())):
        with opener.open(request) as answer:
            assert b"<SubjectFromWebIdentityToken>" + SUBJECT.encode() in answer.read()
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(f"{cloud.url}/?{urlencode({**asked, 'WebIdentityToken': 'x' * 20_001})}")
    assert refused.value.code == 400
    assert b"Value at 'webIdentityToken' failed to satisfy constraint" in refused.value.read()
