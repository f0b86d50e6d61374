"""The map of a VPC, as own SVG: columns of boxes, lines between them; what belongs to a box lights up under the mouse
or the keyboard's focus."""

from __future__ import annotations

from collections import Counter

from skylift.console.vpc_map import COLUMNS, Node, VpcMap
from skylift.console.widgets.element import box, go_to, tag

_WIDTH, _HEIGHT = 240, 46
_ACROSS, _GAP, _TOP = 270, 14, 34
_SMALL, _INNER = 26, 8
"""The height of a box in another one, and the room around it."""
_NAME_LETTERS, _DETAIL_LETTERS, _INNER_LETTERS = 27, 38, 33


class MapView:
    def __init__(self, shown: VpcMap) -> None:
        below = dict.fromkeys(range(len(COLUMNS)), _TOP)
        inner = Counter(node.inside for node in shown.nodes if node.inside)
        places: dict[str, tuple[int, int]] = {}
        filled: Counter[str] = Counter()
        for node in shown.nodes:
            if node.inside:
                x, y = places[node.inside]
                places[node.id] = x + _INNER, y + _HEIGHT + filled[node.inside] * (_SMALL + 4)
                filled[node.inside] += 1
            else:
                places[node.id] = node.column * _ACROSS + 2, below[node.column]
                below[node.column] += _tall(inner[node.id]) + _GAP
        height = max(below.values())
        within = {node.id: node.inside for node in shown.nodes}
        width = (len(COLUMNS) - 1) * _ACROSS + _WIDTH + 4
        with (
            box("map"),
            tag("svg", width=str(width), height=str(height), viewBox=f"0 0 {width} {height}", role="group"),
        ):
            for number, title in enumerate(COLUMNS):
                tag("text", title, "map-title", x=str(number * _ACROSS + 2), y="16")
            for line in shown.lines:
                if line.start in places and line.end in places and within.get(line.start) != line.end:
                    (x, y), (end_x, end_y) = places[line.start], places[line.end]
                    start, middle = x + _WIDTH, (x + _WIDTH + end_x) // 2
                    down, there = y + _HEIGHT // 2, end_y + _HEIGHT // 2
                    path = f"M{start} {down} C{middle} {down} {middle} {there} {end_x} {there}"
                    tag("path", d=path, data_start=line.start, data_end=line.end)
            for node in shown.nodes:
                related = " ".join(sorted(shown.related(node.id)))
                if node.inside:
                    _inner_box(node, *places[node.id], related)
                else:
                    _box(node, *places[node.id], related, _tall(inner[node.id]))


def _tall(inner: int) -> int:
    """A box with so many others in it."""
    return _HEIGHT + inner * (_SMALL + 4) + (_INNER - 4 if inner else 0)


def _inner_box(node: Node, x: int, y: int, related: str) -> None:
    """A click, or Enter, opens its page."""
    with tag(
        "g",
        "",
        "map-node map-inner",
        transform=f"translate({x} {y})",
        tabindex="0",
        role="link",
        aria_label=f"{node.title}: {node.detail}" if node.detail else node.title,
        data_node=node.id,
        data_related=related,
    ) as made:
        tag("title", f"{node.title}: {node.detail}" if node.detail else node.title)
        tag("rect", width=str(_WIDTH - 2 * _INNER), height=str(_SMALL), rx="4")
        # The state alone beside a name: addresses are in its title.
        state = node.detail.partition(",")[0]
        name = _short(node.title, _INNER_LETTERS - len(state) - 2)
        tag("text", ", ".join(filter(None, (name, state))), "map-detail", x="10", y="17")
    made.on("click", lambda: go_to(node.leads))
    made.on("keydown.enter", lambda: go_to(node.leads))


def _box(node: Node, x: int, y: int, related: str, height: int) -> None:
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
        tag("title", f"{node.title}: {node.detail}")
        tag("rect", width=str(_WIDTH), height=str(height), rx="6")
        tag("text", _short(node.title, _NAME_LETTERS), "map-name", x="12", y="19")
        tag("text", _short(node.detail, _DETAIL_LETTERS), "map-detail", x="12", y="36")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
