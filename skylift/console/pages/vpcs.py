"""VPCs: all of them, and one with its map, routes, network ACLs and gateways."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from skylift.client.errors import RunError
from skylift.console import call as calls
from skylift.console import networks
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.networks import Acl, GatewayRow, Networks, RouteTable, SubnetLine
from skylift.console.pages.edit_tags import edit_tags, tags_button
from skylift.console.pages.vpc_acls import show_acls
from skylift.console.pages.vpc_tab import VpcTab
from skylift.console.pages.vpc_tables import show_tables
from skylift.console.poller import Change
from skylift.console.vpc_map import GONE
from skylift.console.vpc_plan import Making, internet_gateway_steps
from skylift.console.vpc_removal import find_removal
from skylift.console.widgets.dialog import ask, confirm
from skylift.console.widgets.element import box, button, command_line, copyable, enable, go_to, link, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed
from skylift.console.widgets.heading import named_head
from skylift.console.widgets.map_view import MapView
from skylift.console.widgets.small_table import small_table, state, table_row
from skylift.console.widgets.tabs import Tabs, in_thread
from skylift.console.widgets.trouble import say_trouble

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
        listed(view.vpcs, COLUMNS, label="VPCs", empty=_say_empty, command=calls.list_vpcs().command)


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
            button("Tags", lambda: edit_tags(self._view, self._id, "", self._view.vpcs.look_soon))
            button("Delete VPC", self._ask_delete, "danger")
        self._tabs = Tabs(
            {
                "Map": lambda: self._shown(self._map, "describe_vpcs", "vpc-id"),
                "Subnets": lambda: self._shown(self._subnets, "describe_subnets", "vpc-id"),
                "Route tables": lambda: self._shown(lambda: show_tables(self._tab), "describe_route_tables", "vpc-id"),
                "Network ACLs": lambda: self._shown(lambda: show_acls(self._tab), "describe_network_acls", "vpc-id"),
                "Gateways": lambda: self._shown(self._gateways, "describe_internet_gateways", "attachment.vpc-id"),
            }
        )
        self._tab = VpcTab(self._view, self._networks, self._id, self._tabs.refresh)
        self._tabs.begin()

    async def _shown(self, fill: Callable[[], Awaitable[None]], operation: str, name: str) -> None:
        """A tab, with the command that lists the same."""
        await fill()
        command_line(Call("ec2", operation, {"Filters": [{"Name": name, "Values": [self._id]}]}).command)

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
        removal = await in_thread(find_removal, self._view.port, self._id)

        def done() -> None:
            self._view.vpcs.look_soon()
            go_to("/vpcs")

        confirm(
            "Delete this VPC with all that is in it?",
            [*removal.obstacles, *(words for words, _ in removal.steps), *removal.kept],
            removal.command,
            "Delete",
            lambda: removal.perform(self._view.perform),
            done=done,
        )

    async def _subnets(self) -> None:
        found, tables, acls = await in_thread(
            lambda: (self._networks.subnets(self._id), self._networks.tables(self._id), self._networks.acls(self._id))
        )
        with box("buttons-left"):
            button("Create subnet", self._ask_subnet)
        if not found:
            tag("p", "It has no subnets.", "empty-line")
            return
        titles = ("Subnet", "Name", "Zone", "Range", "Free", "Public", "Route table", "")
        with small_table(*titles, classes="small wide", aria_label="Subnets"):
            for each in found:
                cells = (each.id, each.name, each.zone, each.cidr, str(each.free), each.public, each.table)
                table_row(*cells, actions=partial(self._subnet_buttons, each, tables, acls))

    async def _ask_subnet(self) -> None:
        zones = await in_thread(self._networks.zones)

        def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
            name = Field("Name", changed, placeholder="shop-private-c", spellcheck="false")
            zone = Select("Zone", dict.fromkeys(zones), changed)
            cidr = Field("IPv4 range", changed, placeholder="10.0.48.0/20", spellcheck="false")
            return lambda: networks.create_subnet(self._id, name.value, zone.value, cidr.value)

        self._tab.ask("Create a subnet", "Create", fields)

    def _subnet_buttons(self, subnet: SubnetLine, tables: list[RouteTable], acls: list[Acl]) -> None:
        name = subnet.name or subnet.id
        button("Route table", lambda: self._ask_table(subnet, tables), "quiet", aria_label=f"Route table of {name}")
        button("Network ACL", lambda: self._ask_acl(subnet, acls), "quiet", aria_label=f"Network ACL of {name}")
        tags_button(self._view, subnet.id, name, self._tabs.refresh)
        call = Call("ec2", "delete_subnet", {"SubnetId": subnet.id})
        self._tab.remove(f"Delete {name}", call, f"{subnet.id}, {subnet.cidr}. It must have no servers.", "Delete")

    def _ask_table(self, subnet: SubnetLine, tables: list[RouteTable]) -> None:
        """Which table a subnet has decides what it reaches."""
        main = next((each.id for each in tables if each.main), "")
        words = {each.id: f"{each.name} {each.id}{' (main)' if each.main else ''}".strip() for each in tables}

        def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
            chosen = Select("Route table", {subnet.table: words.get(subnet.table), **words}, changed)
            return lambda: networks.change_table(subnet, chosen.value, main)

        self._tab.ask(f"Route table of {subnet.name or subnet.id}", "Change", fields, at_once=False)

    def _ask_acl(self, subnet: SubnetLine, acls: list[Acl]) -> None:
        """What comes into a subnet and leaves it, whatever its servers' groups say."""
        had = next((each.id for each in acls if subnet.id in each.associations), "")
        words = {each.id: f"{each.name} {each.id}{' (default)' if each.default else ''}".strip() for each in acls}

        def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
            chosen = Select("Network ACL", {had: words.get(had), **words}, changed)
            return lambda: networks.change_acl(subnet, acls, chosen.value)

        self._tab.ask(f"Network ACL of {subnet.name or subnet.id}", "Change", fields, at_once=False)

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
        titles = ("ID", "Name", "What it is", "State", "Address", "More about it", "")
        with small_table(*titles, classes="small wide", aria_label="Gateways"):
            for each in found:
                cells = (each.id, each.name, each.kind, partial(state, each.state, each.state))
                table_row(*cells, each.address, each.more, actions=partial(self._gateway_buttons, each))

    def _changed_gateways(self) -> None:
        self._view.gateways(self._id).look_soon()

    def _ask_internet_gateway(self) -> None:
        def fields(changed: Callable[[str], None]) -> Callable[[], Making]:
            name = Field("Name", changed, placeholder="way-out", spellcheck="false")
            tag("p", "It leads out where a route table has a route to it.", "empty-line")
            return lambda: Making(internet_gateway_steps(self._id, name.value.strip()))

        ask("Create an internet gateway", "Create", fields, self._make, done=self._changed_gateways)

    def _make(self, making: Making) -> None:
        making.make_all(self._view.perform)

    async def _ask_nat_gateway(self) -> None:
        subnets = await in_thread(self._networks.nat_places, self._id)
        addresses = await in_thread(self._networks.free_addresses)

        def done() -> None:
            self._changed_gateways()
            self._view.addresses.look_soon()

        def fields(changed: Callable[[str], None]) -> Callable[[], Making]:
            name = Field("Name", changed, placeholder="shop-nat", spellcheck="false")
            subnet = Select("Public subnet", dict(subnets), changed)
            address = Select("Elastic IP", {"": "A new one", **addresses}, changed)
            tag(
                "p",
                "It costs by the hour and by the GB. Servers without a public address go out through it.",
                "empty-line",
            )
            tag("p", "Once it is available, give their route table a route to it: 0.0.0.0/0.", "empty-line")
            return lambda: Making(networks.nat_gateway_steps(subnet.value, address.value, name.value.strip()))

        ask("Create a NAT gateway", "Create", fields, self._make, done=done)

    def _gateway_buttons(self, row: GatewayRow) -> None:
        tags_button(self._view, row.id, row.name or row.id, self._changed_gateways)
        calls_ = networks.remove_gateway(self._id, row.id)
        if calls_ and row.state != "deleting":
            button("Delete", lambda: self._ask_delete_gateway(row, calls_), "quiet", aria_label=f"Delete {row.id}")

    async def _ask_delete_gateway(self, row: GatewayRow, calls_: Sequence[Call]) -> None:
        routes = await in_thread(self._networks.routes_to, self._id, row.id)
        self._view.confirm(
            f"Delete {row.name or row.id}?",
            [
                f"{row.id}, {row.kind}",
                *(f"The route {each} leads nowhere then." for each in routes),
                *([f"{row.address} stays yours, and costs: release it among Elastic IPs."] if row.address else []),
            ],
            "Delete",
            *calls_,
            done=self._changed_gateways,
        )
