"""The endpoint over TLS, with a certificate authority of this cloud's own."""

from __future__ import annotations

import json
import os
import shlex
import stat
import urllib.error
import urllib.request
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, SSLError
from support.real_cloud import RealCloud

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def tls_cloud(own_cloud: RealCloud) -> RealCloud:
    for arguments in (("cloud", "up", "--tls"), ("cloud", "env", "--tls")):
        refused = own_cloud.skylift(*arguments, check=False)
        assert refused.returncode == 2
        assert "without TLS" in refused.stderr
    own_cloud.down()
    shown = own_cloud.up("--tls")
    assert own_cloud.endpoint.tls_url in shown
    return own_cloud


def client(cloud: RealCloud, service: str, key: tuple[str, str] | None = None, **more: Any) -> Any:
    root = cloud.home.root_key()
    assert root is not None
    access_key, secret = key or (root.access_key_id, root.secret_access_key)
    options = {"verify": str(cloud.home.authority), "endpoint_url": cloud.endpoint.tls_url, **more}
    return boto3.client(
        service,
        region_name=cloud.endpoint.region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        **options,
    )


def test_only_who_trusts_the_authority_connects(tls_cloud: RealCloud) -> None:
    assert client(tls_cloud, "sts").get_caller_identity()["Account"] == tls_cloud.endpoint.account
    by_name = tls_cloud.endpoint.tls_url.replace("127.0.0.1", "localhost")
    assert client(tls_cloud, "sts", endpoint_url=by_name).get_caller_identity()["Account"]
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        client(tls_cloud, "sts", verify=True).get_caller_identity()
    # The same port speaks nothing but TLS.
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(tls_cloud.endpoint.tls_url.replace("https", "http"))


def test_objects_go_both_ways(tls_cloud: RealCloud) -> None:
    s3 = client(tls_cloud, "s3")
    body = os.urandom(9 << 20)
    s3.create_bucket(Bucket="over-tls")
    s3.put_object(Bucket="over-tls", Key="large", Body=body)
    assert s3.get_object(Bucket="over-tls", Key="large")["Body"].read() == body
    assert tls_cloud.client("s3").get_object(Bucket="over-tls", Key="large")["Body"].read() == body


def test_policies_know_a_secure_request(tls_cloud: RealCloud) -> None:
    iam, account = tls_cloud.client("iam"), tls_cloud.endpoint.account
    trust = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}
    allowed = {
        "Effect": "Allow",
        "Action": "ec2:DescribeVpcs",
        "Resource": "*",
        "Condition": {"Bool": {"aws:SecureTransport": "true"}},
    }
    role = iam.create_role(RoleName="secure", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))["Role"]
    iam.put_role_policy(RoleName="secure", PolicyName="own", PolicyDocument=json.dumps({"Statement": [allowed]}))
    made = tls_cloud.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
    key = (made["AccessKeyId"], made["SecretAccessKey"])
    session = {"aws_session_token": made["SessionToken"]}
    assert client(tls_cloud, "ec2", key, **session).describe_vpcs()["Vpcs"]
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        client(tls_cloud, "ec2", key, **session, endpoint_url=tls_cloud.endpoint.url).describe_vpcs()


def test_a_bucket_can_ask_which_tls_it_is(tls_cloud: RealCloud) -> None:
    s3 = client(tls_cloud, "s3")
    s3.create_bucket(Bucket="which-tls")
    denied = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::which-tls/*",
        "Condition": {"NumericGreaterThanEquals": {"s3:TlsVersion": "1.2"}},
    }
    s3.put_bucket_policy(Bucket="which-tls", Policy=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket="which-tls", Key="a")
    client(tls_cloud, "s3", endpoint_url=tls_cloud.endpoint.url).put_object(Bucket="which-tls", Key="a")


def test_the_exports_lead_there(tls_cloud: RealCloud) -> None:
    lines = tls_cloud.skylift("cloud", "env", "--tls").stdout.splitlines()
    exported = dict(shlex.split(line)[1].split("=", 1) for line in lines if line.startswith("export "))
    assert exported["AWS_ENDPOINT_URL"] == tls_cloud.endpoint.tls_url
    assert exported["AWS_CA_BUNDLE"] == str(tls_cloud.home.authority)


def test_a_later_start_serves_it_too_with_the_same_certificate(tls_cloud: RealCloud) -> None:
    before = (tls_cloud.endpoint.tls_url, tls_cloud.home.data.certificate.read_bytes())
    assert stat.S_IMODE(tls_cloud.home.data.certificate.stat().st_mode) == 0o600
    tls_cloud.down()
    tls_cloud.up("--tls")
    tls_cloud.down()
    tls_cloud.up()
    assert (tls_cloud.endpoint.tls_url, tls_cloud.home.data.certificate.read_bytes()) == before
    assert client(tls_cloud, "sts").get_caller_identity()["Account"] == tls_cloud.endpoint.account


def test_a_certificate_that_is_damaged_is_said(tls_cloud: RealCloud) -> None:
    whole = tls_cloud.home.data.certificate.read_bytes()
    tls_cloud.down()
    tls_cloud.home.data.certificate.write_text("nonsense")
    try:
        refused = tls_cloud.skylift("cloud", "up", check=False)
        assert refused.returncode == 2
        assert str(tls_cloud.home.data.certificate) in refused.stderr
    finally:
        tls_cloud.home.data.certificate.write_bytes(whole)
        tls_cloud.up()
