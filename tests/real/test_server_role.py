"""What a server may do in its account: its role's credentials from the metadata service, and nothing beyond them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real

NAME = "reader-of-one-prefix"
BUCKET = "of-a-test-of-roles"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
IMDS = "http://169.254.169.254/latest"
TOKEN = f"$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {IMDS}/api/token)"

TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
POLICY = [
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/open/*"},
    {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{BUCKET}",
        "Condition": {"StringLike": {"s3:prefix": "open/*"}},
    },
]

USER_DATA = """#!/bin/bash
echo more >>/var/tmp/boots
echo "user data of $(id -un): $AWS_ENDPOINT_URL"
aws sts get-caller-identity --query Account --output text
"""


def document(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture(scope="module")
def profile(cloud: RealCloud) -> Iterator[str]:
    iam, s3 = cloud.client("iam"), cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for key in ("open/word", "shut/word"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=document(TRUST))
    iam.put_role_policy(RoleName=NAME, PolicyName="read", PolicyDocument=document(*POLICY))
    iam.create_instance_profile(InstanceProfileName=NAME)
    iam.add_role_to_instance_profile(InstanceProfileName=NAME, RoleName=NAME)
    yield NAME
    iam.remove_role_from_instance_profile(InstanceProfileName=NAME, RoleName=NAME)
    iam.delete_instance_profile(InstanceProfileName=NAME)
    for name in iam.list_role_policies(RoleName=NAME)["PolicyNames"]:
        iam.delete_role_policy(RoleName=NAME, PolicyName=name)
    iam.delete_role(RoleName=NAME)
    for key in ("open/word", "shut/word"):
        s3.delete_object(Bucket=BUCKET, Key=key)
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture(scope="module")
def server(cloud: RealCloud, profile: str) -> Iterator[Server]:
    """One with the role, and user data that uses it."""
    made = cloud.launch(IamInstanceProfile={"Name": profile}, UserData=USER_DATA)
    yield made
    made.terminate()


@pytest.fixture(scope="module")
def plain(cloud: RealCloud) -> Iterator[Server]:
    """One without a role, that answers the first version of the metadata service too."""
    made = cloud.launch(MetadataOptions={"HttpTokens": "optional"})
    yield made
    made.terminate()


@dataclass(frozen=True)
class Answer:
    code: int
    stdout: str
    stderr: str


def aws(server: Server, command: str, *, sudo: str = "") -> Answer:
    """The AWS CLI in the server, with no key configured anywhere."""
    done = server.ssh(f"{sudo} aws {command}", check=False)
    return Answer(done.returncode, done.stdout.strip(), done.stderr.strip())


def metadata(server: Server, path: str, *options: str) -> str:
    """Status and body of a GET, with whatever curl options."""
    return server.says(f"curl -s -w ' %{{http_code}}' {' '.join(options)} {IMDS}/{path}")


def test_what_the_role_allows_works(server: Server) -> None:
    assert aws(server, f"s3 cp s3://{BUCKET}/open/word -").stdout == "open/word"
    assert aws(server, f"s3 ls s3://{BUCKET}/open/").stdout.endswith("word")
    who = json.loads(aws(server, "sts get-caller-identity").stdout)
    account = server.cloud.endpoint.account
    assert who["Account"] == account
    assert who["Arn"] == f"arn:aws:sts::{account}:assumed-role/{NAME}/{server.id}"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (f"s3 cp s3://{BUCKET}/shut/word -", "403"),
        (f"s3api get-object --bucket {BUCKET} --key shut/word /dev/null", "AccessDenied"),
        (f"s3 ls s3://{BUCKET}/shut/", "AccessDenied"),
        (f"s3api put-object --bucket {BUCKET} --key open/word", "AccessDenied"),
        ("s3 mb s3://one-more-bucket", "AccessDenied"),
        ("ec2 run-instances --image-id IMAGE --instance-type t3.micro", "UnauthorizedOperation"),
        ("ec2 describe-instances", "UnauthorizedOperation"),
        (
            f"iam attach-role-policy --role-name {NAME} --policy-arn arn:aws:iam::aws:policy/AdministratorAccess",
            "Denied",
        ),
        (f"iam put-role-policy --role-name {NAME} --policy-name x --policy-document '{document(*POLICY)}'", "Denied"),
    ],
)
def test_what_it_does_not_allow_is_refused(server: Server, command: str, error: str) -> None:
    answer = aws(server, command.replace("IMAGE", server.cloud.image))
    assert answer.code != 0
    assert error in answer.stderr


def test_a_change_of_the_role_counts_at_once(cloud: RealCloud, server: Server) -> None:
    iam = cloud.client("iam")
    never = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
    iam.put_role_policy(RoleName=NAME, PolicyName="never", PolicyDocument=document(never))
    assert "403" in aws(server, f"s3 cp s3://{BUCKET}/open/word -").stderr
    iam.delete_role_policy(RoleName=NAME, PolicyName="never")
    assert aws(server, f"s3 cp s3://{BUCKET}/open/word -").stdout == "open/word"


def test_the_endpoint_is_known_under_sudo_and_in_a_login_shell(server: Server) -> None:
    for sudo in ("sudo", "sudo -i"):
        assert aws(server, f"s3 cp s3://{BUCKET}/open/word -", sudo=sudo).stdout == "open/word"
    assert server.says("sudo -u nobody printenv AWS_ENDPOINT_URL") == server.says("bash -lc 'echo $AWS_ENDPOINT_URL'")


def test_credentials_come_from_the_metadata_service_for_a_token_only(server: Server) -> None:
    path = "meta-data/iam/security-credentials/"
    assert metadata(server, path).endswith(" 401")
    assert metadata(server, path, "-H 'X-aws-ec2-metadata-token: made-up'").endswith(" 401")
    assert metadata(server, path, f'-H "X-aws-ec2-metadata-token: {TOKEN}"') == f"{NAME} 200"
    body, status = metadata(server, path + NAME, f'-H "X-aws-ec2-metadata-token: {TOKEN}"').rsplit(" ", 1)
    found = json.loads(body)
    assert (status, found["Code"]) == ("200", "Success")
    assert found["AccessKeyId"].startswith("ASIA")


def test_a_token_is_good_for_its_own_server_only(server: Server, plain: Server) -> None:
    token = server.says(f"echo {TOKEN}")
    assert metadata(server, "meta-data/instance-id", f"-H 'X-aws-ec2-metadata-token: {token}'") == f"{server.id} 200"
    assert metadata(plain, "meta-data/instance-id", f"-H 'X-aws-ec2-metadata-token: {token}'").endswith(" 401")


def test_without_a_role_there_are_no_credentials(plain: Server) -> None:
    assert metadata(plain, "meta-data/iam/security-credentials/").endswith(" 404")
    answer = aws(plain, "sts get-caller-identity")
    assert answer.code != 0
    assert "credentials" in answer.stderr


def test_the_first_version_answers_where_it_was_allowed(plain: Server) -> None:
    assert metadata(plain, "meta-data/instance-id") == f"{plain.id} 200"
    assert metadata(plain, "meta-data/local-ipv4") == f"{plain.private_ip} 200"
    assert metadata(plain, "meta-data/public-ipv4") == f"{plain.public_ip} 200"


def test_user_data_runs_once_as_root_with_its_output_on_the_console(server: Server) -> None:
    until(lambda: "first boot of" in server.console, "the end of the first boot")
    # Not whole lines: a service that starts meanwhile writes half of one before its dot.
    written = f"user data of root: {server.says('echo $AWS_ENDPOINT_URL')}\n", f"{server.cloud.endpoint.account}\n"
    assert [server.console.count(each) for each in written] == [1, 1]
    assert server.says("cat /var/tmp/boots") == "more"
    server.reboot()
    until(lambda: server.console.count("a local server of skylift") == 2, "the second boot on the console")
    # User data would be run by a child of the init's, beside sshd.
    until(
        lambda: set(server.says("ps --ppid $(cat /run/skylift/init.pid) -o comm=").split()) == {"sshd"},
        "whatever else the boot has begun to end",
    )
    assert server.says("cat /var/tmp/boots") == "more"
    assert [server.console.count(each) for each in written] == [1, 1]


def test_a_profile_comes_and_goes_while_the_server_runs(cloud: RealCloud, profile: str) -> None:
    server = cloud.launch(MetadataOptions={"HttpTokens": "optional"})
    roles = "meta-data/iam/security-credentials/"
    assert metadata(server, roles).endswith(" 404")
    made = cloud.ec2.associate_iam_instance_profile(InstanceId=server.id, IamInstanceProfile={"Name": profile})
    assert metadata(server, roles) == f"{NAME} 200"
    assert aws(server, f"s3 cp s3://{BUCKET}/open/word -").stdout == "open/word"
    association = made["IamInstanceProfileAssociation"]["AssociationId"]
    cloud.ec2.disassociate_iam_instance_profile(AssociationId=association)
    assert metadata(server, roles).endswith(" 404")
    server.terminate()
