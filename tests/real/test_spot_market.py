"""The market on real servers: a notice is seen from inside, and carried out; what was stopped comes back."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real

TYPE = "t3a.nano"
"""One that no other test launches: room is set for it, in a cloud that others use."""

METADATA = (
    "t=$(curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token); "
    'curl -sH "X-aws-ec2-metadata-token: $t" -w " %{http_code}" http://169.254.169.254/latest/meta-data/'
)


def told(server: Server, path: str) -> tuple[str, str]:
    """What the metadata service answers inside, and its status."""
    body, _, status = server.says(METADATA + path).rpartition(" ")
    return body, status


def spot(cloud: RealCloud, **options: str) -> Server:
    return cloud.launch(InstanceType=TYPE, InstanceMarketOptions={"MarketType": "spot", "SpotOptions": options})


def status(server: Server) -> str:
    request = server.describe()["SpotInstanceRequestId"]
    (found,) = server.cloud.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[request])[
        "SpotInstanceRequests"
    ]
    return str(found["Status"]["Code"])


@pytest.fixture
def scarce(cloud: RealCloud) -> Iterator[None]:
    """No room for more of the type."""
    cloud.skylift("cloud", "capacity", TYPE, "0", "--spot")
    yield
    cloud.skylift("cloud", "capacity", TYPE, "--reset")


def test_a_notice_is_seen_inside_and_ends_the_server(cloud: RealCloud) -> None:
    server = spot(cloud)
    assert told(server, "instance-life-cycle") == ("spot", "200")
    assert told(server, "spot/instance-action")[1] == "404"
    assert told(server, "events/recommendations/rebalance")[1] == "404"
    cloud.skylift("cloud", "interrupt", server.id, "--rebalance")
    assert list(json.loads(told(server, "events/recommendations/rebalance")[0])) == ["noticeTime"]
    assert told(server, "spot/instance-action")[1] == "404"
    cloud.skylift("cloud", "interrupt", server.id, "--in", "10m")
    notice = json.loads(told(server, "spot/instance-action")[0])
    assert notice["action"] == "terminate"
    assert told(server, "spot/termination-time") == (notice["time"], "200")
    cloud.skylift("cloud", "interrupt", server.id, "--in", "1s")
    server.await_state("terminated")
    assert server.describe()["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    until(lambda: status(server) == "instance-terminated-no-capacity", "the request's end")


def test_a_server_that_is_stopped_comes_back_with_its_disk(cloud: RealCloud, scarce: None) -> None:
    cloud.skylift("cloud", "capacity", TYPE, "--reset")
    server = spot(cloud, SpotInstanceType="persistent", InstanceInterruptionBehavior="stop")
    cloud.skylift("cloud", "capacity", TYPE, "0", "--spot")
    word = secrets.token_hex(8)
    server.ssh(f"echo {word} >~/word")
    cloud.skylift("cloud", "interrupt", server.id, "--in", "1s")
    server.await_state("stopped")
    until(lambda: status(server) == "instance-stopped-no-capacity", "the request to wait")
    cloud.skylift("cloud", "capacity", TYPE, "--reset")
    server.await_state("running")
    server.await_way_in("SSH after the stop")
    assert server.says("cat ~/word") == word
    cloud.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[server.describe()["SpotInstanceRequestId"]])
    server.terminate()


def test_a_request_is_fulfilled_once_there_is_room(cloud: RealCloud, scarce: None) -> None:
    ec2 = cloud.ec2
    (asked,) = ec2.request_spot_instances(
        LaunchSpecification={"ImageId": cloud.image, "InstanceType": TYPE}, SpotPrice="0.5"
    )["SpotInstanceRequests"]
    wanted = [asked["SpotInstanceRequestId"]]

    def found() -> dict[str, object]:
        (request,) = ec2.describe_spot_instance_requests(SpotInstanceRequestIds=wanted)["SpotInstanceRequests"]
        return dict(request)

    until(lambda: found()["Status"]["Code"] == "capacity-not-available", "the request to be looked at")  # type: ignore[index]
    cloud.skylift("cloud", "capacity", TYPE, "--reset")
    ec2.get_waiter("spot_instance_request_fulfilled").wait(
        SpotInstanceRequestIds=wanted, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    instance = str(found()["InstanceId"])
    ec2.terminate_instances(InstanceIds=[instance])
    until(lambda: found()["State"] == "closed", "the request's end")
