"""What the program of one job tries, with all that its server may do: another's files, other servers, more power."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.real_cloud import RealCloud
from support.running_job import jobs

pytestmark = pytest.mark.real

# Runs on the server, with the botocore that comes with the image's AWS CLI. Says what each attempt was answered.
PROGRAM = """
import json, sys
import awscli
from botocore.exceptions import ClientError
from botocore.session import Session

session = Session()
attempts, answers = json.load(open("attempts.json")), {}
for service, operation, params in attempts:
    try:
        getattr(session.create_client(service), operation)(**params)
        answer = ["done", ""]
    except ClientError as error:
        found = error.response["Error"]
        answer = [found["Code"], found.get("Message", "")]
    answers[f"{operation} {json.dumps(params)}"] = answer
print(json.dumps(answers))
"""

Attempt = tuple[str, str, dict[str, object]]


class Intruder:
    """A job that has tried everything, and a neighbour's job that is still there."""

    def __init__(self, cloud: RealCloud) -> None:
        folder = cloud.work / "intruder"
        folder.mkdir()
        (folder / "waits.py").write_text("print('secret')\nimport signal\nsignal.pause()\n")
        cloud.skylift("run", "-d", "--name", "neighbour", "--env", "TOKEN=hush", "waits.py", cwd=folder)
        (listed,) = [each for each in jobs(cloud) if each["name"] == "neighbour"]
        self.neighbour = listed["instance"]
        self.bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
        self.allowed = self._allowed()
        self.denied = self._denied(cloud.image, cloud.endpoint.account, self._their_bundle(cloud))
        attempts = [*self.allowed, *self.denied.values()]
        (folder / "attempts.json").write_text(json.dumps(attempts))
        (folder / "job.py").write_text(PROGRAM)
        done = cloud.skylift("run", "--name", "intruder", "--in", "attempts.json", "job.py", cwd=folder)
        self.answers: dict[str, list[str]] = json.loads(done.stdout)

    def _allowed(self) -> list[Attempt]:
        record = {"Bucket": self.bucket, "Key": "jobs/intruder/record.json"}
        return [("sts", "get_caller_identity", {}), ("s3", "get_object", record)]

    def _their_bundle(self, cloud: RealCloud) -> str:
        """What the neighbour was given, in the place of all jobs' inputs."""
        record = cloud.client("s3").get_object(Bucket=self.bucket, Key="jobs/neighbour/record.json")
        return f"inputs/sha256/{json.load(record['Body'])['packs'][0]['sha256']}"

    def _denied(self, image: str, account: str, their_bundle: str) -> dict[str, Attempt]:
        bucket, other = {"Bucket": self.bucket}, {"InstanceIds": [self.neighbour]}
        theirs, ours = "jobs/neighbour", "jobs/intruder"
        tag = [{"Key": "skylift:job", "Value": "intruder"}]
        assume = {"RoleArn": f"arn:aws:iam::{account}:role/skylift/skylift-neighbour", "RoleSessionName": "intruder"}
        hand_over = {"InstanceId": self.neighbour, "IamInstanceProfile": {"Name": "skylift-intruder"}}
        server = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
        policy = {"RoleName": "skylift-intruder", "PolicyName": "job", "PolicyDocument": '{"Statement": []}'}
        return {
            "read another job's bundle": ("s3", "get_object", {**bucket, "Key": their_bundle}),
            "write another job's bundle": ("s3", "put_object", {**bucket, "Key": their_bundle}),
            "list all jobs' inputs": ("s3", "list_objects_v2", {**bucket, "Prefix": "inputs/"}),
            "read another job's record": ("s3", "get_object", {**bucket, "Key": f"{theirs}/record.json"}),
            "read another job's secrets": ("s3", "get_object", {**bucket, "Key": f"{theirs}/in/env.json"}),
            "read another job's output": ("s3", "get_object", {**bucket, "Key": f"{theirs}/server/status.json"}),
            "cancel another job": ("s3", "put_object", {**bucket, "Key": f"{theirs}/in/cancel"}),
            "give itself more time": ("s3", "put_object", {**bucket, "Key": f"{ours}/record.json"}),
            "remove what it said": ("s3", "delete_object", {**bucket, "Key": f"{ours}/server/status.json"}),
            "list the bucket": ("s3", "list_objects_v2", bucket),
            "list its own prefix": ("s3", "list_objects_v2", {**bucket, "Prefix": f"{ours}/"}),
            "open the bucket": ("s3", "put_bucket_policy", {**bucket, "Policy": '{"Statement": []}'}),
            "see other servers": ("ec2", "describe_instances", {}),
            "start a server": ("ec2", "run_instances", server),
            "stop another server": ("ec2", "stop_instances", other),
            "end another server": ("ec2", "terminate_instances", other),
            "claim another server": ("ec2", "create_tags", {"Resources": [self.neighbour], "Tags": tag}),
            "pass its role on": ("ec2", "associate_iam_instance_profile", hand_over),
            "see a role": ("iam", "get_role", {"RoleName": "skylift-neighbour"}),
            "have more rights": ("iam", "put_role_policy", policy),
            "be another job": ("sts", "assume_role", assume),
        }

    def answer(self, attempt: Attempt) -> list[str]:
        _, operation, params = attempt
        return self.answers[f"{operation} {json.dumps(params)}"]


@pytest.fixture(scope="module")
def intruder(cloud: RealCloud) -> Iterator[Intruder]:
    yield Intruder(cloud)
    cloud.skylift("cancel", "neighbour")
    cloud.skylift("rm", "neighbour", "intruder")


def test_what_it_may_do(intruder: Intruder) -> None:
    """The denials below are those of the job's role, not of somebody without credentials."""
    assert [intruder.answer(each) for each in intruder.allowed] == [["done", ""]] * 2


def test_everything_else_is_denied(intruder: Intruder) -> None:
    answers = {wish: intruder.answer(attempt) for wish, attempt in intruder.denied.items()}
    granted = {wish: answer for wish, answer in answers.items() if "not authorized to perform" not in answer[1]}
    assert granted == {}
    codes = {code for code, _ in answers.values()}
    assert codes == {"AccessDenied", "UnauthorizedOperation"}
    assert "assumed-role/skylift-intruder/" in answers["start a server"][1]


def test_the_neighbour_is_as_it_was(intruder: Intruder, cloud: RealCloud) -> None:
    (found,) = [each for each in jobs(cloud) if each["name"] == "neighbour"]
    assert (found["instance"], found["instance_state"]) == (intruder.neighbour, "running")
