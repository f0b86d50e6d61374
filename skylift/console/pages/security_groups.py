"""Security groups: all of them, and the rules of one, edited in place."""

from __future__ import annotations

from skylift.console import call as calls
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.rows import RuleRow
from skylift.console.typed import read_ports
from skylift.console.widgets.dialog import confirm
from skylift.console.widgets.element import Field, Select, box, button, copyable, headings, link, on_input, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, Grid
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_trouble
from skylift.runner.errors import SkyliftError, UsageError

COLUMNS = (
    Column("name", "Name", 180),
    Column("id", "Group ID", 190, leads="/security-groups/"),
    Column("vpc", "VPC", 190, kind="code"),
    Column("description", "Description"),
    Column("inbound", "Rules in", 90, kind="number"),
    Column("outbound", "Rules out", 90, kind="number"),
    Column("tags", "Tags"),
)
_KINDS = {"tcp": "TCP", "udp": "UDP", "icmp": "ICMP", "-1": "All traffic"}


class SecurityGroupsPage:
    def __init__(self, view: CloudView) -> None:
        head("Security groups")
        with box("bar"):
            search = tag("input", type="search", placeholder="Filter by any field", aria_label="Filter")
        grid = Grid(view.security_groups, COLUMNS, label="Security groups", empty=_say_empty)
        on_input(search, grid.filter)
        with box("commandline"):
            copyable(calls.list_security_groups().command)


def _say_empty() -> None:
    tag("h2", "There are no security groups.")
    tag("p", "Each VPC has one called default. Make a VPC first:")
    copyable("aws ec2 create-default-vpc")


class SecurityGroupPage:
    def __init__(self, view: CloudView, group: str) -> None:
        self._view, self._id = view, group

    async def show(self) -> None:
        with head(self._id):
            link("All groups", "/security-groups", "button")
        self._place = box()
        with box("bar rule-form"):
            self._direction = Select("Direction", {"in": "In", "out": "Out"})
            self._kind = Select("Protocol", _KINDS)
            self._ports = Field("Ports", placeholder="22 or 8000-8080", spellcheck="false")
            self._other = Field("From or to", placeholder="203.0.113.7/32 or sg-…", spellcheck="false")
            button("Add rule", self._add, "primary")
        self._trouble = box()
        with box("commandline"):
            copyable(calls.list_rules([self._id]).command)
        await self._show_rules()

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
    """What was typed, as a call. Raises UsageError; whether an address is one, AWS says."""
    other = other.strip()
    if not other:
        raise UsageError("Say where from or to.", "An address is like 203.0.113.7/32; all are 0.0.0.0/0.")
    permission: dict[str, object] = {"IpProtocol": kind}
    if kind in ("tcp", "udp"):
        first, last = read_ports(ports)
        permission |= {"FromPort": first, "ToPort": last}
    elif kind == "icmp":
        permission |= {"FromPort": -1, "ToPort": -1}
    if other.startswith("sg-"):
        permission["UserIdGroupPairs"] = [{"GroupId": other}]
    elif other.startswith("pl-"):
        permission["PrefixListIds"] = [{"PrefixListId": other}]
    elif ":" in other:
        permission["Ipv6Ranges"] = [{"CidrIpv6": other}]
    else:
        permission["IpRanges"] = [{"CidrIp": other if "/" in other else f"{other}/32"}]
    return calls.authorize_rule(group, permission, outbound=outbound)
