"""VPCs: all of them, and one with its map, routes, network ACLs and gateways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from skylift.console import call as calls
from skylift.console import networks
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.group_wish import spell_steps
from skylift.console.networks import Acl, GatewayRow, Networks, SubnetLine, Table, spell_subnets
from skylift.console.poller import Change
from skylift.console.vpc_map import GONE
from skylift.console.vpc_plan import Making, Step
from skylift.console.vpc_removal import find_removal
from skylift.console.widgets.dialog import Dialog, TypedCommand, confirm
from skylift.console.widgets.element import (
    Field,
    Select,
    box,
    button,
    copyable,
    enable,
    go_to,
    headings,
    link,
    on_input,
    tag,
)
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, Grid
from skylift.console.widgets.heading import named_head
from skylift.console.widgets.map_view import MapView
from skylift.console.widgets.tabs import Tabs, in_thread
from skylift.console.widgets.trouble import say_trouble, tell
from skylift.runner.errors import RunError, SkyliftError, UsageError

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
        with named_head(self._view.vpcs, self._id):
            link("All VPCs", "/vpcs", "button")
            button("Delete VPC", self._ask_delete, "danger")
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
        words = tag("p", "What belongs together lights up: point at a box, or go to it with Tab.", "empty-line")
        MapView(found)
        listens = False

        def hear(change: Change) -> bool:
            """It is drawn again when a server comes, goes or changes."""
            if words.is_deleted:
                return False
            # What is told at once is of an earlier look than the map.
            if not listens or change.trouble or self._servers() == found.servers:
                return True
            self._tabs.refresh()
            return False

        self._view.instances.listen(hear)
        listens = True

    def _servers(self) -> dict[str, tuple[str, ...]]:
        """As the last look has seen those that a map shows."""
        rows = [row for row in self._view.instances.rows if row.vpc == self._id and row.state not in GONE]
        return {row.id: (row.name, row.state, row.public, row.private) for row in rows}

    async def _ask_delete(self) -> None:
        try:
            removal = await in_thread(find_removal, self._view.port, self._id)
        except SkyliftError as error:
            tell(error.message)
            return

        def done() -> None:
            self._view.vpcs.look_soon()
            go_to("/vpcs")

        confirm(
            "Delete this VPC with all that is in it?",
            [*removal.obstacles, *(words for words, _ in removal.steps), *removal.kept],
            removal.command,
            "Delete",
            lambda: removal.perform(self._view.perform),
            dangerous=True,
            done=done,
        )

    async def _subnets(self) -> None:
        found, tables = await in_thread(lambda: (self._networks.subnets(self._id), self._networks.tables(self._id)))
        if not found:
            tag("p", "It has no subnets.", "empty-line")
            return
        with tag("table", "", "small wide"):
            headings("Subnet", "Name", "Zone", "Range", "Free addresses", "Gives public addresses", "Route table", "")
            with tag("tbody"):
                for each in found:
                    with tag("tr"):
                        for cell in (each.id, each.name, each.zone, each.cidr, str(each.free), each.public, each.table):
                            tag("td", cell)
                        with tag("td", "", "actions"):
                            self._subnet_buttons(each, tables)

    def _subnet_buttons(self, subnet: SubnetLine, tables: list[Table]) -> None:
        name = subnet.name or subnet.id
        button("Route table", lambda: self._ask_table(subnet, tables), "quiet", aria_label=f"Route table of {name}")
        call = Call("ec2", "delete_subnet", {"SubnetId": subnet.id})
        self._remove(f"Delete {name}", call, f"{subnet.id}, {subnet.cidr}. It must have no servers.", "Delete")

    def _ask_table(self, subnet: SubnetLine, tables: list[Table]) -> None:
        """Which table a subnet has decides what it reaches."""
        main = next((each.id for each in tables if each.main), "")
        words = {each.id: f"{each.name} {each.id}{' (main)' if each.main else ''}".strip() for each in tables}
        dialog = Dialog(f"Route table of {subnet.name or subnet.id}")

        def call() -> Call | None:
            return networks.change_table(subnet, chosen.value, main)

        def spell() -> str:
            made = call()
            if made is None:
                raise UsageError("It has this one.")
            return made.command

        def work() -> None:
            if (made := call()) is not None:
                self._view.perform(made)

        with dialog:
            chosen = Select("Route table", {subnet.table: words.get(subnet.table), **words}, lambda _: command.show())
            command = TypedCommand(spell)
        dialog.buttons("Change", work, done=self._tabs.refresh)
        dialog.open()

    async def _gateways(self) -> None:
        with box("buttons-left"):
            internet = button("Create internet gateway", self._ask_internet_gateway)
            button("Create NAT gateway", self._ask_nat_gateway)
        trouble = box()
        place = box()

        def hear(change: Change) -> bool:
            """The table is made anew when a gateway comes, goes or changes."""
            if place.is_deleted:
                return False
            if not change.news:
                return True
            trouble.clear()
            if change.trouble:
                with trouble:
                    say_trouble(RunError(change.trouble, change.advice))
                return True
            found = topic.rows
            # A VPC has one at most.
            enable(internet, not any(each.id.startswith("igw-") for each in found))
            with place.clear():
                self._gateway_table(found)
            return True

        topic = self._view.gateways(self._id)
        topic.listen(hear)

    def _gateway_table(self, found: Sequence[GatewayRow]) -> None:
        if not found:
            tag("p", "Nothing leads out of this VPC.", "empty-line")
            return
        with tag("table", "", "small wide", aria_label="Gateways"):
            headings("ID", "Name", "What it is", "State", "Address", "More about it", "")
            with tag("tbody"):
                for row in found:
                    with tag("tr"):
                        tag("td", row.id)
                        tag("td", row.name)
                        tag("td", row.kind)
                        with tag("td"):
                            tag("span", row.state, f"state state-{row.state}")
                        tag("td", row.address)
                        tag("td", row.more)
                        with tag("td", "", "actions"):
                            self._gateway_button(row)

    def _changed_gateways(self) -> None:
        self._view.gateways(self._id).look_soon()

    def _ask_internet_gateway(self) -> None:
        dialog = Dialog("Create an internet gateway")

        def steps() -> list[Step]:
            return networks.internet_gateway_steps(self._id, name.value.strip())

        with dialog:
            name = Field("Name", lambda _: command.show(), placeholder="way-out", spellcheck="false")
            tag("p", "It leads out where a route table has a route to it.", "empty-line")
            command = TypedCommand(lambda: spell_steps(steps()))
        dialog.buttons("Create", lambda: Making(steps()).make_all(self._view.perform), done=self._changed_gateways)
        dialog.open()

    async def _ask_nat_gateway(self) -> None:
        try:
            subnets, addresses = await in_thread(
                lambda: (self._networks.nat_places(self._id), self._networks.free_addresses())
            )
        except SkyliftError as error:
            tell(error.message)
            return
        dialog = Dialog("Create a NAT gateway")

        def steps() -> list[Step]:
            return networks.nat_gateway_steps(subnet.value, address.value, name.value.strip())

        def done() -> None:
            self._changed_gateways()
            self._view.addresses.look_soon()

        with dialog:
            name = Field("Name", lambda _: command.show(), placeholder="shop-nat", spellcheck="false")
            subnet = Select("Public subnet", dict(subnets), lambda _: command.show())
            address = Select("Elastic IP", {"": "A new one", **addresses}, lambda _: command.show())
            tag(
                "p",
                "It costs by the hour and by the GB. Servers without a public address go out through it.",
                "empty-line",
            )
            tag("p", "Once it is available, give their route table a route to it: 0.0.0.0/0.", "empty-line")
            command = TypedCommand(lambda: spell_steps(steps()))
        dialog.buttons("Create", lambda: Making(steps()).make_all(self._view.perform), done=done)
        dialog.open()

    def _gateway_button(self, row: GatewayRow) -> None:
        calls_ = networks.remove_gateway(self._id, row.id)
        if calls_ and row.state != "deleting":
            button("Delete", lambda: self._ask_delete_gateway(row, calls_), "quiet", aria_label=f"Delete {row.id}")

    async def _ask_delete_gateway(self, row: GatewayRow, calls_: Sequence[Call]) -> None:
        try:
            routes = await in_thread(self._networks.routes_to, self._id, row.id)
        except SkyliftError as error:
            tell(error.message)
            return
        confirm(
            f"Delete {row.name or row.id}?",
            [
                f"{row.id}, {row.kind}",
                *(f"The route {each} leads nowhere then." for each in routes),
                *([f"{row.address} stays yours, and costs: release it among Elastic IPs."] if row.address else []),
            ],
            "\n".join(each.command for each in calls_),
            "Delete",
            lambda: [self._view.perform(each) for each in calls_],
            dangerous=True,
            done=self._changed_gateways,
        )

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
                        for cell in (route.destination, route.target):
                            tag("td", cell)
                        with tag("td"):
                            tag("span", route.state, f"state state-{route.state}")
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

    def _remove(self, label: str, call: Call, consequence: str, text: str = "Remove") -> None:
        button(
            text,
            lambda: confirm(
                f"{label}?",
                [consequence],
                call.command,
                text,
                lambda: self._view.perform(call),
                dangerous=True,
                done=self._tabs.refresh,
            ),
            "quiet",
            aria_label=label,
        )

    def _add_button(self, text: str, make: Callable[[], Call]) -> None:
        """Makes the call of what was typed."""
        self._doing(text, lambda: self._view.perform(make()))

    def _doing(self, text: str, work: Callable[[], object]) -> None:
        """What is wrong with it is said beside it."""

        async def add() -> None:
            trouble.clear()
            try:
                await in_thread(work)
            except SkyliftError as error:
                with trouble:
                    say_trouble(error)
            else:
                self._tabs.refresh()

        button(text, add, "primary")
        trouble = box("wide")
