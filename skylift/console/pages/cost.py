"""Costs: by day, job, type, way to buy and instance, and what other ways to buy would have cost."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from skylift.console.cloud_view import CloudView
from skylift.console.cost import GROUPS, PERIODS, WAYS, CostReport, Costs, Hours, job_path, spell
from skylift.console.widgets.element import box, copyable, link, tag
from skylift.console.widgets.field import Select
from skylift.console.widgets.frame import head
from skylift.console.widgets.plot import Plot, Series
from skylift.console.widgets.small_table import small_table, table_row
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import trouble_in

_SHOWN = 200


class CostPage:
    def __init__(self, view: CloudView) -> None:
        self._costs = Costs(view.port, view.job_port.jobs)
        self._asked = 0

    async def show(self) -> None:
        head("Cost")
        with box("bar rule-form"):
            self._period = Select("Time", dict(PERIODS), self._changed)
            self._by = Select("By", dict(self._costs.groups), self._changed)
        self._place = box("panel", role="status")
        await self._changed()

    async def _changed(self, _: str = "") -> None:
        self._asked += 1
        asked = self._asked
        with trouble_in(self._place):
            found = await in_thread(self._costs.spent, self._period.value, self._by.value)
            # Of two that were asked for, the last one is shown.
            if asked == self._asked:
                with self._place.clear():
                    show_spent(found, self._by.value)


def show_spent(found: CostReport, by: str) -> None:
    if not found.shares:
        tag("h2", "Nothing has run in this time.")
        tag("p", "What a program costs is counted here from its first second:", "empty-line")
        copyable("skylift run job.py")
    else:
        tag("p", spell(found.total), "total")
        days = "; ".join(
            f"{day} {spell(sum(each[at] for each in found.by_day.values()))}" for at, day in enumerate(found.days)
        )
        Plot(
            f"USD a day: {days}",
            [Series(name, tuple(enumerate(amounts))) for name, amounts in found.by_day.items()],
            kind="bar",
            categories=found.days,
        )
        _show_shares(found, by)
        if found.hours:
            tag("h2", "The same hours, bought otherwise")
            _show_hours(found.hours)
    for note in found.notes:
        tag("p", note, "empty-line")
    for command in found.commands:
        copyable(command)


def _show_shares(found: CostReport, by: str) -> None:
    with small_table(GROUPS[by].capitalize(), "USD", "Share"):
        for share in found.shares[:_SHOWN]:
            path = _path(share.key, by)
            table_row(
                partial(link, share.key, path) if path else share.key or f"without a {GROUPS[by]}",
                spell(share.usd) + ("" if share.whole else " (not all of it has a price)"),
                f"{share.usd / found.total:.0%}" if found.total else "–",
            )
    if len(found.shares) > _SHOWN:
        tag("p", f"The {_SHOWN} largest of {len(found.shares)} are shown.", "empty-line")


def _show_hours(hours: tuple[Hours, ...]) -> None:
    with small_table("Type", "Hours", *WAYS, classes="small wide"):
        for row in hours:
            costs = (f"{spell(usd)}{' least' if usd is not None and usd == row.least else ''}" for usd in row.usd)
            table_row(partial(link, row.type, f"/prices/{row.type}"), f"{row.hours:.3g}", *costs)
    tag(
        "p",
        "A commitment is paid for every hour of this time, used or not; its terms are one or three years."
        " Of the ways to pay for it, the cheapest counts.",
        "empty-line",
    )


def _path(key: str, by: str) -> str:
    if by == "job":
        return job_path(key)
    if by == "instance" and key.startswith("i-"):
        return f"/instances/{quote(key, safe='')}"
    return f"/prices/{quote(key, safe='')}" if by == "type" and "." in key else ""
