"""Instances: all of them, and what is done with many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from skylift.client.errors import SkyliftError
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.instance_removal import ends_with
from skylift.console.pages.edit_tags import add_tags, edit_tags
from skylift.console.poller import FlatRow
from skylift.console.widgets.element import Element, button, copyable, enable, go_to, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed
from skylift.console.widgets.tabs import in_thread

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


class InstancesPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view
        self._asking = False
        with head("Instances"):
            button("Launch", lambda: go_to("/launch"), "primary")
            self._connect = button("Connect", lambda: go_to(f"/connect/{self._grid.chosen[0]['id']}"))
            self._actions = action_buttons((START, STOP, REBOOT), self._ask)
            self._tags = button("Tags", self._edit_tags)
            self._actions += action_buttons((TERMINATE,), self._ask)
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
        enable(self._connect, states == ["running"])
        enable(self._tags, bool(states))
        for action, made in self._actions:
            enable(made, any(map(action.fits, states)))

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


@dataclass(frozen=True)
class Action:
    """Something that is done with instances, which are in one of these states. EC2's operation has the same verb."""

    verb: str
    consequence: str
    states: tuple[str, ...]
    danger: bool = False

    def fits(self, state: str) -> bool:
        return state in self.states

    def call(self, ids: Sequence[str]) -> Call:
        return Call("ec2", f"{self.verb.lower()}_instances", {"InstanceIds": list(ids)})


START = Action("Start", "It gets another public address, and costs again.", ("stopped",))
STOP = Action("Stop", "Its disk stays and costs; its public address goes.", ("running", "pending"))
REBOOT = Action("Reboot", "It keeps its disk and its addresses.", ("running",))
TERMINATE = Action(
    "Terminate", "It cannot be brought back.", ("pending", "running", "stopping", "stopped"), danger=True
)


def action_buttons(actions: Sequence[Action], ask: Callable[[Action], Any]) -> list[tuple[Action, Element]]:
    return [(each, button(each.verb, partial(ask, each), "danger" if each.danger else "")) for each in actions]


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
