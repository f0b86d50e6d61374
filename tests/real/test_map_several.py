"""A map on three servers, to which happens what may: one is terminated, and the scheduler's process is killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from mapped import Mapped, left_of
from real_cloud import RealCloud

from skylift.runner.job.record import workers_name
from skylift.runner.map.outcome import MapEnd
from skylift.runner.map.spec import MapInput, MapSpec

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
