"""Loopback ranges, in a directory of the test's own."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from skylift.cloud.compute.network.error import KernelRefused, NoRangeFree
from skylift.cloud.compute.network.loopback_range import NUMBERS, LoopbackRange, LoopbackRanges


@pytest.fixture
def loopback_ranges(tmp_path: Path) -> LoopbackRanges:
    return LoopbackRanges(lambda number: False, tmp_path / "claims")


def test_each_home_has_a_number_of_its_own_and_keeps_it(loopback_ranges: LoopbackRanges, tmp_path: Path) -> None:
    one = loopback_ranges.take(tmp_path / "one")
    two = loopback_ranges.take(tmp_path / "two")
    assert one.number != two.number
    assert loopback_ranges.take(tmp_path / "one") == one
    assert loopback_ranges.take(tmp_path / "one", preferred=99).number == one.number
    assert loopback_ranges.find(tmp_path / "two") == two
    assert one.owner == os.getpid()


def test_a_home_is_one_whatever_its_name(loopback_ranges: LoopbackRanges, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    assert loopback_ranges.take(tmp_path / "home") == loopback_ranges.take(tmp_path / "link")


def test_the_number_of_last_time_is_had_again_if_it_is_free(loopback_ranges: LoopbackRanges, tmp_path: Path) -> None:
    assert loopback_ranges.take(tmp_path / "one", preferred=99).number == 99
    assert loopback_ranges.take(tmp_path / "two", preferred=99).number != 99
    assert loopback_ranges.take(tmp_path / "three", preferred=7).number in NUMBERS


def test_a_released_number_is_free(loopback_ranges: LoopbackRanges, tmp_path: Path) -> None:
    loopback = loopback_ranges.take(tmp_path / "one", preferred=99)
    loopback_ranges.release(loopback)
    assert loopback_ranges.find(tmp_path / "one") is None
    assert loopback_ranges.all() == []
    assert loopback_ranges.take(tmp_path / "two", preferred=99).number == 99


def test_a_number_that_the_kernel_knows_is_not_given(tmp_path: Path) -> None:
    loopback_ranges = LoopbackRanges(lambda number: number != 100, tmp_path / "claims")
    assert loopback_ranges.take(tmp_path / "one", preferred=40).number == 100


def test_homes_that_are_not_up_at_the_same_time_hardly_ever_want_the_same_number(tmp_path: Path) -> None:
    """A cloud that is down keeps no range, and comes back for the number that its servers' addresses are of."""
    given = {
        LoopbackRanges(lambda number: False, tmp_path / f"claims-{n}").take(tmp_path / str(n)).number for n in range(8)
    }
    assert len(given) > 4


def test_none_left_names_who_has_them(tmp_path: Path) -> None:
    loopback_ranges = LoopbackRanges(lambda number: number != 50, tmp_path / "claims")
    loopback_ranges.take(tmp_path / "first")
    with pytest.raises(NoRangeFree, match=rf"{tmp_path}/first.*cloud down"):
        loopback_ranges.take(tmp_path / "second")
    assert loopback_ranges.find(tmp_path / "second") is None


def test_no_number_is_given_twice_at_once(loopback_ranges: LoopbackRanges, tmp_path: Path) -> None:
    given: list[LoopbackRange] = []
    threads = [
        threading.Thread(target=lambda home=home: given.append(loopback_ranges.take(tmp_path / str(home))))
        for home in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({loopback.number for loopback in given}) == 20


def test_only_root_can_claim(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(KernelRefused, match="only root"):
            LoopbackRanges(lambda number: False, locked / "claims").take(tmp_path / "one")
    finally:
        if root:
            os.seteuid(0)


def test_what_follows_from_a_number() -> None:
    loopback = LoopbackRange(64, "/home/x", 1)
    assert str(loopback.addresses) == "127.64.0.0/16"
    assert str(loopback.host_address) == "127.64.0.1"
    assert str(loopback.carrier) == "240.64.0.0/16"
    assert (loopback.host_link, loopback.table, loopback.prefix) == ("sky64", "skylift_64", "skylift-64-")
