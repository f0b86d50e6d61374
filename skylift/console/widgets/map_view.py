"""The map of a VPC, as own SVG: columns of boxes, lines between them; what belongs to a box lights up under the mouse
or the keyboard's focus."""

from __future__ import annotations

from collections import Counter

from skylift.console.vpc_map import COLUMNS, Node, VpcMap
from skylift.console.widgets.element import box, tag

_WIDTH, _HEIGHT = 240, 46
_ACROSS, _DOWN, _TOP = 270, 60, 34
_LETTERS = 38


class MapView:
    def __init__(self, shown: VpcMap) -> None:
        rows: Counter[int] = Counter()
        places: dict[str, tuple[int, int]] = {}
        for node in shown.nodes:
            places[node.id] = node.column * _ACROSS + 2, _TOP + rows[node.column] * _DOWN
            rows[node.column] += 1
        height = _TOP + max(rows.values(), default=0) * _DOWN
        width = (len(COLUMNS) - 1) * _ACROSS + _WIDTH + 4
        with (
            box("map"),
            tag("svg", width=str(width), height=str(height), viewBox=f"0 0 {width} {height}", role="group"),
        ):
            for number, title in enumerate(COLUMNS):
                tag("text", title, "map-title", x=str(number * _ACROSS + 2), y="16")
            for line in shown.lines:
                if line.start in places and line.end in places:
                    (x, y), (end_x, end_y) = places[line.start], places[line.end]
                    start, middle = x + _WIDTH, (x + _WIDTH + end_x) // 2
                    down, there = y + _HEIGHT // 2, end_y + _HEIGHT // 2
                    path = f"M{start} {down} C{middle} {down} {middle} {there} {end_x} {there}"
                    tag("path", d=path, data_start=line.start, data_end=line.end)
            for node in shown.nodes:
                _box(node, *places[node.id], " ".join(sorted(shown.related(node.id))))


def _box(node: Node, x: int, y: int, related: str) -> None:
    with tag(
        "g",
        "",
        "map-node",
        transform=f"translate({x} {y})",
        tabindex="0",
        role="img",
        aria_label=f"{node.title}: {node.detail}",
        data_node=node.id,
        data_related=related,
    ):
        tag("rect", width=str(_WIDTH), height=str(_HEIGHT), rx="6")
        tag("text", _short(node.title), "map-name", x="12", y="19")
        tag("text", _short(node.detail), "map-detail", x="12", y="36")


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
