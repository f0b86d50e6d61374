"""A map as its client leaves it, without the client's words: for tests of what servers do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.real_cloud import RealCloud
from support.real_server import until

from skylift.client.job.record import workers_name
from skylift.client.map.keys import MapKeys
from skylift.client.map.outcome import MapLog
from skylift.client.map.spec import encode_spec
from skylift.contract.map_spec import MapSpec

PATIENCE = 300.0
"""Seconds: a map may wait for several servers, one after the other."""

# Submits the map whose spec is in standard input, and says where it is.
PROGRAM = """
import json, sys
from dataclasses import replace
from skylift.python import work
from skylift.python.watching import Recorder
from skylift.client.job.job import MapPart
from skylift.client.map.keys import MapKeys

name, servers, blobs, options = sys.argv[1], int(sys.argv[2]), *map(json.loads, sys.argv[3:])

def send(api, bucket, name):
    for digest, path in blobs.items():
        api.put(bucket, MapKeys(name).blob(digest), open(path, "rb").read())

planned, settings = work.plan("map", "job.py", (), {"name": name, "in_": "*.py", "max_time": "10m", **options})
planned = replace(planned, map=MapPart(sys.stdin.buffer.read(), send, servers=servers))
with Recorder(None, None, progress=False) as watcher:
    launched = work.start_submission(planned, settings, watcher, None).result()
print(json.dumps({"bucket": launched.account.bucket, "instance": launched.server.instance}))
"""


class Mapped:
    def __init__(
        self, cloud: RealCloud, folder: Path, name: str, spec: MapSpec, blobs: dict[str, str], **options: Any
    ) -> None:
        self._cloud, self.name, self.keys = cloud, name, MapKeys(name)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, name, str(spec.servers), json.dumps(blobs), json.dumps(options)],
            cwd=folder, env=cloud.environment, input=encode_spec(spec), capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        told: dict[str, Any] = json.loads(done.stdout)
        self.bucket, self.instance = told["bucket"], told["instance"]

    @property
    def missing(self) -> type[Exception]:
        """What `read` raises for an object that is not there."""
        found: type[Exception] = self._cloud.client("s3").exceptions.NoSuchKey
        return found

    def log(self) -> MapLog:
        return log_of(self._cloud, self.name)

    def read(self, key: str) -> bytes:
        content: bytes = self._cloud.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content

    def alive(self) -> list[str]:
        """The map's servers that are not terminated."""
        mine: list[Any] = [
            {"Name": "tag:skylift:job", "Values": [self.name]},
            {"Name": "instance-state-name", "Values": ["pending", "running", "shutting-down", "stopping", "stopped"]},
        ]
        found = self._cloud.client("ec2").describe_instances(Filters=mine)["Reservations"]
        return [each["InstanceId"] for reservation in found for each in reservation["Instances"]]

    def until(self, look: Callable[[], object], what: str) -> None:
        # What is looked at is the whole log, mostly: without a pause, that would take a processor from the map.
        until(look, what, PATIENCE, lambda: self.log().outcomes, pause=0.2)

    def wait(self) -> dict[str, Any]:
        """Until the job has ended: what `skylift wait` says of it."""
        done = self._cloud.skylift("wait", self.name, "--json", check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        (outcome,) = found
        return outcome


def log_of(cloud: RealCloud, name: str) -> MapLog:
    """What is true of a map by now. Each entry is read as the client reads it."""
    log, s3, keys = MapLog(), cloud.client("s3"), MapKeys(name)
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    found = s3.list_objects_v2(Bucket=bucket, Prefix=keys.log).get("Contents", [])
    for number, each in enumerate(sorted(found, key=lambda entry: str(entry["Key"]))):
        assert each["Key"] == keys.log_entry(number)
        log.read([s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()])
    return log


def left_of(cloud: RealCloud, *names: str) -> list[str]:
    """What is named after these maps, besides servers and records."""
    theirs = {f"skylift-{each}" for each in names} | {f"skylift-{each}-w" for each in names}
    return [each for each in all_named(cloud) if each in theirs | {workers_name(name) for name in names}]


def all_named(cloud: RealCloud) -> list[str]:
    """The names of all that maps and schedules need besides servers and records."""
    ec2, iam, scaling = cloud.client("ec2"), cloud.client("iam"), cloud.client("autoscaling")
    found = [each["GroupName"] for each in ec2.describe_security_groups()["SecurityGroups"]]
    found += [each["LaunchTemplateName"] for each in ec2.describe_launch_templates()["LaunchTemplates"]]
    found += [each["RoleName"] for each in iam.list_roles()["Roles"]]
    found += [each["InstanceProfileName"] for each in iam.list_instance_profiles()["InstanceProfiles"]]
    found += [each["AutoScalingGroupName"] for each in scaling.describe_auto_scaling_groups()["AutoScalingGroups"]]
    return found
