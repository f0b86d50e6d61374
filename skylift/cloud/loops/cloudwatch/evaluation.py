"""An alarm's state, computed from the values of its metric. Pure.

Source: "Configuring how CloudWatch alarms treat missing data" (CloudWatch user guide). The tests are its tables.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from skylift.cloud.domain.alarm import Alarm, AlarmState
from skylift.cloud.domain.metric import Point

FARTHER_BACK = 2
"""The number of periods that are read beyond the evaluated ones, in case some of these have no data."""

COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}


@dataclass(frozen=True)
class Verdict:
    """`state` None: the state does not change."""

    state: AlarmState | None
    reason: str
    data: str
    value: float | None
    """The newest value."""


def evaluation_range(alarm: Alarm) -> int:
    """The number of periods that are read."""
    return alarm.periods + FARTHER_BACK


def evaluate(alarm: Alarm, points: Sequence[Point | None], now: datetime) -> Verdict:
    """`points` are the evaluation range's, the oldest first, None for a period without data."""
    breaches, _ = COMPARISONS[alarm.comparison]
    values = [None if point is None else point.summary.statistic(alarm.statistic) for point in points]
    crossed = [None if value is None else breaches(value, alarm.threshold) for value in values]
    real = [one for one in crossed if one is not None]
    state = _state(alarm, crossed, real)
    recent = [point for point in points if point is not None][-alarm.periods :]
    newest = next((value for value in reversed(values) if value is not None), None)
    return Verdict(state, _reason(alarm, state, recent, real), _data(alarm, recent, now), newest)


def _state(alarm: Alarm, crossed: Sequence[bool | None], real: Sequence[bool]) -> AlarmState | None:
    wanted = alarm.datapoints or alarm.periods
    fills = max(0, alarm.periods - len(real))
    if sum(real[-alarm.periods :]) >= wanted:
        return "ALARM"
    if not fills:
        return "OK"
    match alarm.missing or "missing":
        case "breaching":
            return "ALARM" if sum(real) + fills >= wanted else "OK"
        case "notBreaching":
            return "OK"
        case how:
            if not all(real):
                return "OK"
            # There are only breaches, or no data: too little for the state OK.
            if how == "ignore":
                return None
            ages = [age for age, one in enumerate(reversed(crossed), 1) if one]
            # An old enough breach counts, although newer data are missing.
            return "ALARM" if ages and max(ages) >= wanted else "INSUFFICIENT_DATA"


def _reason(alarm: Alarm, state: AlarmState | None, recent: Sequence[Point], real: Sequence[bool]) -> str:
    periods = alarm.periods
    if state == "INSUFFICIENT_DATA" or state is None:
        missing = periods - len(recent)
        return f"Insufficient Data: {missing} datapoint{' was' if missing == 1 else 's were'} unknown."
    treated = {"breaching": "Breaching", "notBreaching": "NonBreaching"}.get(alarm.missing or "")
    if not recent:
        return (
            f"Threshold Crossed: no datapoints were received for {periods} period{'' if periods == 1 else 's'} and "
            f"{periods} missing datapoint{' was' if periods == 1 else 's were'} treated as [{treated}]."
        )
    _, words = COMPARISONS[alarm.comparison]
    shown = [f"{one.summary.statistic(alarm.statistic)} ({_moment(one):%d/%m/%y %H:%M:%S})" for one in recent]
    listed = f"[{', '.join(reversed(shown))}]"
    if state == "OK" or alarm.datapoints is None:
        many, crossed = len(recent), "not " if state == "OK" else ""
        return (
            f"Threshold Crossed: {many} datapoint{'' if many == 1 else 's'} {listed} "
            f"{'was' if many == 1 else 'were'} {crossed}{words} the threshold ({alarm.threshold})."
        )
    breached, wanted = sum(real[-periods:]), alarm.datapoints
    return (
        f"Threshold Crossed: {breached} out of the last {len(recent)} datapoints {listed} "
        f"{'was' if breached == 1 else 'were'} {words} the threshold ({alarm.threshold}) "
        f"(minimum {wanted} datapoint{'' if wanted == 1 else 's'} for OK -> ALARM transition)."
    )


def _data(alarm: Alarm, recent: Sequence[Point], now: datetime) -> str:
    values = [one.summary.statistic(alarm.statistic) for one in recent]
    evaluated = [
        {"timestamp": _stamp(_moment(one)), "sampleCount": one.summary.statistic("SampleCount"), "value": value}
        for one, value in zip(reversed(recent), reversed(values), strict=True)
    ]
    content = {
        "version": "1.0",
        "queryDate": _stamp(now),
        **({"startDate": _stamp(_moment(recent[0]))} if recent else {}),
        **({"unit": alarm.unit} if alarm.unit else {}),
        "statistic": alarm.statistic,
        "period": alarm.period,
        "recentDatapoints": values,
        "threshold": alarm.threshold,
        "evaluatedDatapoints": evaluated,
    }
    text = json.dumps(content, separators=(",", ":"))
    return text if len(text) <= 4000 else json.dumps({**content, "evaluatedDatapoints": [], "recentDatapoints": []})


def _moment(point: Point) -> datetime:
    return datetime.fromtimestamp(point.at, UTC)


def _stamp(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000+0000"
