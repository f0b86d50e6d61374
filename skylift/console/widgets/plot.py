"""Figures over time, by ECharts: lines, steps and stacked bars, with a threshold. Options are the program's; what comes
from a cloud is only ever a number or a text in a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nicegui import ui

_LINES = "rgba(128, 138, 150, 0.3)"
_COLOURS = ["#3b82d0", "#2f9e6b", "#d08a2e", "#a868c8", "#c85a5a", "#4aa3a3", "#8a8f3a", "#8a7ae0"]
"""Colours that are told from each other on white and in the dark. Text has the page's own, by the style sheet."""


@dataclass(frozen=True)
class Series:
    """Points are times in seconds since the epoch, with values."""

    name: str
    points: Sequence[tuple[float, float]]


class Plot:
    """`label` says in words what is seen: a screen reader has nothing else of it."""

    def __init__(
        self,
        label: str,
        series: Sequence[Series],
        *,
        kind: Literal["line", "step", "bar"] = "line",
        threshold: float | None = None,
        categories: Sequence[str] = (),
        unit: str = "",
        mark: float | None = None,
    ) -> None:
        """With `categories`, the points of a bar stand at their numbers. With a `unit`, points are at so many of it,
        and not at times. `mark` is a place on that axis."""
        options: dict[str, Any] = {
            "animation": False,
            "color": _COLOURS,
            "grid": {"left": 8, "right": 16, "top": 34 if len(series) > 1 else 14, "bottom": 8, "containLabel": True},
            # Text, not HTML: names come from the cloud.
            "tooltip": {"trigger": "axis", "renderMode": "richText", "confine": True},
            "legend": {"show": len(series) > 1, "type": "scroll", "top": 0, "left": 0, "icon": "roundRect"},
            "xAxis": _axis(series, categories, unit),
            "yAxis": {"type": "value", "scale": kind != "bar", "splitLine": {"lineStyle": {"color": _LINES}}},
            "series": [_series(each, kind, 1 if unit else 1000, counted=bool(categories)) for each in series],
        }
        options["xAxis"] |= {"axisLine": {"lineStyle": {"color": _LINES}}, "splitLine": {"show": False}}
        if threshold is not None and options["series"]:
            options["series"][0]["markLine"] = _mark_line({"yAxis": threshold}, "#c85a5a")
            # The threshold is seen also where no value has come near it.
            highest = max((value for each in series for _, value in each.points), default=0.0)
            options["yAxis"]["max"] = None if highest > threshold else float(f"{threshold * 1.1:.3g}")
        if mark is not None and options["series"]:
            options["series"][0]["markLine"] = _mark_line({"xAxis": mark}, "#8a949e")
        chart = ui.echart(options, renderer="svg").classes("plot")
        chart.props["role"] = "img"
        chart.props["aria-label"] = label


def _axis(series: Sequence[Series], categories: Sequence[str], unit: str) -> dict[str, Any]:
    if categories:
        return {"type": "category", "data": list(categories)}
    places = [where for each in series for where, _ in each.points]
    if not unit:
        # One moment alone would stand in the middle of two days.
        alone = places and min(places) == max(places)
        return {"type": "time"} | (
            {"min": (places[0] - 1800) * 1000, "max": (places[0] + 1800) * 1000} if alone else {}
        )
    last = max(places, default=0.0)
    return {"type": "value", "max": last, "axisLabel": {"formatter": "{value} " + unit}}


def _mark_line(where: dict[str, float], colour: str) -> dict[str, Any]:
    return {
        "symbol": "none",
        "silent": True,
        "label": {"show": False},
        "lineStyle": {"color": colour, "type": "dashed"},
        "data": [where],
    }


def _series(each: Series, kind: str, scale: int, *, counted: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": each.name,
        "type": "bar" if kind == "bar" else "line",
        "data": [value for _, value in each.points] if counted else [[x * scale, y] for x, y in each.points],
    }
    if kind == "bar":
        return found | {"stack": "all", "barMaxWidth": 34}
    found |= {"showSymbol": len(each.points) == 1, "lineStyle": {"width": 1.6}}
    return found | ({"step": "end"} if kind == "step" else {})
