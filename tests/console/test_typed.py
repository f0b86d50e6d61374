"""Numbers and ports, as they are typed."""

from __future__ import annotations

import pytest

from skylift.client.errors import UsageError
from skylift.console.typed import read_ports, whole_number


def test_a_number_is_within_its_limits() -> None:
    assert [whole_number(each, 1, 100) for each in ("1", " 100 ", "007")] == [1, 100, 7]
    assert [whole_number(each, 1, 100) for each in ("0", "101", "9" * 5000)] == [None] * 3


@pytest.mark.parametrize("typed", ["", " ", "-1", "+1", "1.5", "1e3", "1_0", "0x1", "²", "٣", "<b>", "1\n1"])
def test_what_is_no_number_is_none(typed: str) -> None:
    assert whole_number(typed, 0, 100) is None


def test_ports_are_one_or_a_range() -> None:
    assert read_ports(" 22 ") == (22, 22)
    assert read_ports("8000-8080") == (8000, 8080)


@pytest.mark.parametrize("typed", ["", "ssh", "-22", "22-", "1-2-3", "٣", "9" * 5000, "1 - 2"])
def test_what_is_no_port_is_said(typed: str) -> None:
    with pytest.raises(UsageError, match="is not a port, nor a range"):
        read_ports(typed)
