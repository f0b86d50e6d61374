"""What is told of servers, with a kernel that says what a test wants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.fresh_state import fresh_state
from support.plain_instance import plain_instance
from support.still_known import still_known

from skylift.cloud.domain.instance import FailedCheck, Instance
from skylift.cloud.domain.metering import Reading
from skylift.cloud.domain.metric import Dimensions, Filter, Metric, Point, WantedSummaries
from skylift.cloud.loops.cloudwatch.metering import Metering, TypeLimits
from skylift.cloud.store.database import Database
from skylift.cloud.store.metric import metrics, summaries

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MIB = 1 << 20


class Scene:
    """Servers that use half a processor, ten bytes and one packet a second each way, and 256 MiB."""

    def __init__(self, directory: Path) -> None:
        self.now = NOON
        self.database = Database(fresh_state(directory), clock=lambda: self.now)
        self.boots: dict[str, int] = {}
        self.extra = 0.0
        self.counts_disks = False
        self.metering = self.begin()

    def begin(self) -> Metering:
        return Metering(self.database, self.read, lambda name: TypeLimits(2, 1024))

    def read(self, server_id: str) -> Reading | None:
        if server_id not in self.boots:
            return None
        seconds = (self.now - NOON).total_seconds()
        ten = int(10 * seconds)
        disks = (int(4096 * seconds), int(8192 * seconds)) if self.counts_disks else (None, None)
        return Reading(
            self.boots[server_id], seconds, 0.5 * seconds, 256 * MIB, ten, 2 * ten, ten // 10, ten // 10, *disks
        )

    def add(self, server: Instance) -> None:
        with self.database.write() as tx:
            tx.add(server)
        self.boots[server.id] = 1

    def tick(self, times: int = 1, seconds: float = 10) -> None:
        for _ in range(times):
            self.now += timedelta(seconds=seconds)
            self.metering.step()

    def told(self, name: str, period: int, *dimensions: tuple[str, str], namespace: str = "AWS/EC2") -> list[Point]:
        start, end = int(NOON.timestamp()), int(self.now.timestamp()) + 1
        wanted = WantedSummaries(Metric(namespace, name, tuple(sorted(dimensions))), start, end, period)
        with self.database.read() as tx:
            return summaries(tx, wanted)

    def listed(self) -> set[Dimensions]:
        with self.database.read() as tx:
            return {metric.dimensions for _, metric in metrics(tx, Filter(), 0)}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.database.close()


BASIC = plain_instance(state="running")
DETAILED = replace(BASIC, detailed_monitoring=True)
OF_ONE = ("InstanceId", "i-1")


def after_noon(point: Point) -> int:
    return point.at - int(NOON.timestamp())


def test_detailed_monitoring_tells_every_sample(scene: Scene) -> None:
    scene.add(DETAILED)
    scene.tick()
    assert scene.told("CPUUtilization", 10, OF_ONE) == []
    scene.tick(6)
    found = scene.told("CPUUtilization", 10, OF_ONE)
    assert [after_noon(point) for point in found] == [10, 20, 30, 40, 50, 60]
    assert {point.summary.statistic("Average") for point in found} == {25.0}
    assert {point.unit for point in found} == {"Percent"}


def test_samples_are_summed_up_with_the_minute_in_which_they_come_to_be_old(scene: Scene) -> None:
    scene.add(DETAILED)
    scene.tick(13)
    scene.tick(seconds=3 * 3600 - 130)
    assert len(scene.told("CPUUtilization", 10, OF_ONE)) == 13
    scene.tick(seconds=120)
    assert [after_noon(point) for point in scene.told("CPUUtilization", 10, OF_ONE)][:3] == [0, 60, 120]


def test_a_minute_of_it_is_one_sample_as_on_aws(scene: Scene) -> None:
    scene.add(DETAILED)
    scene.tick(13)
    _, minute, _ = scene.told("NetworkIn", 60, OF_ONE)
    assert after_noon(minute) == 60
    assert minute.summary.statistic("SampleCount") == 1.0
    assert minute.summary.statistic("Sum") == pytest.approx(600)
    assert minute.summary.statistic("Average") == pytest.approx(600)
    assert scene.told("NetworkOut", 60, OF_ONE)[1].summary.statistic("Sum") == pytest.approx(1200)
    assert scene.told("NetworkPacketsIn", 60, OF_ONE)[1].summary.statistic("Sum") == pytest.approx(60)
    assert scene.told("StatusCheckFailed", 60, OF_ONE)[1].summary.statistic("Maximum") == 0.0
    (memory, *_) = scene.told("mem_used_percent", 60, OF_ONE, namespace="CWAgent")
    assert memory.summary.statistic("Average") == pytest.approx(25.0)


def test_disks_are_told_of_where_the_kernel_counts_them(scene: Scene) -> None:
    scene.add(DETAILED)
    scene.tick(2)
    assert scene.told("EBSReadBytes", 60, OF_ONE) == []
    scene.counts_disks = True
    scene.tick(12)
    _, minute, *_ = scene.told("EBSReadBytes", 60, OF_ONE)
    assert minute.summary.statistic("Sum") == pytest.approx(4096 * 60)
    assert minute.unit == "Bytes"
    _, minute, *_ = scene.told("EBSWriteBytes", 60, OF_ONE)
    assert minute.summary.statistic("Sum") == pytest.approx(8192 * 60)


def test_basic_monitoring_tells_of_five_minutes_once_they_are_over(scene: Scene) -> None:
    scene.add(BASIC)
    scene.tick(29)
    assert scene.listed() == set()
    scene.tick(31)
    first, second = scene.told("NetworkIn", 60, OF_ONE)
    assert (after_noon(first), after_noon(second)) == (0, 300)
    assert second.summary.statistic("SampleCount") == 5.0
    assert second.summary.statistic("Sum") == pytest.approx(3000)
    assert second.summary.statistic("Average") == pytest.approx(600)


def test_what_has_ended_is_told_all_the_same(scene: Scene) -> None:
    scene.add(BASIC)
    scene.tick(10)
    with scene.database.write() as tx:
        tx.save(replace(BASIC, state="terminated"))
    scene.tick(20)
    (found,) = scene.told("NetworkIn", 300, OF_ONE)
    assert found.summary.statistic("Sum") == pytest.approx(900)


def test_a_late_tick_loses_nothing(scene: Scene) -> None:
    scene.add(DETAILED)
    scene.tick()
    scene.tick(seconds=40)
    (found,) = scene.told("NetworkIn", 60, OF_ONE)
    assert found.summary.statistic("Sum") == pytest.approx(400)
    assert found.summary.statistic("SampleCount") == pytest.approx(4 / 6)


def test_two_ticks_at_once_are_one(scene: Scene) -> None:
    scene.add(DETAILED)
    scene.tick(2)
    scene.tick(seconds=0.5)
    assert len(scene.told("NetworkIn", 1, OF_ONE)) == 1


def test_a_boot_begins_anew(scene: Scene) -> None:
    scene.add(DETAILED)
    scene.tick(2)
    scene.boots["i-1"] = 2
    scene.tick()
    assert len(scene.told("NetworkIn", 10, OF_ONE)) == 1
    scene.tick()
    assert len(scene.told("NetworkIn", 10, OF_ONE)) == 2


def test_a_group_is_its_servers_together(scene: Scene) -> None:
    tags = {"aws:autoscaling:groupName": "web"}
    for name in ("i-1", "i-2"):
        scene.add(replace(DETAILED, id=name, uid_base=int(name[2:]) << 16, tags=tags))
    scene.tick(7)
    (minute, *_) = scene.told("NetworkIn", 60, ("AutoScalingGroupName", "web"))
    assert minute.summary.statistic("SampleCount") == pytest.approx(2 * 5 / 6)
    assert minute.summary.statistic("Average") == pytest.approx(600)
    assert scene.listed() == {
        (("InstanceId", "i-1"),),
        (("InstanceId", "i-2"),),
        (("AutoScalingGroupName", "web"),),
        (("ImageId", DETAILED.image_id),),
        (("InstanceType", DETAILED.type),),
        (),
    }


def test_a_server_without_a_process_fails_its_checks(scene: Scene) -> None:
    scene.add(DETAILED)
    scene.tick(2)
    del scene.boots["i-1"]
    scene.tick()
    failed = scene.told("StatusCheckFailed", 10, OF_ONE)
    assert [point.summary.statistic("Maximum") for point in failed] == [0.0, 1.0]


def test_another_process_of_the_cloud_goes_on(scene: Scene) -> None:
    scene.add(DETAILED)
    scene.tick(3)
    scene.metering = scene.begin()
    scene.tick(3)
    assert [after_noon(point) for point in scene.told("CPUUtilization", 10, OF_ONE)] == [10, 20, 40, 50]


def test_a_server_that_is_rebooted_does_not_fail_its_checks(scene: Scene) -> None:
    scene.add(replace(DETAILED, rebooting=True))
    scene.tick(2)
    del scene.boots["i-1"]
    scene.tick()
    assert [point.summary.maximum for point in scene.told("StatusCheckFailed", 10, OF_ONE)] == [0.0]


def test_what_a_host_does_not_count_is_not_told(scene: Scene) -> None:
    scene.add(DETAILED)
    counted = scene.read

    def read(server_id: str) -> Reading | None:
        found = counted(server_id)
        return replace(found, cpu=None, memory=None) if found else None

    scene.metering = Metering(scene.database, read, lambda name: TypeLimits(2, 1024))
    scene.tick(3)
    assert scene.told("CPUUtilization", 10, OF_ONE) == []
    assert len(scene.told("NetworkIn", 10, OF_ONE)) == 2


def test_servers_that_are_gone_are_forgotten(scene: Scene) -> None:
    """Once their five minutes have been told."""
    server = plain_instance(state="running")
    scene.add(server)
    scene.tick(3)
    assert still_known(scene.metering, server.id, besides=[scene, scene.database])
    with scene.database.write() as tx:
        tx.save(replace(server, state="terminated"))
    scene.tick(31)
    assert not still_known(scene.metering, server.id, besides=[scene, scene.database])


@pytest.mark.parametrize(
    ("which", "told"), [("instance_check", (1.0, 1.0, 0.0)), ("system_check", (1.0, 0.0, 1.0)), ("", (0.0, 0.0, 0.0))]
)
def test_a_check_that_fails_is_a_metric(scene: Scene, which: str, told: tuple[float, ...]) -> None:
    failed = {which: FailedCheck(NOON, "sshd is stopped")} if which else {}
    scene.add(plain_instance(state="running", detailed_monitoring=True, **failed))
    scene.tick(8)
    names = ("StatusCheckFailed", "StatusCheckFailed_Instance", "StatusCheckFailed_System")
    found = [scene.told(name, 60, ("InstanceId", "i-1")) for name in names]
    assert all(found)
    assert tuple(points[0].summary.maximum for points in found) == told
