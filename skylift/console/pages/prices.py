"""Instance types by need, and one of them: its spot price, the ways to buy it, and from how many hours each pays."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from skylift.console.cloud_view import CloudView
from skylift.console.market import HOURS, SORTED, Market, PurchaseOptions, Types, read_needs
from skylift.console.widgets.element import Element, box, copyable, facts, link, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.frame import head
from skylift.console.widgets.plot import Plot
from skylift.console.widgets.small_table import small_table, table_row
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import panel, trouble_in


class PricesPage:
    def __init__(self, view: CloudView) -> None:
        self._market = Market(view.port)
        with head("Types and prices"):
            link("Spot requests", "/spot", "button")
        with box("bar rule-form needs", role="search"):
            self._cpu = Field("vCPUs", self._changed, placeholder="4", inputmode="numeric")
            self._memory = Field("Memory", self._changed, placeholder="16GiB", spellcheck="false")
            architectures = {"": "Any", "x86_64": "x86_64", "arm64": "arm64"}
            self._arch = Select("Architecture", dict(architectures), self._changed)
            self._gpu = Field("GPU", self._changed, placeholder="T4:2 or 1", spellcheck="false")
            self._words = Field("Words", self._changed, placeholder="memory-optimized m7i", spellcheck="false")
            self._kind = Select("Price", {"": "On demand", "spot": "Spot"}, self._changed)
            self._order = Select("Sorted by", dict(SORTED), self._changed)
        self._place = box("panel", role="status")
        self._changed()

    def _changed(self, _: str = "") -> None:
        """The catalogue is in memory: no call is made."""
        with trouble_in(self._place):
            needs = read_needs(
                self._cpu.value, self._memory.value, self._arch.value, self._gpu.value, self._words.value
            )
            found = self._market.types(needs, self._order.value, spot=self._kind.value == "spot")
            with self._place.clear():
                _show_types(found)


def _show_types(found: Types) -> None:
    titles = ("Type", "vCPU", "Memory", "Architecture", "GPU", "Network", "On demand", "Spot", "Less")
    with small_table(*titles, classes="small wide"):
        for name, *cells in found.rows:
            table_row(partial(link, name, f"/prices/{name}"), *cells)
    rest = f" {found.left_out} more fit." if found.left_out else ""
    tag("p", f"USD an hour for Linux in {found.region}. {found.note}{rest}", "empty-line")
    copyable(found.command)


class PricePage:
    def __init__(self, view: CloudView, kind: str) -> None:
        self._view, self._kind = view, kind
        self._market = Market(view.port)

    async def show(self) -> None:
        with panel("All types", "/prices"):
            _, *has, usual, spot, _ = self._market.offered(self._kind)
            with head(self._kind):
                link("All types", "/prices", "button")
                link("Launch one", f"/launch?kind={quote(self._kind, safe='')}", "button primary")
            labels = ("vCPUs", "Memory", "Architecture", "GPU", "Network", "An hour")
            facts(tuple(zip(labels, (*has, f"{usual} on demand, {spot} spot, {self._market.region}"), strict=True)))
            tag("h2", "Ways to buy it")
            with box("bar rule-form"):
                self._hours = Field("Hours a month", self._changed, value="200", inputmode="decimal")
                self._run = Field("Time of a run", self._changed, value="1h", spellcheck="false")
            self._offers = box("panel-part", role="status")
            self._changed()
            tag("h2", "Spot price of seven days")
            place = box("panel-part")
            with trouble_in(place):
                await self._show_history(place, usual)

    def _changed(self, _: str = "") -> None:
        with trouble_in(self._offers):
            found = self._market.ways(self._kind, self._hours.value, self._run.value)
            with self._offers.clear():
                show_ways(found)

    async def _show_history(self, place: Element, usual: str) -> None:
        found = await in_thread(self._market.history, self._kind)
        with place:
            if not found:
                tag("p", "EC2 has no spot price of it here.", "empty-line")
                return
            last = ", ".join(f"{each.name} ${each.points[-1][1]:.4f}" for each in found)
            Plot(f"Spot price by zone: {last}", found, kind="step")
            tag("p", f"Now: {last}. On demand: {usual}.", "empty-line")


def show_ways(found: PurchaseOptions) -> None:
    if not found.rows:
        tag("p", "No source has a price of it here.", "empty-line")
        return
    titles = ("Way to buy", "An hour", "A run", "A month", "Pays from", "Price as of", "Least")
    with small_table(*titles, classes="small wide"):
        for way in found.rows:
            table_row(*way)
    tag("p", found.advice, "advice")
    Plot(
        f"A month by hours of use, up to {HOURS}: " + "; ".join(each.name for each in found.lines),
        found.lines,
        unit="h",
        mark=min(found.hours, HOURS),
    )
    tag("p", f"USD a month, by hours of use. A commitment is paid for all {HOURS} hours.", "empty-line")
    copyable(found.command)
