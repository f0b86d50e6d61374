"""Turns the kernel's counters of servers into the metrics that EC2 and CloudWatch's agent publish.

A sample is taken at each tick. With detailed monitoring each is published at once; else those of five minutes are
published together when these are over. A restart of the cloud loses the samples of unfinished five minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.metering import Reading
from skylift.cloud.domain.metric import Dimensions, Metric, Point, Summary
from skylift.cloud.domain.scaling_group import ScalingGroup, ScalingMember, group_metrics
from skylift.cloud.loops.ticker import TICK
from skylift.cloud.store.database import Database
from skylift.cloud.store.metric import forget, record, sum_up

BASIC = 300
MINUTE = 60
SHORTEST = TICK / 2
"""The least seconds between two readings that give a rate."""
FORGET_EACH = 3600
GROUP_TAG = "aws:autoscaling:groupName"
CHECKS = ("StatusCheckFailed", "StatusCheckFailed_Instance", "StatusCheckFailed_System")
"""Of both checks, and of each."""


@dataclass(frozen=True)
class TypeLimits:
    """The resources that a type may use."""

    vcpus: int
    memory_mib: int


@dataclass(frozen=True)
class _Sample:
    """One value of a metric of one server. EC2 publishes one a minute; this one weighs its share of the minute."""

    namespace: str
    name: str
    unit: str
    summary: Summary


class Metering:
    """`read` asks the kernel, `size_of` the catalogue."""

    def __init__(
        self, database: Database, read: Callable[[str], Reading | None], size_of: Callable[[str], TypeLimits]
    ) -> None:
        self._database = database
        self._read = read
        self._size_of = size_of
        self._last: dict[str, Reading] = {}
        self._open: dict[tuple[Metric, int, str], Summary] = {}
        """Summaries by metric, beginning and unit. Each is published when its five minutes are over."""
        self._forgot = 0
        self._minute = 0

    def step(self) -> None:
        with self._database.read() as tx:
            servers = tx.find(Instance, state="running")
            now = int(tx.now.timestamp())
        slot = now - now % TICK - TICK
        points = [point for server in servers for point in self._points(server, slot)]
        gone = self._last.keys() - {server.id for server in servers}
        for server_id in gone:
            del self._last[server_id]
        points += self._due(now)
        minute = now - now % MINUTE - MINUTE
        if minute != self._minute:
            points += self._of_groups(minute)
            self._minute = minute
        forgetting = now - self._forgot >= FORGET_EACH
        if not points and not forgetting:
            return
        with self._database.write() as tx:
            record(tx, _together(points))
        if forgetting:
            forget(self._database, now)
            self._forgot = now
        elif now % MINUTE < TICK:
            sum_up(self._database, now)

    def _points(self, server: Instance, slot: int) -> Iterator[Point]:
        samples = list(self._samples(server))
        for dimensions in _of(server):
            for one in samples:
                metric = Metric(one.namespace, one.name, dimensions)
                if server.detailed_monitoring:
                    yield Point(metric, slot, one.summary, one.unit)
                else:
                    key = (metric, slot - slot % BASIC, one.unit)
                    known = self._open.get(key)
                    self._open[key] = one.summary if known is None else known + one.summary

    def _due(self, now: int) -> list[Point]:
        over = [key for key in self._open if key[1] + BASIC <= now - now % TICK]
        return [Point(metric, begin, self._open.pop((metric, begin, unit)), unit) for metric, begin, unit in over]

    def _of_groups(self, minute: int) -> Iterator[Point]:
        """The metrics of Auto Scaling groups, once a minute, for the minute that has ended."""
        with self._database.read() as tx:
            for group in tx.find(ScalingGroup):
                if group.metrics:
                    dimensions = (("AutoScalingGroupName", group.name),)
                    for name, value in group_metrics(group, tx.find(ScalingMember, group=group.name)).items():
                        yield Point(Metric("AWS/AutoScaling", name, dimensions), minute, Summary.of(value), "None")

    def _samples(self, server: Instance) -> Iterator[_Sample]:
        """The samples since the last reading; none at the first one of a boot."""
        before, reading = self._last.get(server.id), self._read(server.id)
        if reading is None and server.rebooting:
            return
        if reading is None:
            # By its row the server runs, but it has no process.
            yield from (_Sample("AWS/EC2", name, "Count", Summary.of(1.0, TICK / MINUTE)) for name in CHECKS)
            return
        if before is None or before.boot != reading.boot:
            self._last[server.id] = reading
            return
        length = reading.at - before.at
        if length < SHORTEST:
            return
        self._last[server.id] = reading
        weight = max(1, round(length / TICK)) * TICK / MINUTE
        size = self._size_of(server.type)
        if reading.cpu is not None and before.cpu is not None:
            cpu = 100 * (reading.cpu - before.cpu) / (length * size.vcpus)
            yield _Sample("AWS/EC2", "CPUUtilization", "Percent", Summary.of(_percent(cpu), weight))
        if reading.memory is not None:
            memory = 100 * reading.memory / (size.memory_mib << 20)
            yield _Sample("CWAgent", "mem_used_percent", "Percent", Summary.of(_percent(memory), weight))
        for name, unit, now, then in (
            ("NetworkIn", "Bytes", reading.bytes_in, before.bytes_in),
            ("NetworkOut", "Bytes", reading.bytes_out, before.bytes_out),
            ("NetworkPacketsIn", "Count", reading.packets_in, before.packets_in),
            ("NetworkPacketsOut", "Count", reading.packets_out, before.packets_out),
        ):
            # The counters' sum falls when an interface is removed. Published traffic must not be negative.
            yield _Sample("AWS/EC2", name, unit, Summary.of(max(0, now - then) / weight, weight))
        for name, read, earlier in (
            ("EBSReadBytes", reading.bytes_read, before.bytes_read),
            ("EBSWriteBytes", reading.bytes_written, before.bytes_written),
        ):
            if read is not None and earlier is not None:
                # The sum falls when a disk is removed, too.
                yield _Sample("AWS/EC2", name, "Bytes", Summary.of(max(0, read - earlier) / weight, weight))
        own, system = server.instance_check is not None, server.system_check is not None
        for name, failed in zip(CHECKS, (own or system, own, system), strict=True):
            yield _Sample("AWS/EC2", name, "Count", Summary.of(float(failed), weight))


def _of(server: Instance) -> list[Dimensions]:
    """The dimensions of a server's metrics: its id and group; with detailed monitoring also image, type and all."""
    group = server.tags.get(GROUP_TAG)
    found: list[Dimensions] = [(("InstanceId", server.id),)]
    if group:
        found.append((("AutoScalingGroupName", group),))
    if server.detailed_monitoring:
        found += [(("ImageId", server.image_id),), (("InstanceType", server.type),), ()]
    return found


def _together(points: Iterable[Point]) -> Iterator[Point]:
    """Merges the points of servers in the same group into one row."""
    found: dict[tuple[Metric, int, str], Summary] = {}
    for point in points:
        key = (point.metric, point.at, point.unit)
        found[key] = found[key] + point.summary if key in found else point.summary
    return (Point(metric, at, summary, unit) for (metric, at, unit), summary in found.items())


def _percent(value: float) -> float:
    """The kernel's counters and our clock are not read at the same moment."""
    return min(100.0, max(0.0, value))
