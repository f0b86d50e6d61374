"""Run Command on a real server, with boto3 and the AWS CLI; a script outlives the cloud that began it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real

NAME = "managed-by-systems-manager"
BUCKET = "of-a-test-of-commands"
TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
UPLOADS = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/out/*"}
SHELL = "AWS-RunShellScript"


def document(statement: dict[str, str]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def server(own_cloud: RealCloud) -> Iterator[Server]:
    iam, s3 = own_cloud.client("iam"), own_cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=document(TRUST))
    iam.attach_role_policy(RoleName=NAME, PolicyArn="arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")
    iam.put_role_policy(RoleName=NAME, PolicyName="out", PolicyDocument=document(UPLOADS))
    iam.create_instance_profile(InstanceProfileName=NAME)
    iam.add_role_to_instance_profile(InstanceProfileName=NAME, RoleName=NAME)
    made = own_cloud.start(IamInstanceProfile={"Name": NAME})
    made.await_state("running")
    yield made
    made.terminate()


def send(server: Server, *commands: str, **more: Any) -> str:
    ssm = server.cloud.client("ssm")
    sent = ssm.send_command(
        InstanceIds=[server.id], DocumentName=SHELL, Parameters={"commands": list(commands)}, **more
    )
    return str(sent["Command"]["CommandId"])


def settled(server: Server, command: str) -> dict[str, Any]:
    """The invocation, once it has ended."""
    ssm = server.cloud.client("ssm")

    def look() -> dict[str, Any] | None:
        told: dict[str, Any] = ssm.get_command_invocation(CommandId=command, InstanceId=server.id)
        return None if told["Status"] in ("Pending", "InProgress", "Cancelling") else told

    return until(look, f"the end of command {command}") or {}


def test_the_cli_runs_a_command_and_waits_for_it(server: Server) -> None:
    cloud = server.cloud
    root = cloud.home.root_key()
    assert root is not None
    environment = {
        **cloud.environment,
        "AWS_ENDPOINT_URL": cloud.endpoint.url,
        "AWS_DEFAULT_REGION": cloud.endpoint.region,
        "AWS_ACCESS_KEY_ID": root.access_key_id,
        "AWS_SECRET_ACCESS_KEY": root.secret_access_key,
    }

    def aws(*words: str) -> str:
        command = ["aws", "ssm", *words, "--output", "text"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    sent = ("--document-name", SHELL, "--parameters", "commands=id -un,hostname -I", "--query", "Command.CommandId")
    command = aws("send-command", "--instance-ids", server.id, *sent)
    which = ("--command-id", command, "--instance-id", server.id)
    aws("wait", "command-executed", *which)
    told = aws("get-command-invocation", *which, "--query", "StandardOutputContent")
    assert told.split() == ["root", server.private_ip]


def test_output_goes_to_s3_as_the_role_allows(server: Server) -> None:
    s3 = server.cloud.client("s3")
    command = send(server, "echo out", "echo err >&2", OutputS3BucketName=BUCKET, OutputS3KeyPrefix="out")
    refused = send(server, "echo out", OutputS3BucketName=BUCKET, OutputS3KeyPrefix="shut")
    told = settled(server, command)
    assert (told["Status"], told["StandardErrorContent"]) == ("Success", "err\n")
    found = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    # https://docs.aws.amazon.com/systems-manager/latest/userguide/running-commands-console.html
    place = f"out/{command}/{server.id}/awsrunShellScript/0.awsrunShellScript"
    assert told["StandardOutputUrl"].endswith(f"/{BUCKET}/{place}/stdout")
    assert settled(server, refused)["Status"] == "Success"
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert keys == [each["Key"] for each in found] == [f"{place}/stderr", f"{place}/stdout"]
    assert s3.get_object(Bucket=BUCKET, Key=f"{place}/stdout")["Body"].read() == b"out\n"


def test_a_script_goes_on_without_its_cloud_and_can_be_cancelled(server: Server) -> None:
    """Killed in the middle: the next cloud knows how it ends, and nothing runs twice."""
    cloud = server.cloud
    marked = server.disk / "var/tmp/mark"
    endless = send(server, "sleep 3600")
    command = send(server, "echo once >>/var/tmp/mark", "sleep 1", "cat /var/tmp/mark")
    until(marked.exists, "the beginning of the script")
    cloud.kill()
    cloud.up()
    assert settled(server, command)["StandardOutputContent"] == "once\n"
    cloud.client("ssm").cancel_command(CommandId=endless)
    ended = settled(server, endless)
    assert (ended["Status"], ended["ResponseCode"]) == ("Cancelled", 137)
    assert "sleep 3600" not in settled(server, send(server, "ps ax -o args"))["StandardOutputContent"]
