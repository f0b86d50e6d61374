"""A map on three servers, to which happens what may: one is terminated, and the scheduler's process is killed. A
scheduled one, whose servers are those of the schedule."""

from __future__ import annotations

from pathlib import Path

import pytest
from mapped import Mapped, all_named, left_of, log_of
from support.real_cloud import RealCloud

from skylift.client.job.record import workers_name, workers_of_schedule
from skylift.client.map.outcome import MapEnd
from skylift.contract.map_spec import MapInput, MapSpec

pytestmark = pytest.mark.real

# Says its number, and which of the map's keys it can read with all that its server may do. The first one, on the
# coordinator's server, puts one for another server, as the coordinator does. The others there wait until another server
# has one, and the first of them that comes late kills the coordinator.
PROGRAM = """
import json, os, subprocess, sys, time, urllib.request
import awscli
from botocore.exceptions import ClientError
from botocore.session import Session
number, bucket = int(sys.argv[1]), sys.argv[2]
IMDS = "http://169.254.169.254/latest/"
found = urllib.request
token = found.Request(IMDS + "api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
header = {"X-aws-ec2-metadata-token": found.urlopen(token).read().decode()}
time.sleep(1.2)
if number >= 2 and not os.path.exists("/tmp/others"):
    role = found.urlopen(found.Request(IMDS + "meta-data/iam/security-credentials/", headers=header)).read().decode()
    s3, been = Session().create_client("s3"), {"Bucket": bucket, "Key": "jobs/several/server/map/runs/been"}
    if role.endswith("-w"):
        s3.put_object(Body=b"", **been)
    while not os.path.exists("/tmp/others"):
        try:
            s3.get_object(**been)
            open("/tmp/others", "w").close()
        except ClientError:
            if role.endswith("-w"):
                break
            time.sleep(0.3)
if number >= 8 and not os.path.exists("/tmp/killed"):
    open("/tmp/killed", "w").close()
    if subprocess.run(["sudo", "pkill", "-9", "-f", "[m]ap.main import"]).returncode == 0:
        time.sleep(600)
can = []
if number in (0, 23):
    session = Session()
    document = found.Request(IMDS + "dynamic/instance-identity/document", headers=header)
    of = json.loads(found.urlopen(document).read())
    instances = "server/map/keys/arn:aws:ec2:%s:%s:instance/" % (of["region"], of["accountId"])
    s3, others = session.create_client("s3"), instances + "i-other"
    keys = ["in/dask.json", instances + of["instanceId"], others]
    if number == 0:
        s3.put_object(Bucket=bucket, Key="jobs/several/" + others, Body=b"{}")
    for key in keys:
        try:
            s3.get_object(Bucket=bucket, Key="jobs/several/" + key)
            can.append(key)
        except ClientError:
            pass
print(number, *can)
"""


def test_each_input_has_one_outcome_whatever_happens_to_servers(cloud: RealCloud, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(PROGRAM)
    inputs = tuple(MapInput(number, str(number), str(number)) for number in range(24))
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    spec = MapSpec(("python", "job.py"), True, ("{}", bucket), inputs, batch=1, servers=3)
    mapped = Mapped(cloud, tmp_path, "several", spec, {})
    mapped.until(lambda: others(mapped), "an outcome from another server")
    (first, *_) = others(mapped)
    cloud.client("ec2").terminate_instances(InstanceIds=[first])
    assert cloud.skylift("wait", "several", check=False).returncode == 0
    log = mapped.log()
    assert log.ended == MapEnd("All 24 inputs have succeeded.")
    assert log.epoch == 2, "the coordinator has had a successor"
    assert sorted(log.outcomes) == list(range(24))
    assert [each.stdout.content for _, each in sorted(log.outcomes.items())] == [b"%d\n" % one for one in range(24)]
    assert len({each.server for each in log.outcomes.values()}) >= 2
    # The client has left long ago: the servers have ended by themselves, and the group with them.
    scaling = cloud.client("autoscaling")
    mine = {"AutoScalingGroupNames": [workers_name("several")]}
    mapped.until(lambda: not scaling.describe_auto_scaling_groups(**mine)["AutoScalingGroups"], "its group to be gone")
    mapped.until(lambda: not mapped.alive(), "the map's servers to be gone")
    keys = cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix="jobs/several/in/dask")
    assert keys["KeyCount"] == 0
    assert "several: removed" in cloud.skylift("rm", "several").stdout
    assert left_of(cloud, "several") == []


def others(mapped: Mapped) -> list[str]:
    """Servers besides the coordinator's that have ended an input."""
    return [each.server for each in mapped.log().outcomes.values() if each.server not in (None, mapped.instance)]


# Says its number, and what it could do that a run of a schedule may not. The first ones end at once; then those on the
# run's own server wait until another server has come, which leaves a mark for them. One of them looks for it in S3, as
# every client of AWS takes a while to be made.
DAILY = """
import os, sys, time, urllib.request
number, bucket = int(sys.argv[1]), os.environ["BUCKET"]
IMDS, found = "http://169.254.169.254/latest/", urllib.request
token = found.Request(IMDS + "api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
header = {"X-aws-ec2-metadata-token": found.urlopen(token).read().decode()}
def metadata(path):
    return found.urlopen(found.Request(IMDS + "meta-data/" + path, headers=header)).read().decode()
def client(name):
    import awscli
    from botocore.session import Session
    return Session().create_client(name)
def is_first(name):
    try:
        os.close(os.open("/tmp/" + name, os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False
schedule, _, due = metadata("tags/instance/skylift:job").partition("/")
date, clock = due.strip("Z").replace("-", "").replace(":", "").split("T")
run = schedule + "-" + date + "-" + (clock[:4] if clock.endswith("00") else clock)
group, server = "skylift-schedule-workers." + schedule, "jobs/" + run + "/server/"
mark, key = server + "map/runs/mark", server + "map/keys/i-other"
is_other = "workers" in metadata("iam/security-credentials/")
end, tried, could = time.monotonic() + 240, [], []
if is_other and is_first("mark"):
    s3, scaling = client("s3"), client("autoscaling")
    s3.put_object(Bucket=bucket, Key=mark, Body=b"")
    tried = [
        lambda: s3.put_object(Bucket=bucket, Key=server + "attempts/1.json", Body=b"{}"),
        lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"{}"),
        lambda: scaling.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=1),
    ]
elif number == 0:
    s3, scaling, ec2 = client("s3"), client("autoscaling"), client("ec2")
    s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    tag = {"ResourceId": group, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
    tried = [
        lambda: s3.get_object(Bucket=bucket, Key=key),
        lambda: s3.put_object(Bucket=bucket, Key="schedules/" + schedule + "/in/map.json", Body=b"{}"),
        lambda: scaling.update_auto_scaling_group(AutoScalingGroupName=group, MaxSize=9),
        lambda: scaling.create_or_update_tags(Tags=[{**tag, "Key": "skylift:job", "Value": "other/x"}]),
        lambda: scaling.create_or_update_tags(Tags=[{**tag, "Key": "Name", "Value": "x"}]),
        lambda: scaling.delete_auto_scaling_group(AutoScalingGroupName=group),
        lambda: ec2.run_instances(LaunchTemplate={"LaunchTemplateName": group}, MinCount=1, MaxCount=1),
    ]
elif not is_other and number >= 4:
    if is_first("looking"):
        s3 = client("s3")
        while time.monotonic() < end:
            try:
                s3.get_object(Bucket=bucket, Key=mark)
                break
            except s3.exceptions.ClientError:
                time.sleep(0.2)
        open("/tmp/came", "w").close()
    while not os.path.exists("/tmp/came") and time.monotonic() < end:
        time.sleep(0.1)
for position, each in enumerate(tried):
    try:
        each()
        could.append(position)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in ("AccessDenied", "UnauthorizedOperation"):
            could.append(str(error))
print(number, *could)
"""


def test_a_run_of_a_schedule_has_the_schedules_servers_and_leaves_none(cloud: RealCloud, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(DAILY)
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    what = ["map", "--servers", "2", "--batch", "1", "--range", "0..23", "--env", f"BUCKET={bucket}", "job.py"]
    cloud.skylift("schedule", "cron(0 2 1 1 ? *)", "--name", "daily", "--", *what, cwd=tmp_path)
    run = cloud.skylift("schedule", "run", "daily").stdout.strip()
    done = cloud.skylift("wait", run, check=False)
    assert done.returncode == 0, cloud.skylift("logs", run, check=False).stderr
    log = log_of(cloud, run)
    assert log.ended == MapEnd("All 24 inputs have succeeded.")
    assert [each.stdout.content for _, each in sorted(log.outcomes.items())] == [b"%d\n" % one for one in range(24)]
    assert len({each.server for each in log.outcomes.values()}) == 2
    # The group stays for the next run, with nothing in it, and says whose its last servers were.
    scaling, mine = cloud.client("autoscaling"), {"AutoScalingGroupNames": [workers_of_schedule("daily")]}
    (group,) = scaling.describe_auto_scaling_groups(**mine)["AutoScalingGroups"]
    assert (group["MaxSize"], group["DesiredCapacity"]) == (1, 0)
    assert [each for each in group["Instances"] if not each["LifecycleState"].startswith("Terminat")] == []
    assert {each["Key"]: each["Value"] for each in group["Tags"]}["skylift:job"].startswith("daily/20")
    cloud.skylift("schedule", "rm", "daily")
    cloud.skylift("rm", run)
    assert [each for each in all_named(cloud) if each.endswith(".daily")] == []
