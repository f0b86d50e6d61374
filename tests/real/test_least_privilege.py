"""What the program of one job tries, with all that its server may do: another's files, other servers, more power."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest
from real_cloud import RealCloud
from running_job import RunningJob, jobs

pytestmark = pytest.mark.real


class Intruder:
    """A job's server, and a neighbour's job to be curious about."""

    def __init__(self, cloud: RealCloud) -> None:
        folder, beside = cloud.work / "intruder", cloud.work / "neighbour"
        folder.mkdir()
        beside.mkdir()
        (beside / "job.py").write_text("print('secret')\nimport signal\nsignal.pause()\n")
        cloud.skylift("run", "-d", "--name", "neighbour", "--env", "TOKEN=hush", "job.py", cwd=beside)
        self._cloud = cloud
        self.job = RunningJob(cloud, folder, "--name", "intruder")
        listed = {each["name"]: each["instance"] for each in jobs(cloud)}
        self.neighbour = listed["neighbour"]
        self.bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"

    def tries(self, command: str) -> str:
        """What the AWS CLI says on the server, as root there."""
        words = f"sudo --preserve-env=AWS_ENDPOINT_URL aws {command} 2>&1 || true"
        return self._cloud.skylift("ssh", "intruder", "sh", "-c", shlex.quote(words)).stdout


@pytest.fixture(scope="module")
def intruder(cloud: RealCloud) -> Iterator[Intruder]:
    found = Intruder(cloud)
    yield found
    cloud.skylift("cancel", "neighbour", "intruder")
    found.job.finish()
    cloud.skylift("rm", "neighbour", "intruder")


def test_it_is_who_it_is(intruder: Intruder) -> None:
    """The denials below are those of the job's role, not of somebody without credentials."""
    assert ":assumed-role/skylift-intruder/i-" in intruder.tries("sts get-caller-identity")
    assert '"job": "intruder"' in intruder.tries(f"s3 cp s3://{intruder.bucket}/jobs/intruder/record.json -")


@pytest.mark.parametrize(
    ("action", "command"),
    [
        ("s3:GetObject", "s3 cp s3://BUCKET/jobs/neighbour/in/bundle.tar.gz -"),
        ("s3:GetObject", "s3api get-object --bucket BUCKET --key jobs/neighbour/record.json /dev/null"),
        ("s3:GetObject", "s3api get-object --bucket BUCKET --key jobs/neighbour/in/env.json /dev/null"),
        ("s3:GetObject", "s3api get-object --bucket BUCKET --key jobs/neighbour/server/status.json /dev/null"),
        ("s3:PutObject", "s3api put-object --bucket BUCKET --key jobs/neighbour/in/cancel"),
        ("s3:PutObject", "s3api put-object --bucket BUCKET --key jobs/intruder/record.json"),
        ("s3:DeleteObject", "s3api delete-object --bucket BUCKET --key jobs/intruder/server/status.json"),
        ("s3:ListBucket", "s3 ls s3://BUCKET/"),
        ("s3:ListBucket", "s3 ls s3://BUCKET/jobs/intruder/"),
        ("s3:PutBucketPolicy", "s3api put-bucket-policy --bucket BUCKET --policy '{\"Statement\": []}'"),
        ("ec2:DescribeInstances", "ec2 describe-instances"),
        ("ec2:RunInstances", "ec2 run-instances --image-id IMAGE --instance-type t3.micro"),
        ("ec2:StopInstances", "ec2 stop-instances --instance-ids NEIGHBOUR"),
        ("ec2:TerminateInstances", "ec2 terminate-instances --instance-ids NEIGHBOUR"),
        ("ec2:CreateTags", "ec2 create-tags --resources NEIGHBOUR --tags Key=skylift:job,Value=intruder"),
        (
            "iam:PutRolePolicy",
            "iam put-role-policy --role-name skylift-intruder --policy-name job --policy-document {}",
        ),
        ("iam:GetRole", "iam get-role --role-name skylift-neighbour"),
        ("sts:AssumeRole", "sts assume-role --role-arn ROLE --role-session-name x"),
    ],
)
def test_it_is_denied(intruder: Intruder, cloud: RealCloud, action: str, command: str) -> None:
    for name, value in {
        "BUCKET": intruder.bucket,
        "IMAGE": cloud.image,
        "NEIGHBOUR": intruder.neighbour,
        "ROLE": f"arn:aws:iam::{cloud.endpoint.account}:role/skylift/skylift-neighbour",
    }.items():
        command = command.replace(name, value)
    said = intruder.tries(command)
    assert any(code in said for code in ("AccessDenied", "UnauthorizedOperation", "403")), said
    assert action in said or "(403)" in said, said


def test_it_cannot_pass_a_role_on(intruder: Intruder, cloud: RealCloud) -> None:
    """Also with a server of its own to hand it to: the instance is its own, the role is not its to give."""
    command = f"ec2 associate-iam-instance-profile --instance-id {intruder.job.instance}"
    said = intruder.tries(f"{command} --iam-instance-profile Name=skylift-neighbour")
    assert "UnauthorizedOperation" in said, said


def test_the_neighbour_is_as_it_was(intruder: Intruder, cloud: RealCloud) -> None:
    """Runs last: after all of it."""
    found = {each["name"]: each for each in jobs(cloud)}
    assert found["neighbour"]["instance_state"] == "running"
    assert cloud.skylift("logs", "neighbour").stdout in ("", "secret\n")
