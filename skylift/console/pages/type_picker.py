"""Types by need: the cheapest that have enough, with both prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from skylift.console.port import PricedType
from skylift.console.widgets.dialog import Dialog
from skylift.console.widgets.element import box, button, set_attribute, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.small_table import small_table

_SHOWN = 40


@dataclass(frozen=True)
class Need:
    """What was chosen, as it was typed. Nothing is any."""

    vcpus: str = ""
    memory: str = ""
    processor: str = ""
    free_tier: bool = False
    spot: bool = False

    def missing(self) -> list[str]:
        found = []
        if self.vcpus and not (self.vcpus.isascii() and self.vcpus.isdecimal()):
            found.append("vCPUs are a number.")
        if self.memory and _number(self.memory) is None:
            found.append("Memory is a number of GiB.")
        return found

    def fitting(self, kinds: Iterable[PricedType]) -> list[PricedType]:
        """The cheapest first; those without a price last."""
        vcpus, memory = int(self.vcpus or 0), _number(self.memory) or 0.0
        found = [
            kind
            for kind in kinds
            if kind.vcpus >= vcpus
            and kind.memory_gib >= memory
            and self.processor in ("", kind.processor)
            and (kind.free_tier or not self.free_tier)
            and (kind.spot is not None or not self.spot)
        ]

        def price(kind: PricedType) -> float:
            paid = kind.spot if self.spot else kind.on_demand
            return float("inf") if paid is None else paid

        return sorted(found, key=lambda kind: (price(kind), kind.vcpus, kind.memory_gib, kind.name))


class TypePicker:
    """A dialog. `take` gets the name of the type that was chosen."""

    def __init__(self, kinds: Mapping[str, PricedType], processor: str, take: Callable[[str], None]) -> None:
        self._kinds, self._take = kinds, take
        self._dialog = Dialog("Choose a type by need", wide=True)
        with self._dialog:
            with box("bar rule-form"):
                self._vcpus = Field("vCPUs, at least", self._changed, inputmode="numeric", placeholder="2")
                self._memory = Field("GiB, at least", self._changed, inputmode="numeric", placeholder="4")
                # What the image is built for comes first, and so it is what is chosen.
                named = {"": "Any", "x86_64": "x86_64", "arm64": "arm64"}
                first = {processor: named[processor]} if processor in named else {}
                self._processor = Select("Processor", {**first, **named}, self._changed)
                self._free = Select("Free tier", {"": "All types", "yes": "Only those in it"}, self._changed)
                self._market = Select("Cheapest", {"": "On demand", "spot": "On spot"}, self._changed)
            self._wrong = box(role="status")
            with box("type-list"):
                self._number = tag("p", "", "empty-line", role="status")
                titles = ("Type", "vCPUs", "GiB", "Processor", "On demand", "Spot", "Free tier", "")
                with small_table(*titles, aria_label="Types that fit"):
                    self._rows = [_Row(self._choose) for _ in range(_SHOWN)]
        self._dialog.close_button()
        self._changed()
        self._dialog.open()

    def _changed(self, _: str = "") -> None:
        need = Need(
            self._vcpus.value.strip(),
            self._memory.value.strip(),
            self._processor.value,
            bool(self._free.value),
            bool(self._market.value),
        )
        missing = need.missing()
        with self._wrong.clear():
            for each in missing:
                tag("p", each, "missing")
        if not missing:
            self._show(need.fitting(self._kinds.values()))

    def _show(self, found: list[PricedType]) -> None:
        rest = f"; the cheapest {_SHOWN}:" if len(found) > _SHOWN else "."
        self._number.set_text(f"{len(found)} types fit{rest}")
        for row, kind in zip_longest(self._rows, found[:_SHOWN]):
            row.show(kind)

    def _choose(self, name: str) -> None:
        self._dialog.close()
        self._take(name)


class _Row:
    """It stays while somebody types: only what is different in it is sent."""

    def __init__(self, choose: Callable[[str], None]) -> None:
        self._name = ""
        with tag("tr") as self._row:
            self._cells = [tag("td") for _ in range(7)]
            with tag("td", "", "actions"):
                self._button = button("Choose", lambda: choose(self._name), "quiet")

    def show(self, kind: PricedType | None) -> None:
        self._row.set_visibility(kind is not None)
        if kind is None or kind.name == self._name:
            return
        self._name = kind.name
        numbers = (str(kind.vcpus), f"{kind.memory_gib:g}")
        prices = (spell_price(kind.on_demand), spell_spot(kind), "✓" if kind.free_tier else "")
        for cell, text in zip(self._cells, (kind.name, *numbers, kind.processor, *prices), strict=True):
            cell.set_text(text)
        set_attribute(self._button, "aria-label", f"Choose {kind.name}")


def spell_price(hourly: float | None) -> str:
    return "unknown" if hourly is None else f"${hourly:.4f} an hour"


def spell_spot(kind: PricedType) -> str:
    if kind.spot is None:
        return "unknown"
    saved = f", {1 - kind.spot / kind.on_demand:.0%} less" if kind.on_demand else ""
    return f"${kind.spot:.4f}{saved}"


def _number(text: str) -> float | None:
    whole, _, part = text.partition(".")
    if not text.isascii() or not whole.isdecimal() or (part and not part.isdecimal()):
        return None
    return float(text)
