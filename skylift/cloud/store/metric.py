"""Where metrics are kept: a row for each metric and unit, and a row for each second or minute with data.

Old data is made coarser, and at last dropped, as CloudWatch does; never more than MOST points are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from skylift.cloud.domain.metric import Filter, Metric, Point, Summary, Wanted
from skylift.cloud.store.database import Tx

HOUR, DAY = 3600, 86400
COARSER = ((3 * HOUR, 60), (15 * DAY, 300), (63 * DAY, HOUR))
"""The age at which points are summed up, and the seconds of a sum, as in CloudWatch."""
JUST_NOW = 5 * 60
"""The most seconds that summing up may be late."""
LONGEST = 455 * DAY
LISTED = 14 * DAY
"""A metric is listed for this long after its last data point."""
MOST = 2_000_000
"""The most points, which take about a hundred megabytes."""


def record(tx: Tx, points: Iterable[Point]) -> None:
    """Add points to those of the same second."""
    now = int(tx.now.timestamp())
    for point in points:
        (metric,) = tx.execute(
            "INSERT INTO metrics (namespace, name, dimensions, unit, reported) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET reported = excluded.reported RETURNING id",
            *_key(point.metric),
            point.unit,
            now,
        ).fetchone()
        one = point.summary
        tx.execute(
            "INSERT INTO metric_points (metric, at, count, sum, minimum, maximum) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET count = count + excluded.count, sum = sum + excluded.sum, "
            "minimum = min(minimum, excluded.minimum), maximum = max(maximum, excluded.maximum)",
            *(metric, point.at, one.count, one.sum, one.minimum, one.maximum),
        )


def summaries(tx: Tx, wanted: Wanted) -> list[Point]:
    """Summaries in the order of time, each at the beginning of its period."""
    return counted_summaries(tx, wanted)[0]


def counted_summaries(tx: Tx, wanted: Wanted) -> tuple[list[Point], int]:
    """The same, and how many stored points they sum up."""
    condition = "" if wanted.unit is None else "AND unit = ?"
    rows = tx.execute(
        "SELECT (at - ?) / ? AS number, unit, count(*), sum(count), sum(sum), min(minimum), max(maximum) "  # noqa: S608
        "FROM metrics JOIN metric_points ON metric = metrics.id "
        f"WHERE namespace = ? AND name = ? AND dimensions = ? {condition} AND at >= ? AND at < ? "
        "GROUP BY number, unit ORDER BY number, unit",
        *(wanted.start, wanted.period, *_key(wanted.metric)),
        *([] if wanted.unit is None else [wanted.unit]),
        *(wanted.start, wanted.end),
    ).fetchall()
    points = [
        Point(wanted.metric, wanted.start + number * wanted.period, Summary(*summary), unit)
        for number, unit, _, *summary in rows
    ]
    return points, sum(row[2] for row in rows)


def metrics(tx: Tx, wanted: Filter, since: int, after: str = "") -> Iterator[tuple[str, Metric]]:
    """The metrics with data `since` then, each after its place in the order of pages."""
    named = [("namespace", wanted.namespace), ("name", wanted.name)]
    conditions = "".join(f" AND {column} = ?" for column, value in named if value is not None)
    rows = tx.execute(
        "SELECT DISTINCT namespace, name, dimensions, json_array(namespace, name, dimensions) AS place "  # noqa: S608
        f"FROM metrics WHERE reported >= ? AND place > ? {conditions} ORDER BY place",
        *(since, after),
        *(value for _, value in named if value is not None),
    )
    for namespace, name, dimensions, place in rows:
        metric = Metric(namespace, name, tuple((key, value) for key, value in json.loads(dimensions)))
        if wanted.matches(metric):
            yield place, metric


def sum_up(tx: Tx) -> None:
    """Sums up points that have just become old. Done often, it is little work: the store's one writer waits for it."""
    age, seconds = COARSER[0]
    before = int(tx.now.timestamp()) - age
    _make_coarser(tx, before, seconds, after=before - JUST_NOW)


def forget(tx: Tx) -> None:
    """Make old data coarser, also data that came late, and drop data that is older still, or beyond MOST points."""
    now = int(tx.now.timestamp())
    for age, seconds in COARSER:
        _make_coarser(tx, now - age, seconds)
    tx.execute("DELETE FROM metric_points WHERE at < ?", now - LONGEST)
    (count,) = tx.execute("SELECT count(*) FROM metric_points").fetchone()
    if count > MOST:
        (oldest,) = tx.execute("SELECT at FROM metric_points ORDER BY at LIMIT 1 OFFSET ?", count - MOST).fetchone()
        tx.execute("DELETE FROM metric_points WHERE at < ?", oldest)
    tx.execute(
        "DELETE FROM metrics WHERE reported < ? AND NOT EXISTS (SELECT 1 FROM metric_points WHERE metric = metrics.id)",
        now - LISTED,
    )


def _make_coarser(tx: Tx, before: int, seconds: int, after: int = 0) -> None:
    before -= before % seconds
    after -= after % seconds
    finer = f"at >= ? AND at < ? AND at % {seconds} != 0"
    tx.execute(
        "INSERT INTO metric_points (metric, at, count, sum, minimum, maximum) "  # noqa: S608 - numbers of ours
        f"SELECT metric, at - at % {seconds}, sum(count), sum(sum), min(minimum), max(maximum) "
        f"FROM metric_points WHERE {finer} GROUP BY 1, 2 "
        "ON CONFLICT DO UPDATE SET count = count + excluded.count, sum = sum + excluded.sum, "
        "minimum = min(minimum, excluded.minimum), maximum = max(maximum, excluded.maximum)",
        *(after, before),
    )
    tx.execute(f"DELETE FROM metric_points WHERE {finer}", after, before)  # noqa: S608 - numbers of ours


def _key(metric: Metric) -> tuple[str, str, str]:
    return metric.namespace, metric.name, json.dumps(metric.dimensions, ensure_ascii=False, separators=(",", ":"))
