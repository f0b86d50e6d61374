from __future__ import annotations

import base64

import pytest

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.page_token import after, leads_to, read_token, write_token

REFUSAL = ServiceError("Refused", "That is no token.")


@pytest.mark.parametrize("item", ["", "a", "after:", "ä/b c", "\x00", "x" * 10_000])
def test_a_token_says_what_it_was_given(item: str) -> None:
    assert read_token(write_token(item), REFUSAL) == item
    assert after(leads_to(item)) == item


@pytest.mark.parametrize(
    "token",
    ["", "x", "é", "a\n", "=" * 9, *(base64.b64encode(text).decode() for text in (b"b", b"\xff", b"[" * 9, b"After:"))],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(ServiceError, match="no token"):
        read_token(token, REFUSAL)


def test_without_a_token_the_page_is_the_first() -> None:
    assert read_token(None, REFUSAL) == after({}) == after({"NextToken": ""}) == ""
