"""A line of fields that adds something to a table which is made anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from shown_page import Page, shown_page

from skylift.client.errors import Refused
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.networks import Networks
from skylift.console.pages.vpc_acls import show_acls
from skylift.console.pages.vpc_tab import VpcTab
from skylift.console.pages.vpc_tables import show_tables
from skylift.console.port import Port
from skylift.console.widgets.element import Element, box


class Account(Port):
    """Of two network ACLs and a route table. It refuses what it is told to."""

    def __init__(self) -> None:
        self.refuses = False
        self.nats: list[Any] = []
        self.made: list[Call] = []

    def pages(self, call: Call, key: str) -> list[Any]:
        found: dict[str, list[Any]] = {
            "NetworkAcls": [{"NetworkAclId": "acl-1", "Entries": []}, {"NetworkAclId": "acl-2", "Entries": []}],
            "RouteTables": [{"RouteTableId": "rtb-1", "Routes": []}],
            "InternetGateways": [{"InternetGatewayId": "igw-1"}, {"InternetGatewayId": "igw-2"}],
            "NatGateways": self.nats,
        }
        return found.get(key, [])

    def perform(self, call: Call) -> object:
        if self.refuses:
            raise Refused("NetworkAclEntryAlreadyExists", "there is one of this number", call.operation)
        self.made.append(call)
        return {}


class View:
    def __init__(self, account: Account) -> None:
        self.port, self.perform = account, account.perform


class Shown:
    """A tab of a VPC, which is made anew by what is done in it."""

    def __init__(self, page: Page, show: Callable[[VpcTab], Awaitable[None]]) -> None:
        self.page, self.account, self._show = page, Account(), show
        self.refreshed = 0
        networks = Networks(self.account)
        self.tab = VpcTab(cast(CloudView, View(self.account)), networks, "vpc-1", self._refresh)
        self._place = box()

    def _refresh(self) -> None:
        self.refreshed += 1

    async def make(self) -> None:
        with self._place.clear():
            await self._show(self.tab)

    async def press(self, text: str) -> None:
        await asyncio.wait_for(asyncio.gather(*self.page.press(text)), 30)

    def begins_with(self, kind: str) -> list[str]:
        """What a browser shows in the fields of this kind, once it has them."""
        return [each.props.get("^value", "") for each in self._of_kind(kind)]

    def chosen(self) -> list[str]:
        return [each.props["value"] for each in self._of_kind("option") if "^selected" in each.props]

    def _of_kind(self, kind: str) -> list[Element]:
        return [each for each in self._place.descendants() if each.tag == kind]


async def test_what_is_typed_stays_until_it_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        shown = Shown(page, show_acls)
        await shown.make()
        page.type("Number", "90")
        page.type("Range", "203.0.113.0/")
        assert page.shows("'203.0.113.0/'")
        await shown.make()
        # Those of the other network ACL are as they were.
        assert shown.begins_with("input") == ["90", "", "203.0.113.0/", "", "", ""]
        assert page.shows("'203.0.113.0/'"), "what is wrong with it is said again"
        page.type("Range", "203.0.113.0/24")
        shown.account.refuses = True
        await shown.press("Add rule")
        await shown.make()
        assert shown.begins_with("input") == ["90", "", "203.0.113.0/24", "", "", ""]
        shown.account.refuses = False
        await shown.press("Add rule")
        (made,) = shown.account.made
        assert made.params["RuleNumber"] == 90
        assert shown.refreshed == 1
        # What somebody types until the tab is made anew is of a line that is done.
        page.type("Number", "91")
        await shown.press("Add rule")
        assert shown.account.made == [made]
        await shown.make()
        assert shown.begins_with("input") == [""] * 6


async def test_what_is_chosen_stays_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        shown = Shown(page, show_tables)
        await shown.make()
        page.type("Destination", "192.0.2.0/24")
        (target,) = shown._of_kind("select")
        page.say(target, "input", {"value": "igw-2"})
        await shown.make()
        assert shown.begins_with("input") == ["192.0.2.0/24"]
        assert shown.chosen() == ["igw-2"]
        await shown.press("Add route")
        (made,) = shown.account.made
        assert made.params["GatewayId"] == "igw-2"


async def test_another_choice_is_not_made_for_who_has_chosen_what_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NAT gateway that is deleted meanwhile leads to no internet gateway."""
    with shown_page(monkeypatch) as page:
        shown = Shown(page, show_tables)
        shown.account.nats = [{"NatGatewayId": "nat-1", "State": "available"}]
        await shown.make()
        page.type("Destination", "0.0.0.0/0")
        (target,) = shown._of_kind("select")
        page.say(target, "input", {"value": "nat-1"})
        shown.account.nats = []
        await shown.make()
        assert shown.begins_with("input") == ["0.0.0.0/0"]
        assert shown.chosen() == [""]
        assert page.shows("Choose one")
        assert page.shows("Choose where the route leads.")
        await shown.press("Add route")
        assert shown.account.made == []
        (target,) = shown._of_kind("select")
        page.say(target, "input", {"value": "igw-1"})
        await shown.press("Add route")
        (made,) = shown.account.made
        assert made.params["GatewayId"] == "igw-1"
