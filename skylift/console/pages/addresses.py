"""Elastic IPs: allocated, given to an instance, taken from it, released."""

from __future__ import annotations

from collections.abc import Callable

from skylift.console import networks
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.networks import Networks
from skylift.console.pages.edit_tags import edit_tags
from skylift.console.poller import FlatRow
from skylift.console.widgets.dialog import ask
from skylift.console.widgets.element import button, enable, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed, one_of
from skylift.console.widgets.tabs import in_thread

COLUMNS = (
    Column("address", "Public IPv4", 140, kind="code"),
    Column("name", "Name"),
    Column("id", "Allocation ID", 230, kind="code"),
    Column("instance", "Instance", 190, leads="/instances/"),
    Column("interface", "Interface", 190, kind="code"),
    Column("private", "Private IPv4", 130, kind="code"),
    Column("tags", "Tags"),
)


class AddressesPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view
        with head("Elastic IPs"):
            button("Allocate", self._allocate, "primary")
            self._give = button("Associate", lambda: self._grid.with_one(self._associate))
            self._take = button("Disassociate", lambda: self._grid.with_one(self._disassociate))
            self._tags = button("Tags", lambda: self._grid.with_one(self._edit_tags))
            self._release = button("Release", lambda: self._grid.with_one(self._ask_release), "danger")
        self._grid = listed(
            view.addresses,
            COLUMNS,
            label="Elastic IPs",
            empty=self._say_empty,
            command=Call("ec2", "describe_addresses").command,
            on_choice=self._dress,
        )

    def _say_empty(self) -> None:
        tag("h2", "There are no Elastic IPs yet.")
        tag("p", "An Elastic IP is a public address that stays yours when its server stops or is replaced.")
        button("Allocate", self._allocate)

    def _dress(self, chosen: list[FlatRow]) -> None:
        """An action, here or elsewhere, makes another one possible."""
        row = one_of(chosen)
        enable(self._give, row is not None and not row["association"])
        enable(self._take, row is not None and bool(row["association"]))
        enable(self._tags, row is not None)
        enable(self._release, row is not None and not row["association"])

    def _changed(self) -> None:
        self._view.addresses.look_soon()

    def _allocate(self) -> None:
        def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
            name = Field("Name", changed, placeholder="web", spellcheck="false", autofocus="autofocus")
            tag("p", "On AWS each public IPv4 address costs by the hour, used or not.", "empty-line")
            return lambda: networks.allocate_address(name.value.strip())

        ask("Allocate an Elastic IP", "Allocate", fields, self._view.perform, done=self._changed)

    async def _edit_tags(self, row: FlatRow) -> None:
        await edit_tags(self._view, row["id"], row["name"] or row["address"], self._changed)

    async def _associate(self, row: FlatRow) -> None:
        found = await in_thread(Networks(self._view.port).holders)

        def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
            chosen = Select("Instance", dict(found), changed)
            tag("p", "It takes the place of the instance's public address.", "empty-line")
            return lambda: networks.associate_address(row["id"], chosen.value)

        ask(f"Associate {row['address']}", "Associate", fields, self._view.perform, done=self._changed)

    def _disassociate(self, row: FlatRow) -> None:
        self._view.confirm(
            "Take this address from its instance?",
            [
                f"{row['address']}, {row['instance'] or row['interface']}",
                "The address stays yours. The server has another one, or none.",
            ],
            "Disassociate",
            Call("ec2", "disassociate_address", {"AssociationId": row["association"]}),
            dangerous=False,
            done=self._changed,
        )

    def _ask_release(self, row: FlatRow) -> None:
        self._view.confirm(
            "Release this address?",
            [row["address"], "It cannot be had again."],
            "Release",
            Call("ec2", "release_address", {"AllocationId": row["id"]}),
            done=self._changed,
        )
