"""`skylift run --spot`: a job that moves to another server, and what is left when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.real_server import until
from support.running_job import jobs, roles, up

pytestmark = pytest.mark.real

COUNTS = """
import json, os, signal, sys, time
count = json.load(open("state.json"))["count"] if os.path.exists("state.json") else 0
print("attempt", os.environ["SKYLIFT_ATTEMPT"], "from", count, flush=True)

def leave(*_):
    with open("state.part", "w") as file:
        json.dump({"count": count}, file)
    os.replace("state.part", "state.json")
    sys.exit(75)

signal.signal(signal.SIGTERM, leave)
while True:
    count += 1
    print("counted", count, flush=True)
    if count >= 2:
        break
    signal.pause()
open("result.txt", "w").write(str(count))
"""


@pytest.fixture
def folder(cloud: RealCloud, request: pytest.FixtureRequest) -> Iterator[Path]:
    found = cloud.work / request.node.name
    found.mkdir()
    (found / "count.py").write_text(COUNTS)
    before, up_before = roles(cloud), up(cloud)
    yield found
    until(lambda: up(cloud) <= up_before, "the servers of jobs to be gone")
    # Other tests have fleets and templates in this cloud, too.
    states = [{"Name": "fleet-state", "Values": ["submitted", "active", "modifying"]}]
    fleets = cloud.ec2.describe_fleets(Filters=states)["Fleets"]
    assert [each for each in fleets if "skylift:job" in {tag["Key"] for tag in each["Tags"]}] == []
    ours = [{"Name": "tag-key", "Values": ["skylift:job"]}]
    assert cloud.ec2.describe_launch_templates(Filters=ours)["LaunchTemplates"] == []
    assert roles(cloud) <= before


def test_a_cancelled_job_takes_its_fleet_with_it(cloud: RealCloud, folder: Path) -> None:
    cloud.skylift("run", "-d", "--spot", "--name", "given-up", "count.py", cwd=folder)
    (listed,) = [each for each in json.loads(cloud.skylift("ps", "--json").stdout) if each["name"] == "given-up"]
    assert listed["attempt"] == 1
    assert cloud.skylift("cancel", "given-up").stdout == "given-up: cancelled\n"
    cloud.skylift("rm", "given-up")


def test_a_job_that_is_given_notice_goes_on_on_another_server(cloud: RealCloud, folder: Path) -> None:
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        wanted = ("--spot", "--checkpoint", "state.json", "--out", "result.txt", "--name", "moves")
        client = cloud.popen("run", *wanted, "count.py", cwd=folder, stdout=out, stderr=err)
        until(lambda: b"counted 1" in (folder / "out").read_bytes(), "the program to count")
        (first,) = [each["instance"] for each in jobs(cloud) if each["name"] == "moves"]
        cloud.skylift("cloud", "interrupt", first)
        code = client.wait()
    words = (folder / "err").read_text()
    assert code == 0, words
    assert (folder / "out").read_text() == "attempt 1 from 0\ncounted 1\nattempt 2 from 1\ncounted 2\n", words
    assert (folder / "result.txt").read_text() == "2"
    assert "goes on from attempt 1's checkpoint" in words
    (listed,) = [each for each in jobs(cloud, "--all") if each["name"] == "moves"]
    assert (listed["state"], listed["attempt"], listed["instance"] != first) == ("succeeded", 2, True)
    cloud.skylift("rm", "moves")
