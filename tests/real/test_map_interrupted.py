"""A map on spot servers, one of which EC2 takes back: it ends what it has, and is then ended at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mapped import Mapped
from support.real_cloud import RealCloud

from skylift.client.map.outcome import MapEnd
from skylift.contract.document import parse
from skylift.contract.map_progress import PROGRESS_LIMIT, Progress
from skylift.contract.map_spec import MapInput, MapSpec

pytestmark = pytest.mark.real

INPUTS = 10
TYPE = "t3a.small"
"""One that no other test launches: room is set for it, in a cloud that others use."""

# Ends when the test has put the object that its server waits for.
PROGRAM = """
import sys, time, urllib.request
import awscli
from botocore.exceptions import ClientError
from botocore.session import Session
IMDS, ask = "http://169.254.169.254/latest/", urllib.request.Request
token = ask(IMDS + "api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
header = {"X-aws-ec2-metadata-token": urllib.request.urlopen(token).read().decode()}
mine = urllib.request.urlopen(ask(IMDS + "meta-data/instance-id", headers=header)).read().decode()
s3, gates = Session().create_client("s3"), (mine, "all")
while True:
    for gate in gates:
        try:
            s3.get_object(Bucket=sys.argv[2], Key=f"jobs/noticed/in/map/{gate}")
            sys.exit()
        except ClientError:
            time.sleep(0.2)
"""


@pytest.fixture
def room(cloud: RealCloud) -> Iterator[Callable[[int], object]]:
    """How many spot servers of the type there may be."""
    yield lambda servers: cloud.skylift("cloud", "capacity", TYPE, str(servers), "--spot")
    cloud.skylift("cloud", "capacity", TYPE, "--reset")


def test_a_server_with_a_notice_loses_nothing_is_ended_and_has_a_successor(
    cloud: RealCloud, tmp_path: Path, room: Callable[[int], object]
) -> None:
    """There is no room for another spot server: the successor is one on demand."""
    (tmp_path / "job.py").write_text(PROGRAM)
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    inputs = tuple(MapInput(number, str(number), str(number)) for number in range(INPUTS))
    spec = MapSpec(("python", "job.py"), True, ("{}", bucket), inputs, batch=1, per_server=1, servers=2)
    mapped = Mapped(cloud, tmp_path, "noticed", spec, {}, spot=True, or_on_demand=True, type=TYPE)
    mapped.until(lambda: len(running(mapped)) == 2, "an input on each of two servers")
    (worker,) = set(running(mapped)) - {mapped.instance}
    (listed,) = json.loads(cloud.skylift("ps", "--name", "noticed", "--json").stdout)
    assert (listed["servers"], listed["instance"]) == (2, mapped.instance)
    room(0)
    cloud.skylift("cloud", "interrupt", worker, "--in", "1h")
    mapped.until(lambda: f"EC2 takes {worker} back" in cloud.skylift("logs", "noticed").stderr, "the notice")
    put(cloud, mapped, worker)
    mapped.until(lambda: state(cloud, worker) in ("shutting-down", "terminated"), "the end of the server")
    mapped.until(lambda: set(running(mapped)) - {mapped.instance, worker}, "its successor")
    put(cloud, mapped, "all")
    outcome = mapped.wait()
    assert outcome["exit_code"] == 0
    others = outcome["price"]["other_servers"]
    assert others["servers"] == 2
    assert min(others["seconds"], others["usd"]) > 0
    times = parse(Progress, mapped.read(mapped.keys.progress), PROGRESS_LIMIT).others
    assert [(each.market, each.servers) for each in times] == [("spot", 1), ("on-demand", 1)]
    log = mapped.log()
    assert log.ended == MapEnd(f"All {INPUTS} inputs have succeeded.")
    assert {(each.attempt, each.losses) for each in log.outcomes.values()} == {(1, 0)}
    assert [each.server for each in log.outcomes.values()].count(worker) == 1
    assert "Servers on demand are used (--or-on-demand): 1." in cloud.skylift("logs", "noticed").stderr
    assert "noticed: removed" in cloud.skylift("rm", "noticed").stdout


def running(mapped: Mapped) -> list[str]:
    """The servers on which an input runs."""
    try:
        progress = parse(Progress, mapped.read(mapped.keys.progress), PROGRESS_LIMIT)
    except mapped.missing:
        return []
    return [each.instance for each in progress.servers if each.running]


def put(cloud: RealCloud, mapped: Mapped, gate: str) -> None:
    cloud.client("s3").put_object(Bucket=mapped.bucket, Key=f"jobs/noticed/in/map/{gate}")


def state(cloud: RealCloud, instance: str) -> str:
    (reservation,) = cloud.client("ec2").describe_instances(InstanceIds=[instance])["Reservations"]
    return str(reservation["Instances"][0]["State"]["Name"])
