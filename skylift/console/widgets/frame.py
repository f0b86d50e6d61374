"""The frame of each page: navigation, search, and the account and region."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nicegui import ui

from skylift.console.widgets.element import box, link, on_input, run_script, set_attribute, tag


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


class Frame:
    """`find` answers a search, `place` is where the pages look."""

    def __init__(self, entries: Sequence[Entry], place: str, find: Callable[[str], Iterable[Found]]) -> None:
        self._find = find
        self._links: dict[str, ui.element] = {}
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
        """Say in the navigation where we are. A shell belongs to its instance, an input to its map."""
        for beginning, of in (("/connect/", "/instances/"), ("/inputs/", "/jobs/")):
            path = path.replace(beginning, of, 1) if path.startswith(beginning) else path
        for target, element in self._links.items():
            here = path == target or path.startswith((f"{target}/", f"{target}?"))
            set_attribute(element, "aria-current", "page" if here else False)

    def _search(self, text: str) -> None:
        wanted = text.strip()
        found = list(self._find(wanted))[:12] if wanted else []
        self._found.set_visibility(bool(wanted))
        with self._found.clear():
            for each in found:
                with tag("a", "", "hit", href=each.path):
                    tag("span", each.text)
                    tag("span", each.kind, "kind")
            if wanted and not found:
                tag("p", "Nothing is called that, and nothing has that id or address.", "empty-line")


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
