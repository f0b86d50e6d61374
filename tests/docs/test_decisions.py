"""The list of contents of docs/decisions.md is that of its headings."""

from __future__ import annotations

import re

from named_tests import TOP


def test_the_contents_are_the_headings() -> None:
    contents, _, body = (TOP / "docs/decisions.md").read_text().partition("\n## ")
    headings = re.findall(r"^##+ (.*)", f"## {body}", re.MULTILINE)
    listed = re.findall(r"\[([^\]]*)\]\(#([^)]*)\)", contents)
    # GitHub makes the anchor of a heading so.
    anchors = [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings]
    assert [anchor for _, anchor in listed] == anchors
    assert all(heading.startswith(text) for heading, (text, _) in zip(headings, listed, strict=True))
