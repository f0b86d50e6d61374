"""Every test that docs/security.md names is there."""

from __future__ import annotations

from named_tests import TOP, missing, named


def test_what_is_said_to_hold_exists() -> None:
    page = TOP / "docs/security.md"
    assert len(named(page)) > 40
    assert missing(page) == []
