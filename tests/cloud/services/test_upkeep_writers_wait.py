"""How long a writer waits while the cloud forgets what is old, however much somebody has left of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from ec2_fixtures import REGION, Cloud
from write_watch import MOST, Watch

from skylift.cloud.domain.command import Command, CommandInvocation
from skylift.cloud.domain.metric import Metric, Point, Summary
from skylift.cloud.domain.volume import Volume
from skylift.cloud.loops.cloudwatch.metering import Metering, TypeLimits
from skylift.cloud.store.database import Database
from skylift.cloud.store.metric import record
from skylift.cloud.wiring.queries import Queries

DAY = 86400


@pytest.fixture(name="watch")
def watch_fixture(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(cloud.database, monkeypatch)


def forget(cloud: Cloud) -> None:
    Queries(cloud.database, None, REGION).forget()  # type: ignore[arg-type]


def meter(cloud: Cloud) -> None:
    Metering(cloud.database, lambda _: None, lambda _: TypeLimits(1, 1)).step()


def late_seconds_of_one_metric(cloud: Cloud) -> None:
    """Values may be put for the past two weeks, for each second of them."""
    old = int(cloud.clock().timestamp()) - 4 * DAY
    metric, one = Metric("Shop", "orders"), Summary.of(1.0)
    with Database.write(cloud.database) as tx:
        record(tx, (Point(metric, old + second, one, "None") for second in range(30_000)))
    meter(cloud)
    with cloud.database.read() as tx:
        kept = tx.execute("SELECT count(*), sum(count), max(at % 60) FROM metric_points").fetchone()
    assert kept == (30_000 // 60, 30_000.0, 0)


def late_metrics_of_one_minute(cloud: Cloud) -> None:
    old = int(cloud.clock().timestamp()) - 4 * DAY
    one = Summary.of(1.0)
    with Database.write(cloud.database) as tx:
        points = ((Metric("Shop", f"m{number}"), second) for number in range(8000) for second in (1, 2))
        record(tx, (Point(metric, old - old % 60 + second, one, "None") for metric, second in points))
    meter(cloud)
    with cloud.database.read() as tx:
        kept = tx.execute("SELECT count(*), sum(count), max(at % 60) FROM metric_points").fetchone()
    assert kept == (8000, 16_000.0, 0)


def metrics_of_long_ago(cloud: Cloud) -> None:
    old = int(cloud.clock().timestamp()) - 500 * DAY
    with Database.write(cloud.database) as tx:
        record(tx, (Point(Metric("Shop", f"m{number}"), old, Summary.of(1.0), "None") for number in range(11_000)))
        tx.execute("UPDATE metrics SET reported = ?", old)
    meter(cloud)
    with cloud.database.read() as tx:
        assert tx.execute("SELECT count(*) FROM metrics").fetchone() == (0,)


def old_commands(cloud: Cloud) -> None:
    long_ago = cloud.clock() - timedelta(days=40)
    with Database.write(cloud.database) as tx:
        for number in range(120):
            tx.add(
                Command(
                    id=f"command-{number}",
                    document="AWS-RunShellScript",
                    document_version="1",
                    parameters={},
                    requested=long_ago,
                    expires=long_ago,
                    timeout=60,
                )
            )
            for server in range(100):
                tx.add(CommandInvocation(f"command-{number}", f"i-{server}", status="Success", stdout="x" * 24_000))
    forget(cloud)
    with cloud.database.read() as tx:
        assert tx.execute("SELECT count(*) FROM commands").fetchone() == (0,)


def terminated_servers(cloud: Cloud) -> None:
    first = cloud.row(cloud.run()["InstanceId"])
    ended = replace(first, state="terminated", ended=cloud.clock() - timedelta(hours=2), user_data="A" * 21_000)
    with Database.write(cloud.database) as tx:
        for number in range(1500):
            tx.add(replace(ended, id=f"i-{number:017x}"))
    forget(cloud)
    assert len(cloud.call("DescribeInstances")["Reservations"]) == 1


def old_usages(cloud: Cloud) -> None:
    long_ago = cloud.clock()
    with Database.write(cloud.database) as tx:
        volumes = [
            Volume(f"vol-{number:017x}", 1, "us-east-1a", long_ago, state="available") for number in range(12_000)
        ]
        for volume in volumes:
            tx.add(volume)
            tx.remove(volume)
    cloud.clock.forward(days=500)
    forget(cloud)
    with cloud.database.read() as tx:
        assert tx.execute("SELECT count(*) FROM usages").fetchone() == (0,)


LEFT: tuple[Callable[[Cloud], None], ...] = (
    late_seconds_of_one_metric,
    late_metrics_of_one_minute,
    metrics_of_long_ago,
    old_commands,
    terminated_servers,
    old_usages,
)


@pytest.mark.parametrize("leave", LEFT, ids=lambda leave: leave.__name__)
def test_what_is_old_is_forgotten_a_little_at_a_time(
    cloud: Cloud, watch: Watch, leave: Callable[[Cloud], None]
) -> None:
    leave(cloud)
    assert watch.transactions and watch.most.within(MOST), watch.most
