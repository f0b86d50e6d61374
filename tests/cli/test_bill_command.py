"""`skylift cloud bill` as a table: what is rounded still adds up, and words that mean nothing are refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.cli.bill import SHOWN, shown
from skylift.cli.main import perform

amounts = st.decimals(0, 10**6, places=10)


@given(st.lists(st.one_of(st.none(), amounts), max_size=20))
def test_what_is_rounded_still_adds_up(exact: list[Decimal | None]) -> None:
    texts = shown(exact)
    known = [one for one in exact if one is not None]
    assert sum(Decimal(text) for text in texts if text != "unknown") == sum(known, Decimal(0)).quantize(SHOWN)
    assert [text == "unknown" for text in texts] == [one is None for one in exact]
    for text, one in zip(texts, exact, strict=True):
        assert one is None or abs(Decimal(text) - one) < SHOWN


@pytest.mark.parametrize(
    "words", [("--by", "colour"), ("--by", "tag:"), ("--from", "yesterday"), ("--to", "2026-13-01")]
)
def test_words_that_mean_nothing_are_refused(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert perform(["cloud", "bill", *words]) == 2
    assert f"{words[0]} '{words[1]}'" in capsys.readouterr().err
