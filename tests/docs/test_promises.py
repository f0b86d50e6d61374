"""Every test that docs/promises.md names is there."""

from __future__ import annotations

import re

from named_tests import TOP, missing, named


def test_what_is_said_to_hold_a_promise_exists() -> None:
    page = TOP / "docs/promises.md"
    assert len(named(page)) > 30
    assert missing(page) == []


def test_each_promise_of_the_design_has_its_section() -> None:
    text = (TOP / "docs/promises.md").read_text()
    assert [int(number) for number in re.findall(r"^## (\d)\. ", text, re.MULTILINE)] == list(range(1, 10))
