"""Which tab of a page is open stands in the page's address, as `?tab=network-acls`: a bookmark, a reload and the way
back find it again.

The first one is open where the address names none, or one that the page does not have. Opening a tab replaces the
address and adds nothing to the browser's history: Back leads to the page before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from skylift.console.widgets.element import Element

_NAME = "tab"
_MOST = 20
"""Parts of a query that are looked at."""


class TabList(Element):
    """Place for the buttons of a page's tabs. `follow` opens the tab of a word, which may be any. `asked` is the word
    in the address of the page."""

    def __init__(self, follow: Callable[[str], None]) -> None:
        super().__init__("div")
        self.classes("tabs")
        self.props["role"] = "tablist"
        self._follow = follow
        self._look()

    def follow_address(self) -> None:
        """To the tab that it names by now. The page is the same, though its path may be spelled otherwise."""
        self._look()
        self._follow(self.asked)

    def say(self, word: str) -> None:
        """In the address of the page; empty for the tab that is open without a word. Somebody may have gone on to
        another page meanwhile, whose address stays as it is."""
        if not self.is_deleted:
            self.client.run_javascript(f"skyliftSayTab({json.dumps(self._path)}, {json.dumps(word)})")

    def _look(self) -> None:
        address = self.client.sub_pages_router.current_path
        self.asked, self._path = tab_in(address), urlsplit(address).path


def word_of(title: str) -> str:
    """For the address."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower())


def tab_in(path: str) -> str:
    """The word in an address, in which somebody may have typed anything. Empty for none, and for several."""
    try:
        (found,) = parse_qs(urlsplit(path).query, max_num_fields=_MOST).get(_NAME, [""])
    except ValueError:
        return ""
    return found


def follow_address(within: Element) -> None:
    """The page has stayed, and its address may name another tab by now, as after a link to the page itself."""
    for each in list(within.descendants()):
        if isinstance(each, TabList):
            each.follow_address()
