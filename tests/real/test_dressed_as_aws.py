"""Jobs `--on aws` where AWS is the embedded EC2: another region, and the very permissions that docs/iam.md gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
from support.dressed import Somebody, documented_policies, maps_policy, schedules_policy, somebody
from support.real_cloud import RealCloud, real_cloud
from support.real_server import until

from skylift.cloud.state.home import Home

pytestmark = pytest.mark.real

REGION = "eu-west-3"

JOB = "import os, sys\nprint(os.environ['AWS_REGION'])\nopen('r.txt', 'w').write('42')\nsys.exit(7)\n"


@pytest.fixture(scope="module")
def aws(image_home: Home) -> Iterator[RealCloud]:
    with real_cloud(image_home, "--region", REGION) as own:
        yield own


@pytest.fixture(scope="module")
def user(aws: RealCloud) -> Iterator[Somebody]:
    with somebody(aws, "developer") as who:
        every_day, once = documented_policies(aws.endpoint.account, REGION)
        who.allow(every_day, once)
        yield who


@pytest.fixture(scope="module")
def first(user: Somebody, aws: RealCloud) -> Somebody:
    """After the first run, which makes the network and the boundary; from here on every day's permissions must do."""
    (user.folder / "job.py").write_text(JOB)
    done = user.skylift("run", "--out", "r.txt", "--json", "job.py")
    assert done.returncode == 7, done.stderr
    told = json.loads(done.stdout)
    assert (told["state"], told["stdout_tail"]) == ("failed", f"{REGION}\n")
    assert (user.folder / "r.txt").read_text() == "42"
    user.allow(documented_policies(aws.endpoint.account, REGION)[0])
    return user


def live(cloud: RealCloud) -> list[str]:
    states = ["pending", "running", "stopping", "stopped", "shutting-down"]
    found = cloud.ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": states}])["Reservations"]
    return [instance["InstanceId"] for each in found for instance in each["Instances"]]


def test_a_job_with_every_days_permissions_alone(first: Somebody, aws: RealCloud) -> None:
    done = first.skylift("run", "--out", "r.txt", "--env", "WORD=x", "job.py")
    assert (done.returncode, done.stdout) == (7, f"{REGION}\n"), done.stderr
    assert f"t3.small in {REGION} (AWS)" in done.stderr
    until(lambda: live(aws) == [], "the server to be gone")
    iam = aws.client("iam")
    assert aws.job_roles() == []
    assert "Nothing but" not in done.stderr, "its cap is part of these permissions"
    assert iam.list_instance_profiles(PathPrefix="/skylift/")["InstanceProfiles"] == []


def test_a_job_that_is_left_alone_and_looked_after(first: Somebody, aws: RealCloud) -> None:
    done = first.skylift("run", "-d", "--name", "nightly", "--out", "r.txt", "job.py")
    assert (done.returncode, done.stdout) == (0, "nightly\n"), done.stderr
    (first.folder / "r.txt").unlink()
    assert first.skylift("wait", "nightly").returncode == 7
    assert first.skylift("logs", "nightly").stdout == f"{REGION}\n"
    assert first.skylift("results", "nightly").stdout == "r.txt\n"
    assert (first.folder / "r.txt").read_text() == "42"
    (listed,) = [
        each for each in json.loads(first.skylift("ps", "--all", "--json").stdout) if each["name"] == "nightly"
    ]
    assert (listed["state"], listed["exit_code"]) == ("failed", 7)
    assert first.skylift("rm", "nightly").returncode == 0
    until(lambda: live(aws) == [], "the server to be gone")


def test_a_shell_and_the_end(first: Somebody, aws: RealCloud) -> None:
    (first.folder / "waits.py").write_text("print('up', flush=True)\nimport signal\nsignal.pause()\n")
    first.skylift("run", "-d", "--name", "waits", "waits.py")
    assert first.skylift("ssh", "waits", "cat", "job/waits.py").stdout.startswith("print('up'")
    assert first.skylift("cancel", "waits").stdout == "waits: cancelled\n"
    until(lambda: live(aws) == [], "the server to be gone")


def test_inputs_from_a_bucket_that_somebody_opens_to_jobs_once(first: Somebody, aws: RealCloud) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="lake", Key="data/a.csv", Body=b"1,2,3")
    every_day, once = documented_policies(aws.endpoint.account, REGION)
    look = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::lake"}
    lake = {"Version": "2012-10-17", "Statement": [look]}
    (first.folder / "reads.py").write_text("print(open('data/a.csv').read())\n")
    wanted = ("run", "--in", "s3://lake/data/", "reads.py")
    try:
        first.allow(every_day, lake)
        done = first.skylift(*wanted)
        assert (done.returncode, "permission iam:CreatePolicy" in done.stderr) == (125, True)
        first.allow(every_day, lake, once)
        assert first.skylift(*wanted).stdout == "1,2,3\n"
        first.allow(every_day, lake)
        assert first.skylift(*wanted).stdout == "1,2,3\n"
    finally:
        first.allow(every_day)
        s3.delete_object(Bucket="lake", Key="data/a.csv")
        s3.delete_bucket(Bucket="lake")
    assert aws.job_roles() == []


def test_a_schedule_with_the_permissions_for_schedules(first: Somebody, aws: RealCloud) -> None:
    every_day, once = documented_policies(aws.endpoint.account, REGION)
    first.allow(every_day, once, schedules_policy(aws.endpoint.account, REGION))
    try:
        made = first.skylift("schedule", "cron(0 2 * * ? *)", "--name", "each-night", "--", "run", "job.py")
        assert (made.returncode, made.stdout) == (0, "each-night\n"), made.stderr
        run = first.skylift("schedule", "run", "each-night").stdout.strip()
        assert first.skylift("wait", run).returncode == 7
        assert first.skylift("logs", run).stdout == f"{REGION}\n"
        assert first.skylift("schedule", "pause", "each-night").stdout == "each-night: paused\n"
        until(lambda: live(aws) == [], "the server to be gone")
        assert first.skylift("schedule", "rm", "each-night").returncode == 0
        assert first.skylift("rm", run).returncode == 0
    finally:
        first.allow(every_day)
    assert aws.job_roles() == []
    assert aws.client("scheduler").list_schedules(GroupName="skylift")["Schedules"] == []


def test_a_map_on_several_servers_with_the_permissions_for_it(first: Somebody, aws: RealCloud) -> None:
    """Its inputs do not end by themselves: what is made for it is there until it is cancelled."""
    every_day, _ = documented_policies(aws.endpoint.account, REGION)
    (first.folder / "stays.py").write_text("import signal\nsignal.pause()\n")
    wanted = ("map", "-d", "--servers", "2", "--name", "spread", "--range", "1..9", "stays.py")
    try:
        first.allow(every_day, maps_policy(aws.endpoint.account, REGION))
        assert first.skylift(*wanted).stdout == "spread\n"
        (group,) = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        assert (group["AutoScalingGroupName"], group["MaxSize"]) == ("skylift-workers.spread", 1)
        assert {each["ProcessName"] for each in group["SuspendedProcesses"]} == {"ReplaceUnhealthy", "AZRebalance"}
        assert first.skylift("cancel", "spread").stdout == "spread: cancelled\n"
        assert aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    finally:
        first.allow(every_day)
    names = [each["GroupName"] for each in aws.client("ec2").describe_security_groups()["SecurityGroups"]]
    assert "skylift-spread" not in names
    assert aws.job_roles() == []


def test_a_map_without_the_permission_for_several_servers_has_one(first: Somebody, aws: RealCloud) -> None:
    """Nobody has asked for several: it is no error."""
    (first.folder / "counts.py").write_text("import sys\nprint(int(sys.argv[1]) ** 2)\n")
    done = first.skylift("map", "--json", "--name", "single", "--per-server", "2", "--range", "1..4", "counts.py")
    assert done.returncode == 0, done.stderr
    denied = "The map has one server, as a group of others cannot be made. You lack the permission"
    assert [denied in line for line in done.stderr.splitlines()].count(True) == 1, done.stderr
    assert "At most 2 servers of type t3.small, as many as 4 inputs can use." in done.stderr
    assert {each["server"] for each in json.loads(done.stdout)["inputs"]} == {json.loads(done.stdout)["instance"]}
    assert first.skylift("rm", "single").returncode == 0
    assert aws.job_roles() == []


def test_the_permission_that_lacks_is_named(first: Somebody, aws: RealCloud) -> None:
    every_day = documented_policies(aws.endpoint.account, REGION)[0]
    lacking = [each for each in every_day["Statement"] if each["Sid"] != "StartServersOfJobs"]
    first.allow({**every_day, "Statement": lacking})
    try:
        done = first.skylift("run", "job.py")
    finally:
        first.allow(every_day)
    assert done.returncode == 125
    assert f"You lack the permission ec2:RunInstances on arn:aws:ec2:{REGION}:" in done.stderr
    assert "Traceback" not in done.stderr
    assert aws.job_roles() == []


def test_an_environment_is_built_once(first: Somebody) -> None:
    (first.folder / "requirements.txt").write_text("humanize==4.12.1\n")
    (first.folder / "friendly.py").write_text("import humanize\nprint(humanize.intcomma(1234))\n")
    try:
        runs = [first.skylift("run", "friendly.py") for _ in range(2)]
    finally:
        (first.folder / "requirements.txt").unlink()
    assert [done.stdout for done in runs] == ["1,234\n", "1,234\n"], [done.stderr for done in runs]
    assert "as it was built before" in runs[1].stderr


def test_what_is_left_over_is_swept(first: Somebody, aws: RealCloud) -> None:
    """A job that nobody has looked at leaves its role; a disk and an interface are what a failed launch may leave."""
    assert first.skylift("run", "-d", "--name", "alone", "job.py").returncode == 0
    until(lambda: live(aws) == [], "the server to be gone", 120)

    def tagged(kind: str) -> list[dict[str, object]]:
        return [{"ResourceType": kind, "Tags": [{"Key": "skylift:job", "Value": "alone"}]}]

    subnet = aws.ec2.describe_subnets()["Subnets"][0]
    volume = aws.ec2.create_volume(
        AvailabilityZone=subnet["AvailabilityZone"], Size=1, TagSpecifications=tagged("volume")
    )["VolumeId"]
    interface = aws.ec2.create_network_interface(
        SubnetId=subnet["SubnetId"], TagSpecifications=tagged("network-interface")
    )["NetworkInterface"]["NetworkInterfaceId"]
    until(lambda: aws.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available", "it")
    left = {("role", "skylift-alone"), ("instance-profile", "skylift-alone")}
    left |= {("volume", volume), ("network-interface", interface)}
    looked = first.skylift("sweep", "--dry-run", "--json")
    assert {(each["kind"], each["id"]) for each in json.loads(looked.stdout)} == left, looked.stderr
    swept = first.skylift("sweep", "--json")
    assert {(each["kind"], each["id"]) for each in json.loads(swept.stdout) if each["removed"]} == left, swept.stderr
    assert (swept.returncode, first.skylift("sweep").stderr) == (0, "Nothing is left over.\n")
    assert first.skylift("rm", "alone").returncode == 0


def test_a_server_that_is_kept_goes_to_the_next_job(first: Somebody, aws: RealCloud) -> None:
    kept = first.skylift("run", "--keep", "10m", "--json", "job.py")
    told = json.loads(kept.stdout)
    assert told["exit_code"] == 7, kept.stderr
    done = first.skylift("run", "--reuse", told["name"], "--json", "job.py")
    after = json.loads(done.stdout)
    assert after["instance"] == told["instance"], done.stderr
    assert first.skylift("cancel", after["name"]).returncode == 0
    until(lambda: live(aws) == [], "the server to be gone")
    assert aws.job_roles() == []


def test_a_job_on_a_server_that_may_be_taken_away(first: Somebody, aws: RealCloud) -> None:
    every_day, once = documented_policies(aws.endpoint.account, REGION)
    spot = ("run", "--spot", "--out", "r.txt", "job.py")
    iam = aws.client("iam")
    for name in ("AWSServiceRoleForEC2Fleet", "AWSServiceRoleForEC2Spot"):
        # Of a new account, whatever other tests have made.
        with suppress(iam.exceptions.NoSuchEntityException):
            iam.delete_service_linked_role(RoleName=name)
    lacking = first.skylift(*spot)
    assert (lacking.returncode, "permission iam:CreateServiceLinkedRole" in lacking.stderr) == (125, True)
    first.allow(every_day, once)
    made = first.skylift(*spot)
    first.allow(every_day)
    assert made.returncode == 7, made.stderr
    names = {each["RoleName"] for each in iam.list_roles(PathPrefix="/aws-service-role/")["Roles"]}
    assert {"AWSServiceRoleForEC2Fleet", "AWSServiceRoleForEC2Spot"} <= names
    assert first.skylift(*spot).returncode == 7
    until(lambda: live(aws) == [], "the server to be gone")
    assert aws.ec2.describe_launch_templates()["LaunchTemplates"] == []
    until(lambda: {each["FleetState"] for each in aws.ec2.describe_fleets()["Fleets"]} == {"deleted"}, "its fleets")
    assert aws.job_roles() == []


def test_types_are_asked_of_the_place_and_prices_where_it_has_none_stay(first: Somebody) -> None:
    """The embedded EC2 has no Pricing API."""
    done = first.skylift("types", "--refresh", "t3")
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert f"✓ 1,395 types of {REGION} from AWS" in told
    assert any(line.startswith(f"No new prices of {REGION}: ") for line in told), told
    assert f"The catalogue has no prices of {REGION}: these are those of us-east-1." in told
    assert "t3.micro" in done.stdout
    kept = first.folder / "home" / "cache" / "catalogue-1" / "types.csv"
    assert "DescribeInstanceTypes at http" in kept.read_text().splitlines()[0]
    again = first.skylift("types", "--cpu", "2", "--memory", "4GiB")
    assert again.returncode == 0, again.stderr
    assert "t3.medium" in again.stdout
