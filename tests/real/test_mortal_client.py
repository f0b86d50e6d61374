"""The client is killed after each call that a run makes: nothing is left that costs money, nothing runs twice.

Roles may be left, which cost nothing; that a sweep finds them is shown by tests/client/jobs/test_sweep.py.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.real_cloud import RealCloud, real_cloud
from support.real_server import until

from skylift.client.launch.cap import BOUNDARY as CAP_BOUNDARY
from skylift.client.launch.role import BOUNDARY
from skylift.cloud.state.home import Home

pytestmark = pytest.mark.real

MORTAL = Path(__file__).parents[1] / "support/mortal_client.py"
BESIDE_EACH_OTHER = 3
PARTS = 3
# Two copies would say so: `starts` comes home with a line for each.
JOB = """
import sys
with open("starts", "a") as file:
    print("started", file=file)
print("ran")
sys.exit(3)
"""
MAKING = [
    *("s3.CreateBucket", "iam.CreatePolicy", "ec2.ImportKeyPair", "ec2.CreateVpc", "ec2.CreateInternetGateway"),
    *("ec2.AttachInternetGateway", "ec2.CreateRoute", "ec2.CreateSubnet", "ec2.CreateSecurityGroup", "ec2.CreateTags"),
    *("ec2.AuthorizeSecurityGroupIngress", "scheduler.CreateScheduleGroup"),
]
"""What a first run makes and later ones find."""
MADE_BESIDE_EACH_OTHER = {"s3.CreateBucket", "iam.CreatePolicy", "ec2.ImportKeyPair"}


@pytest.fixture(scope="module")
def cloud(image_home: Home) -> Iterator[RealCloud]:
    """Where nothing has run yet."""
    with real_cloud(image_home) as own:
        yield own


def bucket(cloud: RealCloud) -> str:
    return f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"


def run(cloud: RealCloud, name: str, last: str, *more: str, project: str = "") -> tuple[int, list[str], str]:
    """One run by a client that is killed after its call `last`, as run_until says it."""
    told = ("--max-time", "2m", "--out", "starts", *more, "job.py")
    return run_until(last, cloud, name, JOB, "run", *told, project=project)


def run_until(
    last: str, cloud: RealCloud, name: str, job: str, word: str, *more: str, project: str = ""
) -> tuple[int, list[str], str]:
    """A command line whose client is killed after its call `last`: its exit code, the calls that it made, its words.
    Runs of one `project` have one folder."""
    folder, there = cloud.work / name, cloud.work / (project or name)
    folder.mkdir()
    there.mkdir(exist_ok=True)
    (there / "job.py").write_text(job)
    with (folder / "words").open("wb") as words:
        client = subprocess.Popen(
            [sys.executable, str(MORTAL), str(folder / "calls"), last, word, "--name", name, *more],
            cwd=there,
            env=cloud.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
        )
        cloud.watch(client.pid)
        code = client.wait()
    return code, (folder / "calls").read_text().split(), (folder / "words").read_text()


def test_killed_after_each_thing_that_a_first_run_makes(cloud: RealCloud) -> None:
    """Each run gets one step further than the last, until all is there, and there once."""
    made: list[str] = []
    while True:
        # A subnet for each zone; all else once.
        ahead = [each for each in MAKING if each == "ec2.CreateSubnet" or each not in made]
        code, calls, words = run(cloud, f"first-{len(made)}", ",".join(f"{each}#1" for each in ahead))
        if code != -signal.SIGKILL:
            break
        made.append(calls[-1].removesuffix("#1"))
        end_leases(cloud)
    assert code == 3, words
    # Three are made beside each other, so that one client may be killed after any of them and have made all.
    assert set(made) >= set(MAKING) - MADE_BESIDE_EACH_OTHER
    assert set(made) & MADE_BESIDE_EACH_OTHER
    policies = cloud.client("iam").list_policies(Scope="Local", PathPrefix="/skylift/")["Policies"]
    assert sorted(each["PolicyName"] for each in policies) == sorted([BOUNDARY, CAP_BOUNDARY])
    assert len(cloud.client("scheduler").list_schedule_groups(NamePrefix="skylift")["ScheduleGroups"]) == 1
    assert len(cloud.ec2.describe_key_pairs()["KeyPairs"]) == 1
    vpc = {"Name": "tag:skylift:network", "Values": ["vpc"]}
    (network,) = cloud.ec2.describe_vpcs(Filters=[vpc])["Vpcs"]
    within = [{"Name": "vpc-id", "Values": [network["VpcId"]]}]
    zones = [each["AvailabilityZone"] for each in cloud.ec2.describe_subnets(Filters=within)["Subnets"]]
    assert len(zones) == len(set(zones)) == made.count("ec2.CreateSubnet")
    tagged = [{"Name": "tag:skylift:network", "Values": ["gateway"]}]
    assert len(cloud.ec2.describe_internet_gateways(Filters=tagged)["InternetGateways"]) == 1


def end_leases(cloud: RealCloud) -> None:
    """As if the minute had passed in which a dead client's work is left to it."""
    s3 = cloud.client("s3")
    try:
        leases = s3.list_objects_v2(Bucket=bucket(cloud), Prefix="locks/").get("Contents", [])
    except s3.exceptions.NoSuchBucket:
        return
    for held in leases:
        s3.put_object(Bucket=bucket(cloud), Key=held["Key"], Body=json.dumps({"until": 0}))


@pytest.fixture(scope="module")
def steps(cloud: RealCloud) -> list[str]:
    """The calls of a run's client, in their order."""
    code, calls, words = run(cloud, "recorded", "-")
    assert code == 3, words
    assert {"s3.PutObject#1", "iam.CreateRole#1", "ec2.RunInstances#1", "iam.DeleteRole#1"} <= set(calls)
    return calls


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.nightly) for part in range(1, PARTS))])
def test_killed_after_every_call(cloud: RealCloud, steps: list[str], part: int) -> None:
    """In parts, each of which has calls from the whole way. Every change has one of them, a night all."""
    kills = [(number, steps[number]) for number in range(part, len(steps), PARTS)]
    with ThreadPoolExecutor(BESIDE_EACH_OTHER) as pool:
        fates = dict(pool.map(lambda each: fate(cloud, *each), kills))
    assert set(fates.values()) == {"never started", "ran"}
    told = {each["name"]: (each["state"], each["exit_code"]) for each in listed(cloud)}
    for name, became in fates.items():
        # What never started has a record or not, by when its client died.
        assert told.get(name, ("lost", None)) == (("failed", 3) if became == "ran" else ("lost", None)), name
    assert {each["State"]["Name"] for each in instances(cloud)} == {"terminated"}


def fate(cloud: RealCloud, number: int, last: str) -> tuple[str, str]:
    """Kill a client after this call: its job's name, and what became of it."""
    name = f"mortal-{number}"
    code, calls, words = run(cloud, name, last)
    # A call that is made until something is there may be made less often the next time.
    assert code == (-signal.SIGKILL if calls[-1] == last else 3), (last, code, words)
    servers = instances_of(cloud, name)
    if not servers:
        assert result(cloud, name) is None
        return name, "never started"
    assert len(servers) == 1, last
    until(lambda: instances_of(cloud, name)[0]["State"]["Name"] == "terminated", f"the server to end ({last})")
    assert result(cloud, name) == b"started\n", last
    return name, "ran"


def listed(cloud: RealCloud) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cloud.skylift("ps", "--all", "--json").stdout)
    return found


def instances_of(cloud: RealCloud, name: str) -> list[dict[str, Any]]:
    answer = cloud.ec2.describe_instances(Filters=[{"Name": "tag:skylift:job", "Values": [name]}])
    return [each for reservation in answer["Reservations"] for each in reservation["Instances"]]


def result(cloud: RealCloud, name: str) -> bytes | None:
    """What the program left, as the record has it."""
    s3 = cloud.client("s3")
    try:
        found = s3.get_object(Bucket=bucket(cloud), Key=f"jobs/{name}/server/results/starts")
    except s3.exceptions.NoSuchKey:
        return None
    body: bytes = found["Body"].read()
    return body


def instances(cloud: RealCloud) -> list[dict[str, Any]]:
    """Those of all jobs."""
    pages = cloud.ec2.get_paginator("describe_instances").paginate()
    return [each for page in pages for reservation in page["Reservations"] for each in reservation["Instances"]]
