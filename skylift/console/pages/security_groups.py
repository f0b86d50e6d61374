"""Security groups: all of them, and the rules of one, edited in place."""

from __future__ import annotations

from skylift.console import call as calls
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.group_wish import KINDS, read_permission
from skylift.console.pages.new_group import create_security_group
from skylift.console.rows import RuleRow
from skylift.console.widgets.dialog import confirm
from skylift.console.widgets.element import Field, Select, box, button, copyable, go_to, headings, link, on_input, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, Grid
from skylift.console.widgets.heading import named_head
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_trouble
from skylift.runner.errors import SkyliftError

COLUMNS = (
    Column("name", "Name", 180),
    Column("id", "Group ID", 190, leads="/security-groups/"),
    Column("vpc", "VPC", 190, leads="/vpcs/"),
    Column("description", "Description"),
    Column("inbound", "Rules in", 90, kind="number"),
    Column("outbound", "Rules out", 90, kind="number"),
    Column("tags", "Tags"),
)


class SecurityGroupsPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view
        with head("Security groups"):
            button("Create security group", self._create, "primary")
        with box("bar"):
            search = tag("input", type="search", placeholder="Filter by any field", aria_label="Filter")
        grid = Grid(view.security_groups, COLUMNS, label="Security groups", empty=_say_empty)
        on_input(search, grid.filter)
        with box("commandline"):
            copyable(calls.list_security_groups().command)

    async def _create(self) -> None:
        await create_security_group(self._view, done=lambda group, *_: go_to(f"/security-groups/{group}"))


def _say_empty() -> None:
    tag("h2", "There are no security groups.")
    tag("p", "Each VPC has one called default. Make a VPC first:")
    copyable("aws ec2 create-default-vpc")


class SecurityGroupPage:
    def __init__(self, view: CloudView, group: str) -> None:
        self._view, self._id = view, group

    async def show(self) -> None:
        with named_head(self._view.security_groups, self._id):
            link("All groups", "/security-groups", "button")
            button("Delete group", self._ask_delete, "danger")
        self._place = box()
        with box("bar rule-form"):
            self._direction = Select("Direction", {"in": "In", "out": "Out"})
            self._kind = Select("Protocol", KINDS)
            self._ports = Field("Ports", placeholder="22 or 8000-8080", spellcheck="false")
            self._other = Field("From or to", placeholder="203.0.113.7/32 or sg-…", spellcheck="false")
            button("Add rule", self._add, "primary")
        self._trouble = box()
        with box("commandline"):
            copyable(calls.list_rules([self._id]).command)
        await self._show_rules()

    def _ask_delete(self) -> None:
        call = calls.delete_security_group(self._id)

        def done() -> None:
            self._view.security_groups.look_soon()
            go_to("/security-groups")

        confirm(
            "Delete this security group?",
            [self._id, "Its rules go with it. A group that an instance or another group's rule names stays."],
            call.command,
            "Delete",
            lambda: self._view.perform(call),
            dangerous=True,
            done=done,
        )

    async def _show_rules(self) -> None:
        try:
            rules = await in_thread(self._view.port.rules, [self._id])
        except SkyliftError as error:
            with self._place.clear():
                say_trouble(error)
            return
        with self._place.clear():
            if not rules:
                tag("p", "No rules: nothing comes in, and nothing goes out.", "empty-line")
                return
            with tag("table", "", "small"):
                headings("Direction", "Ports", "Other end", "Description", "")
                with tag("tbody"):
                    for rule in rules:
                        self._show_rule(rule)

    def _show_rule(self, rule: RuleRow) -> None:
        with tag("tr"):
            for cell in (rule.direction, rule.ports, rule.other, rule.description):
                tag("td", cell)
            with tag("td"):
                button(
                    "Remove", lambda: self._remove(rule), "quiet", aria_label=f"Remove {rule.direction} {rule.ports}"
                )

    def _remove(self, rule: RuleRow) -> None:
        call = calls.revoke_rule(self._id, rule.id, outbound=rule.direction == "out")
        confirm(
            "Remove this rule?",
            [f"{rule.direction}: {rule.ports}, {rule.other}", "Connections of it end."],
            call.command,
            "Remove",
            lambda: self._view.perform(call),
            dangerous=True,
            done=self._show_rules,
        )

    async def _add(self) -> None:
        self._trouble.clear()
        try:
            call = read_rule(
                self._id,
                self._kind.value,
                self._ports.value,
                self._other.value,
                outbound=self._direction.value == "out",
            )
            await in_thread(self._view.perform, call)
        except SkyliftError as error:
            with self._trouble:
                say_trouble(error)
            return
        await self._show_rules()


def read_rule(group: str, kind: str, ports: str, other: str, *, outbound: bool) -> Call:
    """What was typed, as a call. Raises UsageError."""
    return calls.authorize_rules(group, [read_permission(kind, ports, other)], outbound=outbound)
