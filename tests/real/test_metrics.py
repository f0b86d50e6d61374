"""What is told of a server is what the kernel counts of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from real_cloud import RealCloud
from real_server import Server, until

from skylift.cloud.compute.meter import Meter

pytestmark = pytest.mark.real

BUSY = "python3 -c 'import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass'"


@pytest.fixture(scope="module")
def server(cloud: RealCloud) -> Server:
    return cloud.launch(Monitoring={"Enabled": True})


def test_the_kernel_is_read(cloud: RealCloud, server: Server) -> None:
    meter = Meter(Path("/run/skylift") / str(cloud.number), f"skylift-{cloud.number}")
    before = meter.read(server.id)
    assert before is not None
    assert server.says(f"{BUSY}; head -c 1000000 /dev/zero | tr '\\0' x | wc -c") == "1000000"
    server.says("head -c 1000000 /dev/zero | base64 -w 0")
    after = meter.read(server.id)
    assert after is not None
    assert after.boot == before.boot
    assert after.cpu - before.cpu > 0.5
    assert after.bytes_out - before.bytes_out > 1_000_000
    assert after.bytes_in > before.bytes_in
    assert after.packets_out - before.packets_out > 10
    assert after.packets_in > before.packets_in
    assert 1 << 20 < after.memory < 1 << 30
    assert meter.read("i-none") is None


def test_it_is_told_by_cloudwatch(cloud: RealCloud, server: Server) -> None:
    cloudwatch = cloud.client("cloudwatch")
    server.says(f"nohup sh -c '{BUSY.replace(chr(39), chr(34)).replace('0.5', '60')}' >/dev/null 2>&1 & echo")
    of_server = [{"Name": "InstanceId", "Value": server.id}]

    def told(name: str) -> list[Any]:
        now = datetime.now(UTC)
        asked = {"Namespace": "AWS/EC2", "MetricName": name, "Dimensions": of_server}
        window = {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=1), "Period": 10}
        found = cloudwatch.get_metric_statistics(**asked, **window, Statistics=["Maximum"])["Datapoints"]
        return [point["Maximum"] for point in found]

    until(lambda: [value for value in told("CPUUtilization") if value > 1], "a server that is busy to be told of")
    assert max(told("NetworkOut")) > 0
    assert set(told("StatusCheckFailed")) == {0.0}
