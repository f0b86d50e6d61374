"""The frame of each page: navigation, search, and the account and region."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nicegui import ui

from skylift.console.widgets.element import box, link, on_input, run_script, set_attribute, tag

_BELONGS = {
    "/connect/": "/instances/",
    "/inputs/": "/jobs/",
    "/run-again/": "/jobs/",
    "/new-job": "/jobs",
    "/create-vpc": "/vpcs",
}
"""Pages that have no line in the navigation: a shell belongs to its instance, an input to its map."""


@dataclass(frozen=True)
class Entry:
    """A line of the navigation."""

    title: str
    path: str
    group: str


@dataclass(frozen=True)
class Found:
    """A line of what was found: `kind` is what it is."""

    text: str
    kind: str
    path: str


class PageFrame:
    """`find` answers a search. `look_up` says when the answer may be another one by now. `place` is where the pages
    look."""

    def __init__(
        self,
        entries: Sequence[Entry],
        place: str,
        find: Callable[[str], Iterable[Found]],
        look_up: Callable[[str], AsyncIterator[None]],
    ) -> None:
        self._entries, self._find, self._look_up = entries, find, look_up
        self._wanted = ""
        self._searching = 0
        self._hits: list[Found] | None = None
        self._links: dict[str, ui.element] = {}
        tag("button", "Skip to the page", "button primary skip", type="button", data_skip="yes")
        with box("frame"):
            with tag("header", "", "top"):
                link("skylift", "/", "brand")
                with box("search", role="search"):
                    field = tag(
                        "input",
                        "",
                        "search-field",
                        type="search",
                        placeholder="Search by id, name or address",
                        aria_label="Search by id, name or address (Ctrl-K)",
                        autocomplete="off",
                        spellcheck="false",
                        data_search="field",
                    )
                    tag("kbd", "Ctrl K")
                    self._found = box("found", data_search="found")
                    self._found.set_visibility(False)
                    on_input(field, self._search)
                tag("span", place, "place")
                tag("button", "◐", "button quiet", type="button", data_theme="toggle", aria_label="Dark or light")
            with tag("nav", "", "side", aria_label="Screens"):
                for group in dict.fromkeys(entry.group for entry in entries):
                    tag("h2", group)
                    for entry in (each for each in entries if each.group == group):
                        self._links[entry.path] = link(entry.title, entry.path)
            # The page around it is the `main` already.
            self.main = box("main")

    def mark(self, path: str) -> None:
        """Say in the navigation where we are."""
        for beginning, of in _BELONGS.items():
            path = path.replace(beginning, of, 1) if path.startswith(beginning) else path
        for target, element in self._links.items():
            here = path == target or path.startswith((f"{target}/", f"{target}?"))
            set_attribute(element, "aria-current", "page" if here else False)

    async def _search(self, text: str) -> None:
        self._wanted, self._hits = text.strip(), None
        self._found.set_visibility(bool(self._wanted))
        if not self._wanted:
            self._show()
            return
        # With each letter. What one search sees, the next one has: all show what is wanted by then.
        self._searching += 1
        try:
            self._show()
            async for _ in self._look_up(self._wanted):
                self._show()
        finally:
            self._searching -= 1
        self._show()

    def _show(self) -> None:
        wanted = self._wanted
        hits = self._find_all(wanted) if wanted else []
        if hits == self._hits and (hits or self._searching):
            return
        self._hits = hits
        with self._found.clear():
            for each in hits:
                with tag("a", "", "hit", href=each.path):
                    tag("span", each.text)
                    tag("span", each.kind, "kind")
            if wanted and not hits:
                nothing = "Nothing is called that, and nothing has that id or address."
                tag("p", "Looking …" if self._searching else nothing, "empty-line")
        # The page's script may have been told to take the first hit of this.
        set_attribute(self._found, "data-of", wanted)

    def _find_all(self, wanted: str) -> list[Found]:
        words = wanted.casefold()
        screens = [
            Found(each.title, "screen", each.path) for each in self._entries if each.title.casefold().startswith(words)
        ]
        return [*screens, *self._find(wanted)][:12]


def head(title: str) -> ui.element:
    """The head of a page: its title, which is the browser's too, and place for buttons, which are put into what is
    returned."""
    say_title(title)
    with box("head"):
        tag("h1", title)
        return box("buttons")


def say_title(title: str) -> None:
    """To tabs, bookmarks and the browser's history. As a value: it may be a name that somebody else has chosen."""
    run_script("skyliftTitle", title)


def follow_path(handler: Callable[[str], None]) -> None:
    router = ui.context.client.sub_pages_router
    router.on_path_changed(handler)
    with suppress(RuntimeError):
        handler(router.current_path)
