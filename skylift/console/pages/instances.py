"""Instances: all of them, and what is done with many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skylift.console import call as calls
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.instance_removal import ends_with
from skylift.console.pages.edit_tags import add_tags, edit_tags
from skylift.console.poller import FlatRow
from skylift.console.widgets.element import button, copyable, enable, go_to, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed
from skylift.console.widgets.tabs import in_thread
from skylift.runner.errors import SkyliftError

COLUMNS = (
    Column("name", "Name"),
    Column("id", "Instance ID", 168, leads="/instances/"),
    Column("state", "State", 112, kind="state"),
    Column("type", "Type", 92, leads="/prices/"),
    Column("public", "Public IPv4", 112),
    Column("private", "Private IPv4", 120),
    Column("cost", "Cost so far", 112, kind="money"),
    Column("launched", "Launched", 162),
    Column("zone", "Zone", 94),
    Column("key", "Key pair", 96),
    Column("tags", "Tags"),
    Column("market", "Purchase", kind="hidden"),
    Column("vpc", "VPC", kind="hidden"),
)
STARTS, STOPS = ("stopped",), ("running", "pending")
GONE = ("terminated", "shutting-down")


class InstancesPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view
        self._asking = False
        with head("Instances"):
            button("Launch", lambda: go_to("/launch"), "primary")
            self._connect = button("Connect", self._go_connect)
            self._start = button("Start", lambda: self._ask(START))
            self._stop = button("Stop", lambda: self._ask(STOP))
            self._reboot = button("Reboot", lambda: self._ask(REBOOT))
            self._tags = button("Tags", self._edit_tags)
            self._terminate = button("Terminate", lambda: self._ask(TERMINATE), "danger")
        self._grid = listed(
            view.instances,
            COLUMNS,
            label="Instances",
            empty=_say_empty,
            command=Call("ec2", "describe_instances").command,
            count=_count,
            on_choice=self._dress,
            placeholder="Filter by any field or tag",
            spellcheck="false",
        )

    def _dress(self, chosen: list[FlatRow]) -> None:
        states = [row["state"] for row in chosen]
        enable(self._connect, len(states) == 1 and states[0] == "running")
        enable(self._start, any(state in STARTS for state in states))
        enable(self._stop, any(state in STOPS for state in states))
        enable(self._reboot, any(state == "running" for state in states))
        enable(self._tags, bool(states))
        enable(self._terminate, any(state not in GONE for state in states))

    def _go_connect(self) -> None:
        go_to(f"/connect/{self._grid.chosen[0]['id']}")

    async def _ask(self, action: Action) -> None:
        rows = [row for row in self._grid.chosen if action.fits(row["state"])]
        if not rows or self._asking:
            return
        # It takes a moment, in which somebody may click again.
        self._asking = True
        try:
            await ask(self._view, action, rows)
        finally:
            self._asking = False

    async def _edit_tags(self) -> None:
        rows, done = self._grid.chosen, self._view.instances.look_soon
        if len(rows) == 1:
            await edit_tags(self._view, rows[0]["id"], rows[0]["name"], done)
        elif rows:
            add_tags(self._view, [row["id"] for row in rows], done)


def _count(rows: Sequence[FlatRow]) -> str:
    running = sum(row["state"] == "running" for row in rows)
    return f"{len(rows)} {'instance' if len(rows) == 1 else 'instances'}, {running} running"


class Action:
    """Something that is done with instances: the words for it, and the call."""

    def __init__(
        self, verb: str, call: Callable[[Sequence[str]], Call], consequence: str, states: Sequence[str], *, danger: bool
    ) -> None:
        self.verb, self.call, self.consequence, self.danger = verb, call, consequence, danger
        self._states = states

    def fits(self, state: str) -> bool:
        return state in self._states


START = Action("Start", calls.start_instances, "It gets another public address, and costs again.", STARTS, danger=False)
STOP = Action("Stop", calls.stop_instances, "Its disk stays and costs; its public address goes.", STOPS, danger=False)
REBOOT = Action("Reboot", calls.reboot_instances, "It keeps its disk and its addresses.", ("running",), danger=False)
TERMINATE = Action(
    "Terminate",
    calls.terminate_instances,
    "It cannot be brought back.",
    ("pending", "running", "stopping", "stopped"),
    danger=True,
)


async def ask(view: CloudView, action: Action, rows: Sequence[FlatRow]) -> None:
    """Ask before it is done, with the name of each that it is done to, and of what ends with them."""
    ids = [row["id"] for row in rows]
    call = action.call(ids)
    also = []
    if action is TERMINATE:
        try:
            also = await in_thread(ends_with, view.port, ids)
        except SkyliftError as error:
            also = [f"What ends with it could not be looked up. {error.message}"]
    what = "this instance" if len(rows) == 1 else f"these {len(rows)} instances"
    lines = [
        f"{row['name']} ({row['id']}), {row['state']}" if row["name"] else f"{row['id']}, {row['state']}"
        for row in rows
    ]

    view.confirm(
        f"{action.verb} {what}?",
        [*lines, action.consequence, *also],
        action.verb,
        call,
        dangerous=action.danger,
        done=view.instances.look_soon,
    )


def _say_empty() -> None:
    tag("h2", "There are no instances yet.")
    tag("p", "Run a program on a server of its own, or launch one, and it is listed here:")
    copyable("skylift run job.py")
    copyable("aws ec2 run-instances --image-id IMAGE --instance-type t3.micro --key-name KEY")
