"""One instance, in tabs."""

from __future__ import annotations

import asyncio
from functools import partial
from urllib.parse import quote

from skylift.console import call as calls
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.pages.coming_up import ComingUp
from skylift.console.pages.edit_tags import show_tags, tags_button
from skylift.console.pages.instances import REBOOT, START, STOP, TERMINATE, Action, action_buttons, ask
from skylift.console.poller import Change
from skylift.console.port import InstanceDetail
from skylift.console.widgets.chart import Chart
from skylift.console.widgets.element import box, button, command_line, copyable, enable, facts, go_to, link, tag
from skylift.console.widgets.heading import named_head
from skylift.console.widgets.small_table import small_table, state, table, table_row
from skylift.console.widgets.tabs import Tabs, in_thread
from skylift.console.widgets.trouble import panel

_METRICS = (
    ("AWS/EC2", "CPUUtilization", "Processor", "%"),
    ("CWAgent", "mem_used_percent", "Memory", "%"),
    ("AWS/EC2", "NetworkIn", "Network in", "bytes"),
    ("AWS/EC2", "NetworkOut", "Network out", "bytes"),
    ("AWS/EC2", "EBSReadBytes", "Disk read", "bytes"),
    ("AWS/EC2", "EBSWriteBytes", "Disk written", "bytes"),
)
_WHY_NONE = {
    ("Memory", True): "CloudWatch's agent tells of memory, where it runs on the server.",
    ("Disk written", False): "Linux counts a server's disks with cgroups of version 2 and their io controller only.",
}
"""By what has none though others have, and whether that is on AWS."""


class InstancePage:
    def __init__(self, view: CloudView, instance: str, launched: str = "") -> None:
        """With `launched`, it was a moment ago: the page shows how it comes up."""
        self._view, self._id, self._launched = view, instance, launched
        self._detail: InstanceDetail | None = None
        self._asking = False

    async def show(self) -> None:
        with panel("All instances", "/instances"):
            self._detail = await in_thread(self._view.port.instance, self._id)
            self._build(self._detail)
            self._view.instances.listen(self._hear)

    def _build(self, detail: InstanceDetail) -> None:
        with named_head(self._view.instances, self._id, detail.row.name):
            if detail.row.market == "spot":
                link("Spot requests", "/spot", "button")
            self._connect = button("Connect", lambda: go_to(f"/connect/{self._id}"))
            self._buttons = action_buttons((START, STOP, REBOOT, TERMINATE), self._ask)
        self._state = state(detail.row.state, detail.row.state)
        if self._launched:
            ComingUp(self._view, self._id)
        self._tabs = Tabs(
            {
                "Details": lambda: self._facts("details"),
                "Networking": lambda: self._facts("networking"),
                "Security": self._security,
                "Storage": self._storage,
                "Monitoring": self._monitoring,
                "Tags": self._tags,
                "Console output": self._console,
                "User data": self._user_data,
            }
        )
        command_line(Call("ec2", "describe_instances", {"InstanceIds": [self._id]}).command)
        self._dress(detail.row.state)
        self._tabs.begin()

    def _dress(self, now: str) -> None:
        self._state.set_text(now)
        self._state.classes(replace=f"state state-{now}")
        enable(self._connect, now == "running")
        for action, made in self._buttons:
            enable(made, action.fits(now))

    def _hear(self, change: Change) -> bool:
        if self._state.is_deleted:
            return False
        for row in (*change.added, *change.updated):
            if row["id"] == self._id and self._detail is not None and row["state"] != self._state.text:
                self._dress(row["state"])
                self._tabs.refresh()
        return True

    async def _ask(self, action: Action) -> None:
        if self._asking:
            return
        # It takes a moment, in which somebody may click again.
        self._asking = True
        try:
            row = (await self._look()).row
            await ask(self._view, action, [{"id": self._id, "name": row.name, "state": row.state}])
        finally:
            self._asking = False

    async def _look(self) -> InstanceDetail:
        self._detail = await in_thread(self._view.port.instance, self._id)
        return self._detail

    async def _facts(self, part: str) -> None:
        detail = await self._look()
        pairs = dict(getattr(detail, part))
        vpc = f"/vpcs/{pairs.get('VPC', '')}"
        links = {
            "Type": f"/prices/{pairs.get('Type', '')}",
            "VPC": vpc,
            "Subnet": f"{vpc}?tab=subnets",
            "Key pair": "/key-pairs",
            "Role": self._role_path(detail),
        }
        facts(getattr(detail, part), links)

    def _role_path(self, detail: InstanceDetail) -> str:
        """An instance names its profile, which mostly is called like the role in it."""
        role = dict(detail.details)["Role"]
        return f"/roles/{quote(role, safe='')}" if role else "/roles"

    async def _security(self) -> None:
        detail = await self._look()
        facts(detail.security)
        with box("bar"):
            tag("span", "Security groups:", "count-left")
            for group, name in detail.groups:
                link(f"{name} ({group})", f"/security-groups/{group}")
        table(("Direction", "Ports", "Other end"), detail.rules, "No rules: nothing comes in.")

    async def _storage(self) -> None:
        volumes = (await self._look()).volumes
        if not volumes:
            tag("p", "It has no volumes.", "empty-line")
            return
        with small_table(
            *("Device", "Volume", "Size", "At the end", "Tags", ""), classes="small wide", aria_label="Volumes"
        ):
            for each in volumes:
                end = "deleted with the instance" if each.goes else "stays"
                tags = partial(tags_button, self._view, each.id, each.id, self._changed)
                table_row(each.device, each.id, each.size, end, each.tags, actions=tags)
        copyable(calls.list_volumes(self._id).command)

    async def _tags(self) -> None:
        show_tags(self._view, self._id, (await self._look()).tags, self._changed)
        copyable(calls.list_tags(self._id).command)

    def _changed(self) -> None:
        self._view.instances.look_soon()
        self._tabs.refresh()

    async def _monitoring(self) -> None:
        found = await asyncio.gather(
            *(in_thread(self._view.port.metric, self._id, name, space) for space, name, _, _ in _METRICS)
        )
        if not any(found):
            tag("p", "No figures yet. CloudWatch has the first ones some minutes after the start.", "empty-line")
            return
        with box("charts"):
            for (_, _, title, unit), points in zip(_METRICS, found, strict=True):
                if points:
                    Chart(title, unit, points)
        copyable(self._view.port.metric_call(self._id, *_METRICS[0][1::-1]).command)
        if unknown := [title for (_, _, title, _), points in zip(_METRICS, found, strict=True) if not points]:
            reasons = (_WHY_NONE.get((each, self._view.port.settings.billed), "") for each in unknown)
            words = f"CloudWatch has no figures of: {', '.join(unknown)}."
            tag("p", " ".join(filter(None, (words, *reasons))), "empty-line")

    async def _console(self) -> None:
        found = await in_thread(self._view.port.console_output, self._id)
        tag("pre", found or "Nothing yet.", "output", tabindex="0")
        copyable(calls.read_console(self._id).command + " --output text --query Output")

    async def _user_data(self) -> None:
        found = await in_thread(self._view.port.user_data, self._id)
        tag("pre", found or "It was launched without user data.", "output", tabindex="0")
        decoded = " --query UserData.Value --output text | base64 -d" if found else ""
        copyable(calls.read_user_data(self._id).command + decoded)
