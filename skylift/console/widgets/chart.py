"""A line over time, as own SVG: small, in the page's colours, and readable for a screen reader."""

from __future__ import annotations

import time
from collections.abc import Sequence

from skylift.console.widgets.element import box, tag

_WIDTH, _HEIGHT = 320, 110


class Chart:
    def __init__(self, title: str, unit: str, points: Sequence[tuple[float, float]]) -> None:
        top = max((value for _, value in points), default=0.0)
        with box("chart"):
            last = spell(points[-1][1], unit) if points else "no figures"
            tag("strong", title)
            tag("span", f"now {last}, at most {spell(top, unit)}" if points else last, "chart-words")
            if points:
                with tag(
                    "svg",
                    viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
                    preserveAspectRatio="none",
                    role="img",
                    aria_label=f"{title}: now {last}",
                ):
                    tag("polyline", points=_line(points, top), fill="none", vector_effect="non-scaling-stroke")
            with box("chart-ends"):
                if points:
                    tag("span", time.strftime("%H:%M", time.localtime(points[0][0])))
                    tag("span", time.strftime("%H:%M", time.localtime(points[-1][0])))


def _line(points: Sequence[tuple[float, float]], top: float) -> str:
    first, last = points[0][0], points[-1][0]
    if first == last:
        # One point has no length.
        points = [points[0], (first + 1, points[0][1])]
    span = (last - first) or 1
    return " ".join(
        f"{(when - first) / span * _WIDTH:.1f},{_HEIGHT - 3 - value / (top or 1) * (_HEIGHT - 6):.1f}"
        for when, value in points
    )


def spell(value: float, unit: str) -> str:
    if unit != "bytes":
        return f"{value:.1f} {unit}"
    for size, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= size:
            return f"{value / size:.1f} {name}"
    return f"{value:.0f} bytes"
