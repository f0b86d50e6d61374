"""`skylift run --servers`: the program computes on a Dask cluster, a lost worker is replaced, and nothing is left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import until

pytestmark = pytest.mark.real

UV = [sys.executable, "-m", "uv"]
# Seconds. Each look is a process: without a pause, they would take a processor from the servers that they look at.
PATIENCE, PAUSE = 300.0, 0.5

PROGRAM = """
import json, os, socket, sys
from distributed import Client
from ours import cube

client = Client()
client.wait_for_workers(int(os.environ["SKYLIFT_SERVERS"]))
there = client.run(lambda: (socket.gethostname(), os.environ["WORD"]))
print(len(there), sorted({word for _, word in there.values()}), socket.gethostname() in {h for h, _ in there.values()})
print(sum(client.gather(client.map(cube, range(100)))), flush=True)
print(json.dumps(sorted(worker["name"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())))
open("out.txt", "a").write(os.environ["SKYLIFT_ATTEMPT"])
sys.exit(9 if os.environ["SKYLIFT_ATTEMPT"] == "1" else 3)
"""

TOTAL = sum(number**3 for number in range(100))

# Its worker is terminated in the middle of its work.
BEREFT = """
import socket, time
from distributed import Client

def slow(number):
    time.sleep(0.2)
    return number

client = Client()
client.wait_for_workers(2)
there = set(client.run(socket.gethostname).values())
numbers = client.map(slow, range(80))
print("working", flush=True)
print(client.submit(sum, numbers).result(), flush=True)

def now():
    # One that has just been lost may be listed still, and does not answer.
    return set(client.run(socket.gethostname, on_error="ignore").values())

while len(found := now()) < 2 or found == there:
    time.sleep(0.2)
print("replaced", flush=True)
time.sleep(3600)
"""


# Waits on its first server until a notice ends it.
MOVES = """
import os, signal
from distributed import Client

client = Client()
client.wait_for_workers(int(os.environ["SKYLIFT_SERVERS"]))
names = sorted(worker["name"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())
print(os.environ["SKYLIFT_ATTEMPT"], client.submit(sum, range(10)).result(), *names, flush=True)
if os.environ["SKYLIFT_ATTEMPT"] == "1":
    signal.pause()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "project"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["distributed==2026.8.*"]\n'
    )
    # Beside the script, and not where it runs.
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/ours.py").write_text("def cube(number):\n    return number ** 3\n")
    (tmp_path / "jobs/train.py").write_text(PROGRAM)
    subprocess.run([*UV, "lock", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def workers(cloud: RealCloud, job: str) -> list[str]:
    wanted: list[Any] = [
        {"Name": "tag:skylift:job", "Values": [job]},
        {"Name": "tag:skylift:worker", "Values": ["yes"]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "shutting-down", "stopping", "stopped"]},
    ]
    found = cloud.ec2.describe_instances(Filters=wanted)["Reservations"]
    return [one["InstanceId"] for each in found for one in each["Instances"]]


def left(cloud: RealCloud, job: str) -> list[str]:
    """What there is of a job besides its record."""
    iam, scaling = cloud.client("iam"), cloud.client("autoscaling")
    names = [each["GroupName"] for each in cloud.ec2.describe_security_groups()["SecurityGroups"]]
    names += [each["LaunchTemplateName"] for each in cloud.ec2.describe_launch_templates()["LaunchTemplates"]]
    names += [each["RoleName"] for each in iam.list_roles()["Roles"]]
    names += [each["AutoScalingGroupName"] for each in scaling.describe_auto_scaling_groups()["AutoScalingGroups"]]
    return [*workers(cloud, job), *(each for each in names if each.startswith("skylift-") and job in each)]


def test_a_job_with_a_cluster(cloud: RealCloud, folder: Path) -> None:
    """It fails and is started again, with another scheduler and the same servers."""
    limits = ["--servers", "2", "--max-time", "8m", "--retries", "2", "--retry-on", "9"]
    words = ["run", "--json", "--name", "training", *limits, "--env", "WORD=hush", "--out", "out.txt"]
    done = cloud.skylift(*words, "jobs/train.py", cwd=folder, check=False)
    outcome = json.loads(done.stdout)
    assert outcome["exit_code"] == 3, done.stderr
    assert [each["exit_code"] for each in outcome["tries"]] == [9, 3]
    lines = [line for line in done.stderr.splitlines() if line.startswith(("2 ", "[", str(TOTAL)))]
    assert lines[:2] == lines[3:5] == ["2 ['hush'] True", str(TOTAL)], done.stderr
    assert lines[2] == lines[5], "the other server has waited"
    assert len(json.loads(lines[2])) == 2
    assert (folder / "out.txt").read_text() == "12"
    assert outcome["price"]["other_servers"]["servers"] == 1
    assert left(cloud, "training") == []
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    keys = cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix="jobs/training/")["Contents"]
    assert [each["Key"] for each in keys if "dask" in each["Key"] or "/keys/" in each["Key"]] == []
    cloud.skylift("rm", "training")


@pytest.mark.nightly
def test_a_spot_job_that_moves_has_another_cluster(cloud: RealCloud, folder: Path) -> None:
    (folder / "train.py").write_text(MOVES)
    cloud.skylift(
        "run", "-d", "--spot", "--name", "moves", "--servers", "2", "--max-time", "8m", "train.py", cwd=folder
    )

    def said() -> list[list[str]]:
        return [line.split() for line in cloud.skylift("logs", "moves").stdout.splitlines()]

    until(lambda: len(said()) == 1, "the first cluster", PATIENCE, cloud.facts, pause=PAUSE)
    (row,) = [each for each in json.loads(cloud.skylift("ps", "--json").stdout) if each["name"] == "moves"]
    assert row["servers"] == 2
    cloud.skylift("cloud", "interrupt", row["instance"])
    assert cloud.skylift("wait", "moves", check=False).returncode == 0
    (first, total, *before), (second, again, *after) = said()
    assert (first, second, total, again) == ("1", "2", "45", "45")
    assert (len(before), len(after), set(before) & set(after)) == (2, 2, set())
    until(lambda: workers(cloud, "moves") == [], "its servers to be gone", facts=cloud.facts)
    cloud.skylift("rm", "moves")
    assert left(cloud, "moves") == []


@pytest.mark.nightly
def test_a_lost_worker_is_replaced_and_none_outlives_the_jobs_own_server(cloud: RealCloud, folder: Path) -> None:
    (folder / "train.py").write_text(BEREFT)
    cloud.skylift("run", "-d", "--name", "bereft", "--servers", "2", "train.py", cwd=folder)

    def says(word: str) -> None:
        until(lambda: word in cloud.skylift("logs", "bereft").stdout, word, PATIENCE, cloud.facts, pause=PAUSE)

    says("working")
    (lost,) = workers(cloud, "bereft")
    cloud.ec2.terminate_instances(InstanceIds=[lost])
    says(str(sum(range(80))))
    says("replaced")
    (row,) = [each for each in json.loads(cloud.skylift("ps", "--json").stdout) if each["name"] == "bereft"]
    assert row["servers"] == 2
    cloud.ec2.terminate_instances(InstanceIds=[row["instance"]])
    until(lambda: workers(cloud, "bereft") == [], "its worker to be gone", facts=cloud.facts)
    assert cloud.skylift("wait", "bereft", check=False).returncode == 125
    cloud.skylift("rm", "bereft")
    assert left(cloud, "bereft") == []
