"""Which shell is shown stands in the address of its page: other shells may come before it is loaded again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from shown_page import Page, shown_page

from skylift.client.errors import RunError
from skylift.console.cloud_view import CloudView
from skylift.console.pages import connect
from skylift.console.pages.connect import ConnectPage
from skylift.console.shell import Shells


class Opened:
    """Shells of one instance, without a server. They open once they may."""

    def __init__(self, count: int) -> None:
        self.found: list[Any] = []
        self.begun, self.may_open = asyncio.Event(), asyncio.Event()
        self.may_open.set()
        self.refuses = False
        for _ in range(count):
            self._add()

    def _add(self) -> Any:
        made = SimpleNamespace(
            number=len(self.found) + 1, target=SimpleNamespace(user="ec2-user"), text=None, write=None, resize=None
        )
        self.found.append(made)
        return made

    def of(self, instance: str) -> list[Any]:
        return list(self.found)

    async def open(self, instance: str, user: str) -> Any:
        self.begun.set()
        await self.may_open.wait()
        if self.refuses:
            raise RunError("No SSH server listens.")
        return self._add()

    def close(self, shell: Any) -> None:
        self.found.remove(shell)


def refuse(instance: str) -> Any:
    raise RunError("There is none.")


async def show(page: Page, shells: Opened, query: str = "") -> None:
    page.client.sub_pages_router.current_path = f"/connect/i-1{query}"
    port = SimpleNamespace(settings=SimpleNamespace(login_user="ec2-user", billed=False), instance=refuse)
    view = SimpleNamespace(port=port)
    await ConnectPage(cast(CloudView, view), cast(Shells, shells), "i-1").show()


def said(page: Page) -> list[str]:
    return [each for each in page.scripts if "skyliftSayTab" in each]


def say(word: str) -> str:
    return f'skyliftSayTab("/connect/i-1", "{word}")'


async def wait(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.wait_for(asyncio.gather(*tasks), 30)


@pytest.fixture(autouse=True)
def _without_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """They need a browser."""

    def show_none(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(connect, "TerminalView", show_none)


@pytest.mark.parametrize(
    ("count", "query", "number"), [(0, "", 1), (1, "", 1), (2, "", 2), (2, "?tab=1", 1), (2, "?tab=7", 2)]
)
async def test_the_first_shell_that_is_shown_is_in_the_address(
    count: int, query: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shown_page(monkeypatch) as page:
        await show(page, Opened(count), query)
        assert said(page) == [say(str(number))]


async def test_so_is_each_that_is_shown_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        shells = Opened(2)
        await show(page, shells)
        await wait(page.press("New shell"))
        page.press("ec2-user #1")
        page.press("Close shell")
        assert said(page) == [say("2"), say("3"), say("1"), say("3")]
        page.press("Close shell")
        page.press("Close shell")
        assert said(page)[4:] == [say("2"), say("")]


async def test_a_shell_that_is_not_had_changes_nothing_in_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        shells = Opened(1)
        await show(page, shells)
        shells.refuses = True
        await wait(page.press("New shell"))
        assert page.shows("No SSH server listens.")
        assert said(page) == [say("1")]


async def test_a_shell_that_comes_late_is_not_in_the_address_of_another_page(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        shells = Opened(1)
        await show(page, shells)
        shells.may_open.clear()
        opening = page.press("New shell")
        await asyncio.wait_for(shells.begun.wait(), 30)
        page.client.sub_pages_router.current_path = "/instances/i-1?tab=storage"
        page.client.layout.clear()
        shells.may_open.set()
        await wait(opening)
        assert len(shells.found) == 2
        assert said(page) == [say("1")]
