"""VPCs: all of them, and the map of one."""

from __future__ import annotations

from skylift.console import call as calls
from skylift.console.cloud_view import CloudView
from skylift.console.widgets.element import box, copyable, link, on_input, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, Grid
from skylift.console.widgets.map_view import MapView
from skylift.console.widgets.tabs import in_thread
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
        head("VPCs")
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


class VpcPage:
    def __init__(self, view: CloudView, vpc: str) -> None:
        self._view, self._id = view, vpc

    async def show(self) -> None:
        with head(self._id):
            link("All VPCs", "/vpcs", "button")
        place = box("panel")
        with box("commandline"):
            copyable(calls.describe_route_tables(self._id).command)
        try:
            found = await in_thread(self._view.port.vpc_map, self._id)
        except SkyliftError as error:
            with place:
                say_trouble(error)
            return
        with place:
            tag("p", "What belongs together lights up: point at a box, or go to it with Tab.", "empty-line")
            MapView(found)
