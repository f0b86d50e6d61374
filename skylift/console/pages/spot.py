"""Spot requests and what becomes of them, live: notices given by hand, and their consequences."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from skylift.console import market
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.market import NOTICE
from skylift.console.poller import Change, FlatRow
from skylift.console.port import OwnCall
from skylift.console.widgets.dialog import ask, confirm
from skylift.console.widgets.element import box, button, command_line, copyable, enable, link, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed, one_of

COLUMNS = (
    Column("id", "Request", 118, kind="code"),
    Column("state", "State", 98, kind="state"),
    Column("status", "Status", 226),
    Column("instance", "Instance", 168, leads="/instances/"),
    Column("instance_state", "Its state", 124, kind="state"),
    Column("notice", "Notice", 142),
    Column("type", "Type", 92, leads="/prices/"),
    Column("zone", "Zone", 96),
    Column("job", "Job", 110, leads="/jobs/"),
    Column("most", "Most an hour", 110),
    Column("created", "Made", 148),
)
_WATCHED = {"state": "the request is", "status": "status", "instance_state": "the instance is", "notice": "notice:"}
_KEPT = 40


class SpotPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view
        with head("Spot requests"):
            link("Types and prices", "/prices", "button")
            if view.port.has_control:
                self._interrupt = button("Interrupt", lambda: self._grid.with_one(self._ask_interrupt), "danger")
                self._withdraw = button("Withdraw notice", lambda: self._grid.with_one(self._ask_withdraw))
            self._cancel = button("Cancel request", self._ask_cancel)
        topic = view.spot_requests
        self._grid = listed(topic, COLUMNS, label="Spot requests", empty=_say_empty, on_choice=self._dress)
        with box("happened"):
            tag("h2", "What happens")
            self._lines: deque[tuple[str, FlatRow, str]] = deque(maxlen=_KEPT)
            self._list = tag("ol", "", "timeline", aria_label="What happens, the latest first", aria_live="polite")
            with self._list:
                tag("li", "What changes while this page is open is told here.", "empty-line")
        if not view.port.has_control:
            tag("p", "On AWS nobody but AWS interrupts, except by its Fault Injection Service.", "empty-line")
        command_line(Call("ec2", "describe_spot_instance_requests").command)
        self._rows: dict[str, FlatRow] = {}
        topic.listen(self._hear)

    def _dress(self, chosen: list[FlatRow]) -> None:
        row = one_of(chosen)
        if self._view.port.has_control:
            enable(self._interrupt, row is not None and row["instance_state"] in ("pending", "running"))
            enable(self._withdraw, row is not None and bool(row["notice"]))
        enable(self._cancel, any(each["state"] in ("open", "active") for each in chosen))

    def _hear(self, change: Change) -> bool:
        if self._list.is_deleted:
            return False
        first = not self._rows
        lines = [line for row in (*change.added, *change.updated) for line in self._differences(row, first=first)]
        self._rows |= {row["id"]: row for row in (*change.added, *change.updated)}
        for key in change.removed:
            self._rows.pop(key, None)
        if lines:
            self._lines.extendleft(lines)
            self._show()
        return True

    def _differences(self, row: FlatRow, *, first: bool) -> Sequence[tuple[str, FlatRow, str]]:
        now, before = time.strftime("%H:%M:%S"), self._rows.get(row["id"])
        if before is None:
            return [] if first else [(now, row, f"a new request, {row['status'] or row['state']}")]
        found = []
        for field, words in _WATCHED.items():
            if row[field] != before[field]:
                found.append((now, row, f"{words} {row[field] or 'none'}, was {before[field] or 'none'}"))
        if row["instance"] != before["instance"] and row["instance"]:
            found.append((now, row, f"it has the instance {row['instance']}"))
        return found

    def _show(self) -> None:
        with self._list.clear():
            for when, row, words in self._lines:
                with tag("li"), box("timeline-head"):
                    tag("span", when, "timeline-when")
                    tag("strong", row["id"])
                    tag("span", words)
                    if row["job"]:
                        link(row["job"], f"/jobs/{row['job']}")

    def _ask_interrupt(self, row: FlatRow) -> None:
        instance = row["instance"]

        def fields(changed: Callable[[str], None]) -> Callable[[], OwnCall]:
            with tag("ul"):
                tag("li", f"{instance}, {row['type']}, {row['zone']}")
                if row["job"]:
                    tag("li", f"The job {row['job']} saves its checkpoint, and goes on on the next server.")
            kinds = {"notice": "Notice: at its end the instance goes", "risk": "Rebalance recommendation: it stays"}
            kind = Select("What", dict(kinds), changed)
            seconds = Field("Seconds of notice", changed, value=str(NOTICE), inputmode="numeric")
            return lambda: (
                market.recommend(instance) if kind.value == "risk" else market.interrupt(instance, seconds.value)
            )

        done = self._view.spot_requests.look_soon
        ask("Interrupt this instance?", "Interrupt", fields, self._view.port.control, dangerous=True, done=done)

    def _ask_withdraw(self, row: FlatRow) -> None:
        call = market.withdraw(row["instance"])
        confirm(
            "Withdraw the notice?",
            [row["instance"], "It goes on as if there had been none. AWS promises no such thing."],
            call.command,
            "Withdraw",
            lambda: self._view.port.control(call),
            dangerous=False,
            done=self._view.spot_requests.look_soon,
        )

    def _ask_cancel(self) -> None:
        ids = [row["id"] for row in self._grid.chosen if row["state"] in ("open", "active")]
        self._view.confirm(
            "Cancel the request?" if len(ids) == 1 else f"Cancel {len(ids)} requests?",
            [*ids, "Their instances go on: terminate those yourself."],
            "Cancel request",
            Call("ec2", "cancel_spot_instance_requests", {"SpotInstanceRequestIds": list(ids)}),
            done=self._view.spot_requests.look_soon,
        )


def _say_empty() -> None:
    tag("h2", "There are no spot requests yet.")
    tag("p", "Spot servers cost less, and may be taken back with two minutes' notice. Try one:")
    copyable("skylift run --spot job.py")
    copyable(
        "aws ec2 run-instances --image-id IMAGE --instance-type t3.micro --instance-market-options MarketType=spot"
    )
