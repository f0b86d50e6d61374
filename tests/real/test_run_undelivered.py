"""Promise 5 on real servers: results that S3 does not take are kept, tried again, and delivered in the end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until
from support.running_job import RunningJob, ended_job, jobs

pytestmark = pytest.mark.real

IMPATIENT = Path(__file__).parents[1] / "support/impatient_client.py"
ENDPOINT = ". /etc/environment; place=${AWS_ENDPOINT_URL#*://}; place=${place%%[:/]*}; "


@pytest.fixture(scope="module")
def cloud(own_cloud: RealCloud) -> RealCloud:
    """In which only one job is at a time."""
    return own_cloud


@pytest.fixture
def job(cloud: RealCloud, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> RunningJob:
    """Its server has as many seconds of patience as the test's parameter says."""
    folder: Path = cloud.work / request.node.name
    folder.mkdir()
    with monkeypatch.context() as only_here:
        impatient = [sys.executable, str(IMPATIENT), str(request.param)]
        only_here.setattr(cloud, "command", lambda *arguments: [*impatient, *arguments])
        return RunningJob(cloud, folder, "--out", "*.txt")


def as_root(way_in: list[str], script: str) -> None:
    subprocess.run([*way_in, "sudo sh"], input=script.encode(), check=True)


@pytest.mark.parametrize("job", [900], indirect=True)
def test_the_way_to_s3_is_cut(cloud: RealCloud, job: RunningJob) -> None:
    """By a route that swallows what goes there, at the end of the program; and it is back after a while."""
    way_in = job.way_in()
    as_root(way_in, f'{ENDPOINT} ip route add blackhole "$place"')
    subprocess.run([*way_in, "touch job/go"], check=True, stdin=subprocess.DEVNULL)
    server = Server(cloud, job.instance)
    until(lambda: "trying again" in server.console, "tries that fail")
    assert job.client.poll() is None
    as_root(way_in, f'{ENDPOINT} ip route delete blackhole "$place"')
    assert job.finish() == (7, b"done\n"), job.words
    assert (job.folder / "result.txt").read_text() == "42"


@pytest.mark.parametrize("job", [2], indirect=True)
def test_s3_refuses_until_the_servers_patience_ends(cloud: RealCloud, job: RunningJob) -> None:
    """It stops itself, with its disk. Nobody takes it away, and it delivers as soon as it is started again."""
    s3, bucket = cloud.client("s3"), f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/jobs/{job.name}/server/*",
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    job.go()
    code, rest = job.finish()
    assert (code, rest) == (125, b"done\n")
    assert "what it had is on its disk" in job.words
    assert f"start-instances --instance-ids {job.instance}" in job.words
    server = Server(cloud, job.instance)
    server.await_state("stopped")
    (listed,) = [each for each in jobs(cloud) if each["name"] == job.name]
    assert (listed["state"], listed["instance"]) == ("stranded", job.instance)
    assert not [each for each in json.loads(cloud.skylift("sweep", "--json").stdout) if each["job"] == job.name]
    s3.delete_bucket_policy(Bucket=bucket)
    cloud.ec2.start_instances(InstanceIds=[job.instance])
    done = cloud.skylift("attach", job.name, cwd=job.folder, check=False)
    assert (done.returncode, done.stdout) == (7, "ready\ndone\n"), done.stderr
    assert (job.folder / "result.txt").read_text() == "42"
    assert ended_job(cloud, job.name) == ("failed", 7)
    server.await_state("terminated")
