from __future__ import annotations

import pytest

from skylift.client.errors import UsageError
from skylift.client.text.duration import parse_duration, spell_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("45s", 45), ("30m", 1800), ("1h30m", 5400), ("2d", 172800), ("1h30", 3630), (" 1H ", 3600)],
)
def test_parse(text: str, seconds: int) -> None:
    assert parse_duration(text, "--keep") == seconds


@pytest.mark.parametrize("text", ["", "h", "1x", "30m1h", "-5", "1.5h", "0", "0m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="--keep"):
        parse_duration(text, "--keep")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0312, "0.03 s"), (12.34, "12.3 s"), (60, "1m"), (245, "4m 05s"), (3600, "1h"), (5400, "1h 30m")],
)
def test_spell(seconds: float, text: str) -> None:
    assert spell_duration(seconds) == text
