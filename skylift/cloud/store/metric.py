"""Where metrics are kept: a row for each metric and unit, and a row for each second or minute with data.

Old data is made coarser, and at last dropped, as CloudWatch does; never more than MOST points are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from skylift.cloud.domain.metric import Filter, Metric, Point, Summary, WantedSummaries
from skylift.cloud.store.database import Database, Tx

HOUR, DAY = 3600, 86400
COARSER = ((3 * HOUR, 60), (15 * DAY, 300), (63 * DAY, HOUR))
"""The age at which points are summed up, and the seconds of a sum, as in CloudWatch."""
JUST_NOW = 300
"""The most seconds that summing up may be late."""
LONGEST = 455 * DAY
LISTED = 14 * DAY
"""A metric is listed for this long after its last data point."""
AT_ONCE = 2000
"""Rows that one transaction deletes: other writers wait."""
MOST = 2_000_000
"""The most points, which take about a hundred megabytes."""


def record(tx: Tx, points: Iterable[Point]) -> None:
    """Adds points, merging them with points of the same second."""
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


def summaries(tx: Tx, wanted: WantedSummaries) -> list[Point]:
    """Summaries in the order of time, each at the beginning of its period."""
    return counted_summaries(tx, wanted)[0]


def counted_summaries(tx: Tx, wanted: WantedSummaries) -> tuple[list[Point], int]:
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


def sum_up(database: Database, now: int) -> None:
    """Sums up points that have just become old."""
    age, seconds = COARSER[0]
    _make_coarser(database, now - age, seconds, after=now - age - JUST_NOW)


def forget(database: Database, now: int) -> None:
    """Make old data coarser, also data that came late, and drop data that is older still, or beyond MOST points."""
    for age, seconds in COARSER:
        _make_coarser(database, now - age, seconds)
    _delete(database, "metric_points", "(metric, at)", "at < ?", now - LONGEST)
    with database.read() as tx:
        (count,) = tx.execute("SELECT count(*) FROM metric_points").fetchone()
        oldest = tx.execute(
            "SELECT at FROM metric_points ORDER BY at LIMIT 1 OFFSET ?", max(0, count - MOST)
        ).fetchone()
    if count > MOST:
        _delete(database, "metric_points", "(metric, at)", "at < ?", *oldest)
    empty = "NOT EXISTS (SELECT 1 FROM metric_points WHERE metric = metrics.id)"
    _delete(database, "metrics", "(id)", f"reported < ? AND {empty}", now - LISTED)


def _delete(database: Database, name: str, key: str, condition: str, *values: int) -> None:
    """Deletes in several transactions: there may be two million rows."""
    some = f"SELECT {key[1:-1]} FROM {name} WHERE {condition} LIMIT {AT_ONCE}"  # noqa: S608 - names of ours
    deleted = AT_ONCE
    while deleted == AT_ONCE:
        with database.write() as tx:
            deleted = tx.execute(f"DELETE FROM {name} WHERE {key} IN ({some})", *values).rowcount  # noqa: S608


def _make_coarser(database: Database, before: int, seconds: int, after: int = 0) -> None:
    """Some points in each transaction. Which, is looked up beside other writers."""
    before -= before % seconds
    after -= after % seconds
    finer = f"SELECT metric, at FROM metric_points WHERE at >= ? AND at < ? AND at % {seconds} != 0"  # noqa: S608
    while True:
        with database.read() as tx:
            points = tx.execute(f"{finer} ORDER BY at, metric LIMIT {AT_ONCE}", after, before).fetchall()
        if not points:
            return
        with database.write() as tx:
            _sum_up(tx, json.dumps(points), seconds)
        after = points[-1][1]


def _sum_up(tx: Tx, points: str, seconds: int) -> None:
    named = "SELECT json_extract(value, '$[0]') AS one, json_extract(value, '$[1]') AS moment FROM json_each(?)"
    found = f"({named}) CROSS JOIN metric_points ON metric = one AND at = moment"
    tx.execute(
        "INSERT INTO metric_points (metric, at, count, sum, minimum, maximum) "  # noqa: S608 - numbers of ours
        f"SELECT metric, at - at % {seconds}, sum(count), sum(sum), min(minimum), max(maximum) "
        f"FROM {found} WHERE true GROUP BY 1, 2 "
        "ON CONFLICT DO UPDATE SET count = count + excluded.count, sum = sum + excluded.sum, "
        "minimum = min(minimum, excluded.minimum), maximum = max(maximum, excluded.maximum)",
        points,
    )
    tx.execute(f"DELETE FROM metric_points WHERE (metric, at) IN (SELECT metric, at FROM {found})", points)  # noqa: S608


def _key(metric: Metric) -> tuple[str, str, str]:
    return metric.namespace, metric.name, json.dumps(metric.dimensions, ensure_ascii=False, separators=(",", ":"))
