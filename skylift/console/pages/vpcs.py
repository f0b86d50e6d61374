"""VPCs: all of them, and one with its map, routes, network ACLs and gateways."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from skylift.console import call as calls
from skylift.console import networks
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.networks import Acl, Networks, Table, spell_subnets
from skylift.console.widgets.dialog import confirm
from skylift.console.widgets.element import (
    Field,
    Select,
    box,
    button,
    copyable,
    go_to,
    headings,
    link,
    on_input,
    table,
    tag,
)
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, Grid
from skylift.console.widgets.map_view import MapView
from skylift.console.widgets.tabs import Tabs, in_thread
from skylift.console.widgets.trouble import say_trouble
from skylift.runner.errors import SkyliftError

COLUMNS = (
    Column("name", "Name"),
    Column("id", "VPC ID", 200, leads="/vpcs/"),
    Column("cidr", "IPv4 range", 140, kind="code"),
    Column("state", "State", 120, kind="state"),
    Column("default", "Default", 90),
    Column("tags", "Tags"),
)


class VpcsPage:
    def __init__(self, view: CloudView) -> None:
        with head("VPCs"):
            button("VPC and more", lambda: go_to("/create-vpc"), "primary")
        with box("bar"):
            search = tag("input", type="search", placeholder="Filter by any field", aria_label="Filter")
        grid = Grid(view.vpcs, COLUMNS, label="VPCs", empty=_say_empty)
        on_input(search, grid.filter)
        with box("commandline"):
            copyable(calls.list_vpcs().command)


def _say_empty() -> None:
    tag("h2", "There is no VPC.")
    tag("p", "Servers need one. AWS makes a default VPC, with a subnet in each zone and a way to the internet:")
    copyable("aws ec2 create-default-vpc")
    button("Or make one of your own: VPC and more", lambda: go_to("/create-vpc"))


class VpcPage:
    def __init__(self, view: CloudView, vpc: str) -> None:
        self._view, self._id = view, vpc
        self._networks = Networks(view.port)

    async def show(self) -> None:
        with head(self._id):
            link("All VPCs", "/vpcs", "button")
        self._tabs = Tabs(
            {
                "Map": self._map,
                "Subnets": self._subnets,
                "Route tables": self._tables,
                "Network ACLs": self._acls,
                "Gateways": self._gateways,
            }
        )
        with box("commandline"):
            copyable(calls.describe_route_tables(self._id).command)
        self._tabs.begin("Map")

    async def _map(self) -> None:
        found = await in_thread(self._view.port.vpc_map, self._id)
        tag("p", "What belongs together lights up: point at a box, or go to it with Tab.", "empty-line")
        MapView(found)

    async def _subnets(self) -> None:
        rows = tuple(
            (each.id, each.name, each.zone, each.cidr, str(each.free), each.public, each.table)
            for each in await in_thread(self._networks.subnets, self._id)
        )
        titles = ("Subnet", "Name", "Zone", "Range", "Free addresses", "Gives public addresses", "Route table")
        table(titles, rows, "It has no subnets.")

    async def _gateways(self) -> None:
        found = await in_thread(self._networks.gateways, self._id)
        table(("ID", "What it is", "Service"), tuple(found), "Nothing leads out of this VPC.")

    async def _tables(self) -> None:
        tables, targets = await in_thread(lambda: (self._networks.tables(self._id), self._networks.targets(self._id)))
        for each in tables:
            with box("part"):
                tag("h2", f"{each.name} {each.id}{' (main)' if each.main else ''}".strip())
                tag("p", f"Subnets: {spell_subnets(each.subnets)}", "empty-line")
                self._routes(each)
                self._route_form(each, targets)

    def _routes(self, shown: Table) -> None:
        with tag("table", "", "small", aria_label=f"Routes of {shown.id}"):
            headings("Destination", "Target", "State", "")
            with tag("tbody"):
                for route in shown.routes:
                    with tag("tr"):
                        for cell in (route.destination, route.target, route.state):
                            tag("td", cell)
                        with tag("td", "", "actions"):
                            if route.removable:
                                self._remove(
                                    f"Remove the route to {route.destination}",
                                    networks.delete_route(shown.id, route.destination),
                                    f"{route.destination} no longer leads to {route.target}.",
                                )

    def _route_form(self, shown: Table, targets: Mapping[str, str]) -> None:
        with box("bar rule-form"):
            destination = Field("Destination", placeholder="0.0.0.0/0", spellcheck="false")
            target = Select("Target", dict(targets) or {"": "The VPC has no gateway"})
            self._add_button("Add route", lambda: networks.create_route(shown.id, destination.value, target.value))

    async def _acls(self) -> None:
        for each in await in_thread(self._networks.acls, self._id):
            with box("part"):
                tag("h2", f"{each.name} {each.id}{' (default)' if each.default else ''}".strip())
                tag("p", f"Subnets: {spell_subnets(each.subnets)}", "empty-line")
                self._acl_rules(each)
                self._acl_form(each)

    def _acl_rules(self, shown: Acl) -> None:
        with tag("table", "", "small", aria_label=f"Rules of {shown.id}"):
            headings("Number", "Direction", "Protocol", "Ports", "Range", "Decides", "")
            with tag("tbody"):
                for rule in shown.rules:
                    direction = "out" if rule.outbound else "in"
                    number = str(rule.number) if rule.removable else "*"
                    decides = "allow" if rule.allows else "deny"
                    with tag("tr"):
                        for cell in (number, direction, rule.protocol, rule.ports, rule.cidr, decides):
                            tag("td", cell)
                        with tag("td", "", "actions"):
                            if rule.removable:
                                self._remove(
                                    f"Remove rule {rule.number} {direction}",
                                    networks.delete_acl_rule(shown.id, rule),
                                    f"{rule.protocol}, {rule.ports}, {rule.cidr}: {decides}",
                                )

    def _acl_form(self, shown: Acl) -> None:
        with box("bar rule-form"):
            number = Field("Number", placeholder="90", inputmode="numeric")
            direction = Select("Direction", {"in": "In", "out": "Out"})
            protocol = Select("Protocol", dict(networks.PROTOCOLS))
            ports = Field("Ports", placeholder="22 or 8000-8080", spellcheck="false")
            other = Field("Range", placeholder="0.0.0.0/0", spellcheck="false")
            action = Select("Decides", {"allow": "Allow", "deny": "Deny"})
            self._add_button(
                "Add rule",
                lambda: networks.create_acl_rule(
                    shown.id,
                    number.value,
                    direction.value,
                    protocol.value,
                    ports.value,
                    other.value,
                    action.value,
                ),
            )

    def _remove(self, label: str, call: Call, consequence: str) -> None:
        button(
            "Remove",
            lambda: confirm(
                f"{label}?",
                [consequence],
                call.command,
                "Remove",
                lambda: self._view.perform(call),
                dangerous=True,
                done=self._tabs.refresh,
            ),
            "quiet",
            aria_label=label,
        )

    def _add_button(self, text: str, make: Callable[[], Call]) -> None:
        """Makes the call of what was typed; what is wrong with it is said beside it."""

        async def add() -> None:
            trouble.clear()
            try:
                await in_thread(lambda: self._view.perform(make()))
            except SkyliftError as error:
                with trouble:
                    say_trouble(error)
            else:
                self._tabs.refresh()

        button(text, add, "primary")
        trouble = box("wide")
