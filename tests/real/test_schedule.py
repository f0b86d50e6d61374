"""Schedules of real servers: they appear at their time, also where the cloud was away then, and leave nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real

AHEAD = timedelta(seconds=15)
"""The time in which a schedule can be made also beside a load: one that is due before it is made is refused."""
EXAMPLE = Path(__file__).parents[2] / "examples" / "schedule" / "nightly.py"


def servers(cloud: RealCloud, name: str) -> list[dict[str, Any]]:
    found = cloud.ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": [name]}])["Reservations"]
    return [one for each in found for one in each["Instances"]]


def schedule(cloud: RealCloud, name: str, due: datetime) -> None:
    endpoint, root = cloud.endpoint, cloud.home.root_key()
    assert root is not None
    subprocess.run(
        [sys.executable, EXAMPLE, name, f"at({due:%Y-%m-%dT%H:%M:%S})"],
        env={
            **cloud.environment,
            "AWS_ENDPOINT_URL": endpoint.url,
            "AWS_DEFAULT_REGION": endpoint.region,
            "AWS_ACCESS_KEY_ID": root.access_key_id,
            "AWS_SECRET_ACCESS_KEY": root.secret_access_key,
        },
        check=True,
        stdout=subprocess.DEVNULL,
    )


def remove(cloud: RealCloud, name: str) -> None:
    cloud.client("scheduler").delete_schedule(Name=name)
    cloud.client("iam").delete_role_policy(RoleName=name, PolicyName="run")
    cloud.client("iam").delete_role(RoleName=name)


def test_a_server_appears_at_its_time_works_and_is_gone(own_cloud: RealCloud) -> None:
    due = datetime.now(UTC).replace(microsecond=0) + AHEAD
    schedule(own_cloud, "nightly", due)
    (found,) = until(lambda: servers(own_cloud, "nightly"), "the server of a schedule", facts=own_cloud.facts)
    assert timedelta() <= found["LaunchTime"] - due < timedelta(minutes=1)
    assert {"Key": "scheduled", "Value": f"{due:%Y-%m-%dT%H:%M:%SZ}"} in found["Tags"]
    server = Server(own_cloud, found["InstanceId"])
    server.await_state("terminated")
    assert "the work of 20" in server.console
    assert len(servers(own_cloud, "nightly")) == 1
    remove(own_cloud, "nightly")


def test_what_is_due_while_the_cloud_is_away_is_made_up_for_once(own_cloud: RealCloud) -> None:
    due = datetime.now(UTC).replace(microsecond=0) + AHEAD
    schedule(own_cloud, "missed", due)
    own_cloud.kill()
    until(lambda: datetime.now(UTC) > due, "the time of a schedule")
    own_cloud.up()
    (found,) = until(lambda: servers(own_cloud, "missed"), "the server of a schedule", facts=own_cloud.facts)
    Server(own_cloud, found["InstanceId"]).await_state("terminated")
    own_cloud.kill()
    own_cloud.up()
    assert [one["InstanceId"] for one in servers(own_cloud, "missed")] == [found["InstanceId"]]
    remove(own_cloud, "missed")


def test_a_scheduled_run_comes_by_itself_and_is_a_job_like_any_other(own_cloud: RealCloud) -> None:
    """With the permissions that a schedule's roles give, and no others."""
    folder = own_cloud.work / "scheduled"
    folder.mkdir()
    (folder / "job.py").write_text("import os\nprint(os.environ['WORD'])\nopen('result.txt', 'w').write('42')\n")
    what = ("run", "--spot", "--env", "WORD=hush", "--out", "result.txt", "job.py")
    # A rate is due at once for the first time, however long it took to make the schedule.
    made = own_cloud.skylift("schedule", "rate(1 day)", "--name", "report", "--", *what, cwd=folder)
    assert made.stdout == "report\n"

    def runs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(own_cloud.skylift("schedule", "history", "report", "--json").stdout)
        return found

    (run,) = until(runs, "the run of a schedule", facts=own_cloud.facts)
    (request,) = own_cloud.ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
    assert (request["Type"], request["InstanceInterruptionBehavior"]) == ("one-time", "terminate")
    name = run["name"]
    assert own_cloud.skylift("wait", name).returncode == 0
    assert own_cloud.skylift("logs", name).stdout == "hush\n"
    assert own_cloud.skylift("results", name, cwd=folder).stdout == "result.txt\n"
    assert (folder / "result.txt").read_text() == "42"
    again = own_cloud.skylift("schedule", "run", "report").stdout.strip()
    assert own_cloud.skylift("wait", again).returncode == 0
    assert {each["name"]: each["state"] for each in runs()} == {name: "succeeded", again: "succeeded"}
    until(lambda: own_cloud.skylift("ps").stdout == "", "the servers to be gone")
    own_cloud.skylift("schedule", "rm", "report")
    own_cloud.skylift("rm", name, again)
    assert json.loads(own_cloud.skylift("schedule", "ls", "--json").stdout) == []
    iam = own_cloud.client("iam")
    assert own_cloud.job_roles() == []
    assert iam.list_instance_profiles(PathPrefix="/skylift/")["InstanceProfiles"] == []
    assert own_cloud.ec2.describe_launch_templates()["LaunchTemplates"] == []


def test_a_schedule_whose_role_is_gone_says_so(own_cloud: RealCloud) -> None:
    folder = own_cloud.work / "broken"
    folder.mkdir()
    (folder / "job.py").write_text("")
    # The next full minute, but for one that is nearly there.
    due = (datetime.now(UTC) + timedelta(minutes=1) + AHEAD).replace(second=0, microsecond=0)
    when = f"cron({due.minute} {due.hour} * * ? *)"
    own_cloud.skylift("schedule", when, "--name", "broken", "--", "run", "job.py", cwd=folder)
    iam, role = own_cloud.client("iam"), "skylift-scheduler.broken"
    iam.delete_role_policy(RoleName=role, PolicyName="run")
    iam.delete_role(RoleName=role)

    def failed() -> dict[str, Any] | None:
        (line,) = json.loads(own_cloud.skylift("schedule", "ls", "--json").stdout)
        return line if line["failed"] else None

    line = until(failed, "a run that is not started", 120)
    assert (line["state"], line["failed"]) == ("failing", f"{due:%Y-%m-%dT%H:%M:%SZ}")
    assert "The role skylift-scheduler.broken is gone" in line["failure"]
    (run,) = json.loads(own_cloud.skylift("schedule", "history", "broken", "--json").stdout)
    assert (run["name"], run["state"]) == (f"broken-{due:%Y%m%d-%H%M}", "not-started")
    assert "scheduler.amazonaws.com may not assume" in run["reason"]
    own_cloud.skylift("schedule", "rm", "broken")
    assert json.loads(own_cloud.skylift("schedule", "ls", "--json").stdout) == []
