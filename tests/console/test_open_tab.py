"""The tab that is open, and the address of its page."""

from __future__ import annotations

import asyncio

import pytest
from nicegui import background_tasks
from shown_page import Page, shown_page

from skylift.console.widgets.element import tag
from skylift.console.widgets.open_tab import TabList
from skylift.console.widgets.routes import Routes
from skylift.console.widgets.tabs import Tabs

TITLES = ("Map", "Network ACLs", "Policies and alarms")


class Shown:
    """A page with tabs, and the browser's address of it."""

    def __init__(self, page: Page, path: str) -> None:
        self.page, self.router = page, page.client.sub_pages_router
        self.pages = 0
        self.router.current_path = path
        self.routes = Routes({"/vpcs/{vpc}": lambda vpc: self._make()})

    def _make(self) -> None:
        self.pages += 1
        Tabs({title: lambda title=title: self._fill(title) for title in TITLES}).begin()

    async def _fill(self, title: str) -> None:
        tag("p", f"This is {title}.")

    async def settle(self) -> str:
        """The tab that is open once all is there."""
        while tasks := {each for each in background_tasks.running_tasks if "Tabs._show" in repr(each)}:
            await asyncio.wait_for(asyncio.gather(*tasks), 30)
        (found,) = (title for title in TITLES if self.page.shows(f"This is {title}."))
        return found

    def go(self, path: str) -> None:
        """As NiceGUI does when a link is followed, or somebody goes back."""
        self.router.current_path = path
        self.routes._show()


@pytest.mark.parametrize(
    ("query", "opened"),
    [
        ("", "Map"),
        ("?tab=map", "Map"),
        ("?tab=network-acls", "Network ACLs"),
        ("?launched=now&tab=policies-and-alarms", "Policies and alarms"),
        ("?tab=policies%2Dand-alarms", "Policies and alarms"),
        ("?tab=", "Map"),
        ("?tab=Network ACLs", "Map"),
        ("?tab=network-acls&tab=network-acls", "Map"),
        ("?tab=none", "Map"),
        ("?tab=__init__", "Map"),
        ("?tab=%00%ff<script>", "Map"),
        ("?tab=network-acls" + "&x=1" * 30, "Map"),
        ("?[tab=network-acls", "Map"),
        ("#tab=network-acls", "Map"),
    ],
)
async def test_the_tab_that_the_address_names_is_open_or_the_first_one(
    query: str, opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shown_page(monkeypatch) as page:
        assert await Shown(page, f"/vpcs/vpc-1{query}").settle() == opened
        assert not [each for each in page.scripts if "skyliftSayTab" in each]


async def test_what_is_opened_stands_in_the_address_and_the_first_tab_needs_no_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with shown_page(monkeypatch) as page:
        shown = Shown(page, "/vpcs/vpc-1?launched=now")
        await shown.settle()
        page.press("Network ACLs")
        assert await shown.settle() == "Network ACLs"
        page.press("Map")
        assert await shown.settle() == "Map"
        said = [each for each in page.scripts if "skyliftSayTab" in each]
        assert said == ['skyliftSayTab("/vpcs/vpc-1", "network-acls")', 'skyliftSayTab("/vpcs/vpc-1", "")']


async def test_a_tab_says_nothing_in_the_address_of_another_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a while may end when somebody has gone on, of which the browser knows first."""
    with shown_page(monkeypatch) as page:
        page.client.sub_pages_router.current_path = "/connect/i-1?tab=1"
        tabs = TabList(lambda word: None)
        page.client.sub_pages_router.current_path = "/instances/i-1?tab=storage"
        tabs.say("2")
        assert page.scripts == ['skyliftSayTab("/connect/i-1", "2")']
        tabs.delete()
        tabs.say("3")
        assert len(page.scripts) == 1


async def test_the_same_page_may_be_at_another_path(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        shown = Shown(page, "/vpcs/vpc-1")
        await shown.settle()
        shown.go("/vpcs/vpc-1/?tab=network-acls")
        assert await shown.settle() == "Network ACLs"
        assert shown.pages == 1
        page.press("Map")
        await shown.settle()
        assert page.scripts[-1] == 'skyliftSayTab("/vpcs/vpc-1/", "")'


async def test_another_address_of_the_same_page_opens_its_tab(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        shown = Shown(page, "/vpcs/vpc-1?tab=network-acls")
        await shown.settle()
        shown.go("/vpcs/vpc-1")
        assert await shown.settle() == "Map"
        shown.go("/vpcs/vpc-1?tab=policies-and-alarms")
        assert await shown.settle() == "Policies and alarms"
        assert shown.pages == 1
        shown.go("/vpcs/vpc-2?tab=network-acls")
        assert await shown.settle() == "Network ACLs"
        assert shown.pages == 2
