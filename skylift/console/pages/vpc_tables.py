"""Route tables of a VPC, and their routes, edited in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from skylift.console import networks
from skylift.console.call import Call
from skylift.console.networks import RouteTable, ShownRoute
from skylift.console.pages.vpc_tab import VpcTab
from skylift.console.vpc_plan import tagged
from skylift.console.widgets.element import box, button, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.row_edit import EditedRow
from skylift.console.widgets.small_table import small_table, state
from skylift.console.widgets.tabs import in_thread


async def show_tables(tab: VpcTab) -> None:
    tables, targets = await in_thread(lambda: (tab.networks.tables(tab.vpc), tab.networks.targets(tab.vpc)))
    with box("buttons-left"):
        button("Create route table", lambda: _ask_table(tab))
    for each in tables:
        with box("part"):
            call = Call("ec2", "delete_route_table", {"RouteTableId": each.id})
            tab.head("route table", each, "main" if each.main else "", call)
            _show_routes(tab, each, targets)
            _add_route(tab, each, targets)


def _ask_table(tab: VpcTab) -> None:
    def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
        name = Field("Name", changed, placeholder="shop-private", spellcheck="false")
        tag(
            "p",
            "It leads within the VPC, until it has routes of its own, and is nobody's until a subnet has it.",
            "empty-line",
        )
        return lambda: Call("ec2", "create_route_table", {"VpcId": tab.vpc, **tagged("route-table", name.value)})

    tab.ask("Create a route table", "Create", fields)


def _show_routes(tab: VpcTab, shown: RouteTable, targets: Mapping[str, str]) -> None:
    with small_table("Destination", "Target", "State", "", aria_label=f"Routes of {shown.id}"):
        for route in shown.routes:
            _show_route(tab, shown, route, targets)


def _show_route(tab: VpcTab, shown: RouteTable, route: ShownRoute, targets: Mapping[str, str]) -> None:
    check = partial(tab.networks.check_route, shown.id, route)

    def show(row: EditedRow) -> None:
        for cell in (route.destination, route.target):
            tag("td", cell)
        with tag("td"):
            state(route.state, route.state)
        with tag("td", "", "actions"):
            if route.removable:
                row.button()
                tab.remove(
                    f"Remove the route to {route.destination}",
                    networks.delete_route(shown.id, route.destination),
                    f"{route.destination} no longer leads to {route.target}.",
                    check=check,
                )

    def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
        first = {route.target: targets.get(route.target, route.target)}
        target = Select(f"{route.destination} leads to", {**first, **targets}, changed)
        return lambda: networks.replace_route(shown.id, route, target.value)

    label = f"the route to {route.destination}"
    tab.row(4, f"{shown.id} {route.destination}", label, show, fields, check)


def _add_route(tab: VpcTab, shown: RouteTable, targets: Mapping[str, str]) -> None:
    def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
        destination = Field("Destination", changed, placeholder="0.0.0.0/0", spellcheck="false")
        target = Select("Target", dict(targets) or {"": "The VPC has no gateway"}, changed)
        return lambda: networks.create_route(shown.id, destination.value, target.value)

    tab.add(f"{shown.id} new", "Add route", fields)
