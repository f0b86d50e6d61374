"""Security groups: all of them, and the rules of one, edited in place."""

from __future__ import annotations

from collections.abc import Callable

from skylift.client.errors import SkyliftError
from skylift.console import call as calls
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.group_wish import KINDS, read_change, read_permission
from skylift.console.pages.edit_tags import edit_tags, tags_button
from skylift.console.pages.new_group import create_security_group
from skylift.console.rows import RuleRow
from skylift.console.widgets.dialog import TypedCommand, confirm
from skylift.console.widgets.element import box, button, command_line, copyable, go_to, link, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed
from skylift.console.widgets.heading import named_head
from skylift.console.widgets.row_edit import EditedRow, Edits
from skylift.console.widgets.small_table import small_table
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_trouble, trouble_in

COLUMNS = (
    Column("name", "Name", 180),
    Column("id", "Group ID", 190, leads="/security-groups/"),
    Column("vpc", "VPC", 190, leads="/vpcs/"),
    Column("description", "Description"),
    Column("inbound", "Rules in", 90, kind="number"),
    Column("outbound", "Rules out", 100, kind="number"),
    Column("tags", "Tags"),
)


class SecurityGroupsPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view
        with head("Security groups"):
            button("Create security group", self._create, "primary")
        listed(
            view.security_groups,
            COLUMNS,
            label="Security groups",
            empty=_say_empty,
            command=Call("ec2", "describe_security_groups").command,
        )

    async def _create(self) -> None:
        await create_security_group(self._view, done=lambda group, *_: go_to(f"/security-groups/{group}"))


def _say_empty() -> None:
    tag("h2", "There are no security groups.")
    tag("p", "Each VPC has one called default. Make a VPC first:")
    copyable("aws ec2 create-default-vpc")


class SecurityGroupPage:
    def __init__(self, view: CloudView, group: str) -> None:
        self._view, self._id = view, group
        self._edits: Edits = {}

    async def show(self) -> None:
        with named_head(self._view.security_groups, self._id):
            link("All groups", "/security-groups", "button")
            button("Tags", lambda: edit_tags(self._view, self._id, "", self._view.security_groups.look_soon))
            button("Delete group", self._ask_delete, "danger")
        self._place = box()
        tag("h2", "Another rule")
        with box("bar rule-form"):
            self._direction = Select("Direction", {"in": "In", "out": "Out"}, self._typed)
            self._kind = Select("Protocol", KINDS, self._typed)
            self._ports = Field("Ports", self._typed, placeholder="22 or 80-90", spellcheck="false", size="11")
            self._other = Field("From or to", self._typed, placeholder="203.0.113.7/32 or sg-…", spellcheck="false")
            self._words = Field("Description", self._typed, spellcheck="false", size="14")
            button("My address", self._fill, "quiet")
            button("Anywhere", lambda: self._take("0.0.0.0/0"), "quiet")
            button("Add rule", self._add, "primary")
        self._command = TypedCommand(lambda: self._new_rule().command, at_once=False)
        self._trouble = box()
        command_line(calls.list_rules([self._id]).command)
        await self._show_rules()

    def _new_rule(self) -> Call:
        """Raises UsageError."""
        return read_rule(
            self._id,
            self._kind.value,
            self._ports.value,
            self._other.value,
            self._words.value,
            outbound=self._direction.value == "out",
        )

    def _typed(self, _: str) -> None:
        self._command.show()

    def _take(self, other: str) -> None:
        self._other.set(other)
        self._typed(other)

    async def _fill(self) -> None:
        self._take(f"{await in_thread(self._view.port.own_address)}/32")

    def _ask_delete(self) -> None:
        def done() -> None:
            self._view.security_groups.look_soon()
            go_to("/security-groups")

        self._view.confirm(
            "Delete this security group?",
            [self._id, "Its rules go with it. A group that an instance or another group's rule names stays."],
            "Delete",
            Call("ec2", "delete_security_group", {"GroupId": self._id}),
            done=done,
        )

    async def _show_rules(self) -> None:
        with trouble_in(self._place):
            rules = await in_thread(self._view.port.rules, [self._id])
            with self._place.clear():
                if not rules:
                    tag("p", "No rules: nothing comes in, and nothing goes out.", "empty-line")
                    return
                titles = ("Direction", "Ports", "Other end", "Description", "")
                with small_table(*titles, classes="small wide", aria_label="Rules"):
                    for rule in rules:
                        self._show_rule(rule)

    def _show_rule(self, rule: RuleRow) -> None:
        name = f"{rule.direction} {rule.ports} {rule.other}"

        def show(row: EditedRow) -> None:
            for cell in (rule.direction, rule.ports):
                tag("td", cell)
            with tag("td"):
                if rule.other.startswith("sg-"):
                    link(rule.other, f"/security-groups/{rule.other}")
                else:
                    tag("span", rule.other)
            tag("td", rule.description)
            with tag("td", "", "actions"):
                row.button()
                tags_button(self._view, rule.id, name, self._show_rules)
                button("Remove", lambda: self._remove(rule), "quiet", aria_label=f"Remove {name}")

        def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
            kinds = {rule.protocol: KINDS.get(rule.protocol, rule.protocol), **KINDS}
            kind = Select("Protocol", kinds, changed)
            ports = Field("Ports", changed, value=rule.typed_ports, spellcheck="false", size="11")
            other = Field(
                "From" if rule.direction == "in" else "To", changed, value=rule.other, spellcheck="false", size="20"
            )
            words = Field("Description", changed, value=rule.description, spellcheck="false")
            return lambda: read_change(self._id, rule, kind.value, ports.value, other.value, words.value)

        EditedRow(
            5,
            rule.id,
            name,
            edits=self._edits,
            show=show,
            fields=fields,
            perform=lambda call: self._change(rule, call),
            done=self._changed,
        )

    async def _changed(self) -> None:
        self._view.security_groups.look_soon()
        await self._show_rules()

    def _change(self, rule: RuleRow, call: Call) -> None:
        """In a thread. The call has the whole rule, as it was read."""
        self._view.port.check_rule(self._id, rule)
        self._view.perform(call)

    def _remove(self, rule: RuleRow) -> None:
        call = calls.revoke_rule(self._id, rule.id, outbound=rule.direction == "out")
        confirm(
            "Remove this rule?",
            [f"{rule.direction}: {rule.ports}, {rule.other}", "Connections of it end."],
            call.command,
            "Remove",
            lambda: self._change(rule, call),
            done=self._changed,
        )

    async def _add(self) -> None:
        self._trouble.clear()
        fields = (self._ports, self._other, self._words)
        added = [each.value for each in fields]
        try:
            call = self._new_rule()
            await in_thread(self._view.perform, call)
        except SkyliftError as error:
            with self._trouble:
                say_trouble(error)
            return
        # The same once more would be refused. What was typed meanwhile is of the next one.
        if [each.value for each in fields] == added:
            for each in fields:
                each.set("")
            self._command.clear()
        await self._changed()


def read_rule(group: str, kind: str, ports: str, other: str, description: str = "", *, outbound: bool) -> Call:
    """What was typed, as a call. Raises UsageError."""
    return calls.authorize_rules(group, [read_permission(kind, ports, other, description)], outbound=outbound)
