"""Jobs that lose their cloud or their client: the program goes on, and its results come home with its exit code."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until
from support.running_job import WAITS, RunningJob, ended_job, jobs

pytestmark = pytest.mark.real


@pytest.fixture
def own_folder(own_cloud: RealCloud, request: pytest.FixtureRequest) -> Path:
    folder: Path = own_cloud.work / request.node.name
    folder.mkdir()
    return folder


@pytest.fixture
def job(own_cloud: RealCloud, own_folder: Path) -> RunningJob:
    return RunningJob(own_cloud, own_folder, "--out", "result.txt")


def came_home(job: RunningJob) -> None:
    assert job.finish() == (7, b"done\n"), job.words
    assert (job.folder / "result.txt").read_text() == "42"


def go_without_a_cloud(way_in: list[str]) -> None:
    subprocess.run([*way_in, "touch job/go"], check=True, stdin=subprocess.DEVNULL)


def test_a_server_goes_on_without_its_client_and_turns_itself_off(own_cloud: RealCloud, job: RunningJob) -> None:
    job.client.kill()
    job.client.wait()
    server = Server(own_cloud, job.instance)
    assert server.state == "running"
    job.go()
    server.await_state("terminated")
    assert server.describe()["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert ended_job(own_cloud, job.name) == ("failed", 7)
    bucket = f"skylift-{own_cloud.endpoint.account}-{own_cloud.endpoint.region}"
    s3, top = own_cloud.client("s3"), f"jobs/{job.name}/server"
    assert s3.get_object(Bucket=bucket, Key=f"{top}/results/result.txt")["Body"].read() == b"42"
    pieces = s3.list_objects_v2(Bucket=bucket, Prefix=f"{top}/stdout/")["Contents"]
    stdout = b"".join(s3.get_object(Bucket=bucket, Key=piece["Key"])["Body"].read() for piece in pieces)
    assert stdout == b"ready\ndone\n"
    # What the client would have removed costs nothing, and is found.
    swept = json.loads(own_cloud.skylift("sweep", "--json").stdout)
    kinds = {each["kind"] for each in swept if each["job"] == job.name and each["removed"]}
    assert kinds == {"role", "instance-profile"}
    assert own_cloud.job_roles() == []


def test_a_supervisor_that_is_killed_has_a_successor(own_cloud: RealCloud, job: RunningJob) -> None:
    # The newest: the other one is its keeper. A pattern that is not its own word.
    own_cloud.skylift("ssh", job.name, "sudo", "pkill", "-KILL", "-n", "-f", "scripts/part-00[1]")
    job.go()
    came_home(job)


def test_a_server_that_is_rebooted_says_so_and_is_off_in_time(own_cloud: RealCloud, own_folder: Path) -> None:
    """A kept one, to be looked at: the timer is armed again, for the deadline that the record had from the first."""
    source = WAITS.replace("import os", "open('half.txt', 'w').write('so far')\nimport os")
    job = RunningJob(own_cloud, own_folder, "--keep", "5m", "--out", "*.txt", source=source)
    own_cloud.ec2.reboot_instances(InstanceIds=[job.instance])
    assert job.finish() == (122, b""), job.words
    assert (job.folder / "half.txt").read_text() == "so far"
    assert not (job.folder / "result.txt").exists()
    assert ended_job(own_cloud, job.name) == ("rebooted", 122)
    s3, bucket = own_cloud.client("s3"), f"skylift-{own_cloud.endpoint.account}-{own_cloud.endpoint.region}"
    record = json.loads(s3.get_object(Bucket=bucket, Key=f"jobs/{job.name}/record.json")["Body"].read())
    announced = re.findall(r"goes down for power-off at (.*) UTC", Server(own_cloud, job.instance).console)
    # Once a boot; what comes then is for the time that it is kept.
    for each in announced[:2]:
        off = datetime.strptime(f"{each} +0000", "%a %Y-%m-%d %H:%M:%S %z").timestamp()
        assert record["deadline"] - 61 <= off <= record["deadline"] + 20, announced
    assert len(announced) >= 2
    own_cloud.skylift("cancel", job.name)


def test_a_reboot_from_inside(own_cloud: RealCloud, job: RunningJob) -> None:
    """A shutdown that everybody hears of, the program too, before the server goes down."""
    own_cloud.skylift("ssh", job.name, "sudo", "reboot", check=False)
    assert job.finish() == (122, b""), job.words
    until(lambda: jobs(own_cloud) == [], "the server to be gone")


def test_a_cloud_that_is_killed_and_started_again_by_hand(own_cloud: RealCloud, job: RunningJob) -> None:
    own_cloud.kill()
    own_cloud.up()
    job.go()
    came_home(job)
    until(lambda: jobs(own_cloud) == [], "the server to be gone")


def test_a_cloud_that_is_killed_and_that_nobody_starts_again(own_cloud: RealCloud, job: RunningJob) -> None:
    """The program ends while there is nobody to take its results: the client says so, and brings the cloud back."""
    way_in = job.way_in()
    own_cloud.kill()
    go_without_a_cloud(way_in)
    came_home(job)
    assert "The cloud does not answer" in job.words
    assert json.loads(own_cloud.skylift("cloud", "status", "--json").stdout)["running"]


def test_a_client_that_is_killed_with_its_cloud(own_cloud: RealCloud, job: RunningJob) -> None:
    """Nobody is left but the server; what it has to say waits for a cloud that takes it."""
    way_in = job.way_in()
    job.client.kill()
    job.client.wait()
    own_cloud.kill()
    go_without_a_cloud(way_in)
    own_cloud.up()
    until(lambda: jobs(own_cloud) == [], "the server to turn itself off")
    assert ended_job(own_cloud, job.name) == ("failed", 7)
    own_cloud.skylift("cancel", job.name)
