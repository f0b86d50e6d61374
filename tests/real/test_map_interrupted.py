"""A map on spot servers, one of which EC2 takes back: it ends what it has, and is then ended at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mapped import Mapped
from real_cloud import RealCloud

from skylift.runner.map.outcome import MapEnd
from skylift.runner.map.progress import parse_progress
from skylift.runner.map.spec import MapInput, MapSpec

pytestmark = pytest.mark.real

INPUTS = 10

# Ends when the test has put the object that its input asks for.
PROGRAM = """
import sys, time
import awscli
from botocore.exceptions import ClientError
from botocore.session import Session
number, bucket = sys.argv[1:]
s3, gate = Session().create_client("s3"), "last" if number == "9" else "first"
while True:
    try:
        s3.get_object(Bucket=bucket, Key=f"jobs/noticed/in/map/{gate}")
        break
    except ClientError:
        time.sleep(0.2)
"""


def test_a_server_with_a_notice_loses_nothing_and_is_ended(cloud: RealCloud, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(PROGRAM)
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    inputs = tuple(MapInput(number, str(number), str(number)) for number in range(INPUTS))
    spec = MapSpec(("python", "job.py"), True, ("{}", bucket), inputs, batch=1, per_server=1, servers=2)
    mapped = Mapped(cloud, tmp_path, "noticed", spec, {}, spot=True)
    until(lambda: len(running(mapped)) == 2)
    (worker,) = set(running(mapped)) - {mapped.instance}
    (listed,) = json.loads(cloud.skylift("ps", "--name", "noticed", "--json").stdout)
    assert (listed["servers"], listed["instance"]) == (2, mapped.instance)
    cloud.skylift("cloud", "interrupt", worker, "--in", "1h")
    until(lambda: f"EC2 takes {worker} back" in cloud.skylift("logs", "noticed").stderr)
    put(cloud, mapped, "first")
    until(lambda: state(cloud, worker) in ("shutting-down", "terminated"))
    put(cloud, mapped, "last")
    outcome = mapped.wait()
    assert outcome["exit_code"] == 0
    others = outcome["price"]["other_servers"]
    assert others["servers"] >= 1
    assert min(others["seconds"], others["usd"]) > 0
    (time_of_it,) = parse_progress(mapped.read(mapped.keys.progress)).others
    assert time_of_it.market == "spot"
    log = mapped.log()
    assert log.ended == MapEnd(f"All {INPUTS} inputs have succeeded.")
    assert {(each.attempt, each.losses) for each in log.outcomes.values()} == {(1, 0)}
    assert [each.server for each in log.outcomes.values()].count(worker) == 1
    assert "noticed: removed" in cloud.skylift("rm", "noticed").stdout


def running(mapped: Mapped) -> list[str]:
    """The servers on which an input runs."""
    try:
        progress = parse_progress(mapped.read(mapped.keys.progress))
    except mapped.missing:
        return []
    return [each.instance for each in progress.servers if each.running]


def put(cloud: RealCloud, mapped: Mapped, gate: str) -> None:
    cloud.client("s3").put_object(Bucket=mapped.bucket, Key=f"jobs/noticed/in/map/{gate}")


def state(cloud: RealCloud, instance: str) -> str:
    (reservation,) = cloud.client("ec2").describe_instances(InstanceIds=[instance])["Reservations"]
    return str(reservation["Instances"][0]["State"]["Name"])


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + 300
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)
