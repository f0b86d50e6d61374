"""A program that has become root ends all that would end its server. The cloud ends the server after its deadline."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until
from support.running_job import jobs

from skylift.client.launch.cap import GROUP, MARGIN
from skylift.client.launch.scheduler import GROUP as SCHEDULES

pytestmark = pytest.mark.real

DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}

# Try everything with the server's role. Then, as root and in a session of its own, kill every process but init and this
# one, the timer's among them, say so on the console, and stay.
HOSTILE = """
import json, os, pathlib, signal, subprocess, sys, time

def alone():
    for entry in pathlib.Path("/proc").iterdir():
        try:
            is_other = entry.name.isdigit() and int(entry.name) != os.getpid()
            if is_other and b"skylift/init" not in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass

def tried(instance):
    import awscli
    from botocore.exceptions import ClientError
    from botocore.session import Session
    session, answers = Session(), []
    for service, operation, params in json.loads(pathlib.Path(sys.argv[1]).read_text().replace("SELF", instance)):
        try:
            getattr(session.create_client(service), operation)(**params)
            answers.append([service, operation, "done"])
        except ClientError as error:
            answers.append([service, operation, error.response["Error"]["Code"]])
    return answers

def instance():
    import urllib.request
    imds = "http://169.254.169.254/latest/"
    request = urllib.request.Request(imds + "api/token", method="PUT")
    request.add_header("X-aws-ec2-metadata-token-ttl-seconds", "60")
    token = urllib.request.urlopen(request).read().decode()
    request = urllib.request.Request(imds + "meta-data/instance-id", headers={"X-aws-ec2-metadata-token": token})
    return urllib.request.urlopen(request).read().decode()

if os.getuid():
    os.execvp("sudo", ["sudo", sys.executable, __file__, json.dumps(tried(instance()))])
if os.fork():
    time.sleep(3600)
os.setsid()
while True:
    alone()
    with open("/proc/1/fd/1", "w") as console:
        console.write("ALONE " + sys.argv[1] + "\\n")
    time.sleep(0.5)
"""


def attempts(account: str) -> list[tuple[str, str, dict[str, Any]]]:
    """What a job's role must not be able to do with the cap of its own server."""
    name = {"GroupName": GROUP, "Name": "SELF.terminate"}
    target = {
        "Arn": "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances",
        "RoleArn": f"arn:aws:iam::{account}:role/skylift/skylift-cap-1.scheduler",
    }
    later = {"ScheduleExpression": "at(2098-01-01T00:00:00)", "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": target}
    group = {"AutoScalingGroupName": "skylift-workers.alone"}
    protected = {"InstanceId": "SELF", "DisableApiTermination": {"Value": True}}
    return [
        ("scheduler", "delete_schedule", name),
        ("scheduler", "update_schedule", {**name, **later}),
        ("scheduler", "create_schedule", {"GroupName": GROUP, "Name": "other", **later}),
        ("scheduler", "delete_schedule_group", {"Name": GROUP}),
        ("ec2", "modify_instance_attribute", protected),
        ("ec2", "delete_tags", {"Resources": ["SELF"], "Tags": [{"Key": "skylift:job"}]}),
        ("ec2", "create_tags", {"Resources": ["SELF"], "Tags": [{"Key": "skylift:job", "Value": "other"}]}),
        (
            "ec2",
            "modify_fleet",
            {"FleetId": f"fleet-{uuid4()}", "TargetCapacitySpecification": {"TotalTargetCapacity": 9}},
        ),
        ("autoscaling", "detach_instances", {**group, "InstanceIds": ["SELF"], "ShouldDecrementDesiredCapacity": True}),
        ("autoscaling", "update_auto_scaling_group", {**group, "MaxSize": 9}),
        ("iam", "delete_role_policy", {"RoleName": "skylift-cap-1.scheduler", "PolicyName": "end"}),
        ("sts", "assume_role", {"RoleArn": target["RoleArn"], "RoleSessionName": "job"}),
    ]


def attempts_of_a_run(account: str) -> list[tuple[str, str, dict[str, Any]]]:
    """What the role of a schedule's runs must not be able to do besides. It may ask for caps of its schedule's."""
    role = f"arn:aws:iam::{account}:role/skylift"
    once = {"ScheduleExpression": "at(2098-01-01T00:00:00)", "FlexibleTimeWindow": {"Mode": "OFF"}}
    target = {"Arn": "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances", "RoleArn": f"{role}/skylift-cap.root-run"}
    starting = {"Arn": "arn:aws:scheduler:::aws-sdk:ec2:runInstances", "RoleArn": f"{role}/skylift-scheduler.root-run"}
    own = {"GroupName": SCHEDULES, "Name": "root-run.aa"}
    return [
        *attempts(account),
        ("scheduler", "list_schedules", {"GroupName": SCHEDULES}),
        ("scheduler", "delete_schedule", own),
        ("scheduler", "update_schedule", {**own, **once, "Target": target}),
        ("scheduler", "delete_schedule", {**own, "Name": "root-run"}),
        ("scheduler", "update_schedule", {**own, **once, "Name": "root-run", "Target": target}),
        ("scheduler", "create_schedule", {**own, **once, "Name": "root-run.aaa", "Target": target}),
        ("scheduler", "create_schedule", {**own, **once, "GroupName": GROUP, "Target": target}),
        ("scheduler", "create_schedule", {**own, **once, "Target": starting}),
        ("scheduler", "delete_schedule_group", {"Name": SCHEDULES}),
        ("iam", "delete_role_policy", {"RoleName": "skylift-cap.root-run", "PolicyName": "run"}),
        ("sts", "assume_role", {"RoleArn": target["RoleArn"], "RoleSessionName": "job"}),
    ]


def on_its_own(
    cloud: RealCloud, folder: Path, tries: list[tuple[str, str, dict[str, Any]]], *schedule: str
) -> tuple[Server, Any]:
    """The server of a job, or of a schedule's run, that has killed everything else there, and what its role was
    answered."""
    folder.mkdir()
    (folder / "job.py").write_text(HOSTILE)
    (folder / "tries.json").write_text(json.dumps(tries))
    how = (*schedule, "--name", folder.name, "--", "run") if schedule else ("run", "-d", "--name", folder.name)
    cloud.skylift(*how, "--in", "tries.json", "job.py", "tries.json", cwd=folder)

    def started() -> list[str]:
        return [each["instance"] for each in jobs(cloud) if each["name"].startswith(folder.name) and each["instance"]]

    (instance,) = until(started, "the server")
    server = Server(cloud, instance)
    until(lambda: server.console.count("ALONE") > 1, "the program to be alone there")
    said = server.console.rpartition("ALONE ")[0].rpartition("ALONE ")[2]
    return server, json.loads(said.splitlines()[0])


def caps(cloud: RealCloud, server: Server, group: str = GROUP) -> list[dict[str, Any]]:
    scheduler = cloud.client("scheduler")
    names = sorted(each["Name"] for each in scheduler.list_schedules(GroupName=group)["Schedules"])
    found = [scheduler.get_schedule(GroupName=group, Name=each) for each in names]
    return [each for each in found if json.loads(each["Target"]["Input"]) == {"InstanceIds": [server.id]}]


def hasten(cloud: RealCloud, found: list[dict[str, Any]]) -> None:
    """Have the deadline come now: nothing else of the schedules is changed."""
    when = f"at({datetime.now(UTC) + timedelta(seconds=3):%Y-%m-%dT%H:%M:%S})"
    given = ("GroupName", "Name", "FlexibleTimeWindow", "ActionAfterCompletion", "Target")
    for each in found:
        asked = {name: each[name] for name in given}
        cloud.client("scheduler").update_schedule(**asked, ScheduleExpression=when)


def test_it_is_terminated_though_it_has_ended_all_that_would_do_so(cloud: RealCloud) -> None:
    folder = cloud.work / "alone"
    server, answers = on_its_own(cloud, folder, attempts(cloud.endpoint.account))
    assert {code for *_, code in answers} <= DENIED, answers
    assert len(answers) == len(attempts(""))
    found = caps(cloud, server)
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    record = json.load(cloud.client("s3").get_object(Bucket=bucket, Key=f"jobs/{folder.name}/record.json")["Body"])
    assert [each["Name"] for each in found] == [f"{server.id}.stop", f"{server.id}.terminate"]
    for each in found:
        due = datetime.strptime(each["ScheduleExpression"], "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC).timestamp()
        assert MARGIN <= due - record["deadline"] < MARGIN + 60
    assert server.state == "running"
    hasten(cloud, found)
    until(lambda: server.state == "terminated", "the cloud to end it")
    until(lambda: caps(cloud, server) == [], "the schedules to be gone")
    cloud.skylift("rm", folder.name)


def test_a_schedules_run_is_terminated_as_well(cloud: RealCloud) -> None:
    """No client starts its server, which has asked for its cap before the program began."""
    folder = cloud.work / "root-run"
    tries = attempts_of_a_run(cloud.endpoint.account)
    server, answers = on_its_own(cloud, folder, tries, "schedule", "rate(1 day)")
    assert {code for *_, code in answers} <= DENIED, answers
    assert len(answers) == len(tries)
    found = caps(cloud, server, SCHEDULES)
    operations = {each["Target"]["Arn"].rpartition(":")[2] for each in found}
    assert (len(found), operations) == (2, {"terminateInstances", "stopInstances"})
    assert server.state == "running"
    hasten(cloud, found)
    until(lambda: server.state == "terminated", "the cloud to end it")
    until(lambda: caps(cloud, server, SCHEDULES) == [], "the schedules to be gone")
    (run,) = json.loads(cloud.skylift("schedule", "history", folder.name, "--json").stdout)
    cloud.skylift("schedule", "rm", folder.name)
    cloud.skylift("rm", run["name"])


def test_one_that_pretends_to_keep_results_is_stopped(cloud: RealCloud) -> None:
    """As it could have asked for itself at any time. It is there for its owner, who ends it."""
    mark = {"Resources": ["SELF"], "Tags": [{"Key": "skylift:undelivered", "Value": "yes"}]}
    folder = cloud.work / "pretends"
    server, answers = on_its_own(cloud, folder, [("ec2", "create_tags", mark)])
    assert answers == [["ec2", "create_tags", "done"]]
    hasten(cloud, caps(cloud, server))
    until(lambda: server.state == "stopped", "the cloud to stop it")
    until(lambda: caps(cloud, server) == [], "the schedules to be gone")
    assert server.state == "stopped"
    cloud.skylift("cancel", folder.name)
    until(lambda: server.state == "terminated", "its owner to end it")
    cloud.skylift("rm", folder.name)
