"""docs/design has a page for each room, each page says why, and all of them are short enough to be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from named_tests import TOP

DESIGN = TOP / "docs/design"
PAGES = sorted(each for each in DESIGN.glob("*.md") if each.name != "README.md")
MOST_WORDS = 8000

ROOMS = {
    "skylift": {"cli", "console", "place", "catalogue", "contract", "python", "client", "agent", "cloud"},
    "skylift/client": {"plan", "ship", "launch", "watch", "collect", "jobs", "map", "schedule", "price", "remote"},
    "skylift/cloud": {"wire", "domain", "store", "services", "loops", "compute", "state"},
    "deeper": {"policy", "network", "images"},
    "beside": {"tests"},
}


def test_each_room_has_a_page() -> None:
    assert {page.stem for page in PAGES} == set().union(*ROOMS.values())


def test_the_index_lists_each_page() -> None:
    assert set(re.findall(r"\]\((\w+)\.md\)", (DESIGN / "README.md").read_text())) == {page.stem for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_why_and_what_was_rejected(page: Path) -> None:
    text = page.read_text()
    headings = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert set(headings) <= {"Why so", "Rejected", "What would change our mind"}
    assert "Why so" in headings
    # What the room is stands before the first heading.
    assert len(text.split("\n## ")[0].split()) > 10


def test_all_pages_together_are_read_in_an_hour() -> None:
    assert sum(len(each.read_text().split()) for each in DESIGN.glob("*.md")) <= MOST_WORDS
