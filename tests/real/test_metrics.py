"""What is told of a server is what the kernel counts of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server

from skylift.cloud.compute.server.meter import Meter

pytestmark = pytest.mark.real

BUSY = "python3 -c 'import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass'"


@pytest.fixture(scope="module")
def server(cloud: RealCloud) -> Server:
    return cloud.launch(Monitoring={"Enabled": True})


def test_the_kernel_is_read(cloud: RealCloud, server: Server) -> None:
    meter = Meter(Path("/run/skylift") / str(cloud.number), f"skylift/{cloud.number}")
    before = meter.read(server.id)
    assert before is not None
    assert server.says(f"{BUSY}; head -c 1000000 /dev/zero | tr '\\0' x | wc -c") == "1000000"
    server.says("head -c 1000000 /dev/zero | base64 -w 0")
    after = meter.read(server.id)
    assert after is not None
    assert before.cpu is not None and after.cpu is not None and after.memory is not None
    assert after.boot == before.boot
    assert after.cpu - before.cpu > 0.5
    assert after.bytes_out - before.bytes_out > 1_000_000
    assert after.bytes_in > before.bytes_in
    assert after.packets_out - before.packets_out > 10
    assert after.packets_in > before.packets_in
    assert 1 << 20 < after.memory < 1 << 30
    assert meter.read("i-none") is None


def test_a_server_that_is_busy_is_told_of_and_stopped_by_an_alarm(cloud: RealCloud, server: Server) -> None:
    cloudwatch = cloud.client("cloudwatch")
    # Before there is an alarm: what the server has done by now may be enough for it, and then it is not there any more.
    busy = BUSY.replace("'", '"').replace("0.5", "600")
    server.says(f"nohup sh -c '{busy}' >/dev/null 2>&1 & echo")
    of_server = {"Namespace": "AWS/EC2", "Dimensions": [{"Name": "InstanceId", "Value": server.id}]}
    # First: the alarm may stop it for what it did before.
    busy = BUSY.replace("'", '"').replace("0.5", "600")
    server.says(f"nohup sh -c '{busy}' >/dev/null 2>&1 & echo")
    cloudwatch.put_metric_alarm(
        AlarmName=server.id,
        **of_server,
        MetricName="CPUUtilization",
        Statistic="Maximum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[f"arn:aws:automate:{cloud.endpoint.region}:ec2:stop"],
    )
    server.await_state("stopped")
    # By now nothing more may be told of the server, so that the alarm may be in any state.
    history = cloudwatch.describe_alarm_history(AlarmName=server.id)["AlarmHistoryItems"]
    assert [one for one in history if "to ALARM" in one["HistorySummary"]], history
    assert [one for one in history if one["HistorySummary"].startswith("Successfully executed action")], history
    now = datetime.now(UTC)
    window = {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=1), "Period": 60}
    for name, least in (("CPUUtilization", 1), ("NetworkOut", 0)):
        told = cloudwatch.get_metric_statistics(**of_server, MetricName=name, **window, Statistics=["Maximum"])
        assert max(point["Maximum"] for point in told["Datapoints"]) >= least
    cloudwatch.delete_alarms(AlarmNames=[server.id])
